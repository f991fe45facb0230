# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver haproxy: options, what its modules do, and its place among the drivers. Private to the collection.

Protocol, workers, states, moves, counters and configuration each have a file of their own, C(_haproxy_*.py).
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _haproxy_config, _haproxy_counters, _haproxy_split, _kernel, _split
from ansible_collections.zero.downtime.plugins.module_utils._drivers import Driver
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_client import Client
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_mover import Knowledge, Mover, Request
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_state import in_flight, pools_of, read_servers
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_workers import Balancer, Look, Processes, config_files, master_socket
from ansible_collections.zero.downtime.plugins.module_utils._lock import Memory
from ansible_collections.zero.downtime.plugins.module_utils._members import common_spec

DEFAULT_CONFIG = "/etc/haproxy/haproxy.cfg"

# The same words in deploy_traffic and in all modules.
CONNECTION: dict[str, t.Any] = {
    "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "master_socket": {"type": "str"},
    "socket_command": {"type": "list", "elements": "str"},
    "socket_timeout": {"type": "float", "default": 5.0},
    "old_workers": {"type": "str", "choices": ["wait", "ignore"], "default": "wait"},
    "config": {"type": "path"},
    "frontends": {"type": "list", "elements": "str"},
    "counted_pools": {"type": "list", "elements": "str"},
}
MOVING: dict[str, t.Any] = {
    "take_out": {"type": "str", "choices": ["auto", "drain", "maint"], "default": "auto"},
    "probe_path": {"type": "str"},
}
# Where the shares of the sides are kept, where the configuration's topology does not say it.
SPLITTING: dict[str, t.Any] = {
    "split_map": {"type": "str"},
    "split_key": {"type": "str", "no_log": False},
}
POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int"},
    "side": {"type": "str", "choices": ["blue", "green"]},
    "server": {"type": "str"},
}


def members_spec() -> dict[str, t.Any]:
    return {**common_spec(), **CONNECTION, **MOVING, "pools": {"type": "list", "elements": "str"}}


def info_spec() -> dict[str, t.Any]:
    return {**CONNECTION, **SPLITTING, "pools": {"type": "list", "elements": "str"}}


def split_spec() -> dict[str, t.Any]:
    sides = {side: {"type": "list", "elements": "str"} for side in _split.SIDES}
    return {**_split.common_spec(), **CONNECTION, **SPLITTING, "sides": {"type": "dict", "options": sides}, "pools": {"type": "list", "elements": "str"}}


def _balancer(params: t.Mapping[str, t.Any], processes: Processes | None = None) -> Balancer:
    timeout = params["socket_timeout"]
    if timeout <= 0:
        raise DowntimeError(f"socket_timeout is {timeout:g}; seconds above 0 are accepted")
    command = params.get("socket_command")
    runtime = Client("socket", params["socket"], command, timeout)
    master = None
    if params.get("master_socket"):
        # A command without the placeholder reaches one socket only, the runtime's.
        shared = command if command and any("{socket}" in part for part in command) else None
        master = Client("master_socket", params["master_socket"], shared, timeout)
    return Balancer(runtime, master, params["old_workers"], processes)


def _config(params: t.Mapping[str, t.Any], pid: int | None, processes: Processes) -> tuple[_haproxy_config.Config | None, str]:
    """The configuration that haproxy was started with, and why there is none.

    A file that was named has to be readable; one that was only looked for need not be.
    """
    paths = [params["config"]] if params.get("config") else []
    if not paths and pid is not None:
        where = processes.cwd(pid)
        found = processes.stat(pid)
        paths = [os.path.join(where, path) for path in config_files(processes.argv(pid))] if found and "haproxy" in found[0] else []
    try:
        return _haproxy_config.read(paths or [DEFAULT_CONFIG]), ""
    except OSError as error:
        if params.get("config"):
            raise DowntimeError(f"config is '{params['config']}', which cannot be read: {error.strerror}") from error
        return None, f"{', '.join(paths or [DEFAULT_CONFIG])} cannot be read: {error.strerror}"


def _knowledge(config: _haproxy_config.Config | None) -> Knowledge:
    if config is None:
        return Knowledge()
    return Knowledge(True, config.sticky, config.cuts, config.lingers)


