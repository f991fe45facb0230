# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver nginx: options, what its three modules do, and its place among the drivers. Private to the collection.

Upstream files, processes, moves, the split of two sides, configuration and counters each have a file of their own, C(_nginx_*.py).
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _kernel, _nginx_config, _nginx_counters, _nginx_mirror, _nginx_split, _split
from ansible_collections.zero.downtime.plugins.module_utils._drivers import Driver
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._lock import Memory
from ansible_collections.zero.downtime.plugins.module_utils._members import common_spec
from ansible_collections.zero.downtime.plugins.module_utils._nginx_mover import Mover, Request, read_pools, resolved, silent
from ansible_collections.zero.downtime.plugins.module_utils._nginx_process import Nginx, Worker
from ansible_collections.zero.downtime.plugins.module_utils._nginx_upstream import SUFFIX, Upstream, host_port, joined

DEFAULT_DIRECTORY = "/etc/nginx/zero-downtime"
COUNTED = "counted.json"

# The same words in deploy_traffic and in all modules.
CONNECTION: dict[str, t.Any] = {
    "upstreams_dir": {"type": "path", "default": DEFAULT_DIRECTORY},
    "nginx_command": {"type": "list", "elements": "str", "default": ["nginx"]},
    "pid_file": {"type": "path", "default": "/run/nginx.pid"},
    "revision_listen": {"type": "str"},
    "slowest_request": {"type": "float", "default": 60.0},
    "access_log": {"type": "path"},
    "probe_path": {"type": "str"},
}
MOVING: dict[str, t.Any] = {
    "reload_command": {"type": "list", "elements": "str"},
    "reload_timeout": {"type": "float", "default": 30.0},
}
SPLITTING: dict[str, t.Any] = {
    "split_by": {"type": "str"},
    "split_pin": {"type": "str"},
}
POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "side": {"type": "str", "choices": list(_split.SIDES)},
    "members": {"type": "dict"},
}
TRAFFIC_POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int"},
    "side": {"type": "str", "choices": list(_split.SIDES)},
    "server": {"type": "str"},
    "members": {"type": "dict"},
}
POOLS: dict[str, t.Any] = {"type": "list", "elements": "dict", "options": POOL}


def members_spec() -> dict[str, t.Any]:
    return {**common_spec(), **CONNECTION, **MOVING, "pools": POOLS}


def info_spec() -> dict[str, t.Any]:
    return {**CONNECTION, "pools": POOLS}


def split_spec() -> dict[str, t.Any]:
    return {**_split.common_spec(), **CONNECTION, **MOVING, **SPLITTING, "pools": POOLS}


def mirror_spec() -> dict[str, t.Any]:
    used = ("upstreams_dir", "nginx_command", "pid_file", "revision_listen", "slowest_request", *MOVING)
    return {**{name: {**CONNECTION, **MOVING}[name] for name in used}, **_nginx_mirror.SPEC}


def _nginx(params: t.Mapping[str, t.Any]) -> Nginx:
    for option in ("slowest_request", "reload_timeout"):
        if params.get(option) is not None and params[option] <= 0:
            raise DowntimeError(f"{option} is {params[option]:g}; seconds above 0 are accepted")
    directory = params["upstreams_dir"]
    if not os.path.isabs(directory):
        raise DowntimeError(f"upstreams_dir is '{directory}'; an absolute path is accepted")
    if not params["nginx_command"]:
        raise DowntimeError("nginx_command is empty; the words of a command such as [nginx] are accepted")
    listen = params.get("revision_listen")
    place = host_port(listen) if listen else None
    if listen and (place is None or not 0 < place[1] < 65536 or not listen.rpartition(":")[2].isdigit()):
        raise DowntimeError(f"revision_listen is '{listen}'; an address and a port such as 127.0.0.1:8469 are accepted")
    if params.get("probe_path") and not params["probe_path"].startswith("/"):
        raise DowntimeError(f"probe_path is '{params['probe_path']}'; a path that begins with / is accepted")
    return Nginx(os.path.realpath(directory), params["nginx_command"], params["pid_file"], params.get("reload_command"),
                 params.get("reload_timeout") or MOVING["reload_timeout"]["default"], listen)


def _pools(params: t.Mapping[str, t.Any]) -> dict[str, dict[str, str]]:
    """The pools that were named, each with the addresses of its members as far as they are known."""
    found: dict[str, dict[str, str]] = {}
    for pool in params.get("pools") or ():
        members = {str(name): str(address) for name, address in (pool.get("members") or {}).items()}
        for name, address in members.items():
            if host_port(address) is None:
                raise DowntimeError(f"pools: {pool['name']}: members: {name} is '{address}'; an address with a port, such as 192.0.2.11:8000, is accepted")
        found[pool["name"]] = members
    return found


