# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated worlds in which a canary is watched: healthy ones, some of them noisy, and bad ones. Each is a line in
WORLDS.

A world gives what the balancers and the probe would count of both sides. The seconds are simulated; what judges is the
real code."""

from __future__ import annotations

import bisect
import itertools
import math
import random
import typing as t

SIDES = ("canary", "baseline")
MEMBERS = 4
# A hiccup of a member: so long, so many of its requests fail, and the others take so much longer.
HICCUP_S, HICCUP_FAILS, HICCUP_MS = 2.0, 0.5, 300.0
# The machine stands still for so long, and what comes meanwhile takes so much longer.
STALL_S, STALL_MS = 0.5, 200.0
# A sticky user asks every 20 s; one of 200 always fails.
USER_S, USER_FAILS = 20.0, 0.005
COLD_S = 20.0
TREND_S = 300.0
MEDIAN_MS = 20.0


class World(t.NamedTuple):
    """How both sides behave, and how the canary differs.

    C(hiccups): mean seconds between two hiccups of a member, of either side. C(stalls): the same of the machine that all
    of them run on. C(cold): times as slow in a member's first seconds of traffic."""

    name: str
    healthy: bool = True
    times: str = "lognormal 0.5"
    errors: float = 0.005
    canary_errors: float | None = None
    slower: float = 1.0
    late: float = 0.0  # part of the canary's requests that take so much more
    late_ms: float = 3000.0
    hiccups: float = 0.0
    stalls: float = 0.0
    sticky: bool = False
    told: bool = False  # how many users there are
    apart: bool = True  # whether who counts tells members apart
    trend: bool = False
    cold: float = 1.0


WORLDS = (
    World("independent"),
    World("a burst of each member every 40 s", hiccups=40, errors=0.001),
    World("a burst of each member every 120 s", hiccups=120, errors=0.001),
    World("the same, where members are not told apart", hiccups=120, errors=0.001, apart=False),
    World("sticky users, one of 200 always fails", sticky=True, errors=0.0),
    World("the same, and deploy_canary.judge.users is given", sticky=True, told=True, errors=0.0),
    World("errors and latency go up and down", trend=True),
    World("cold for 20 s, 1.5 times as slow", cold=1.5),
    World("cold for 20 s, 2 times as slow", cold=2),
    World("cold for 20 s, 3 times as slow", cold=3),
    World("heavy tail: lognormal, sigma 1.5", times="lognormal 1.5"),
    World("heavy tail: Pareto, index 1.5", times="pareto 1.5"),
    World("bimodal: 1 of 5 takes ten times as long", times="bimodal"),
    World("everything stalls every 10 s, at once", stalls=10),
    World("1 of 200 requests takes 1 s more", late=0.005, late_ms=1000),
    World("latency +20 %", False, slower=1.2),
    World("latency +50 %", False, slower=1.5),
    World("latency +100 %", False, slower=2),
    World("5 % of requests take 3 s more", False, late=0.05),
    World("5 % of requests take 1 s more", False, late=0.05, late_ms=1000),
    World("the same, beside a burst of each member every 40 s", False, late=0.05, late_ms=1000, hiccups=40, errors=0.001),
    World("the same, and everything stalls every 10 s, at once", False, late=0.05, late_ms=1000, stalls=10),
    World("errors 0.5 → 2 %", False, canary_errors=0.02),
    World("the same, and deploy_canary.judge.users is given", False, canary_errors=0.02, told=True),
    World("errors 0.5 → 5 %", False, canary_errors=0.05),
    World("errors 0 → 1 %", False, errors=0.0, canary_errors=0.01),
)

# Latencies come in the probe's slots, 4 % wide.
STEP = math.log(1.04)
SLOTS = range(-80, 400)


def _slot_ms(slot: int) -> float:
    return round(math.exp((slot + 0.5) * STEP), 2)


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


def _below(times: str, ms: float) -> float:
    """The part of the requests that takes at most so long."""
    if ms <= 0:
        return 0.0
    if times == "bimodal":
        return sum(part * _normal(math.log(ms / (MEDIAN_MS * factor)) / 0.3) for part, factor in ((0.8, 1), (0.2, 10)))
    kind, parameter = times.split()
    if kind == "pareto":
        return max(0.0, 1 - (MEDIAN_MS / 2 / ms) ** float(parameter))
    return _normal(math.log(ms / MEDIAN_MS) / float(parameter))


class Times:
    """Latencies of a kind, drawn in slots."""

    def __init__(self, times: str) -> None:
        self.sums = [_below(times, math.exp((slot + 1) * STEP)) for slot in SLOTS]
        self.sums[-1] = 1.0

    def draw(self, rng: random.Random, size: int) -> list[int]:
        return rng.choices(SLOTS, cum_weights=self.sums, k=size)


DRAWN = {world.times: Times(world.times) for world in WORLDS}


