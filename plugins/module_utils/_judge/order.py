# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the values of one side lie above those of the other, looked at as often as one likes. Private to the judge.

For many values, which come as counts (value: how often). A side that is slower in no part of its distribution exceeds
any limit at most as often as the other one. So limits are taken from what the baseline did *before* a look, and the
values of the look are counted on both sides: above the limit or not. That makes the question one of two shares, as with
errors, and an e-value answers it; a mean of e-values is one, too, so several limits are asked at once, and the
answer is a sequential test of stochastic order. Of a tail the look in which the canary is worst is left out, since what
one look alone shows may be a pause of one member. (A test of that order that may be looked at any time is in Lindon, Sanden,
Shirikian, Liu, Mishra and Tingley 2022, "Rapid regression detection in software deployments through sequential
testing", arXiv 2205.14762; there, bands around the whole distributions are compared, as by Howard and Ramdas 2022,
"Sequential estimation of quantiles with applications to A/B testing and best-arm identification", Bernoulli 28. To ask
at a few limits needs fewer values. The same asked of a multiple of each limit gives the interval.)

Values that are neighbours in time depend on each other. The blocks of L(_clusters) see that, too.
"""

from __future__ import annotations

import bisect
import itertools
import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters
from ansible_collections.zero.downtime.plugins.module_utils._judge import sequential as _sequential

Counts = t.Mapping[float, int]
# The baseline has to have so many values above a limit before it is taken for one.
ABOVE = 2
# With fewer looks nobody can see how much they differ.
ENOUGH = 4
# Of how often a limit is exceeded: the canary's odds as a multiple of the baseline's.
MIDDLE, TAIL = (1.3, 1.7, 2.3, 3.5, 6.0), (1.5, 2.0, 3.0, 5.0, 9.0, 20.0)


class Part(t.NamedTuple):
    """A part of the distribution that is judged by itself."""

    suffix: str
    quantiles: tuple[float, ...]
    factors: tuple[float, ...]
    is_tail: bool


PARTS = (
    Part("", (0.5, 0.75), MIDDLE, False),
    Part("_p95", (0.95,), TAIL, True),
    Part("_p99", (0.99,), TAIL, True),
)


class Order(t.NamedTuple):
    """What a part of the distribution shows, in multiples of the baseline's."""

    above: float  # e-value: the canary's values lie above what is allowed
    below: float
    ratio: float  # of a quantile of both sides: of several, that which differs most
    low: float | None  # so much above the baseline's the canary's are for sure; None while nobody can tell
    high: float | None


class Distribution:
    """How often each value came."""

    def __init__(self, counts: Counts) -> None:
        self.values = sorted(value for value, count in counts.items() if count > 0)
        self.sums = list(itertools.accumulate(counts[value] for value in self.values))
        self.size = self.sums[-1] if self.sums else 0

    def quantile(self, share: float) -> float:
        """The least value that so large a share of all does not exceed."""
        at = bisect.bisect_left(self.sums, min(max(share, 0.0), 1.0) * self.size)
        return self.values[min(at, len(self.values) - 1)]

    def above(self, limit: float) -> int:
        at = bisect.bisect_right(self.values, limit)
        return self.size - (self.sums[at - 1] if at else 0)


def add(into: dict[float, int], counts: Counts) -> None:
    for value, count in counts.items():
        into[value] = into.get(value, 0) + count


def total(looks: t.Iterable[Counts]) -> dict[float, int]:
    found: dict[float, int] = {}
    for counts in looks:
        add(found, counts)
    return found


Pair = t.Tuple[Counts, Counts]
# An interval's limits are looked for up to so many times from what was measured, or from no difference where that is
# further, by so many halvings.
FURTHEST, HALVINGS = 5.0, 8


class _Window(t.NamedTuple):
    """What a look shows of one limit."""

    number: int
    limit: float
    canary: Distribution
    baseline: Distribution


class _Asked:
    """One limit, the same quantile of the baseline at each look, asked of both sides."""

    def __init__(self, share: float, looks: list[_Window]) -> None:
        self.share, self.looks = share, looks
        self.enough = len(looks) >= ENOUGH

    def seen(self, times: float) -> tuple[list[dict[str, float]], tuple[float, float]]:
        """The looks, less what neighbours in time say twice, and the design effects of both sides."""
        blocks = [
            _clusters.Block(side, None, look.number, None, one.size, one.above(look.limit * factor))
            for look in self.looks
            for side, one, factor in (("canary", look.canary, times), ("baseline", look.baseline, 1.0))
        ]
        effects = _clusters.design_effects(blocks)
        return _sequential.deflated(blocks, effects), (effects[("canary", None)], effects[("baseline", None)])

    def evidence(self, looks: t.Sequence[_sequential.Window], factors: t.Sequence[float]) -> float:
        """That the canary's odds to exceed the limit are so many times the baseline's."""
        return _sequential.odds_value(looks, 1 - self.share, factors)

    def all_in_one(self, times: float, effects: tuple[float, float], without: int | None) -> dict[str, float]:
        """What is to be seen at another multiple of the limit, all looks but one summed up: quick, for an interval."""
        looks = [look for number, look in enumerate(self.looks) if number != without]
        return {
            "canary_requests": sum(look.canary.size for look in looks) / effects[0],
            "canary_errors": sum(look.canary.above(look.limit * times) for look in looks) / effects[0],
            "baseline_requests": sum(look.baseline.size for look in looks) / effects[1],
            "baseline_errors": sum(look.baseline.above(look.limit) for look in looks) / effects[1],
        }