def _sides(params: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    return {side: [pool["name"] for pool in params.get("pools") or () if pool.get("side") == side] for side in _split.SIDES}


def move(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(nginx_members) does; returns its result. C(memory) is what the journal says of the members before this move."""
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    if not params["members"]:
        raise DowntimeError("members is empty; at least one name is needed")
    nginx = nginx or _nginx(params)
    request = Request(
        members=list(params["members"]), state=params["state"], pools=_pools(params), weight=params.get("weight"), wait=params["wait"],
        timeout=params["timeout"], timeout_action=params["timeout_action"], min_active=params["min_active"],
        probe_path=params.get("probe_path"), check_mode=check_mode)
    _safe(nginx, max(params["slowest_request"], params["timeout"] if request.state == "drained" else 0))
    result = Mover(nginx, request, memory=memory).run()
    if memory:
        memory.done["worker"] = result["worker"]
    result["counters"], result["uncounted"] = _counters(params, nginx, not check_mode)
    result["kernel"] = _kernel.read()
    return result


def _safe(nginx: Nginx, slowest: float) -> _nginx_config.Config:
    """nginx's configuration. Raises DowntimeError where a reload would lose requests, or would not read what is kept."""
    nginx.master()
    config = _nginx_config.parse(nginx.dump())
    told = _nginx_config.too_short(config, slowest)
    if told:
        raise DowntimeError(f"{told}; nothing was moved")
    if not config.reads(nginx.directory):
        raise DowntimeError(f"nginx does not read {nginx.directory}; 'include {nginx.directory}/*.conf;' in its http block is needed")
    return config


def split(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(nginx_split) does; returns its result. C(memory) is the journal of the deploy that asks."""
    wanted = _split.check_shares(params.get("shares"))
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    nginx = nginx or _nginx(params)
    pools = _pools(params)
    place = _nginx_split.locate(nginx, _sides(params), list(pools), params.get("app"), params.get("split_by"), params.get("split_pin"))
    config = _safe(nginx, params["slowest_request"]) if wanted else _nginx_config.parse(nginx.dump())
    splitter = _nginx_split.Splitter(nginx, place, wanted, pools, params["min_active"], params["timeout"], params.get("probe_path"), check_mode, config,
                                     memory=memory)
    result = splitter.run()
    if memory:
        memory.done["worker"] = result["worker"]
    result["counters"], result["uncounted"] = _counters(params, nginx, not check_mode)
    result["kernel"] = _kernel.read()
    return result


def mirror(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None) -> dict[str, t.Any]:
    """What C(nginx_mirror) does; returns its result."""
    request = _nginx_mirror.request_of(params, check_mode)
    return _nginx_mirror.Mirror(nginx or _nginx(params), request).run()


def _counts(params: t.Mapping[str, t.Any], nginx: Nginx, keep: bool, pools: t.Collection[str]) -> tuple[dict[str, t.Any] | None, str | None]:
    """What the log has, or why nothing is counted."""
    if not params.get("access_log"):
        return None, "nginx does not count its answers, and without access_log nobody does"
    return _nginx_counters.read(params["access_log"], os.path.join(nginx.directory, COUNTED), keep, pools), None


def _names(nginx: Nginx) -> set[str]:
    return {os.path.basename(path)[:-len(SUFFIX)] for path in nginx.paths()}


def _counters(params: t.Mapping[str, t.Any], nginx: Nginx, keep: bool) -> tuple[list[dict[str, t.Any]], str | None]:
    """The counters, or why there are none."""
    pools = _names(nginx)
    counts, why = _counts(params, nginx, keep, pools)
    return ([] if counts is None else _nginx_counters.rows(counts, pools)), why


def info(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None) -> dict[str, t.Any]:
    """What C(nginx_info) does; returns its result. Nothing is changed."""
    nginx = nginx or _nginx(params)
    master = nginx.master()
    workers = nginx.workers(master)
    wanted = _pools(params)
    findings: list[dict[str, t.Any]] = []
    pools: list[dict[str, t.Any]] = []
    revision = nginx.revision()
    old = nginx.processes.alive(revision.workers) if revision else []
    missing = {pool for pool in wanted if nginx.text(pool) is None}
    known = {pool: members for pool, members in wanted.items() if members or pool not in missing}
    for pool, upstream in (read_pools(nginx, known) if known or not wanted else {}).items():
        dead = silent(upstream, params.get("probe_path"))
        pools.append({"name": pool, "file": upstream.path, "members": [_member(upstream, name, bool(old), dead.get(name)) for name in upstream.names]})
    config = _nginx_config.parse(nginx.dump())
    findings += _nginx_config.lint(config, nginx.directory, wanted or {pool["name"]: {} for pool in pools},
                                   {pool["name"] for pool in pools} - missing, params["slowest_request"])
    findings += _nginx_counters.lint(config, params.get("access_log"))
    found, told = _nginx_split.look(nginx, config, _sides(params), list(wanted) or [pool["name"] for pool in pools])
    findings += told
    findings += _nginx_mirror.lint(nginx, config, [pool["name"] for pool in pools])
    if revision is not None and not nginx.runs(revision):
        findings.append(_nginx_config.finding(
            "warning", "revision", f"nginx does not run the revision {revision.id} that lies in {nginx.directory}: a reload is pending or has failed, and the "
            "next move makes one"))
    elif revision is not None and revision.digest != nginx.digest():
        findings.append(_nginx_config.finding(
            "warning", "revision", f"files in {nginx.directory} were edited since the driver's last reload; whether nginx has read that, nobody knows, and the "
            "next move makes a reload"))
    readable = not params.get("access_log") or os.path.exists(params["access_log"])
    names = _names(nginx)
    counts, uncounted = _counts(params, nginx, not check_mode, names) if readable else (None, f"{params['access_log']} does not exist")
    counters = [] if counts is None else _nginx_counters.rows(counts, names)
    idle = {name for side, side_pools in (found or {}).get("pools", {}).items() if not found[side] for name in side_pools}
    if idle:
        _count_open([member for pool in pools if pool["name"] in idle for member in pool["members"]], nginx, workers)
    for pool in pools:
        pool["idle_s"] = None if counts is None else _nginx_counters.idle(counts, pool["name"], time.time())
        pool["requests"] = None if counts is None else (counts["pools"].get(pool["name"]) or _nginx_counters.NO_REQUEST)["requests"]
    return {
        "changed": False,
        "split": found,
        "workers": [{"pid": worker.pid, "current": not worker.stopping} for worker in workers],
        "revision": revision.id if revision else None,
        "pools": pools,
        "counters": counters,
        "uncounted": uncounted,
        "unseen": _nginx_counters.UNSEEN if counters else None,
        "kernel": _kernel.read(),
        "findings": findings,
    }


def _count_open(members: t.Iterable[dict[str, t.Any]], nginx: Nginx, workers: t.Iterable[Worker]) -> None:
    """Of a side without a share: the connections that are open to it. No more requests can be in flight there, so without any there is none."""
    held = nginx.processes.connections(worker.pid for worker in workers)
    for member in members:
        places = resolved(member["address"])
        # A UNIX socket is no connection that the kernel's tables name.
        member["in_flight"] = sum(held.get(place, 0) for place in places) if held is not None and places else None


def _member(upstream: Upstream, name: str, draining: bool, wrong: str | None) -> dict[str, t.Any]:
    server = upstream.by_name.get(name)
    found = {"name": name, "address": upstream.address(name), "weight": server.weight if server else None, "in_flight": None,
             "backup": bool(server and server.backup), "known": True}
    if server is None:
        return {**found, "state": "down", "status": "absent", "full": False}
    if server.down:
        return {**found, "state": "draining" if draining else "drained", "status": "down", "full": False}
    if wrong:
        return {**found, "state": "down", "status": wrong, "full": False}
    return {**found, "state": "active", "status": "up", "full": not server.backup}


# -- the driver ------------------------------------------------------------------------------------------------------------

def _shared(traffic: t.Mapping[str, t.Any], extra: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    args = {name: traffic[name] for name in {**CONNECTION, **extra} if traffic.get(name) is not None}
    pools = [{name: pool[name] for name in POOL if pool.get(name) is not None} for pool in traffic.get("pools") or ()]
    if pools:
        args["pools"] = pools
    return args


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    """Options of C(nginx_members) from deploy_traffic; C(members) are the names behind the servers' lines."""
    return {**_shared(traffic, MOVING), "members": list(members)}


def info_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(nginx_info) from deploy_traffic."""
    return _shared(traffic, {})


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    """Options of C(nginx_split) from deploy_traffic."""
    return {**_shared(traffic, {**MOVING, **SPLITTING}), **({"app": app} if app else {})}


def mirror_args(traffic: dict[str, t.Any], to: str) -> dict[str, t.Any]:
    """Options of C(nginx_mirror) from deploy_traffic: the pools of the side C(to) get copies of what the other side's pools get, one by one."""
    return {**{name: value for name, value in _shared(traffic, MOVING).items() if name in mirror_spec()}, "mirrors": _nginx_mirror.pairs(traffic["pools"], to)}


def complete(traffic: dict[str, t.Any], members: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """deploy_traffic with the members' addresses in each pool, out of which the first upstream file is written. What was given stays."""
    pools = []
    for pool in traffic["pools"]:
        known = {member["server"]: joined(member["address"], member["ports"][pool["name"]])
                 for member in members.values() if member["ports"].get(pool["name"])}
        pools.append({**pool, "members": pool.get("members") or known})
    return {**traffic, "pools": pools}


DRIVER = Driver(
    name="nginx",
    runs_on="balancers",
    capabilities=("members", "split", "mirror"),
    traffic_spec={
        "balancers": {"type": "raw", "required": True},
        **CONNECTION,
        **MOVING,
        **SPLITTING,
        "pools": {"type": "list", "elements": "dict", "options": TRAFFIC_POOL, "required": True},
    },
    member_args=member_args,
    split_args=split_args,
    request_log=True,
    mirror_args=mirror_args,
    info=True,
    info_args=info_args,
    complete=complete,
)
