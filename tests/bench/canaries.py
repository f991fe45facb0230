# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the judge and Kayenta's decide in the simulated worlds, with the deploy's own defaults.

PYTHONPATH=build/collections python tests/bench/canaries.py [--runs 20] [--only WORD] [--steps 1,5,25,50] [--rate 100]
[--shares 1,50 --rates 2,200] [--why]"""

from __future__ import annotations

import argparse
import sys
import typing as t

import kayenta
from worlds import SIDES, USER_S, WORLDS, Traffic, World

STEPS, SHARES, RATES = (1, 5, 25, 50), (1, 5, 50), (2, 50, 200)
# Requests a second of a whole deploy.
USUAL = 100
SEED = 20261130
# How often each cell is run.
RUNS_OF_A_DEPLOY, RUNS_OF_A_SHARE = 300, 40


class Ended(t.NamedTuple):
    """How a canary ended."""

    ours: int | None  # the share at which it was withdrawn; None where it passed
    held: bool  # whether that was at the deadline, since nothing could be said
    waited: float  # seconds at the last share
    kayentas: int | None  # the share at which the other judge would have withdrawn it
    reasons: list[str]


def canary(world: World, rate: float, steps: t.Sequence[int], number: int, **options: t.Any) -> Ended:
    """One canary through so many shares."""
    from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary  # pylint: disable=import-outside-toplevel

    if world.told:
        options["judge"] = {"users": max(1, round(rate * USER_S))}
    checked = _canary.check({"latency": "probe", **options}, "http://site.example/", True)
    traffic = Traffic(
        world, rate, (SEED, world.name, world.healthy, rate, tuple(steps), number), checked["latency"] != "none"
    )
    earlier: list[t.Any] = []
    theirs: int | None = None
    for share in steps:
        traffic.share = share / 100
        found, looks = _canary.watch([traffic], checked, share, earlier, lambda: None, traffic.clock, traffic.sleep)
        if theirs is None and kayenta.fails(looks):
            theirs = share
        if found["verdict"] != "pass":
            return Ended(share, bool(found.get("deadline")), found["waited"], theirs, found["reasons"])
        earlier += [{**look, **{side: {**look[side], "metrics": {}} for side in SIDES}} for look in looks]
    return Ended(None, False, found["waited"], theirs, found["reasons"])


def cell(world: World, rate: float, steps: t.Sequence[int], runs: int, **options: t.Any) -> dict[str, t.Any]:
    ended = [canary(world, rate, steps, number, **options) for number in range(runs)]
    failed = [one for one in ended if one.ours is not None and not one.held]
    waited = sorted(one.waited for one in failed)
    return {
        "runs": runs,
        "failed": len(failed),
        "held": sum(one.held for one in ended),
        "kayenta": sum(one.kayentas is not None for one in ended),
        "median_s": waited[len(waited) // 2] if waited else None,
        "shares": {str(share): sum(one.ours == share for one in failed) for share in steps},
        "reasons": [one.reasons for one in failed[:3]],
    }


def figures(deploys: int = RUNS_OF_A_DEPLOY, shares: int = RUNS_OF_A_SHARE) -> dict[str, t.Any]:
    """All worlds: whole deploys, and each share by itself at each rate. How soon more errors are found at half of the
    requests, when members are warm."""
    found: dict[str, t.Any] = {"worlds": [], "deploys": deploys, "shares": shares}
    for world in WORLDS:
        found["worlds"].append(
            {
                "name": world.name,
                "healthy": world.healthy,
                "sticky": world.sticky and not world.told,
                "deploy": cell(world, USUAL, STEPS, deploys),
                "grid": {
                    "%d/%d" % (share, rate): cell(world, rate, (share,), shares) for share in SHARES for rate in RATES
                },
            }
        )
        print("bench: judge: %s" % world.name, file=sys.stderr, flush=True)
    more = next(world for world in WORLDS if world.canary_errors == 0.02 and not world.told)
    found["at_half"] = cell(more, USUAL, (1, 50), deploys)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument(
        "--steps", default=",".join(map(str, STEPS)), help="of a whole deploy; nothing for none"
    )
    parser.add_argument("--rate", type=float, default=USUAL, help="requests a second of a whole deploy")
    parser.add_argument("--shares", default="", help="each by itself, at each of the rates")
    parser.add_argument("--rates", default="")
    parser.add_argument("--healthy", action="store_true", help="no bad world")
    parser.add_argument("--bad", action="store_true", help="no healthy world")
    parser.add_argument("--errors-only", action="store_true")
    parser.add_argument("--why", action="store_true", help="with the reasons of some that were withdrawn")
    options = parser.parse_args()
    for world in WORLDS:
        if options.only not in world.name or world.healthy and options.bad or not world.healthy and options.healthy:
            continue
        cells = [(options.rate, tuple(int(one) for one in options.steps.split(",")))] if options.steps else []
        cells += [
            (float(rate), (int(share),))
            for share in options.shares.split(",")
            if share
            for rate in options.rates.split(",")
            if rate
        ]
        for rate, steps in cells:
            found = cell(world, rate, steps, options.runs, **({"latency": "none"} if options.errors_only else {}))
            print(
                "%-40s %3g/s %-10s of %d: withdrawn %d, held %d, by Kayenta %d; median %s s; %s"
                % (
                    world.name,
                    rate,
                    ",".join(map(str, steps)),
                    found["runs"],
                    found["failed"],
                    found["held"],
                    found["kayenta"],
                    found["median_s"],
                    found["shares"],
                ),
                flush=True,
            )
            for reason in found["reasons"] if options.why else ():
                print("   ", reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
