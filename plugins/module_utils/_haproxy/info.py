# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What haproxy_info does: everything that can be read of an HAProxy, and what its administrator should know. Private to the collection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._finding import MISSING_FILE, finding
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config as _haproxy_config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import counters as _haproxy_counters
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import lint as _haproxy_lint
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import split as _haproxy_split
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.options import asked_place, balancer_of, config_of, counted, full_path, info_spec
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.places import in_flight, pools_of
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.state import read_servers
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Balancer, Snapshot, Processes, master_socket


def info(params: t.Mapping[str, t.Any], processes: Processes | None = None, now: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """What C(haproxy_info) does; returns its result. Nothing is changed."""
    processes = processes or Processes()
    balancer = balancer_of(params, processes)
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
    config, why = config_of(params, look.current, processes)
    places = {f"{pool}/{name}": [(pool, name)] for pool in wanted for name in known[pool]}
    counts = in_flight(look, everything, places)
    sticky = config.sticky if config else frozenset()
    requests = _haproxy_counters.of_pools(look, wanted, config.counted_together if config else ())
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
        servers = [everything[pool, name] for name in known[pool]]
        pools.append({"name": pool, "mode": servers[0].mode if servers else None, "sticky": pool in sticky or any(server.cookie for server in servers),
                      **requests[pool], "members": members})
    findings = _findings(params, look, wanted, existing, config, why, now(), processes)
    return {
        "changed": False,
        "split": _observe(params, balancer, config, look.current, processes, findings),
        "version": look.info.get("Version", ""),
        "workers": [worker.as_dict() for worker in look.workers],
        "pools": pools,
        **counted(balancer, params, config),
        "findings": findings,
    }


def _observe(params: t.Mapping[str, t.Any], balancer: Balancer, config: _haproxy_config.Config | None, pid: int, processes: Processes,
             findings: list[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    """The shares of the one split that these pools are the sides of; what cannot be read about it is a finding."""
    known = _haproxy_split.candidates(config.splits if config else [], asked_place(params), params.get("pools") or ())
    if len(known) != 1:
        return None
    try:
        found = _haproxy_split.observe(balancer, _haproxy_split.place_of(known[0], full_path(pid, processes)))
    except DowntimeError as error:
        findings.append(finding("warning", "split", str(error)))
        return None
    findings += [finding("warning", "split", text) for text in found.pop("notes")]
    if found["missing"]:
        gone = found["missing"]
        findings.append({**finding("warning", MISSING_FILE, gone["text"], gone["lines"]), "file": None if gone["hindrance"] else found["map"]})
    return found


def _findings(params: t.Mapping[str, t.Any], look: Snapshot, pools: t.Sequence[str], frontends: t.Sequence[str], config: _haproxy_config.Config | None,
              why: str, now: float, processes: Processes) -> list[dict[str, t.Any]]:
    finding = _haproxy_lint.finding
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
    place = full_path(look.current, processes)
    sides = _haproxy_lint.of_split(config, pools, names, lambda path: _haproxy_lint.read_map(place(path)), params.get("members"))
    return found + _haproxy_lint.lint(config, pools, names) + sides


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:  # pylint: disable=unused-argument
    """The module, which changes nothing with or without C(check_mode)."""
    return info(params)


IN_PROCESS = info_spec, run
