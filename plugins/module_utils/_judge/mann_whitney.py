# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By how much one sample lies above another: the Hodges-Lehmann estimate and the interval that belongs to the Mann-Whitney test.

The interval holds every shift d that the test of Mann and Whitney does not refuse between C(sample - d) and C(reference). Its limits are therefore
differences of two values, found by their rank among all m x n differences (Bauer 1972, "Constructing confidence sets using rank statistics",
Journal of the American Statistical Association 67, 687-690; Hollander and Wolfe 1973, "Nonparametric Statistical Methods", pages 68-75). As
C(wilcox.test) of R does, it is exact for samples smaller than 50 without ties, else it takes the normal approximation with the corrections for
continuity and for ties. Unlike there, a value that both samples have is no tie (a shift would part them), the limits are found exactly and not to
within 1e-4, and samples that are too small for the confidence give an unbounded interval, not one that is less sure than was asked for.

No list of all differences is made: m + n values are looked at for each step of a search, so ten thousand samples take milliseconds.
"""

from __future__ import annotations

import collections
import math
import statistics
import typing as t

# Both samples smaller than this: the distribution of the statistic is counted out. The limit of wilcox.test.
EXACT_BELOW = 50
# So few candidates are sorted at once; more are narrowed down first.
ENUMERATE = 2000
# From so many differences on, a look at every 50th value of each sample saves more than it costs.
WORTH_A_GUESS = 1000000
EVERY = 50


class Shift(t.NamedTuple):
    """By how much a sample lies above its reference, in the unit of the values. The limits are infinite where there are too few values."""

    estimate: float
    low: float
    high: float
    exact: bool  # counted out, not approximated


def _probe(xs: list[float], ys: list[float], value: float) -> tuple[int, float, float]:
    """How many differences x - y are at most C(value), the largest of these, and the smallest above. Both samples are sorted."""
    count, below, above, at, size = 0, -math.inf, math.inf, 0, len(ys)
    for x in xs:
        while at < size and x - ys[at] > value:
            at += 1
        if at < size:
            count += size - at
            if x - ys[at] > below:
                below = x - ys[at]
        if at and x - ys[at - 1] < above:
            above = x - ys[at - 1]
    return count, below, above


def _between(xs: list[float], ys: list[float], low: float, high: float) -> list[float]:
    """All differences from C(low) to C(high), in order."""
    found: list[float] = []
    first, last, size = 0, 0, len(ys)
    for x in xs:
        while first < size and x - ys[first] > high:
            first += 1
        while last < size and x - ys[last] >= low:
            last += 1
        if first < last:
            found += [x - y for y in ys[first:last]]
    return sorted(found)


def _pivots(xs: list[float], ys: list[float], rank: int) -> list[float]:
    """Two values that most likely enclose the rank; a wrong guess costs time only."""
    pairs = len(xs) * len(ys)
    if pairs < WORTH_A_GUESS:
        return []
    few = sorted(x - y for x in _thinned(xs) for y in _thinned(ys))
    if not few:
        return []
    at, off = rank * len(few) // pairs, max(2, len(few) // 500)
    return [few[max(0, at - off)], few[min(len(few) - 1, at + off)]]


def _thinned(values: list[float]) -> list[float]:
    return values[len(values) % EVERY // 2 + EVERY // 2::EVERY]


def kth_difference(xs: list[float], ys: list[float], rank: int) -> float:
    """The difference x - y of this rank among all of them.

    @param xs, ys: samples in ascending order, neither empty
    @param rank: from 1, the smallest difference, to len(xs) * len(ys)
    """
    low, high, before, upto = xs[0] - ys[-1], xs[-1] - ys[0], 0, len(xs) * len(ys)
    turn, pivots = 0, _pivots(xs, ys, rank)
    while low < high and upto - before > ENUMERATE:
        if pivots:
            value = pivots.pop()
        else:
            value, turn = low + (high - low) * _part(rank - before, upto - before, turn), turn + 1
        if not low <= value < high:
            value = low
        count, below, above = _probe(xs, ys, value)
        if count >= rank:
            high, upto = below, count
        else:
            low, before = above, count
    if low >= high:
        return high
    return _between(xs, ys, low, high)[rank - before - 1]


def _part(rank: int, size: int, turn: int) -> float:
    """Where to look next, from 0 to 1: a little beside where the rank should be, on either side in turn, so that both limits close in.

    Every fourth turn halves, so that no shape of data can stall the search.
    """
    if turn % 4 == 3:
        return 0.5
    aside = ENUMERATE / 4 if turn % 2 else -ENUMERATE / 4
    return min(1.0, max(0.0, (rank + aside) / size))


def _median(xs: list[float], ys: list[float]) -> float:
    """The median of all differences."""
    pairs = len(xs) * len(ys)
    middle = kth_difference(xs, ys, (pairs + 1) // 2)
    if pairs % 2:
        return middle
    count, _below, above = _probe(xs, ys, middle)
    return middle if count > pairs // 2 else middle / 2 + above / 2


def _exact_rank(m: int, n: int, tail: float) -> int:
    """The rank of the lower limit: the least u with P(U <= u) >= tail. 0 when even the smallest difference would promise too much."""
    # counts[u] is the coefficient of q^u of the Gaussian binomial (m + n over m). It is symmetric, and tail is below a half.
    size = m * n // 2 + 1
    counts = [1] + [0] * (size - 1)
    for part in range(1, m + 1):
        for u in range(size - 1, n + part - 1, -1):
            counts[u] -= counts[u - n - part]
        for u in range(part, size):
            counts[u] += counts[u - part]
    enough, seen = tail * math.comb(m + n, m), 0
    for u, ways in enumerate(counts):
        seen += ways
        if seen >= enough:
            return u
    return size - 1


def _tied(values: t.Iterable[float]) -> int:
    """The sum of c^3 - c over the values that occur c times."""
    return sum(times ** 3 - times for times in collections.Counter(values).values())


def _approximate_rank(xs: list[float], ys: list[float], tail: float) -> int:
    """The same from the normal approximation.

    At a shift that is no difference of two values, no value of one sample meets one of the other: only ties within a sample count.
    """
    m, n = len(xs), len(ys)
    total = m + n
    variance = m * n / 12 * (total + 1 - (_tied(xs) + _tied(ys)) / (total * (total - 1)))
    return max(0, math.ceil(m * n / 2 - 0.5 + statistics.NormalDist().inv_cdf(tail) * math.sqrt(variance)))


def location_shift(sample: t.Sequence[float], reference: t.Sequence[float], confidence: float = 0.98) -> Shift:
    """By how much C(sample) lies above C(reference).

    @param sample, reference: finite numbers, in any order, at least one of each
    @param confidence: how sure the interval is, above 0 and below 1; half of the rest is left on either side
    """
    xs, ys = sorted(sample), sorted(reference)
    pairs, tail = len(xs) * len(ys), (1 - confidence) / 2
    exact = all(len(one) < EXACT_BELOW and len(set(one)) == len(one) for one in (xs, ys))
    rank = _exact_rank(len(xs), len(ys), tail) if exact else _approximate_rank(xs, ys, tail)
    if not rank:
        return Shift(_median(xs, ys), -math.inf, math.inf, exact)
    return Shift(_median(xs, ys), kth_difference(xs, ys, rank), kth_difference(xs, ys, pairs + 1 - rank), exact)
