# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver haproxy: its place among the drivers, and how deploy_traffic becomes the options of its modules. Private to the collection.

What the modules do: C(_haproxy_members.py), C(_haproxy_split.py), C(_haproxy_info.py). Options, protocol, workers, states, moves, counters and
configuration each have a file of their own, C(_haproxy_*.py), so that a module brings no more to a host than it uses.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import BALANCERS, POOL, Driver
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.options import CONNECTION, MOVING, SPLITTING


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
    """Options of C(haproxy_info) from deploy_traffic; C(members) are server names, where whoever asks knows them."""
    return {**_shared(traffic, SPLITTING), **({"members": list(traffic["members"])} if traffic.get("members") else {})}


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    """Options of C(haproxy_split) from deploy_traffic."""
    sides = {side: [pool["name"] for pool in traffic.get("pools") or () if pool.get("side") == side] for side in _split.SIDES}
    return {**_shared(traffic, SPLITTING), "sides": {side: pools for side, pools in sides.items() if pools}, **({"app": app} if app else {})}


DRIVER = Driver(
    name="haproxy",
    runs_on="balancers",
    capabilities=("members", "split"),
    traffic_spec={
        "balancers": BALANCERS,
        **CONNECTION,
        **MOVING,
        **SPLITTING,
        "pools": {"type": "list", "elements": "dict", "options": POOL, "required": True, "description":
                  "The backends that hold the application's members: one, or several that serve it at the same time, or those of both sides."},
    },
    member_args=member_args,
    split_args=split_args,
    request_log=True,
    tells_streams=True,
    info=True,
    info_args=info_args,
)
