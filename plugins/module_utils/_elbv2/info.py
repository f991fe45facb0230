# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who serves, by what the API says of target groups. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import split
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api, client_of
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.options import PLACE
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.targets import UNCOUNTED, Group, look


def run(params: t.Mapping[str, t.Any], check_mode: bool = False, api: Api | None = None) -> dict[str, t.Any]:
    """What the module elbv2_info returns. It changes nothing."""
    api = api or Api(client_of(params))
    groups = look(api, params["pools"])
    sides = {group.side for group in groups} - {None}
    place = split.find(api, params, groups) if len(sides) > 1 and any(params.get(name) for name in PLACE) else None
    shares = place.shares() if place else None
    return {
        "region": api.region,
        "pools": [_pool(group, params["hold"]) for group in groups],
        "split": (
            {**shares, "kept": shares, "sticky": bool(place and place.sticky), "missing": None} if shares else None
        ),
        "counters": [],
        "uncounted": UNCOUNTED,
        "findings": _findings(groups, place),
    }


def _pool(group: Group, hold: float) -> dict[str, t.Any]:
    return {
        "name": group.name,
        "members": [group.entry(name) for name in group.known],
        "requests": None,
        "idle_s": None,
        "uncountable": UNCOUNTED,
        "drain_s": group.delay + hold,
        "return_s": group.slow_start,
        "times_told": (
            f"its deregistration delay is {group.delay:g} s, deploy_traffic.hold {hold:g} s, and its slow start"
            f" {group.slow_start:g} s"
        ),
    }


def _findings(groups: t.Sequence[Group], place: split.Place | None) -> list[dict[str, t.Any]]:
    found = []
    for group in groups:
        if not group.in_use:
            found.append(
                _finding(
                    "warning",
                    "listener",
                    f"no listener forwards to target group {group.name}, so its targets get no health checks and no"
                    " requests",
                )
            )
        if not group.delay:
            found.append(
                _finding(
                    "error",
                    "deregistration_delay.timeout_seconds",
                    f"target group {group.name} has a deregistration delay of 0 s, so requests "
                    "are cut when a target is deregistered; one above the slowest request is needed",
                )
            )
    if place and place.sticky:
        found.append(
            _finding(
                "warning",
                "stickiness",
                f"{place.what} keeps clients with the target group that they had for {place.sticky} s, so a switch"
                " takes as long for them",
            )
        )
    return found


def _finding(level: str, setting: str, text: str) -> dict[str, t.Any]:
    return {"level": level, "setting": setting, "text": text, "lines": []}


IN_PROCESS = options.info_spec, run
