# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nginx, its files and its log tell: the module nginx_info. Private to the collection."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import kernel as _kernel
from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import counters as _nginx_counters
from ansible_collections.zero.downtime.plugins.module_utils._nginx import mirror as _nginx_mirror
from ansible_collections.zero.downtime.plugins.module_utils._nginx import split as _nginx_split
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import counts_of, info_spec, members_at, names_of, opened, pools_of, sides_of
from ansible_collections.zero.downtime.plugins.module_utils._nginx.pools import read_pools, resolved, silent
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx, Worker
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import Upstream


def info(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None) -> dict[str, t.Any]:
    """What C(nginx_info) does; returns its result. Nothing is changed."""
    nginx = nginx or opened(params)
    master = nginx.master()
    workers = nginx.workers(master)
    wanted = pools_of(params)
    findings: list[dict[str, t.Any]] = []
    pools: list[dict[str, t.Any]] = []
    revision = nginx.revision()
    old = nginx.processes.alive(revision.workers) if revision else []
    _nginx_split.not_deleted(nginx, sides_of(params))
    missing = {pool for pool in wanted if nginx.text(pool) is None}
    known = {pool: members for pool, members in wanted.items() if members or pool not in missing or nginx.deleted(pool)}
    for pool, upstream in (read_pools(nginx, known) if known or not wanted else {}).items():
        dead = silent(upstream, params.get("probe_path"))
        pools.append({"name": pool, "file": upstream.path, "uncountable": None,
                      "members": [_member(upstream, name, bool(old), dead.get(name)) for name in upstream.names]})
    config = _nginx_config.parse(nginx.dump())
    findings += _nginx_config.lint(config, nginx.directory, wanted or {pool["name"]: {} for pool in pools},
                                   {pool["name"] for pool in pools} - missing, params["slowest_request"])
    findings += _nginx_counters.lint(config, params.get("access_log"))
    found, told = _nginx_split.look(nginx, config, sides_of(params), list(wanted) or [pool["name"] for pool in pools])
    findings += told
    findings += _nginx_mirror.lint(nginx, config, [pool["name"] for pool in pools])
    if revision is not None and not nginx.runs(revision):
        findings.append(finding(
            "warning", "revision", f"nginx does not run the revision {revision.id} that lies in {nginx.directory}: a reload is pending or has failed, and the "
            "next move makes one"))
    elif revision is not None and revision.digest != nginx.digest():
        findings.append(finding(
            "warning", "revision", f"files in {nginx.directory} were edited since the driver's last reload; whether nginx has read that, nobody knows, and the "
            "next move makes a reload"))
    readable = not params.get("access_log") or os.path.exists(params["access_log"])
    names = names_of(nginx)
    counts, uncounted = counts_of(params, nginx, not check_mode, names) if readable else (None, f"{params['access_log']} does not exist")
    counters = [] if counts is None else _nginx_counters.rows(counts, names, members_at(nginx, wanted))
    idle = {name for side, side_pools in (found or {}).get("pools", {}).items() if not found[side] for name in side_pools}
    if idle:
        _count_open([pool for pool in pools if pool["name"] in idle], nginx, workers)
    for pool in pools:
        pool["idle_s"] = None if counts is None else _nginx_counters.idle(counts, pool["name"], time.time())
        pool["requests"] = None if counts is None else (counts["pools"].get(pool["name"]) or _nginx_counters.NO_REQUEST)["requests"]
    return {
        "changed": False,
        "split": found,
        "workers": [{"pid": worker.pid, "current": not worker.stopping} for worker in workers],
        "revision": revision.id if revision else None,
        "silence": config.silence(),
        "pools": pools,
        "counters": counters,
        "uncounted": uncounted,
        "unseen": _nginx_counters.UNSEEN if counters else None,
        "kernel": _kernel.read(),
        "findings": findings,
    }


def _count_open(pools: t.Iterable[dict[str, t.Any]], nginx: Nginx, workers: t.Iterable[Worker]) -> None:
    """Of a side without a share: the connections that are open to it. No more requests can be in flight there, so without any there is none."""
    held = nginx.processes.connections(worker.pid for worker in workers)
    for pool in pools:
        for member in pool["members"]:
            places = resolved(member["address"])
            member["in_flight"] = sum(held.get(place, 0) for place in places) if held is not None and places else None
            if held is None:
                pool["uncountable"] = "this user may not see the connections of nginx's workers; root may, in a container with the capability SYS_PTRACE"
            elif not places:
                pool["uncountable"] = f"{member['address']} is no TCP address whose connections the kernel lists"


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


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module."""
    return info(params, check_mode)


IN_PROCESS = info_spec, run
