# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(push) to the driver's own module: it says what a platform has of releases, or hands it one."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _drivers, _push_options
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory, _moving
from ansible_collections.zero.downtime.plugins.plugin_utils._once import Once

# Seconds that a module may take beyond its own time limit.
BACK = 5

FACADE: dict[str, t.Any] = {
    **_moving.FACADE,
    "app": {"type": "str"},
    "so_far": {"type": "dict", "default": {}},
    # What the evidence knows as a move of all members at once: which of them the platform moves when, it alone knows.
    "step": {"type": "str", "default": "switch"},
}


class ActionModule(Once):
    SPEC = {**_push_options.common_spec(), **FACADE}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        driver = _drivers.load(args["driver"])
        if driver.push_args is None:
            raise DowntimeError(f"driver is '{args['driver']}', which hands no releases to a platform")
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        return self._hand(driver, driver.push_args(traffic, args["app"]), traffic, args, task_vars)

    def _hand(
        self,
        driver: _drivers.Driver,
        own: dict[str, t.Any],
        traffic: dict[str, t.Any],
        args: dict[str, t.Any],
        task_vars: dict[str, t.Any],
    ) -> dict[str, t.Any]:
        hosts = _inventory.hosts_of(driver, traffic, [], task_vars)
        asked = args["state"] == "observed"
        # What is only asked moves nothing, whoever has the lock.
        move = _moving.Move(
            self,
            {**args, "lock": None if asked else args["lock"]},
            task_vars,
            "platform",
            remembers=False,
            members=hosts,
        )
        options = {**move.shared(_push_options.common_spec()), **own}
        results = move.run(hosts, driver.module("push"), lambda _host: dict(options), args["timeout"] + BACK)
        found = move.merged(results)
        del found["balancers"]
        found["members"] = {**args["so_far"], **{host: _told(results[host]) for host in hosts if host in results}}
        found["absent"] = []
        return move.end(results, found)


def _told(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """A platform's result as that of a member; one that failed is handed on as it is."""
    return {
        name: value
        for name, value in (result if result.get("failed") else _push_options.told(result)).items()
        if name != "diff"
    }
