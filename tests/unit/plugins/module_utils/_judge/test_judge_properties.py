# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold of the judge's arithmetic for whatever samples, and what another implementation says of the same ones.

The examples are the same in each run, so that nobody's change fails by chance.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import typing as t

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._judge import mann_whitney as _mann_whitney
from ansible_collections.zero.downtime.plugins.module_utils._judge import sequential as _sequential

hypothesis = pytest.importorskip("hypothesis")
scipy_stats = pytest.importorskip("scipy.stats")
given, strategies = hypothesis.given, hypothesis.strategies

EXAMPLES = hypothesis.settings(derandomize=True, database=None, deadline=None, max_examples=80)
SETS = hypothesis.settings(EXAMPLES, max_examples=40)

# Whole numbers, so that a shift or a factor changes no last digit; few of them, so that there are ties.
FEW = strategies.integers(-5, 5).map(float)
MANY = strategies.integers(-10 ** 6, 10 ** 6).map(float)
SAMPLES = strategies.one_of(strategies.lists(FEW, min_size=1, max_size=55), strategies.lists(MANY, min_size=1, max_size=55))
CONFIDENCE = strategies.sampled_from([0.5, 0.8, 0.9, 0.95, 0.98, 0.999])


def _brute(xs: t.Sequence[float], ys: t.Sequence[float]) -> list[float]:
    return sorted(x - y for x in xs for y in ys)


@EXAMPLES
@given(SAMPLES, SAMPLES, CONFIDENCE)
def test_the_estimate_is_the_median_of_all_differences_and_within_its_interval(xs, ys, confidence):
    found = _mann_whitney.location_shift(xs, ys, confidence)
    assert found.estimate == statistics.median(_brute(xs, ys))
    assert found.low <= found.estimate <= found.high


@EXAMPLES
@given(SAMPLES, SAMPLES, CONFIDENCE, strategies.integers(-1000, 1000), strategies.sampled_from([0.25, 2.0, 1024.0]))
def test_a_shift_and_a_unit_move_the_interval_and_nothing_else(xs, ys, confidence, shift, unit):
    found = _mann_whitney.location_shift(xs, ys, confidence)
    assert _mann_whitney.location_shift([x + shift for x in xs], ys, confidence)[:3] == tuple(one + shift for one in found[:3])
    assert _mann_whitney.location_shift([x * unit for x in xs], [y * unit for y in ys], confidence)[:3] == tuple(one * unit for one in found[:3])


@EXAMPLES
@given(SAMPLES, SAMPLES, CONFIDENCE, strategies.randoms(use_true_random=False))
def test_swapping_the_samples_mirrors_the_interval_and_their_order_does_not_matter(xs, ys, confidence, draw):
    found = _mann_whitney.location_shift(xs, ys, confidence)
    assert _mann_whitney.location_shift(ys, xs, confidence) == (-found.estimate, -found.high, -found.low, found.exact)
    assert _mann_whitney.location_shift(draw.sample(xs, len(xs)), draw.sample(ys, len(ys)), confidence) == found


@EXAMPLES
@given(SAMPLES, SAMPLES)
def test_more_confidence_takes_no_narrower_an_interval(xs, ys):
    found = [_mann_whitney.location_shift(xs, ys, confidence) for confidence in (0.5, 0.8, 0.9, 0.95, 0.98, 0.999, 0.99999)]
    for less, more in zip(found, found[1:]):
        assert more.low <= less.low and less.high <= more.high


@EXAMPLES
@given(SAMPLES, SAMPLES, CONFIDENCE)
def test_the_interval_holds_what_scipys_test_does_not_refuse(xs, ys, confidence):
    """Just inside a limit, the test of scipy does not refuse the shift; just outside it does."""
    found = _mann_whitney.location_shift(xs, ys, confidence)
    every = _brute(xs, ys)
    method = "exact" if found.exact else "asymptotic"
    places = [every[0] - 1, *((one + other) / 2 for one, other in zip(every, every[1:]) if one < other), every[-1] + 1]
    near = {place for limit in found[1:3] if math.isfinite(limit) for place in
            (max(one for one in places if one < limit), min(one for one in places if one > limit))}
    for place in near if near else places:
        p = scipy_stats.mannwhitneyu([x - place for x in xs], ys, method=method, use_continuity=True).pvalue
        # Shifts between which no difference lies are one to the test; at the very level the last digit decides.
        assert found.low < place < found.high if p > 1 - confidence + 1e-9 else p >= 1 - confidence - 1e-9 or not found.low < place < found.high


