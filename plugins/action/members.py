# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(members) to the driver's own module, on all of its hosts at the same time."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _balance, _drivers, _events, _members, _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, named
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _inventory

# Seconds that sessions may take to end once they were told to.
CUT = 5


class ActionModule(ActionBase):
    # Once for the batch, and a failure is everybody's: with run_once only the first host would be rescued.
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            args = _spec.check(self._task.args, {**_members.common_spec(), **FACADE})
            driver = _drivers.load(args["driver"])
            traffic = _spec.check(args["traffic"], driver.traffic_spec, "traffic.")
            return self._move(driver, traffic, args, task_vars)
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}

    def _move(self, driver: _drivers.Driver, traffic: dict[str, t.Any], args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if not args["members"]:
            return {"changed": False, "waited": 0.0, "members": [], "balancers": {}, "diff": [], "problems": []}
        servers = {name: args["servers"].get(name) or name for name in args["members"]}
        names = {server: name for name, server in servers.items()}
        hosts = _inventory.hosts_of(driver, traffic, args["members"], task_vars)
        shared = {key: args[key] for key in _members.common_spec() if key not in ("members", "lock") and args[key] is not None}
        lock = args["lock"] or {"hosts": []}

        def args_for(host: str) -> dict[str, t.Any]:
            members = [host] if driver.runs_on == "members" else args["members"]
            # The driver hears of the whole batch, even where each host moves only its own member: together they count against the floor.
            own = self._with_secrets(driver, args["own_traffic"].get(host) or traffic, host, task_vars)
            fence = {"lock": lock["path"]} if host in lock["hosts"] else {}
            return {**shared, **fence, **driver.member_args(own, list(servers.values())), "members": [servers[name] for name in members]}

        notes = _events.Notes()

        def note(event: str, **detail: t.Any) -> None:
            if not self._task.check_mode:
                notes.write(_events.append, args["run_dir"], args["step"], event, members=args["members"], batch=args["batch"], **detail)

        def keep(host: str, result: dict[str, t.Any]) -> None:
            # A reading at every move: of a worker that a reload ends meanwhile, the last one is all there will be.
            if result.get("counters") and not self._task.check_mode:
                notes.write(_balance.append, args["run_dir"], host, result, args["step"])

        note("started")
        what = "member" if driver.runs_on == "members" else "balancer"
        limit = _fanout.limit(self, args["timeout"] + (CUT if args["timeout_action"] == "cut" else 0))
        results = _fanout.run_on(self, hosts, driver.module("members"), args_for, task_vars, what=what, on_result=keep, timeout=limit)
        failures = {host: result for host, result in results.items() if result.get("failed")}
        merged: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in results.values()),
            "waited": max((result.get("waited") or 0.0 for result in results.values()), default=0.0),
            "members": [{**member, "name": names.get(member["name"], member["name"]), "balancer": host}
                        for host, result in results.items() for member in result.get("members", [])],
            "balancers": results,
            "diff": [{**diff, "before_header": host, "after_header": host} for host, result in results.items() for diff in _as_list(result.get("diff"))],
            # By inventory name: whom somebody else has out on a balancer, and whom a reload had brought back there.
            **{kind: sorted({names.get(server, server) for result in results.values() for server in result.get(kind) or ()}) for kind in ("theirs", "lost")},
            "problems": [named(what, host, result) for host, result in failures.items()],
        }
        told = [f"balancer {host}: {text}" for host, result in results.items() for text in result.get("notes") or ()]
        for text in told:
            note("note", text=text)
        cut = sum(member.get("cut") or 0 for member in merged["members"])
        if failures:
            merged["msg"] = "; ".join(merged["problems"])
            merged["failed"] = args["on_failure"] == "fail"
            if merged["failed"]:
                # What a person reads at this moment is the sentence; the rest is in the balancers' own words in the record.
                for name in ("balancers", "diff", "members"):
                    del merged[name]
        note("failed" if failures else "finished", reason=merged.get("msg"), waited=merged["waited"],
             cut=cut)
        if told or notes.warnings:
            merged["warnings"] = told + notes.warnings
        return merged

    def _with_secrets(self, driver: _drivers.Driver, traffic: dict[str, t.Any], host: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """C(traffic) with what a plan leaves out because it is shown: read here, from the variables of C(host)."""
        names = [name for name, option in driver.traffic_spec.items() if option.get("no_log") and traffic.get(name) is None]
        given = _inventory.Variables(self, task_vars).of(host, ("deploy_traffic",)).get("deploy_traffic") if names else None
        return {**traffic, **{name: given[name] for name in names if name in given}} if given else traffic


FACADE = {
    "lock": {"type": "dict"},
    "driver": {"type": "str", "required": True},
    "traffic": {"type": "dict", "required": True},
    "servers": {"type": "dict", "default": {}},
    "own_traffic": {"type": "dict", "default": {}},
    "on_failure": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    "run_dir": {"type": "path"},
    "step": {"type": "str", "default": "drain"},
    "batch": {"type": "int"},
}


def _as_list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [value] if value else []
