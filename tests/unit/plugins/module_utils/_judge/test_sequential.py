# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import math
import random

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._judge.sequential import LARGEST, e_value, odds_value, standard_errors


def _look(canary_errors, baseline_errors, canary_requests=20, baseline_requests=180):
    return {"canary_requests": canary_requests, "canary_errors": canary_errors, "baseline_requests": baseline_requests, "baseline_errors": baseline_errors}


def _deal(errors, share):
    """All ways to deal errors to both sides: the canary's, the baseline's, and how likely that is when both are alike."""
    for mine in range(errors + 1):
        yield mine, errors - mine, math.comb(errors, mine) * share ** mine * (1 - share) ** (errors - mine)


@pytest.mark.parametrize("better", [False, True])
def test_e_value_is_a_martingale_where_both_are_alike(better):
    # Summed over all ways to deal 12 errors, its mean is 1.
    mean = sum(weight * e_value([_look(mine, other)], better=better) for mine, other, weight in _deal(12, 0.1))
    assert math.isclose(mean, 1, rel_tol=1e-9)


@pytest.mark.parametrize("better", [False, True])
@pytest.mark.parametrize("limit", [1.0, 1.5])
def test_and_stays_one_when_the_shares_change(better, limit):
    shares = [(20, 180, 3), (50, 150, 4), (150, 50, 3)]
    paths = itertools.product(*([(mine, other, weight, canary, baseline) for mine, other, weight in _deal(errors, limit * canary / (limit * canary + baseline))]
                                for canary, baseline, errors in shares))
    mean = sum(math.prod(step[2] for step in path) * e_value([_look(mine, other, canary, baseline) for mine, other, _weight, canary, baseline in path],
                                                             limit, better) for path in paths)
    assert math.isclose(mean, 1, rel_tol=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("limit, better", [(1.0, False), (1.0, True), (1.1, True)])
def test_it_is_at_most_one_on_average_for_requests_that_fail_one_by_one(rate, limit, better):
    # Nobody can fail twice, so there is less chance in this than in a deal with replacement.
    mean = sum(_binomial(5, mine, rate * limit) * _binomial(20, other, rate) * e_value([_look(mine, other, 5, 20)], limit, better)
               for mine in range(6) for other in range(21))
    assert mean <= 1 + 1e-9


def _binomial(number, count, share):
    return math.comb(number, count) * share ** count * (1 - share) ** (number - count)


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("usual, factors", [(0.5, (1.3, 6.0)), (0.25, (2.0,)), (0.05, (1.5, 20.0)), (0.5, (0.5,))])
def test_odds_are_no_evidence_on_average_whichever_part_both_have(part, usual, factors):
    mean = sum(_binomial(4, mine, part) * _binomial(9, other, part) * odds_value([_look(mine, other, 4, 9)], usual, factors)
               for mine in range(5) for other in range(10))
    assert mean <= 1 + 1e-9
    # Nor where the canary's part is the smaller one, or, of factors below 1, the larger one.
    aside = part * 0.7 if factors[0] > 1 else 1 - (1 - part) * 0.7
    assert sum(_binomial(4, mine, aside) * _binomial(9, other, part) * odds_value([_look(mine, other, 4, 9)], usual, factors)
               for mine in range(5) for other in range(10)) <= 1 + 1e-9


def test_odds_grow_where_they_differ():
    looks = [_look(30, 40, 50, 100)] * 10
    assert odds_value(looks, 0.4, (2.0,)) > 1000 > 1 > odds_value(looks, 0.4, (0.5,))
    assert odds_value([], 0.4, (2.0,)) == odds_value([_look(0, 1, 0, 9)], 0.4, (2.0,)) == 1
    assert odds_value([_look(10 ** 6, 0, 10 ** 6, 10 ** 6)] * 10, 0.5, (2.0,)) == LARGEST


@pytest.mark.claim("judge-fails-at-alpha")
def test_peeking_is_free():
    """Over all ways that five looks can go, the evidence ever reaches 1 / alpha with probability alpha at most. Looking at an ordinary test costs."""
    alpha = 0.05
    shares = [(100, 900), (100, 900), (300, 700), (300, 700), (500, 500)]
    ever, naive = 0.0, 0.0
    for path in itertools.product(*([(*one, canary, baseline) for one in _deal(3, canary / (canary + baseline))] for canary, baseline in shares)):
        weight = math.prod(step[2] for step in path)
        looks = [_look(mine, other, canary, baseline) for mine, other, _weight, canary, baseline in path]
        ever += weight * any(e_value(looks[:count]) >= 1 / alpha for count in range(1, 6))
        naive += weight * any(_one_sided(looks[:count]) <= alpha for count in range(1, 6))
    assert ever <= alpha < naive


def _one_sided(looks):
    """The probability that the canary gets as many errors or more, of as many as both have, when both are alike."""
    ways = [1.0]
    for look in looks:
        share = look["canary_requests"] / (look["canary_requests"] + look["baseline_requests"])
        for _error in range(look["canary_errors"] + look["baseline_errors"]):
            ways = [(ways[count] if count < len(ways) else 0) * (1 - share) + (ways[count - 1] * share if count else 0) for count in range(len(ways) + 1)]
    return sum(ways[sum(look["canary_errors"] for look in looks):])


def test_what_says_nothing_is_one():
    assert e_value([]) == e_value([_look(0, 3, 0, 100)]) == e_value([_look(3, 0, 100, 0)]) == e_value([_look(0, 0)]) == 1


def test_ever_so_much_evidence_is_a_number():
    looks = [_look(10 ** 6, 0, 10 ** 6, 10 ** 6)] * 100
    assert e_value(looks) == e_value([_look(0, 10 ** 6, 10 ** 6, 10 ** 6)] * 100, better=True) == LARGEST
    assert e_value(looks, better=True) == 0


def test_a_growing_measurement_stays_within_its_limit():
    draw = random.Random(5)
    outside = 0
    for _walk in range(400):
        position = draw.gauss(0, 1)
        outside += _leaves(position, draw)
    # 0.05 is promised for ever; 40 looks use up a part of it. Chance alone gives more than 0.05 of 400 once in a million times at half of it.
    assert outside / 400 <= 0.05


def _leaves(position, draw):
    for count in range(1, 41):
        if abs(position) / math.sqrt(count) > standard_errors(count, 0.05):
            return True
        position += draw.gauss(0, 1)
    return False