def several(rng: random.Random, size: int, share: float) -> int:
    """How many of so many happen, each with this probability."""
    if share <= 0 or size <= 0:
        return 0
    if share >= 0.2:
        return sum(rng.random() < share for _one in range(size))
    found, at = 0, 0
    while True:
        at += int(math.log(1 - rng.random()) / math.log1p(-share)) + 1
        if at > size:
            return found
        found += 1


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    found, gone = -1, 0.0
    while gone <= mean:
        gone += rng.expovariate(1)
        found += 1
    return found


class Member:
    """One member of a side: since when it has traffic, and when it hiccups."""

    def __init__(self, rng: random.Random, hiccups: float) -> None:
        self.rng, self.every = rng, hiccups
        self.next = rng.expovariate(1 / hiccups) if hiccups else math.inf
        self.since: float | None = None

    def hiccup(self, start: float, end: float, lasts: float = HICCUP_S) -> float:
        """Seconds of this time in which it hiccups, each time for so long."""
        found = 0.0
        while self.next < end:
            found += max(0.0, min(end, self.next + lasts) - max(start, self.next))
            if self.next + lasts > end:
                break
            self.next += lasts + self.rng.expovariate(1 / self.every)
        return min(found, end - start)


class Traffic:
    """A source of looks, as C(_looks) has them, and the clock that its watcher sleeps by."""

    problem: str | None = None

    def __init__(self, world: World, rate: float, seed: t.Any, timed: bool = True) -> None:
        self.world, self.rate, self.timed, self.share = world, rate, timed, 0.0
        self.rng = random.Random(str(seed))
        self.now = self.last = 0.0
        self.machine, self.stalled = Member(self.rng, world.stalls), 0.0
        self.members = {side: [Member(self.rng, world.hiccups) for _number in range(MEMBERS)] for side in SIDES}
        # Where a user is drawn to, and whether he always fails.
        self.users = sorted(self.rng.random() for _number in range(max(1, round(rate * USER_S))))
        self.fails = sorted(self.rng.random() for _number in range(several(self.rng, len(self.users), USER_FAILS)))

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def begin(self) -> None:
        self.last = self.now

    def look(self) -> dict[str, dict[str, t.Any]]:
        start, self.last = self.last, self.now
        self.stalled = self.machine.hiccup(start, self.now, STALL_S) / (self.now - start)
        return {side: self._side(side, start, self.now) for side in SIDES}

    def _side(self, side: str, start: float, end: float) -> dict[str, t.Any]:
        share = self.share if side == "canary" else 1 - self.share
        swing = math.sin(2 * math.pi * (start + end) / 2 / TREND_S) if self.world.trend else 0.0
        error_rate = (
            self.world.errors if side == "baseline" or self.world.canary_errors is None else self.world.canary_errors
        )
        if self.world.sticky:
            share, error_rate = self._sticky(side)
        blocks, values = [], dict.fromkeys([0.0], 0)
        values.clear()
        for number, member in enumerate(self.members[side]):
            requests = poisson(self.rng, self.rate * share * (end - start) / MEMBERS * (1 + 0.3 * swing))
            if requests and member.since is None:
                member.since = start
            ill = several(self.rng, requests, member.hiccup(start, end) / (end - start))
            failed = several(self.rng, ill, HICCUP_FAILS)
            errors = failed + several(self.rng, requests - ill, error_rate * (1 + 0.8 * swing))
            blocks.append({"member": f"{side}{number}", "requests": requests, "errors": errors})
            if self.timed:
                self._times(side, member, requests - ill, ill - failed, math.exp(0.4 * swing), start, values)
        found = {
            "requests": sum(block["requests"] for block in blocks),
            "errors": sum(block["errors"] for block in blocks),
            "metrics": {"latency_ms": values} if self.timed else {},
        }
        return {**found, "blocks": blocks} if self.world.apart else found

    def _sticky(self, side: str) -> tuple[float, float]:
        """This side's share of the users, and of its users those who always fail."""
        users, fails = bisect.bisect(self.users, self.share), bisect.bisect(self.fails, self.share)
        if side == "baseline":
            users, fails = len(self.users) - users, len(self.fails) - fails
        return users / len(self.users), min(1.0, fails / users) if users else 0.0

    def _times(
        self, side: str, member: Member, usual: int, ill: int, swing: float, start: float, into: dict[float, int]
    ) -> None:
        factor = swing * (self.world.slower if side == "canary" else 1)
        if side == "canary" and member.since is not None and start - member.since < COLD_S:
            factor *= self.world.cold
        off = round(math.log(factor) / STEP)
        drawn = [slot + off for slot in DRAWN[self.world.times].draw(self.rng, usual + ill)]
        slow = several(self.rng, usual, self.world.late) if side == "canary" else 0
        stalled = several(self.rng, usual - slow, self.stalled)
        for number, more in itertools.chain(
            zip(range(slow), itertools.repeat(self.world.late_ms)),
            zip(range(slow, slow + stalled), itertools.repeat(STALL_MS)),
            zip(range(usual, usual + ill), itertools.repeat(HICCUP_MS)),
        ):
            drawn[number] = int(math.log(_slot_ms(drawn[number]) + more) / STEP)
        for slot in drawn:
            into[MS[slot]] = into.get(MS[slot], 0) + 1


MS = {slot: _slot_ms(slot) for slot in range(-200, 700)}
