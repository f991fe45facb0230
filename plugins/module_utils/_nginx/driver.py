# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver nginx: its place among the drivers. Private to the collection.

Options, upstream files, processes, moves, the split of two sides, configuration and counters each have a file of their own, C(_nginx_*.py).
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import BALANCERS, POOL, Driver
from ansible_collections.zero.downtime.plugins.module_utils._nginx.mirror import mirror_spec, pairs
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import CONNECTION, MOVING, SPLITTING
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import POOL as MODULE_POOL
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import joined


def _shared(traffic: t.Mapping[str, t.Any], extra: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    args = {name: traffic[name] for name in {**CONNECTION, **extra} if traffic.get(name) is not None}
    pools = [{name: pool[name] for name in MODULE_POOL if pool.get(name) is not None} for pool in traffic.get("pools") or ()]
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
    return {**{name: value for name, value in _shared(traffic, MOVING).items() if name in mirror_spec()}, "mirrors": pairs(traffic["pools"], to)}


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
        "balancers": BALANCERS,
        **CONNECTION,
        **MOVING,
        **SPLITTING,
        "pools": {"type": "list", "elements": "dict", "options": {**POOL, "members": {"type": "dict"}}, "required": True, "description":
                  "The upstreams that hold the application's members: one, or several that serve it at the same time, or those of both sides."},
    },
    member_args=member_args,
    split_args=split_args,
    request_log=True,
    tells_streams=True,
    mirror_args=mirror_args,
    info=True,
    info_args=info_args,
    complete=complete,
)
