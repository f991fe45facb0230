# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver ``acme.edge.desk``: members behind a balancer that only an API moves, for those who have its token.

The API is asked from the controller. It knows one pool, and says of each server whether it gets requests and how many it answers now.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.acme.edge.plugins.module_utils._api import Api, access_spec
from ansible_collections.zero.downtime.plugins.module_utils.driver import (
    POOL, Changed, Driver, DowntimeError, Taken, fence_in_document, floor_of, lock_in_document, lock_spec, members_spec)

# Seconds between two looks at members that are on their way.
POLL = 0.1
# What the API is told for each state, and what it has by then may be more than that.
TOLD = {"active": "ready", "drained": "drain", "down": "maint"}
ENOUGH = {"active": ("ready",), "drained": ("drain", "maint"), "down": ("maint",)}


def traffic_spec() -> dict[str, t.Any]:
    pools = {"type": "list", "elements": "dict", "required": True, "options": dict(POOL), "description": "The pool, and no other one."}
    return {**access_spec(), "pools": pools}


def argument_spec() -> dict[str, t.Any]:
    return {**members_spec(), **access_spec(), "pool": {"type": "str", "required": True}}


def info_spec() -> dict[str, t.Any]:
    return {**access_spec(), "pool": {"type": "str", "required": True}}


def info(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the module desk_info returns: who serves, and that nobody counts here."""
    members = [_entry(server) for server in Api(params).servers(params["pool"]).values()]
    return {"pools": [{"name": params["pool"], "members": members}], "counters": [], "uncounted": "the desk counts no requests"}


def run(params: t.Mapping[str, t.Any], check_mode: bool, clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep) -> dict[str, t.Any]:
    """What the module desk_members returns."""
    api, wanted, began = Api(params), params["state"], clock()
    before = api.servers(params["pool"])
    _check(params, before)
    moved = [name for name in params["members"] if before[name]["told"] not in ENOUGH[wanted]]
    with fence_in_document(Kept(api, str(params["lock"])), params, check_mode):
        for name in moved if not check_mode else ():
            _move(api, params, name, TOLD[wanted])
        while not check_mode and params["wait"] and (late := _unfinished(params["members"], wanted, api.servers(params["pool"]))):
            if clock() - began > params["timeout"]:
                raise DowntimeError(f"{late} after {params['timeout']} s")
            sleep(POLL)
    after = api.servers(params["pool"])
    members = [{**_entry(after[name]), "pool": params["pool"], "drained_by": "sessions" if wanted == "drained" else None, "cut": 0}
               for name in params["members"]]
    if check_mode:
        members = [{**member, "state": wanted} for member in members]
    states = {name: _entry(before[name])["state"] for name in params["members"]}
    return {"changed": bool(moved), "waited": round(clock() - began, 3), "floor": "enforced", "members": members,
            "diff": {"before": states, "after": {**states, **{name: wanted for name in moved}}}}


def _move(api: Api, params: t.Mapping[str, t.Any], name: str, state: str) -> None:
    """Move one server, unless the lock is another deploy's by now: the API compares it in the same step."""
    lock = {"name": params["lock"], "key": params["lock_key"]} if params["lock"] else None
    try:
        api.move(params["pool"], name, state, lock)
    except Changed:
        raise Taken(f"{name} was not moved: the lock {params['lock']} at {params['url']} is not that of deploy {params['deploy_id']} any more") from None


class Kept:
    """The document in which the API keeps lock and journal of an application."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name, self.place = api, name, f"{name} at the desk at {api.url}"

    def read(self) -> tuple[t.Any, int]:
        found = self.api.document(self.name)
        return found["content"], found["version"]

    def write(self, content: t.Any, version: int) -> None:
        self.api.keep(self.name, content, version)


def lock(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """What the module desk_lock returns."""
    return lock_in_document(Kept(Api(params), params["name"]), params, check_mode)


def desk_lock_spec() -> dict[str, t.Any]:
    return {**lock_spec(), **access_spec()}


def lock_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"url": traffic["url"], "token": traffic["token"]}


def _check(params: t.Mapping[str, t.Any], servers: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse what cannot be done before anything is moved."""
    if not params["members"]:
        raise DowntimeError("members is empty; at least one member is accepted")
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    unknown = [name for name in params["members"] if name not in servers]
    if unknown:
        raise DowntimeError(f"members names {', '.join(unknown)}; pool {params['pool']} has {', '.join(servers)}")
    floor = floor_of(params["min_active"], len(servers))
    serve = [name for name, server in servers.items() if _entry(server)["full"]]
    left = [name for name in serve if name not in params["members"]]
    # Who does not serve may always be taken out.
    if params["state"] != "active" and len(left) < floor and len(left) < len(serve):
        raise DowntimeError(f"min_active is {params['min_active']}: {floor} of {len(servers)} have to serve, and {len(left)} would")


def _unfinished(names: t.Sequence[str], wanted: str, servers: t.Mapping[str, t.Mapping[str, t.Any]]) -> str | None:
    """What is still to be waited for."""
    for name in names:
        if wanted == "active" and servers[name]["status"] != "UP":
            return f"{name} does not serve (it is {servers[name]['status']})"
        if wanted == "drained" and servers[name]["in_flight"]:
            return f"{name} still answers {servers[name]['in_flight']} requests"
    return None


def _entry(server: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """One member, as every driver has it."""
    out = {"drain": "draining" if server["in_flight"] else "drained", "maint": "down"}
    state = out.get(server["told"]) or ("active" if server["status"] == "UP" else "down")
    return {"name": server["name"], "address": server["address"], "state": state, "weight": None, "in_flight": server["in_flight"],
            "full": state == "active", "known": True}


def _access(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"url": traffic["url"], "token": traffic["token"], "pool": traffic["pools"][0]["name"]}


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    return {**_access(traffic), "members": members}


DRIVER = Driver(name="desk", runs_on="controller", capabilities=("members",), traffic_spec=traffic_spec(), member_args=member_args,
                info=True, info_args=_access, lock_args=lock_args, endpoint=lambda traffic: f"the desk at {traffic['url']}", cuts=False)
