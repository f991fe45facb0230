# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary judge: how often it is wrong, how soon it is right, and what a decision costs."""

from __future__ import annotations

import json
import random
import sys
import time
import typing as t

import canaries
import worlds
from measure import OUTPUT, REPO, Finding, median, run

SEED = 20261125
REPEAT = 15


def decide() -> dict[str, t.Any]:
    """What a decision over 10,000 samples costs: as counts of the probe's slots, and as a list."""
    from ansible_collections.zero.downtime.plugins.module_utils._judge.judge import judge  # pylint: disable=import-outside-toplevel

    rng = random.Random(SEED)
    counted = []
    for _look in range(12):
        look = {}
        for side in worlds.SIDES:
            values: dict[float, int] = {}
            for slot in worlds.DRAWN["lognormal 0.5"].draw(rng, 417):
                values[worlds.MS[slot]] = values.get(worlds.MS[slot], 0) + 1
            look[side] = {"requests": 417, "errors": 2, "metrics": {"latency_ms": values}}
        counted.append(look)
    listed = [{side: {"requests": 5000, "errors": 25, "metrics": {"latency_ms": [rng.lognormvariate(3, 0.5) for _request in range(5000)]}}
               for side in worlds.SIDES}]
    times = {}
    for name, looks in (("ms", counted), ("ms_of_a_list", listed)):
        taken = []
        for _number in range(REPEAT):
            began = time.process_time()
            judge(looks, {"metrics": {"latency_ms": {"critical": True}}})
            taken.append(time.process_time() - began)
        times[name] = median(taken) * 1000
    return {**times, "scipy": "scipy" in sys.modules}


def worst(found: dict[str, t.Any]) -> float:
    """Of the healthy worlds the largest share that was withdrawn, of whole deploys or of all that was run; users who stick to their side, uncounted,
    are apart."""
    return max(_withdrawn(cells) for world in found["worlds"] if world["healthy"] and not world["sticky"]
               for cells in ([world["deploy"]], [world["deploy"], *world["grid"].values()]))


def _withdrawn(cells: list[dict[str, t.Any]]) -> float:
    return sum(one["failed"] for one in cells) / sum(one["runs"] for one in cells)


def share_found(found: dict[str, t.Any], name: str, *cells: str) -> float:
    """Of a bad world: the part that was withdrawn, of whole deploys or of the cells that are named."""
    world = next(one for one in found["worlds"] if one["name"] == name)
    chosen = [world["grid"][cell] for cell in cells] if cells else [world["deploy"]]
    return min(one["failed"] / one["runs"] for one in chosen)


def measure() -> dict[str, t.Any]:
    """In a process of its own, so that what a decision imports can be told."""
    run("judge", [sys.executable, __file__], timeout=7200, PYTHONPATH=str(REPO / "build" / "collections"))
    found = json.loads((OUTPUT / "judge.log").read_text(encoding="utf-8").splitlines()[-1])
    if found["scipy"]:
        raise Finding("the judge imported scipy")
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**canaries.figures(*(int(one) for one in sys.argv[1:])), **decide()}) + "\n")
