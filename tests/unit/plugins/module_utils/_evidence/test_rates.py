# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of rates: exact against counting by hand, and how often it is wrong, by simulation."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.rates import Count


@pytest.mark.parametrize("before, after", [(Count(1, 5), Count(3, 4)), (Count(0, 6), Count(2, 3)), (Count(2, 3), Count(1, 6)), (Count(3, 3), Count(4, 4))])
def test_the_chance_is_that_of_all_deals(before, after):
    requests, failed = before.requests + after.requests, before.failed + after.failed
    deals = list(itertools.combinations(range(requests), failed))
    as_many = sum(sum(one < after.requests for one in deal) >= after.failed for deal in deals)
    assert _rates.chance(before, after) == pytest.approx(as_many / len(deals))


@pytest.mark.claim("worse-by-an-exact-rule")
@pytest.mark.parametrize("before, after, higher", [
    (Count(0, 500), Count(2, 10), False),
    (Count(0, 500), Count(3, 5000), False),
    (Count(10, 1000), Count(15, 1000), False),
    (Count(10, 1000), Count(60, 1000), True),
    (Count(0, 10), Count(20, 20), True),              # few requests are enough where all fail
    (Count(0, 44), Count(6, 364), False),             # and they are not where few do
    (Count(0, 0), Count(20, 20), False),
    (Count(20_000, 10 ** 6), Count(90_000, 10 ** 6), True),
    (Count(200_000, 10 ** 7), Count(200_100, 10 ** 7), False),
    (Count(0, 100), Count(0, 100), False),
    (Count(60, 1000), Count(10, 1000), False),        # fewer are no finding
])
def test_what_is_more_frequent_than_before(before, after, higher):
    assert _rates.higher(before, after) is higher


def test_bursts_are_the_yardstick_of_bursts():
    """A member stumbles every now and then, and twenty requests fail at once: one more burst is no news, twenty in a row are."""
    quiet = [Count(0, 50)] * 9
    parts = [*quiet, Count(20, 50)] * 2
    assert 15 < _rates.dispersion(parts) < 25
    assert _rates.higher(_rates.total(parts), Count(60, 150)) and not _rates.higher(_rates.total(parts), Count(60, 150), _rates.dispersion(parts))
    assert _rates.higher(_rates.total(parts), Count(800, 1000), _rates.dispersion(parts))
    assert _rates.dispersion(quiet) == 1.0 and _rates.dispersion([Count(3, 9)]) == 1.0


def poisson(mean: float, draw: random.Random) -> int:
    if mean > 50:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    limit, product, number = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        number += 1
    return number


@pytest.mark.claim("one-false-alarm-in-ten-thousand")
def test_a_rate_that_stays_is_hardly_ever_called_higher():
    """Twenty looks at a window that grows, at a level a hundred times as loose, so that few deploys tell: 1 of 100 of them may be wrong."""
    draw, wrong, deploys = random.Random(5), 0, 0
    for rate, requests in itertools.product((0.00001, 0.001, 0.01, 0.05), (250, 1000, 10_000, 100_000)):
        for dummy in range(60):
            before, after = Count(min(requests, poisson(rate * requests, draw)), requests), _rates.NONE
            looks = []
            for dummy_look in range(20):
                after = after.plus(Count(poisson(rate * requests / 10, draw), requests // 10))
                looks.append(_rates.higher(before, after, level=100 * _rates.LEVEL))
            wrong, deploys = wrong + any(looks), deploys + 1
    assert wrong / deploys < 0.01


@pytest.mark.claim("one-per-cent-more-is-found")
@pytest.mark.parametrize("before, after, share", [(3000, 2500, 0.8), (10_000, 1000, 0.8), (30_000, 1000, 0.97)])
def test_one_per_cent_more_is_found(before, after, share):
    draw = random.Random(7)
    found = [_rates.higher(Count(poisson(0.00001 * before, draw), before), Count(poisson(0.01 * after, draw), after)) for dummy in range(300)]
    assert sum(found) / len(found) > share


@pytest.mark.parametrize("before, after", [
    (Count(22, 130), Count(11, 9)), (Count(5, 3), Count(20, 30)), (Count(0, 0), Count(3, 1)), (Count(3, 1), Count(3, 1))])
def test_failures_whose_requests_were_counted_elsewhere_are_requests_too(before, after):
    assert _rates.higher(before, after) in (True, False)
    assert 0 <= _rates.beyond(before, after) <= after.failed and before.rate <= 1 and after.rate <= 1
