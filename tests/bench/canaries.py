# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the judge and Kayenta's decide in the simulated worlds.

    python tests/bench/canaries.py [--runs 200] [--only WORD] [--shares 1,5,50] [--rates 2,50,200]
"""

from __future__ import annotations

import argparse
import sys
import typing as t

import kayenta
from worlds import WORLDS, Traffic, World

STEPS, SHARES, RATES = (1, 5, 25, 50), (1, 5, 50), (2, 50, 200)
# Requests a second of a whole deploy.
USUAL = 100
SEED = 20261130


class Ended(t.NamedTuple):
    """How a canary ended: C(ours) and C(kayentas) are the shares at which it was withdrawn, None where it passed; C(held): at a deadline."""

    ours: int | None
    held: bool
    waited: float         # seconds at the last share
    kayentas: int | None
    reasons: list[str]


def canary(world: World, rate: float, steps: t.Sequence[int], number: int, **options: t.Any) -> Ended:
    """One canary through so many shares, with the deploy's own defaults."""
    from ansible_collections.zero.downtime.plugins.module_utils import _canary  # pylint: disable=import-outside-toplevel

    checked = _canary.check({"latency": "probe", **options}, "http://site.example/", True)
    traffic = Traffic(world, rate, (SEED, world.name, rate, tuple(steps), number), checked["latency"] != "none")
    earlier: list[t.Any] = []
    theirs: int | None = None
    for share in steps:
        traffic.share = share / 100
        found, looks = _canary.watch([traffic], checked, share, earlier, lambda: None, traffic.clock, traffic.sleep)
        if theirs is None and kayenta.fails(looks):
            theirs = share
        if found["verdict"] != "pass":
            return Ended(share, bool(found.get("deadline")), found["waited"], theirs, found["reasons"])
        earlier += [{**look, **{side: {**look[side], "metrics": {}} for side in ("canary", "baseline")}} for look in looks]
    return Ended(None, False, found["waited"], theirs, found["reasons"])


def cell(world: World, rate: float, steps: t.Sequence[int], runs: int, **options: t.Any) -> dict[str, t.Any]:
    ended = [canary(world, rate, steps, number, **options) for number in range(runs)]
    failed = [one for one in ended if one.ours is not None and not one.held]
    waited = sorted(one.waited for one in failed)
    return {"runs": runs, "failed": len(failed) / runs, "held": sum(one.held for one in ended) / runs,
            "kayenta": sum(one.kayentas is not None for one in ended) / runs, "median_s": waited[len(waited) // 2] if waited else None,
            "shares": {share: sum(one.ours == share for one in failed) for share in steps}, "reasons": [one.reasons for one in failed[:3]]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--shares", default="")
    parser.add_argument("--rates", default="")
    parser.add_argument("--steps", default="1,5,25,50")
    parser.add_argument("--errors-only", action="store_true")
    parser.add_argument("--why", action="store_true")
    options = parser.parse_args()
    for world in WORLDS:
        if options.only not in world.name:
            continue
        cells = [(USUAL, tuple(int(one) for one in options.steps.split(",")))] if options.steps else []
        cells += [(float(rate), (int(share),)) for share in options.shares.split(",") if share for rate in options.rates.split(",") if rate]
        for rate, steps in cells:
            found = cell(world, rate, steps, options.runs, **({"latency": "none"} if options.errors_only else {}))
            print("%-40s %3g/s %-14s failed %5.1f %% held %5.1f %% kayenta %5.1f %% median %s %s" % (
                world.name, rate, ",".join(map(str, steps)), found["failed"] * 100, found["held"] * 100, found["kayenta"] * 100, found["median_s"],
                found["shares"]), flush=True)
            if options.why:
                for reason in found["reasons"]:
                    print("   ", reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
