# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(mirror) to the driver's own module, on all of its hosts at the same time."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import mirror as _mirror
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _move
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

# Seconds that putting back may take beyond the time-out.
BACK = 10

FACADE: dict[str, t.Any] = {
    **_move.FACADE,
    "to": {"type": "str", "choices": list(_split.SIDES), "required": True},
    "step": {"type": "str", "default": "mirror"},
}


class ActionModule(PlayAction):
    SPEC = {**_mirror.common_spec(), **FACADE}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        driver = _drivers.load(args["driver"])
        if driver.mirror_args is None:
            names = ", ".join(name for name in _drivers.NAMES if _drivers.load(name).mirror_args)
            raise DowntimeError(f"driver is '{args['driver']}', which cannot copy requests to a side; {names} can")
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        return self._copy(driver, driver.mirror_args, traffic, args, task_vars)

    def _copy(self, driver: _drivers.Driver, mirror_args: t.Callable[[dict[str, t.Any], str], dict[str, t.Any]], traffic: dict[str, t.Any],
              args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        # Before any host is asked: what the pools lack costs no connection.
        own = mirror_args(traffic, args["to"])
        hosts = _inventory.hosts_of(driver, traffic, [], task_vars)
        move = _move.Move(self, args, task_vars, "balancer", remembers=False, share=args["share"], to=args["to"])
        options = {**move.shared(_mirror.common_spec()), **own}
        results = move.run(hosts, driver.module("mirror"), lambda _host: dict(options), args["timeout"] + BACK)
        merged = move.merged(results)
        statuses: dict[str, int] = {}
        for result in results.values():
            for status, count in (result.get("statuses") or {}).items():
                statuses[status] = statuses.get(status, 0) + count
        return move.end(results, {**merged, "statuses": statuses, "requests": sum(statuses.values())})
