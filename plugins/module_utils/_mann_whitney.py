# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Location shift of two samples: Hodges-Lehmann estimate and the Mann-Whitney confidence interval, in O((m + n) log) steps.

Exact for small samples without ties, else the normal approximation with a continuity correction: Hollander & Wolfe, Nonparametric
Statistical Methods, chapter 4; Bauer 1972. The variance without the correction for ties is used, which can only widen the interval.
"""

from __future__ import annotations

import math
import statistics
import typing as t

EXACT_BELOW = 50
ENUMERATE = 20000


def _probe(xs: list[float], ys: list[float], value: float) -> tuple[int, float, float]:
    """How many differences are <= value, the largest of these, and the smallest above value; both samples sorted."""
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
    found, first, last, size = [], 0, 0, len(ys)
    for x in xs:
        while first < size and x - ys[first] > high:
            first += 1
        while last < size and x - ys[last] >= low:
            last += 1
        found += [x - y for y in ys[first:last]]
    return sorted(found)


def _pivots(xs: list[float], ys: list[float], rank: int) -> list[float]:
    """Two values that most likely enclose the rank, from every 50th value of each sample's middle; a wrong guess costs time only."""
    if len(xs) * len(ys) < 1000000:
        return []
    few = sorted(x - y for x in xs[len(xs) % 50 // 2 + 25::50] for y in ys[len(ys) % 50 // 2 + 25::50])
    at = rank * len(few) // (len(xs) * len(ys))
    off = max(2, len(few) // 500)
    return [few[max(0, at - off)], few[min(len(few) - 1, at + off)]] if few else []


def kth_difference(xs: list[float], ys: list[float], rank: int) -> float:
    """The difference x - y of this rank (from 1), without building all of them; both samples sorted."""
    low, high, before, upto = xs[0] - ys[-1], xs[-1] - ys[0], 0, len(xs) * len(ys)
    turn, pivots = 0, _pivots(xs, ys, rank)
    while low < high and upto - before > ENUMERATE:
        # Interpolation finds the place in a few steps; every third step halves, so that no shape of data can stall it.
        part = 0.5 if turn % 3 == 2 else (rank - before) / (upto - before)
        value = pivots.pop() if pivots else low + (high - low) * part
        if not low <= value < high:
            value = low
        count, below, above = _probe(xs, ys, value)
        if count >= rank:
            high, upto = below, count
        else:
            low, before = above, count
        turn += 1
    if low >= high:
        return high
    return _between(xs, ys, low, high)[rank - before - 1]


def _exact_rank(m: int, n: int, tail: float) -> int:
    """The smallest u with P(U <= u) >= tail, at least 1, as wilcox.test takes it."""
    # counts[u] is the coefficient of q^u of the Gaussian binomial (m + n over m).
    counts = [1] + [0] * (m * n)
    for part in range(1, m + 1):
        for u in range(m * n, n + part - 1, -1):
            counts[u] -= counts[u - n - part]
        for u in range(part, m * n + 1):
            counts[u] += counts[u - part]
    total, seen = math.comb(m + n, m), 0
    for u, ways in enumerate(counts):
        seen += ways
        if seen >= tail * total:
            return max(1, u)
    return 1


def location_shift(sample: t.Sequence[float], reference: t.Sequence[float], confidence: float = 0.98) -> dict[str, t.Any]:
    """By how much sample lies above reference: estimate, low, high, and whether the interval is exact."""
    xs, ys = sorted(sample), sorted(reference)
    m, n = len(xs), len(ys)
    pairs, tail = m * n, (1 - confidence) / 2
    exact = m < EXACT_BELOW and n < EXACT_BELOW and len(set(xs + ys)) == m + n
    if exact:
        rank = _exact_rank(m, n, tail)
    else:
        z = statistics.NormalDist().inv_cdf(1 - tail)
        rank = max(1, math.floor(pairs / 2 - 0.5 - z * math.sqrt(pairs * (m + n + 1) / 12)))
    middle = kth_difference(xs, ys, (pairs + 1) // 2)
    estimate = middle
    if pairs % 2 == 0:
        count, _below, above = _probe(xs, ys, middle)
        estimate = middle if count > pairs // 2 else (middle + above) / 2
    return {"estimate": estimate, "low": kth_difference(xs, ys, rank), "high": kth_difference(xs, ys, pairs + 1 - rank), "exact": exact}