# What was published, and what R says of it: samples, p-value, whether it is exact.
HOLLANDER_AND_WOLFE = ([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46], [1.15, 0.88, 0.90, 0.74, 1.21])
# mpg of mtcars by am: with ties.
AUTOMATIC = [21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7, 21.5, 15.5, 15.2, 13.3, 19.2]
MANUAL = [21.0, 21.0, 22.8, 32.4, 30.4, 33.9, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4]


@pytest.mark.parametrize("xs, ys, method, published", [
    (*HOLLANDER_AND_WOLFE, "exact", 0.2544122544123), (AUTOMATIC, MANUAL, "asymptotic", 0.001871)])
def test_published_examples(xs, ys, method, published):
    """scipy gives the p-value that R gives, and an interval reaches 0 as soon as its confidence is that of the test."""
    assert scipy_stats.mannwhitneyu(xs, ys, method=method).pvalue == pytest.approx(published, abs=5e-7)
    # Both have a car of 21.4 miles: where 0 is itself a difference, the test is asked for the shift just beside it that it is less sure of.
    aside = 1e-9 if 0.0 in _brute(xs, ys) else 0
    p = max(scipy_stats.mannwhitneyu([x - place for x in xs], ys, method=method).pvalue for place in (-aside, aside))
    assert p == pytest.approx(published, rel=0.2)
    less_sure, surer = (_mann_whitney.location_shift(xs, ys, 1 - p * factor) for factor in (1.001, 0.999))
    assert 0 <= less_sure.low or less_sure.high <= 0
    assert surer.low <= 0 <= surer.high and not less_sure.low < aside < less_sure.high and not less_sure.low < -aside < less_sure.high


@SETS
@given(strategies.lists(strategies.tuples(strategies.integers(0, 12), strategies.integers(1, 500), strategies.integers(1, 500)), min_size=1, max_size=3),
       strategies.sampled_from([(1.0, False), (1.0, True), (1.25, True), (2.0, True), (1.5, False)]))
