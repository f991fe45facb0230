# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver rfc2136: a name in DNS is one of two sides, changed by updates of its zone. Its place among the drivers.
Private to the collection.

Options, the client, the sides, the moves and the lock in the zone each have a file of their own beside this one.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import POOL, Driver
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.client import parse_server
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.options import ACCESS, MOVING, RECORD
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.options import SIDES as SIDES_SPEC
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.place import check_sides, values_of

RECORDS = (
    "What the name is while {side} serves: addresses, of members or of the balancers before them (A, AAAA), or one "
    "name (CNAME)."
)
# Not in the pools, of which the plan keeps those of one side only for some calls: who is asked has to know both.
SIDED: dict[str, t.Any] = {
    "type": "dict",
    "required": True,
    "description": "What each side is in DNS.",
    "options": {side: {**SIDES_SPEC[side], "description": RECORDS.format(side=side)} for side in SIDES},
}
POOLS: dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "description": "A pool of each side: where its members answer.",
    "options": {
        **{name: POOL[name] for name in ("name", "side", "port")},
        "address": {
            "type": "str",
            "description": "Address that a member answers on for this side, where that is not C(ansible_host). It is "
            "worked out for each host, so it may be one of its "
            "variables.",
        },
        "access_log": {
            "type": "path",
            "description": "Log of the requests that a member's host got for this side, in the common or the combined "
            "format. By it, and by open connections, "
            "one knows whether somebody still asks the side that served before.",
        },
    },
}


def _of(traffic: t.Mapping[str, t.Any], *specs: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: traffic[name] for spec in specs for name in spec if traffic.get(name) is not None}


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    """Options of C(rfc2136_split) from deploy_traffic."""
    return {**_of(traffic, ACCESS, RECORD, MOVING), **traffic["sides"], **({"app": app} if app else {})}


def info_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(rfc2136_info) from deploy_traffic."""
    return {**_of(traffic, ACCESS, RECORD), **traffic["sides"]}


def lock_args(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    """Options of C(rfc2136_lock) from deploy_traffic; C(name) is the lock's there."""
    access = _of(traffic, ACCESS)
    return {"record": access.pop("name"), **access}


def split_timeout(traffic: dict[str, t.Any]) -> int:
    """The old time to live may have to be waited out, the servers follow, and the new one is waited out."""
    return int(traffic["effective_timeout"] * 2 + traffic["ttl"] * 2 + 20)


def check(traffic: dict[str, t.Any], dummy_health: dict[str, t.Any]) -> None:
    """Refuse sides that are no two sides, and what is no server."""
    for option in ("server", "servers", "resolvers"):
        for text in traffic[option] if isinstance(traffic[option], list) else [traffic[option]]:
            parse_server(text, f"deploy_traffic.{option}")
    for name, least in (("ttl", 1), ("short_ttl", 0), ("effective_timeout", 1)):
        if traffic[name] < least:
            raise DowntimeError(f"deploy_traffic.{name} is {traffic[name]}; seconds from {least} on are accepted")
    check_sides(
        {side: values_of(traffic["sides"][side], f"deploy_traffic.sides.{side}") for side in SIDES},
        "deploy_traffic.sides",
    )


IGNORED: dict[str, t.Any] = {
    "type": "list",
    "elements": "str",
    "default": [],
    "description": "Paths in the access logs that are no requests of users, such as that of a monitor's check. The "
    "path of C(deploy_health) is none either.",
}

DRIVER = Driver(
    name="rfc2136",
    runs_on="controller",
    capabilities=("split",),
    traffic_spec={**ACCESS, **RECORD, **MOVING, "sides": SIDED, "ignored_paths": IGNORED, "pools": POOLS},
    split_args=split_args,
    info=True,
    info_args=info_args,
    check=check,
    endpoint=lambda traffic: f"name {traffic['name']} in zone {traffic['zone']}",
    whole=True,
    holds=lambda traffic: int(traffic["ttl"]),
    split_timeout=split_timeout,
    lock_args=lock_args,
    watched=True,
)
