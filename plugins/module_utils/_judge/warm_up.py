# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a canary is not judged by: each member's first traffic, when caches are cold. Private to the canary.

Only what no cold cache explains ends a canary then: that it fails half of its requests, and the baseline does not.
"""

from __future__ import annotations

import typing as t

Sample = t.Mapping[str, t.Any]

# The share of its requests that a canary may fail while it warms up, and in any two looks.
HARD_LIMIT = 0.5
# A burst may be in one look.
LOOKS = 2
# The part of the canary's requests that cold members may have in a look whose values are judged.
COLD = 0.25


def judged(looks: t.Sequence[Sample], warm_up: float) -> list[dict[str, t.Any]]:
    """The looks without what members of the canary did in their first C(warm_up) seconds of traffic.

    Values are not told apart by member: where those that warm up had a quarter of the canary's requests in a look,
    none of its values is judged. What the baseline did is kept, where it comes as counts, for the limits that are taken
    from it.
    """
    found = []
    traffic: dict[t.Any, float] = {}
    for look in looks:
        blocks = look["canary"].get("blocks") or [
            {"member": None, "requests": look["canary"].get("requests", 0), "errors": look["canary"].get("errors", 0)}
        ]
        cold = []
        seconds = look.get("seconds", 0.0)
        for block in blocks:
            member = block["member"]
            if member in traffic or block["requests"]:
                if traffic.setdefault(member, 0.0) < warm_up:
                    cold.append(member)
                traffic[member] += seconds
        found.append(_without(look, blocks, cold) if cold else dict(look))
    return found


def _without(look: Sample, blocks: t.Sequence[t.Mapping[str, t.Any]], cold: t.Collection[t.Any]) -> dict[str, t.Any]:
    warm = [block for block in blocks if block["member"] not in cold]
    counts = {kind: sum(block[kind] for block in warm) for kind in ("requests", "errors")}
    canary = {**look["canary"], "blocks": warm, **counts}
    if not warm:
        del canary["blocks"]
    if counts["requests"] > (1 - COLD) * look["canary"].get("requests", 0):
        return {**look, "canary": canary}
    canary["metrics"] = {}
    known = {
        name: values
        for name, values in (look["baseline"].get("metrics") or {}).items()
        if isinstance(values, t.Mapping)
    }
    return {**look, "canary": canary, "baseline": {**look["baseline"], "metrics": known}}


def beyond(looks: t.Sequence[Sample], at_least: int) -> str | None:
    """Whether the canary fails so many of its newest requests that nothing else needs to be known.

    Not where one member does: without the worst of them the others have to fail as many.
    """
    sums = {side: [0, 0] for side in ("canary", "baseline")}
    members: dict[t.Any, list[int]] = {}
    for number, look in enumerate(reversed(looks), 1):
        for side, counts in sums.items():
            _add(counts, look[side])
        for block in look["canary"].get("blocks") or ():
            _add(members.setdefault(block["member"], [0, 0]), block)
        if number >= LOOKS and sums["canary"][0] >= at_least:
            break
    else:
        return None
    (requests, errors), (others, other_errors) = sums["canary"], sums["baseline"]
    if not others or other_errors / others > errors / requests / 2:
        return None
    worst = max(members.values(), key=lambda counts: counts[1]) if len(members) > 1 else [0, 0]
    for counts in ((requests, errors), (requests - worst[0], errors - worst[1])):
        if counts[1] < HARD_LIMIT * counts[0]:
            return None
    return f"The canary failed {errors} of its last {requests} requests, the baseline {other_errors} of {others}."


def _add(counts: list[int], more: t.Mapping[str, t.Any]) -> None:
    counts[0] += more.get("requests", 0)
    counts[1] += more.get("errors", 0)