def test_the_evidence_stays_one_on_average_however_the_shares_change(looks, test):
    """All ways to deal the errors are gone through, each as likely as it is when the ratio of the error rates is just at the limit."""
    limit, better = test
    while math.prod(errors + 1 for errors, _canary, _baseline in looks) > 200:
        looks = [(errors // 2, canary, baseline) for errors, canary, baseline in looks]
    mean = []
    for deal in itertools.product(*(range(errors + 1) for errors, _canary, _baseline in looks)):
        weight = 1.0
        for mine, (errors, canary, baseline) in zip(deal, looks):
            share = limit * canary / (limit * canary + baseline)
            weight *= math.comb(errors, mine) * share ** mine * (1 - share) ** (errors - mine)
        mean.append(weight * _sequential.e_value([_look(mine, errors - mine, canary, baseline) for mine, (errors, canary, baseline) in zip(deal, looks)],
                                                 limit, better))
    assert math.isclose(math.fsum(mean), 1, rel_tol=1e-9)


def _look(canary_errors: int, baseline_errors: int, canary_requests: int, baseline_requests: int) -> dict[str, int]:
    return {"canary_requests": canary_requests, "canary_errors": canary_errors, "baseline_requests": baseline_requests, "baseline_errors": baseline_errors}


COUNTS = strategies.tuples(strategies.integers(0, 50), strategies.integers(0, 50), strategies.integers(0, 1000), strategies.integers(0, 1000))


@EXAMPLES
@given(strategies.lists(COUNTS, max_size=8), strategies.randoms(use_true_random=False))
def test_the_evidence_is_no_matter_of_order_and_grows_with_the_canarys_errors(looks, draw):
    looks = [_look(*look) for look in looks]
    value = _sequential.e_value(looks)
    assert math.isclose(_sequential.e_value(draw.sample(looks, len(looks))), value, rel_tol=1e-9)
    more = [dict(look, canary_errors=look["canary_errors"] + 1) for look in looks]
    assert _sequential.e_value(more) >= value * (1 - 1e-9)
    assert _sequential.e_value(more, better=True) <= _sequential.e_value(looks, better=True) * (1 + 1e-9)


@EXAMPLES
@given(strategies.integers(1, 30), strategies.integers(1, 100), strategies.integers(1, 20), strategies.integers(1, 5))
def test_equal_error_rates_are_never_evidence(errors, requests, times, looks):
    """Whatever the canary's share is."""
    same = [_look(min(errors, requests), times * min(errors, requests), requests, times * requests)] * looks
    assert _sequential.e_value(same) <= 1 and _sequential.e_value(same, better=True) <= 1


# Any floating point number at all, and none.
ANYTHING = strategies.one_of(strategies.floats(), strategies.floats(-10, 10), FEW)
RULES = strategies.fixed_dictionaries({"direction": strategies.sampled_from(["increase", "decrease", "either"]), "critical": strategies.booleans(),
                                       "nodata": strategies.sampled_from(["inconclusive", "fail", "pass"]),
                                       "allowed_increase": strategies.sampled_from([1, 1.5]), "allowed_decrease": strategies.sampled_from([1, 0.5])})
CRITERIA = strategies.fixed_dictionaries({"min_samples": strategies.sampled_from([1, 5, 20]), "tolerance": strategies.sampled_from([0, 0.25]),
                                          "confidence": CONFIDENCE, "alpha": strategies.sampled_from([0.001, 0.02, 0.2])})


@EXAMPLES
@given(strategies.lists(ANYTHING, max_size=40), RULES, CRITERIA, strategies.integers(0, 30), strategies.integers(1, 5))
def test_two_that_are_alike_are_never_failed(values, rule, criteria, errors, looks):
    side = {"requests": 100, "errors": errors, "metrics": {"level": values}}
    found = _judge.judge([{"canary": side, "baseline": side}] * looks, {**criteria, "metrics": {"level": rule}})
    assert found["verdict"] != "fail"
    json.dumps(found, allow_nan=False)


@EXAMPLES
@given(strategies.lists(ANYTHING, max_size=40), strategies.lists(ANYTHING, max_size=40), RULES, CRITERIA)
def test_every_sample_is_judged(canary, baseline, rule, criteria):
    """No value, however large, small or missing, ends in anything but a verdict that JSON can hold."""
    look = {side: {"requests": 100, "errors": 1, "metrics": {"level": values}} for side, values in (("canary", canary), ("baseline", baseline))}
    found = _judge.judge([look], {**criteria, "metrics": {"level": rule}})
    json.dumps(found, allow_nan=False)
    assert found["verdict"] in ("pass", "fail", "inconclusive") and found["reasons"]
    if not all(math.isfinite(one) for one in canary + baseline):
        assert found["verdict"] == "inconclusive"


@EXAMPLES
@given(strategies.lists(MANY, min_size=20, max_size=60), strategies.lists(MANY, min_size=20, max_size=60), CRITERIA)
def test_the_sides_of_a_metric_mirror_each_other(canary, baseline, criteria):
    """What is High of one is Low of the other, where both are measured by the same unit."""
    size = max(math.fsum(abs(one) for one in side) for side in (canary, baseline)) or 1.0
    classes = []
    for one, other in ((canary, baseline), (baseline, canary)):
        look = {"canary": {"requests": 100, "errors": 0, "metrics": {"level": [value / size for value in one]}},
                "baseline": {"requests": 100, "errors": 0, "metrics": {"level": [value / size for value in other]}}}
        classes.append(_judge.judge([look], {**criteria, "metrics": {"level": {"direction": "either"}}})["metrics"][0]["classification"])
    assert classes[1] == {"High": "Low", "Low": "High"}.get(classes[0], classes[0])


@pytest.mark.claim("judge-agrees-with-scipy")
@pytest.mark.parametrize("seed", range(3))
def test_large_samples_agree_with_scipy(seed):
    draw = random.Random(seed)
    xs = [round(draw.lognormvariate(0, 1), 2) for _number in range(400)]
    ys = [round(draw.lognormvariate(0.1, 1), 2) for _number in range(900)]
    found = _mann_whitney.location_shift(xs, ys, 0.98)
    assert found.estimate == statistics.median(_brute(xs, ys))
    for limit, outwards in ((found.low, -1), (found.high, 1)):
        refused, kept = (scipy_stats.mannwhitneyu([x - limit + step for x in xs], ys, method="asymptotic").pvalue
                         for step in (-outwards * 1e-7, outwards * 1e-7))
        assert refused <= 0.02 < kept
