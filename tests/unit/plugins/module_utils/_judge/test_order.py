# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._judge.order import PARTS, Distribution, judged


def _counts(draw, size, factor=1.0):
    """Latencies in slots 4 % wide, as the probe has them."""
    found = {}
    for _value in range(size):
        value = factor * 1.04 ** round(draw.gauss(0, 0.5) / 0.04)
        found[value] = found.get(value, 0) + 1
    return found


def _looks(draw, factor=1.0, looks=12, sizes=(30, 90)):
    return [(_counts(draw, sizes[0], factor), _counts(draw, sizes[1])) for _look in range(looks)]


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_and_what_is_above_agree_with_the_sorted_values(seed):
    draw = random.Random(seed)
    values = [draw.randrange(9) / 2 for _value in range(draw.randrange(1, 60))]
    one = Distribution({value: values.count(value) for value in values})
    assert one.size == len(values)
    for limit in (-1.0, 0.0, 0.7, 2.5, 4.0, 9.0):
        assert one.above(limit) == sum(value > limit for value in values)
    for share in (0.0, 0.1, 0.5, 0.75, 0.99, 1.0):
        # The least value that so large a part of all does not exceed.
        assert one.quantile(share) == min(
            value for value in values if sum(other <= value for other in values) >= share * len(values)
        )


def test_looking_again_and_again_costs_no_more_than_is_promised():
    """Healthy canaries, looked at after each of twelve looks; each part may be beyond 20 in one of twenty cases."""
    draw, runs = random.Random(1), 60
    beyond = [0] * len(PARTS)
    for _run in range(runs):
        looks = _looks(draw)
        for number in range(len(PARTS)):
            beyond[number] += any(judged(looks[:count], 1.0, 1.0, 20.0)[number].above >= 20 for count in range(5, 13))
    assert max(beyond) <= runs / 20


def test_what_is_slower_is_found_and_the_interval_has_it():
    draw = random.Random(2)
    for factor in (1.5, 1 / 1.5):
        held = 0
        for _run in range(10):
            middle = judged(_looks(draw, factor, sizes=(100, 100)), 1.0, 1.0, 100.0)[0]
            assert (
                (middle.above if factor > 1 else middle.below) >= 100 > (middle.below if factor > 1 else middle.above)
            )
            assert middle.ratio == pytest.approx(factor, rel=0.2)
            held += middle.low <= factor <= middle.high
        assert held >= 9


def test_a_few_looks_tell_nothing():
    looks = _looks(random.Random(3), 10.0, looks=4)
    # The first one has no limit yet.
    assert all(one.above == 1 for one in judged(looks, 1.0, 1.0, 100.0))
    assert judged([], 1.0, 1.0, 100.0)[0].ratio == 1
    assert judged([({}, {1.0: 5})] * 9, 1.0, 1.0, 100.0)[0].above == 1


def test_a_limit_of_which_nobody_is_sure_is_no_number():
    """What was measured is far off, and the looks are too few and too small to be sure of anything."""
    draw = random.Random(4)
    looks = _looks(draw, looks=6, sizes=(6, 100))
    for canary, _baseline in looks[:3]:
        canary[1000.0] = 1
    found = judged(looks, 1.2, 1.0, 400.0)[2]
    assert found.ratio > 100 and found.above < 400 and (found.low is None or found.low < 1) and found.high is None


@pytest.mark.claim("judge-interval-is-the-tests")
def test_an_interval_says_no_more_than_the_test_does():
    """Beyond what is allowed lies a limit only where the test is sure that the canary does; the same downwards."""
    draw = random.Random(5)
    sure = unsure = 0
    for number in range(40):
        late = draw.choice([0, 1, 4, 9])
        looks = _looks(draw, draw.choice([0.6, 1.0, 1.5]), draw.choice([6, 12]), (draw.choice([10, 60]), 90))
        for canary, _baseline in looks:
            canary[500.0] = late
        for part in judged(looks, 1.2, 0.9, 60.0):
            assert (part.low is not None and part.low > 1.2) <= (part.above >= 60), number
            assert (part.high is not None and part.high < 0.9) <= (part.below >= 60), number
            assert part.above < 60 or part.low is not None and part.low >= 1.2, number
            assert part.below < 60 or part.high is not None and part.high <= 0.9, number
            sure += part.low is not None
            unsure += part.low is None
    assert sure > 10 < unsure
