# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(split) to the driver's own module, on all of its hosts at the same time."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _move
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

# Seconds that putting back may take beyond the time-out.
BACK = 5

FACADE: dict[str, t.Any] = {
    **_move.FACADE,
    **_split.slow_spec(),
    "step": {"type": "str", "default": "switch"},
}
# What is told of a split that is set at one moment and effective at another.
MOMENTS = ("set_at", "effective_at", "settled_at")


class ActionModule(PlayAction):
    SPEC = {**_split.common_spec(), **FACADE}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args["shares"] = _split.check_shares(args["shares"])
        if args["shares"]:
            _move.check_step(args)
        driver = _drivers.load(args["driver"])
        if driver.split_args is None:
            names = ", ".join(name for name in _drivers.NAMES if _drivers.load(name).split_args)
            raise DowntimeError(f"driver is '{args['driver']}', which cannot split traffic between sides; {names} can")
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        return self._share(driver, driver.split_args, traffic, args, task_vars)

    def _share(self, driver: _drivers.Driver, split_args: t.Callable[[dict[str, t.Any], str | None], dict[str, t.Any]], traffic: dict[str, t.Any],
               args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        hosts = _inventory.hosts_of(driver, traffic, [], task_vars)
        # What is only asked is no step of a deploy.
        about = {"shares": args["shares"]} if args["shares"] else {}
        move = _move.Move(self, {**args, "run_dir": args["run_dir"] if args["shares"] else None}, task_vars, "balancer", **about)
        shared = move.shared(_split.common_spec(), "app")

        options = {**shared, **split_args(traffic, args["app"])}
        if driver.holds:
            options.update({name: args[name] for name in ("hold", "until", "not_before") if args[name] is not None},
                           going_back=args["going_back"] or _steps.goes_back(args["step"]))
        seconds = driver.split_timeout(traffic) if driver.split_timeout else args["timeout"]
        results = move.run(hosts, driver.module("split"), lambda _host: dict(options), seconds + BACK)
        merged = move.merged(results)
        moments = {name: max(times) for name in MOMENTS if (times := [result[name] for result in results.values() if result.get(name)])}
        merged.update(moments)
        has = {host: results[host].get("shares") for host in hosts if host in results}
        first = next(iter(has.values()), None)
        merged["shares"] = first if all(shares == first for shares in has.values()) else None
        if merged["problems"] and args["shares"] and len(has) > 1:
            # Whoever goes back has to know where that begins.
            merged["msg"] += "; now " + ", ".join(f"{host} has {_split.told(shares) if shares else 'shares that nobody knows'}" for host, shares in has.items())
        return move.end(results, merged, **moments)
