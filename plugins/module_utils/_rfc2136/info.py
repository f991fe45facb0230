# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which side a name in DNS is, by its primary server and by all others; it only asks. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._finding import FORWARD, finding
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.options import info_spec
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.place import Place, told

# What nobody counts: who asks a name is no request, and requests go past the name servers.
UNCOUNTED = "name servers count no requests of users"


def run(params: t.Mapping[str, t.Any], dummy_check_mode: bool) -> dict[str, t.Any]:
    """What the module C(rfc2136_info) returns: which side the name is, what each server says, and what is wrong with
    that."""
    place = Place(params)
    place.client.check_zone()
    look = place.look()
    findings = []
    side = next((side for side, share in look.shares.items() if share == 100 and not look.absent), None)
    late = place.late(side) if side else {}
    for why, silent in late.values():
        findings.append(
            finding(
                "error" if silent else "warning",
                FORWARD if silent else "servers",
                (
                    (
                        f"{why}, so no change of {place.label} would be effective; deploy_traffic.servers names those "
                        "that count"
                    )
                    if silent
                    else f"{why}, while {place.client.server.label} has {told(look.records.values)}"
                ),
            )
        )
    if look.records.ttl is not None and look.records.ttl > params["ttl"]:
        findings.append(
            finding(
                "error",
                "ttl",
                f"{place.label} has the time to live {look.records.ttl}, and deploy_traffic.ttl is {params['ttl']}; "
                f"{look.records.ttl} or more is accepted, since resolvers may keep an answer for so long",
            )
        )
    servers = [
        {"name": server.label, "problem": late.get(server.label, ("",))[0] or None}
        for server in [*place.servers(), *place.resolvers()]
    ]
    return {
        "split": {**look.shares, "kept": look.shares},
        "pools": [],
        "counters": [],
        "uncounted": UNCOUNTED,
        "findings": findings,
        "ttl": look.records.ttl,
        "records": {kind: list(values) for kind, values in look.records.values.items()},
        "servers": servers,
    }


IN_PROCESS = info_spec, run
