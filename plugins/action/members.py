# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(members) to the driver's own module, on all of its hosts at the same time."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import members as _members
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _move
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

MemberArgs = t.Callable[[t.Dict[str, t.Any], t.List[str]], t.Dict[str, t.Any]]

# Seconds that sessions may take to end once they were told to.
CUT = 5

FACADE: dict[str, t.Any] = {
    **_move.FACADE,
    "servers": {"type": "dict", "default": {}},
    "own_traffic": {"type": "dict", "default": {}},
    "idle": {"type": "bool", "default": False},
    "step": {"type": "str", "default": "drain"},
    "batch": {"type": "int"},
}


class ActionModule(PlayAction):
    SPEC = {**_members.common_spec(), **FACADE}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        _move.check_step(args)
        driver = _drivers.load(args["driver"])
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        if driver.member_args is None:
            if not args["idle"]:
                names = ", ".join(name for name in _drivers.NAMES if _drivers.load(name).member_args)
                raise DowntimeError(f"driver is '{args['driver']}', which moves no members in traffic; {names} can")
            # Nobody sends requests to that side, so there is nothing to take them out of.
            driver, traffic = _drivers.load("none"), {}
        return self._move(driver, t.cast(MemberArgs, driver.member_args), traffic, args, task_vars)

    def _move(self, driver: _drivers.Driver, member_args: MemberArgs, traffic: dict[str, t.Any], args: dict[str, t.Any],
              task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if not args["members"]:
            return {"changed": False, "waited": 0.0, "members": [], "streams": {}, "balancers": {}, "diff": [], "problems": [], "gone": {}}
        servers = {name: args["servers"].get(name) or name for name in args["members"]}
        names = {server: name for name, server in servers.items()}
        hosts = _inventory.hosts_of(driver, traffic, args["members"], task_vars)
        own_member = driver.runs_on == "members"
        move = _move.Move(self, args, task_vars, "member" if own_member else "balancer", remembers=not own_member, members=args["members"],
                          batch=args["batch"])
        shared = move.shared(_members.common_spec(), "members", "restored")
        if args["restored"]:
            shared["restored"] = [args["servers"].get(name) or name for name in args["restored"]]

        def args_for(host: str) -> dict[str, t.Any]:
            members = [host] if own_member else args["members"]
            # The driver hears of the whole batch, even where each host moves only its own member: together they count against the floor.
            own = _credentials.whole(self, driver, args["own_traffic"][host], task_vars, host) if host in args["own_traffic"] else traffic
            return {**shared, **member_args(own, list(servers.values())), "members": [servers[name] for name in members]}

        results = move.run(hosts, driver.module("members"), args_for, args["timeout"] + (CUT if "cut" in (args["timeout_action"], args["streams"]) else 0),
                           **_place(args["servers"], traffic))
        merged = {
            **move.merged(results),
            "members": [{**member, "name": names.get(member["name"], member["name"]), "balancer": host}
                        for host, result in results.items() for member in result.get("members", [])],
            # By inventory name: whom somebody else has out on a balancer, and whom a reload had brought back there.
            **{kind: sorted({names.get(server, server) for result in results.values() for server in result.get(kind) or ()}) for kind in ("theirs", "lost")},
            # Who has no server any more where a deploy had taken it out, and on which balancers.
            "gone": {name: where for name in args["members"]
                     if (where := [host for host, result in results.items() if servers[name] in (result.get("gone") or ())])},
        }
        cut = sum(member.get("cut") or 0 for member in merged["members"])
        merged["streams"] = {}
        for member in merged["members"]:
            if member.get("streams"):
                merged["streams"][member["name"]] = merged["streams"].get(member["name"], 0) + member["streams"]
        # By the balancers' own names, as all that the evidence counts.
        asked = {servers[name]: number for name, number in merged["streams"].items()} if args["streams"] in ("leave", "cut") else {}
        ended = {**({"asked": asked} if asked else {}), **_cut_by(merged["members"], servers)}
        if merged.get("failed"):
            # What a person reads at this moment is the sentence; the rest is in the balancers' own words in the record.
            for name in ("balancers", "diff", "members"):
                del merged[name]
        return move.end(results, merged, cut=cut, **ended)


def _cut_by(members: t.Sequence[t.Mapping[str, t.Any]], servers: t.Mapping[str, str]) -> dict[str, t.Any]:
    """How many of the connections that were cut show as losses, by the balancers' names of members, where they tell."""
    if not all("cut_answers" in member for member in members if member.get("cut")):
        return {}
    found: dict[str, int] = {}
    for member in members:
        if member.get("cut"):
            found[servers[member["name"]]] = found.get(servers[member["name"]], 0) + member["cut_answers"]
    return {"cut_by": found} if found else {}


def _place(servers: t.Mapping[str, str], traffic: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Where a move happens, as the evidence has to know it: the pools, and what the balancers call members that have another name there."""
    renamed = {name: server for name, server in servers.items() if name != server}
    pools = [pool["name"] for pool in traffic.get("pools") or () if isinstance(pool, dict) and pool.get("name")]
    return {**({"servers": renamed} if renamed else {}), **({"pools": pools} if pools else {})}