def move(params: t.Mapping[str, t.Any], check_mode: bool = False, processes: Processes | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(haproxy_members) does; returns its result. C(memory) is what the journal says of the members before this move."""
    processes = processes or Processes()
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    balancer = _balancer(params, processes)
    request = Request(
        members=list(params["members"]), state=params["state"], pools=params.get("pools") or None, weight=params.get("weight"), wait=params["wait"],
        timeout=params["timeout"], timeout_action=params["timeout_action"], min_active=params["min_active"], take_out=params["take_out"],
        probe_path=params.get("probe_path"), check_mode=check_mode)
    if not request.members:
        raise DowntimeError("members is empty; at least one name is needed")
    pid = balancer.look([]).current
    config, dummy = _config(params, pid, processes)
    result = Mover(balancer, request, _knowledge(config), memory=memory).run()
    if memory:
        memory.done["worker"] = result["worker"]
    result["counters"] = _counters(balancer, params, config)
    result["kernel"] = _kernel.read()
    return result


def split(params: t.Mapping[str, t.Any], check_mode: bool = False, processes: Processes | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(haproxy_split) does; returns its result."""
    processes = processes or Processes()
    wanted = _split.check_shares(params.get("shares"))
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    balancer = _balancer(params, processes)
    pid = balancer.look([]).current
    config, why = _config(params, pid, processes)
    place = _haproxy_split.locate(config, why, _where(params), params.get("sides"), params.get("app"), _full_path(pid, processes),
                                  params.get("pools") or ())
    splitter = _haproxy_split.Splitter(balancer, place, wanted, params["min_active"], params["timeout"], check_mode, memory=memory)
    result = splitter.run()
    if memory:
        memory.done["worker"] = result["worker"]
    result["counters"] = _counters(balancer, params, config)
    result["kernel"] = _kernel.read()
    return result


def _where(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"map": params.get("split_map"), "key": params.get("split_key")}


def _full_path(pid: int, processes: Processes) -> t.Callable[[str], str]:
    """Paths in haproxy.cfg begin where haproxy was started."""
    return lambda path: os.path.join(processes.cwd(pid), path)


def _counters(balancer: Balancer, params: t.Mapping[str, t.Any], config: _haproxy_config.Config | None) -> list[dict[str, t.Any]]:
    command = [_haproxy_counters.COMMAND]
    ignored = config.pure_stats if config else ()
    pools = params.get("counted_pools") or params.get("pools")
    return _haproxy_counters.settled(
        lambda: _haproxy_counters.of_look(balancer.look(command, command), params.get("frontends"), pools, ignored))


def info(params: t.Mapping[str, t.Any], processes: Processes | None = None, now: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """What C(haproxy_info) does; returns its result. Nothing is changed."""
    processes = processes or Processes()
    balancer = _balancer(params, processes)
    look = balancer.look([_haproxy_counters.COMMAND, "show servers state", "show cli level"], [_haproxy_counters.COMMAND])
    everything = read_servers(look.replies[:1], look.replies[1:2])
    known = pools_of(everything)
    wanted = params.get("pools") or sorted(known)
    for pool in wanted:
        if pool not in known:
            raise DowntimeError(f"pool '{pool}' is not a backend with servers of this haproxy; it has {', '.join(sorted(known)) or 'none'}")
    unknown, existing = _haproxy_counters.unknown_frontends(look.replies[0], params.get("frontends") or ())
    if unknown:
        raise DowntimeError(f"frontends names {', '.join(unknown)}, which this haproxy does not have; it has {', '.join(existing)}")
    config, why = _config(params, look.current, processes)
    places = {f"{pool}/{name}": [(pool, name)] for pool in wanted for name in known[pool]}
    counts = in_flight(look, everything, places)
    sticky = config.sticky if config else frozenset()
    requests = _haproxy_counters.of_pools(look, wanted)
    pools = []
    for pool in wanted:
        members = []
        for name in known[pool]:
            server = everything[pool, name]
            open_now = None if look.unreadable else counts[server.label][server.key]
            members.append({
                "name": name, "address": server.address, "state": server.state(open_now), "weight": server.weight, "in_flight": open_now,
                "status": server.status, "check": server.check if server.checked else "tracked " + server.tracked if server.tracked else "none",
                "throttle": server.throttle, "full": server.full, "known": server.known, "backup": server.backup, "agent": bool(server.agent & 0x04)})
        pools.append({"name": pool, "sticky": pool in sticky or any(everything[pool, name].cookie for name in known[pool]),
                      **requests[pool], "members": members})
    findings = _findings(params, look, wanted, existing, config, why, now(), processes)
    return {
        "changed": False,
        "split": _observe(params, balancer, config, look.current, processes, findings),
        "version": look.info.get("Version", ""),
        "workers": [worker.as_dict() for worker in look.workers],
        "pools": pools,
        "counters": _counters(balancer, params, config),
        "kernel": _kernel.read(),
        "findings": findings,
    }


def _observe(params: t.Mapping[str, t.Any], balancer: Balancer, config: _haproxy_config.Config | None, pid: int, processes: Processes,
             findings: list[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    """The shares of the one split that these pools are the sides of; what cannot be read about it is a finding."""
    known = _haproxy_split.candidates(config.splits if config else [], _where(params), params.get("pools") or ())
    if len(known) != 1:
        return None
    try:
        found = _haproxy_split.observe(balancer, _haproxy_split.place_of(known[0], _full_path(pid, processes)))
    except DowntimeError as error:
        findings.append(_haproxy_config.finding("warning", "split", str(error)))
        return None
    findings += [_haproxy_config.finding("warning", "split", text) for text in found.pop("notes")]
    return found


def _findings(params: t.Mapping[str, t.Any], look: Look, pools: t.Sequence[str], frontends: t.Sequence[str], config: _haproxy_config.Config | None,
              why: str, now: float, processes: Processes) -> list[dict[str, t.Any]]:
    finding = _haproxy_config.finding
    found: list[dict[str, t.Any]] = []
    level = look.replies[2].strip()
    if level != "admin":
        found.append(finding("error", "stats socket", f"the socket gives the level '{level}', and moving members needs admin",
                             [f"global: stats socket {params['socket']} mode 660 level admin"]))
    if not params.get("master_socket"):
        path = master_socket(processes.argv(look.current))
        found.append(finding("warning", "master_socket", "without the master's socket, requests that a worker from before a reload still holds "
                             "cannot be counted; such a worker is waited for",
                             [f"deploy_traffic: master_socket: {path}" if path else "haproxy -W -S /run/haproxy-master.sock"]))
    old = [worker.pid for worker in look.workers if not worker.current]
    if old:
        found.append(finding("warning", "reload", f"workers from before a reload still live ({', '.join(map(str, old))}); drains wait for what they hold"))
    if config is None:
        found.append(finding("warning", "config", f"the configuration was not read, so nothing is said about it: {why}"))
        return found
    started = float(look.info.get("Start_time_sec") or 0) or now - float(look.info.get("Uptime_sec") or 0)
    if config.modified > started + 1:
        found.append(finding("warning", "reload", f"{', '.join(config.files)} was changed after haproxy started, so a reload is pending: what runs is "
                             "not what is written, and that reload, which must not fall into a deploy, changes more than expected"))
    names = params.get("frontends") or [name for name in frontends if name not in config.pure_stats]
    return found + _haproxy_config.lint(config, pools, names) + _haproxy_config.of_split(config, pools, names)


# -- the driver ------------------------------------------------------------------------------------------------------------

def _shared(traffic: t.Mapping[str, t.Any], extra: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    args = {name: traffic[name] for name in {**CONNECTION, **extra} if traffic.get(name) is not None}
    pools = [pool["name"] for pool in traffic.get("pools") or ()]
    if pools:
        args["pools"] = pools
    return args


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    """Options of C(haproxy_members) from deploy_traffic; C(members) are server names."""
    return {**_shared(traffic, MOVING), "members": list(members)}


def info_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(haproxy_info) from deploy_traffic."""
    return _shared(traffic, SPLITTING)


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    """Options of C(haproxy_split) from deploy_traffic."""
    sides = {side: [pool["name"] for pool in traffic.get("pools") or () if pool.get("side") == side] for side in _split.SIDES}
    return {**_shared(traffic, SPLITTING), "sides": {side: pools for side, pools in sides.items() if pools}, **({"app": app} if app else {})}


DRIVER = Driver(
    name="haproxy",
    runs_on="balancers",
    capabilities=("members", "split"),
    traffic_spec={
        "balancers": {"type": "raw", "required": True},
        **CONNECTION,
        **MOVING,
        **SPLITTING,
        "pools": {"type": "list", "elements": "dict", "options": POOL, "required": True},
    },
    member_args=member_args,
    split_args=split_args,
    request_log=True,
    info=True,
    info_args=info_args,
)
