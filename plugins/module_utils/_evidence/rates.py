# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something became more frequent than it was, by an exact test of two rates. Pure functions.

Private to the collection: it may change without notice.

The test is Fisher's (R. A. Fisher, The Design of Experiments, 1935, chapter II): if nothing became more frequent, then given how many of all requests
failed, each way to deal those failures to the two windows is as likely as it is to draw them from an urn. The chance that the second window gets so
many, or more, is exact for any number of requests and any rate.

That holds where requests fail independently of each other. Failures that come in bursts do not: a member that stumbles for a second fails twenty at
once. So both windows are scaled down by the dispersion that the window before itself shows (Pearson's statistic over its parts divided by its
degrees of freedom; P. McCullagh and J. A. Nelder, Generalized Linear Models, 1989, section 4.5), which is 1 for independent failures.
"""

from __future__ import annotations

import math
import typing as t

# How likely chance alone may be where a rate is called higher. A deploy is looked at some tens of times, by kind and by place:
# so one deploy of ten thousand at most is called worse by chance (tests/unit/plugins/module_utils/test__rates.py simulates it).
LEVEL = 2e-6


class Count(t.NamedTuple):
    """Of how many requests so many failed."""

    failed: int
    requests: int

    def plus(self, other: Count) -> Count:
        return Count(self.failed + other.failed, self.requests + other.requests)

    @property
    def rate(self) -> float:
        return self.failed / self.whole.requests if self.requests or self.failed else 0.0

    @property
    def whole(self) -> Count:
        """With each failure among the requests: its request may have been counted somewhere else, or in another reading."""
        return self if self.failed <= self.requests else Count(self.failed, self.failed)


NONE = Count(0, 0)


def total(counts: t.Iterable[Count]) -> Count:
    found = NONE
    for count in counts:
        found = found.plus(count)
    return found


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def chance(before: Count, after: Count) -> float:
    """How likely chance alone gives ``after`` so many of the failures of both, or more."""
    before, after = before.whole, after.whole
    requests, failed = before.requests + after.requests, before.failed + after.failed
    most = min(failed, after.requests)
    if after.failed <= max(0, failed - before.requests):
        return 1.0
    first = math.exp(_log_choose(after.requests, after.failed) + _log_choose(before.requests, failed - after.failed) - _log_choose(requests, failed))
    # Beyond the mean, where one asks, each term is a smaller part of the one before it.
    found, term = 0.0, 1.0
    for number in range(after.failed, most + 1):
        found += term
        if term < found * 1e-12:
            break
        term *= (after.requests - number) * (failed - number) / ((number + 1) * (before.requests - failed + number + 1))
    return min(1.0, first * found)


def dispersion(parts: t.Iterable[Count]) -> float:
    """How many times as much the failures of these parts of a window vary as independent ones would; at least 1."""
    seen = [part for part in parts if part.requests]
    whole = total(seen).whole
    if len(seen) < 2 or not 0 < whole.failed < whole.requests:
        return 1.0
    rate = whole.rate
    pearson = math.fsum((part.failed - part.requests * rate) ** 2 / (part.requests * rate * (1 - rate)) for part in seen)
    return max(1.0, pearson / (len(seen) - 1))


def higher(before: Count, after: Count, spread: float = 1.0, level: float = LEVEL) -> bool:
    """Whether failures became more frequent, beyond what chance does once in 1 / ``level`` times.

    :param spread: the dispersion of the window before.
    """
    before, after = before.whole, after.whole
    if not after.failed or not before.requests or after.rate <= before.rate:
        return False
    return chance(_scaled(before, spread, math.ceil), _scaled(after, spread, math.floor)) < level


def _scaled(count: Count, scale: float, rounded: t.Callable[[float], int]) -> Count:
    if scale == 1.0:
        return count
    requests = max(1, int(count.requests / scale))
    return Count(min(requests, rounded(count.failed / scale)), requests)


def beyond(before: Count, after: Count) -> int:
    """How many failures are more than the rate before explains."""
    return max(0, after.failed - math.ceil(before.rate * after.whole.requests))