def judged(
    looks: t.Sequence[Pair], up: float, down: float, needed: float, parts: t.Sequence[Part] = PARTS
) -> list[Order]:
    """What the looks show, part by part.

    @param looks: the canary's and the baseline's counts of each look, oldest first; a look without any of the canary's
    only adds to what the baseline did
    @param up: the canary's values may be so many times the baseline's
    @param down: the same downwards
    @param needed: the e-value that says that they are not
    """
    known: dict[float, int] = {}
    asked: dict[float, list[_Window]] = {share: [] for part in parts for share in part.quantiles}
    for number, (canary, baseline) in enumerate(looks):
        if known and canary and baseline:
            before, ours, theirs = Distribution(known), Distribution(canary), Distribution(baseline)
            for share, seen in asked.items():
                if before.size * (1 - share) >= ABOVE:
                    seen.append(_Window(number, before.quantile(share), ours, theirs))
        add(known, baseline)
    both = [Distribution(total(pair[at] for pair in looks if pair[0] and pair[1])) for at in (0, 1)]
    return [
        _order(part, [_Asked(share, asked[share]) for share in part.quantiles], both, (up, down, needed))
        for part in parts
    ]


def _order(part: Part, asked: list[_Asked], both: list[Distribution], wanted: tuple[float, float, float]) -> Order:
    up, down, needed = wanted
    ratios = [
        both[0].quantile(share) / both[1].quantile(share)
        for share in part.quantiles
        if both[1].size and both[1].quantile(share) > 0
    ]
    ratio = max(ratios or [1.0], key=lambda one: abs(math.log(one)) if one > 0 else math.inf)
    worse, better = part.factors, tuple(1 / factor for factor in part.factors)
    above, low = _beyond(asked, up, worse, needed, ratio, part.is_tail)
    below, high = _beyond(asked, down, better, needed, ratio, part.is_tail)
    return Order(above, below, ratio, low, high)


def _beyond(
    asked: list[_Asked], allowed: float, factors: t.Sequence[float], needed: float, ratio: float, is_tail: bool
) -> tuple[float, float | None]:
    """The e-value that the canary's values are beyond what is allowed, and beyond which multiple of the baseline's they
    are for sure."""
    told = [one for one in asked if one.enough]
    is_upward = factors[0] > 1

    def mean(found: list[float]) -> float:
        # A limit that cannot be asked yet says nothing, which is 1.
        return (sum(found) + len(asked) - len(told)) / len(asked)

    def by_looks(times: float) -> tuple[float, list[tuple[tuple[float, float], int | None]]]:
        found, known = [], []
        for one in told:
            looks, effects = one.seen(times)
            known.append((effects, _worst(looks, is_upward) if is_tail else None))
            found.append(one.evidence(without_worst(looks, is_upward) if is_tail else looks, factors))
        return mean(found), known

    value, known = by_looks(allowed)
    if not told or ratio <= 0:
        return value, None

    def summed_up(times: float) -> bool:
        found = [one.evidence([one.all_in_one(times, *about)], factors) for one, about in zip(told, known)]
        return mean(found) >= needed

    # The sum is the quicker way to ask the same. Where it is surer than the looks are, these are asked.
    is_fair = summed_up(allowed) == (value >= needed)
    limit = _limit(summed_up if is_fair else lambda times: by_looks(times)[0] >= needed, ratio, is_upward)
    if value >= needed:
        return value, _further(limit, allowed, is_upward)
    return value, limit if limit is None else _further(limit, allowed, not is_upward)


def _further(limit: float | None, other: float, is_upward: bool) -> float:
    return other if limit is None else max(limit, other) if is_upward else min(limit, other)


def without_worst(looks: t.Sequence[_sequential.Window], is_upward: bool) -> list[_sequential.Window]:
    """All but the look in which the canary is worst."""
    worst = _worst(looks, is_upward)
    return [look for number, look in enumerate(looks) if number != worst]


def _worst(looks: t.Sequence[_sequential.Window], is_upward: bool) -> int:
    """Which look it is in which the canary is worst: what one look alone shows may be a pause of one member."""
    beyond = [
        look["canary_errors"] / look["canary_requests"] - look["baseline_errors"] / look["baseline_requests"]
        for look in looks
    ]
    return beyond.index(max(beyond) if is_upward else min(beyond))


def _limit(is_sure: t.Callable[[float], bool], ratio: float, is_upward: bool) -> float | None:
    """The ratio nearest to what was measured at which it is sure; None where it is nowhere."""
    furthest = min(ratio, 1.0) / FURTHEST if is_upward else max(ratio, 1.0) * FURTHEST
    if not is_sure(furthest):
        return None
    sure, unsure = math.log(furthest), math.log(ratio)
    for _half in range(HALVINGS):
        middle = (sure + unsure) / 2
        if is_sure(math.exp(middle)):
            sure = middle
        else:
            unsure = middle
    return math.exp(sure)
