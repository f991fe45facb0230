# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver elbv2: target groups of Elastic Load Balancing, and its place among the drivers. Private to the
collection."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import Driver
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.targets import as_target, written
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def _given(traffic: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    args = {name: traffic[name] for name in spec if name != "pools" and traffic.get(name) is not None}
    pools = [{name: pool[name] for name in options.GROUP if pool.get(name) is not None} for pool in traffic["pools"]]
    return {**args, "pools": pools}


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    """Options of C(elbv2_members) from deploy_traffic; C(members) are the names that the target groups' members have
    there."""
    return {**_given(traffic, {**options.ACCESS, **options.HOLD, **options.STATE}), "members": list(members)}


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    """Options of C(elbv2_split) from deploy_traffic."""
    return _given(traffic, {**options.ACCESS, **options.PLACE, **options.HOLD, **options.STATE})


def info_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(elbv2_info) from deploy_traffic."""
    return _given(traffic, {**options.ACCESS, **options.PLACE, **options.HOLD})


def lock_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(elbv2_lock) from deploy_traffic; nothing where no bucket was named."""
    names = (*options.ACCESS, *options.STATE) if traffic.get("state_bucket") else ()
    return {name: traffic[name] for name in names if traffic.get(name) is not None}


def complete(traffic: dict[str, t.Any], members: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """deploy_traffic with the target of each member in each target group: the one that C(server) is, or the member's
    address. What was given stays."""
    pools = []
    for pool in traffic["pools"]:
        known = {}
        for member in members.values():
            if pool["name"] in member["servers"]:
                server, port = member["servers"][pool["name"]], member["ports"].get(pool["name"])
                known[server] = written(as_target(server, port) or (member["address"], port))
        pools.append({**pool, "members": pool.get("members") or known})
    return {**traffic, "pools": pools}


def endpoint(traffic: dict[str, t.Any]) -> str:
    """What people call it: the load balancer, where shares of it are moved, and the target groups otherwise."""
    region = traffic.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    where = (
        f"in {region}"
        if region
        else f"in the region of profile {traffic.get('profile') or os.environ.get('AWS_PROFILE') or 'default'}"
    )
    for given in (traffic.get("load_balancer"), traffic.get("listener"), traffic.get("rule")):
        if given:
            # An ARN has the name in the middle: …:listener/app/shop/0123456789abcdef/…
            parts = str(given).split("/")
            return f"load balancer {parts[2] if len(parts) > 2 else parts[0]} {where}"
    names = [pool["name"] for pool in traffic.get("pools") or ()]
    return f"target group{'s' * (len(names) > 1)} {' and '.join(names)} {where}"


def check(traffic: dict[str, t.Any], health: dict[str, t.Any]) -> None:
    """Refuse what the API need not be asked about."""
    sides = {pool.get("side") for pool in traffic["pools"]} - {None}
    if len(sides) > 1 and not any(traffic.get(name) for name in options.PLACE):
        raise DowntimeError(
            "deploy_traffic.load_balancer is missing; its name, or the ARN of deploy_traffic.listener or"
            " deploy_traffic.rule, is needed where pools are of two sides, since their weights stand there"
        )
    limit = _split.common_spec()["timeout"]["default"]
    if len(sides) > 1 and traffic["hold"] >= limit:
        raise DowntimeError(
            f"deploy_traffic.hold is {traffic['hold']:g}; seconds below {limit} are accepted where pools are of two"
            " sides, since a switch may take no longer"
        )
    for name in ("secret_key", "access_key"):
        other = "access_key" if name == "secret_key" else "secret_key"
        if traffic.get(name) and not traffic.get(other):
            raise DowntimeError(f"deploy_traffic.{other} is missing; it is needed beside deploy_traffic.{name}")


DRIVER = Driver(
    name="elbv2",
    runs_on="controller",
    capabilities=("members", "split"),
    traffic_spec=options.traffic_spec(),
    member_args=member_args,
    split_args=split_args,
    info=True,
    info_args=info_args,
    lock_args=lock_args,
    complete=complete,
    endpoint=endpoint,
    check=check,
    cuts=False,
)
