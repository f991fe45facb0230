# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import math
import random
import re

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._judge import mann_whitney as _mann_whitney
from ansible_collections.zero.downtime.plugins.module_utils._judge import order as _order

DRAW = random.Random(1)
BASE, SAME = ([DRAW.lognormvariate(0, 0.3) for _number in range(60)] for _number in "ab")
DOUBLE = [2 * one for one in SAME]


def _side(requests=1000, errors=5, **metrics):
    return {"requests": requests, "errors": errors, "metrics": metrics}


def _judged(canary, baseline, metrics=None, **criteria):
    found = _judge.judge([{"canary": canary, "baseline": baseline}], {"metrics": metrics or {}, **criteria})
    json.dumps(found, allow_nan=False)
    assert all(reason.endswith(".") for reason in found["reasons"]) and found["reasons"]
    return found


def _several(number, canary, baseline, **criteria):
    """So many looks that are all alike."""
    return _judge.judge([{"canary": canary, "baseline": baseline}] * number, {"metrics": {}, **criteria})


def _verdict(canary, baseline, **criteria):
    return _judged(canary, baseline, {"latency": {"critical": True}}, **criteria)["verdict"]


@pytest.mark.claim("judge-verdicts", "judge-margin", "judge-no-number-holds")
def test_verdicts():
    base = _side(latency=BASE)
    assert _verdict(_side(latency=SAME), base) == "pass"
    assert _verdict(_side(latency=DOUBLE), base) == "fail"
    assert _several(5, _side(latency=SAME, errors=40), base)["verdict"] == "fail"
    assert _verdict(_side(latency=SAME[:3]), base) == "inconclusive"
    assert _verdict(_side(latency=SAME[:-1] + [math.nan]), base) == "inconclusive"
    assert _verdict(_side(latency=SAME[:-1] + [math.inf]), base) == "inconclusive"
    assert _verdict(_side(latency=SAME[:-1] + [None]), base) == "inconclusive"
    assert _verdict(_side(latency=SAME), base, margin=1.0) == "inconclusive"
    assert _verdict(_side(latency=SAME, errors=0), _side(latency=BASE, errors=30), margin=1.0) == "pass"


def test_whether_errors_are_a_burst_is_not_known_after_a_few_looks():
    found = _several(3, _side(errors=40), _side())
    assert found["verdict"] == "inconclusive" and found["errors"]["e_value"] > found["errors"]["needed"]
    assert found["reasons"] == ["The canary failed 120 of 3000 requests, the baseline 15 of 3000; "
                                "that may be a burst until 5 blocks have errors, and 3 have."]


def _bursts(canary, baseline, looks=12):
    """Looks at four members of each side, with 50 requests each; C(canary) and C(baseline) say who fails 40 of them in which look."""
    def side(name, bad, look):
        blocks = [{"member": "%s%d" % (name, number), "requests": 50, "errors": 40 if (look, number) in bad else 0} for number in range(4)]
        return {"requests": 200, "errors": sum(block["errors"] for block in blocks), "metrics": {}, "blocks": blocks}

    return [{"share": 50, "canary": side("c", canary, look), "baseline": side("b", baseline, look)} for look in range(looks)]


@pytest.mark.claim("judge-burst-of-one-member")
def test_a_burst_of_one_member_is_one_event():
    """80 errors of the canary and none of the baseline: as many fail it where they lie apart."""
    one = _judge.judge(_bursts({(3, 1), (4, 1)}, {}), {})
    assert one["verdict"] == "pass" and one["errors"]["canary_errors"] == 80 and one["errors"]["design_effect"] > 20
    apart = [{"share": 50, "canary": _side(200, 7), "baseline": _side(200, 0)}] * 12
    assert _judge.judge(apart, {})["verdict"] == "fail"
    # Hiccups of both sides are no difference, and those of all members of one side, time and again, are one.
    assert _judge.judge(_bursts({(2, 0), (7, 3)}, {(4, 1), (9, 2)}), {})["verdict"] == "pass"
    assert _judge.judge(_bursts({(look, look % 4) for look in range(12)}, {}), {})["verdict"] == "fail"


@pytest.mark.claim("judge-by-user")
def test_a_user_for_whom_everything_fails_is_one_event_where_it_is_known_how_many_there_are():
    """One of twenty users of the canary fails all the time, and ten of 1,980 of the baseline."""
    looks = [{"share": 1, "canary": _side(20, 1), "baseline": _side(1980, 10)}] * 20
    assert _judge.judge(looks, {})["verdict"] == "fail"
    assert _judge.judge(looks, {"users": 2000})["verdict"] == "pass"
    assert _judge.judge([{"share": 50, "canary": _side(1000, 100), "baseline": _side(1000, 10)}] * 20, {"users": 2000})["verdict"] == "fail"


def _distributed(factor=1.0, late=0.0, looks=12, requests=250, healthy=1.0, seed=1, late_by=3000):
    """Looks at latencies that come as counts; of C(late) of the canary's requests each takes C(late_by) more."""
    draw = random.Random(seed)

    def counts(times, more):
        found = {}
        for _request in range(requests):
            value = round(times * draw.lognormvariate(3, 0.5) + (late_by if draw.random() < more else 0), 1)
            found[value] = found.get(value, 0) + 1
        return {"latency": found}

    return [{"canary": {"requests": requests, "errors": 0, "metrics": counts(factor, late)},
             "baseline": {"requests": requests, "errors": 0, "metrics": counts(healthy, 0)}} for _look in range(looks)]


def _of_latency(looks, **rule):
    found = _judge.judge(looks, {"metrics": {"latency": {"allowed_increase": 1.2, **rule}}})
    json.dumps(found, allow_nan=False)
    return found, {one["name"]: one for one in found["metrics"]}


@pytest.mark.claim("judge-tails")
def test_many_values_are_judged_by_their_middle_and_by_their_tails():
    found, metrics = _of_latency(_distributed(1.5))
    assert found["verdict"] == "fail" and metrics["latency"]["classification"] == "High" and metrics["latency"]["e_value"] >= metrics["latency"]["needed"]
    assert 0.2 <= metrics["latency"]["low"] < metrics["latency"]["estimate"] < metrics["latency"]["high"] and metrics["latency"]["estimate"] > 0.35
    # One of twenty requests is late: neither the middle nor the mean of a shift knows, the tail does.
    found, metrics = _of_latency(_distributed(late=0.05))
    assert found["verdict"] == "fail" and [metrics[name]["classification"] for name in ("latency", "latency_p99")] == ["Pass", "High"]
    found, metrics = _of_latency(_distributed())
    assert found["verdict"] == "pass" and list(metrics) == ["latency", "latency_p95", "latency_p99", "latency_slow"] and found["score"] == 100


@pytest.mark.claim("judge-interval-unknown")
def test_a_limit_that_nobody_knows_is_said_to_be_unknown():
    """One of twenty requests is late, and too few were seen to be sure of any quantile."""
    metrics = _of_latency(_distributed(late=0.05, requests=20, looks=8))[1]
    assert metrics["latency_p99"]["estimate"] > 10 and metrics["latency_p99"]["low"] is metrics["latency_p99"]["high"] is None
    assert metrics["latency_p99"]["reason"].endswith(" % beside the baseline's (limits cannot be told yet).")


@pytest.mark.parametrize("low, high, words", [
    (0.9, 1.25, "-10.0 to +25.0 %"), (1.1, None, "at least +10.0 %; the upper limit cannot be told yet"),
    (None, 3.0, "at most +200.0 %; the lower limit cannot be told yet"), (None, None, "limits cannot be told yet")])
def test_the_words_for_an_interval(low, high, words):
    assert _judge._between(_order.Order(1.0, 1.0, 1.0, low, high)) == words


@pytest.mark.claim("judge-slow-part")
def test_requests_that_take_far_longer_are_judged_as_errors_are():
    """A minute of forty requests a second, half of them the canary's: one of twenty takes a second more than ever before."""
    found, metrics = _of_latency(_distributed(late=0.05, late_by=1000, requests=100))
    assert found["verdict"] == "fail"
    slow = metrics["latency_slow"]
    assert slow["classification"] == "High" and slow["e_value"] > 100 * slow["needed"] and slow["of"] == "latency"
    assert slow["canary_slow"] == pytest.approx(0.05, abs=0.02) and slow["baseline_slow"] < 0.01 and 50 < slow["limit"] < 1000
    assert re.fullmatch(r"latency_slow: \d+ of \d+ values of the canary lie above [\d.]+, and \d of \d+ of the baseline\.", slow["reason"])
    assert slow["reason"] in found["reasons"]
    # No quantile is as sure of it.
    assert max(metrics[name]["e_value"] for name in ("latency", "latency_p95", "latency_p99")) < slow["e_value"] / 100


def test_a_burst_of_slow_requests_is_no_slow_release():
    looks = _distributed(requests=100)
    for look in looks[4:6]:
        look["canary"]["metrics"]["latency"][1000.0] = 60
    assert _of_latency(looks)[1]["latency_slow"]["classification"] == "Pass"


def test_a_few_slow_requests_of_a_thousand_are_no_slow_release():
    looks = _distributed(requests=250, looks=60, late=0.004, late_by=1000)
    assert _of_latency(looks)[0]["verdict"] == "pass"


def test_fewer_slow_requests_are_low():
    looks = [{"canary": look["baseline"], "baseline": look["canary"]} for look in _distributed(late=0.03, requests=100, looks=24)]
    assert _of_latency(looks)[1]["latency_slow"]["classification"] == "Pass"
    assert _of_latency(looks, direction="decrease")[1]["latency_slow"]["classification"] == "Low"


def test_without_a_limit_nothing_is_said_of_slow_requests():
    slow = _of_latency(_distributed(requests=25, looks=1))[1]["latency_slow"]
    assert slow["classification"] == "Pass" and slow["limit"] is slow["canary_slow"] is None and "cannot be told yet" in slow["reason"]


def test_what_is_allowed_of_many_values():
    assert _of_latency(_distributed(1.15))[0]["verdict"] == "pass" and _of_latency(_distributed(1.5), allowed_increase=2)[0]["verdict"] == "pass"
    assert _of_latency(_distributed(0.5))[0]["verdict"] == "pass"
    assert _of_latency(_distributed(0.5), direction="decrease")[1]["latency"]["classification"] == "Low"
    assert _of_latency(_distributed(0.5), direction="either", allowed_decrease=0.4)[0]["verdict"] == "pass"


def test_middle_and_tails_count_once_in_the_score():
    looks = _distributed(late=0.05)
    for look in looks:
        for side in ("canary", "baseline"):
            look[side]["metrics"].update({name: [1.0] * 5 for name in "abc"})
    found = _judge.judge(looks, {"metrics": {"latency": {"allowed_increase": 1.2}, "a": {}, "b": {}, "c": {}}})
    assert found["score"] == 75 and found["verdict"] == "inconclusive"


def test_few_values_of_many_hold():
    found, metrics = _of_latency(_distributed(looks=2, requests=9))
    assert found["verdict"] == "inconclusive" and metrics["latency"]["classification"] == "Nodata"
    assert found["reasons"][-1] == "latency has 18 samples of the canary and 18 of the baseline; 20 of each are needed."


def test_counts_that_the_canary_lacks_are_no_data():
    looks = [{**look, "canary": {**look["canary"], "metrics": {}}} for look in _distributed(looks=5, requests=50)]
    assert _of_latency(looks)[0]["verdict"] == "inconclusive" and _of_latency(looks, nodata="pass")[0]["verdict"] == "pass"
    found, dummy = _of_latency(looks, nodata="fail")
    assert found["verdict"] == "fail"
    assert found["reasons"] == ["latency has no data of the canary, though it got 250 requests and the baseline has 250 samples."]


@pytest.mark.claim("judge-no-traffic-holds")
def test_no_traffic_holds():
    for canary, baseline in ((0, 1000), (1000, 0), (0, 0), (19, 1000)):
        found = _judged(_side(canary, 0), _side(baseline, 0))
        assert found["verdict"] == "inconclusive"
        assert found["reasons"] == ["The canary got %d requests and the baseline %d; 20 of each are needed." % (canary, baseline)]
    assert _judge.judge([], {})["verdict"] == "inconclusive"


def test_a_counter_that_started_anew_is_left_out():
    looks = [{"canary": _side(500, 3), "baseline": _side(500, 2)}, {"canary": _side(-400, -3), "baseline": _side(500, 2)}]
    errors = _judge.judge(looks, {})["errors"]
    assert (errors["canary_requests"], errors["baseline_requests"], errors["canary_errors"], errors["baseline_errors"]) == (500, 500, 3, 2)


@pytest.mark.claim("judge-critical-metric")
def test_the_shape_of_the_result():
    found = _judged(_side(latency=DOUBLE), _side(latency=BASE), {"latency": {"critical": True}}, margin=0.5)
    assert set(found) == {"verdict", "reasons", "errors", "metrics", "score"}
    assert set(found["errors"]) == {"canary_requests", "canary_errors", "baseline_requests", "baseline_errors", "e_value", "needed", "e_not_worse",
                                    "design_effect", "bad_blocks"}
    metric = found["metrics"][0]
    assert metric["classification"] == "High" and metric["failed"] and metric["canary_samples"] == metric["baseline_samples"] == 60
    assert metric["low"] < metric["estimate"] < metric["high"] and metric["effect"] == pytest.approx(2, rel=0.2)
    assert found["score"] == 0 and found["reasons"] == [metric["reason"]]


@pytest.mark.parametrize("direction, factor, classification", [
    ("increase", 2, "High"), ("increase", 0.5, "Pass"), ("decrease", 2, "Pass"), ("decrease", 0.5, "Low"), ("either", 2, "High"), ("either", 0.5, "Low")])
def test_direction(direction, factor, classification):
    for sign in (1, -1):
        # A metric below zero goes up towards zero.
        canary, baseline = [sign * factor ** sign * one for one in SAME], [sign * one for one in BASE]
        found = _judged(_side(level=canary), _side(level=baseline), {"level": {"direction": direction}})
        assert found["metrics"][0]["classification"] == classification


@pytest.mark.claim("judge-allowed")
def test_what_is_allowed():
    def classification(factor, **rule):
        found = _judged(_side(level=[factor * one for one in SAME]), _side(level=BASE), {"level": {"direction": "either", **rule}})
        return found["metrics"][0]["classification"]
    assert classification(2, allowed_increase=1.5) == "High" and classification(2, allowed_increase=3) == "Pass"
    assert classification(0.5, allowed_decrease=0.8) == "Low" and classification(0.5, allowed_decrease=0.2) == "Pass"


def test_an_outlier_of_the_baseline_hides_nothing():
    assert _verdict(_side(latency=DOUBLE), _side(latency=BASE[:-1] + [1000.0])) == "fail"


def test_a_baseline_of_zeros_has_no_percents():
    found = _judged(_side(queue=[3.0] * 30), _side(queue=[0.0] * 30), {"queue": {}})
    assert found["verdict"] == "fail" and found["reasons"] == ["queue of the canary is +3 beside the baseline's zero (+3 to +3)."]


FOUR = {"a": {}, "b": {}, "c": {}, "d": {}}


def _four(bad="", missing="", rules=None, **criteria):
    """Four metrics, of which some got worse and some have no sample of the canary."""
    canary = {name: DOUBLE if name in bad else SAME for name in FOUR if name not in missing}
    return _judged(_side(**canary), _side(**dict.fromkeys(FOUR, BASE)), rules or FOUR, **criteria)


@pytest.mark.claim("judge-score", "judge-missing-data-holds")
@pytest.mark.parametrize("bad, missing, score, verdict", [
    ("", "", 100, "pass"), ("a", "", 75, "inconclusive"), ("ab", "", 50, "fail"),
    # What lacks data is not in the score, and holds.
    ("", "d", 100, "inconclusive"), ("a", "d", 200 / 3, "fail"),
    # Half of the metrics without data: no score, and no fail.
    ("", "cd", None, "inconclusive"), ("a", "cd", None, "inconclusive"), ("", "abcd", None, "inconclusive")])
def test_the_score(bad, missing, score, verdict):
    found = _four(bad, missing)
    assert found["verdict"] == verdict and found["score"] == (score if score is None else pytest.approx(score))


@pytest.mark.claim("judge-says-why")
def test_a_score_that_is_enough_names_what_failed():
    found = _four("a", pass_score=75)
    assert found["verdict"] == "pass" and found["reasons"][0] == "The score is 75; 75 are needed." and found["reasons"][1].startswith("a of the canary is +")


@pytest.mark.parametrize("missing, score, verdict", [("d", 75, "inconclusive"), ("cd", 50, "fail"), ("abcd", 0, "fail")])
def test_nodata_fail_counts_as_failed_also_where_half_lack_data(missing, score, verdict):
    found = _four(missing=missing, rules=dict.fromkeys(FOUR, {"nodata": "fail"}))
    assert (found["score"], found["verdict"]) == (score, verdict)
    assert "d has no data of the canary, though it got 1000 requests and the baseline has 60 samples." in found["reasons"]


def test_nodata_fail_of_a_critical_metric_fails():
    assert _four(missing="d", rules={**FOUR, "d": {"nodata": "fail", "critical": True}})["verdict"] == "fail"


@pytest.mark.claim("judge-nodata-fail")
def test_nodata_fail_does_not_blame_the_canary_for_what_the_baseline_lacks_too():
    rules = {"latency": {"nodata": "fail", "critical": True}}
    for canary, baseline in (
            # Neither has data: the monitoring is down.
            (_side(), _side()), (_side(latency=[]), _side(latency=BASE[:19])),
            # It did not get enough requests to have data of.
            (_side(19, 0), _side(latency=BASE)),
            # It has some, and it has what is no number.
            (_side(latency=SAME[:1]), _side(latency=BASE)), (_side(latency=[math.nan]), _side(latency=BASE))):
        assert _judged(canary, baseline, rules)["verdict"] == "inconclusive"


def test_nodata_pass():
    rules = {"failures": {"nodata": "pass"}}
    assert _judged(_side(), _side(), rules)["verdict"] == "pass"
    assert _judged(_side(failures=[math.nan]), _side(), rules)["verdict"] == "inconclusive"
    assert _judged(_side(failures=DOUBLE), _side(failures=BASE), rules)["verdict"] == "fail"


def test_a_few_samples_that_cannot_be_sure_hold():
    found = _judged(_side(latency=[9.0, 9.5, 9.9]), _side(latency=[1.0, 1.1, 1.2]), {"latency": {"critical": True}}, min_samples=3)
    assert found["verdict"] == "inconclusive" and "too few to be" in found["reasons"][0]


@pytest.mark.claim("judge-metric-false-alarms")
def test_looking_at_metrics_again_and_again_costs_no_more_than_is_promised():
    """Healthy canaries, looked at 25 times. An interval that knows of one look only fails them far too often."""
    draw = random.Random(6)
    criteria = {"metrics": {"latency": {"critical": True}}, "tolerance": 0.0, "confidence": 0.9}
    failed = naive = 0
    for _canary in range(40):
        looks = [{side: _side(latency=[draw.gauss(9, 1) for _number in range(size)]) for side, size in (("canary", 10), ("baseline", 25))}
                 for _look in range(25)]
        failed += any(_judge.judge(looks[:count], criteria)["verdict"] == "fail" for count in range(1, 26))
        samples = [_judge._samples(looks[:count], "latency", 20) for count in range(2, 26)]
        naive += any(_mann_whitney.location_shift(one.canary, one.baseline, 0.9).low > 0 for one in samples)
    # 0.05 is promised: 1 - confidence is for both directions together, and this metric can only fail in one.
    assert failed <= 2 < 6 <= naive


CRITERIA = {"alpha": 0.01, "min_samples": 30, "confidence": 0.95, "tolerance": 0.1, "pass_score": 90, "marginal_score": 50, "margin": 0.5,
            "metrics": {"latency": {"direction": "either", "critical": True, "allowed_increase": 1.2, "allowed_decrease": 0.5, "nodata": "fail"},
                        "queue": None}}


def test_good_criteria_are_accepted():
    _judge.check(CRITERIA)
    _judge.check({})
    _judge.check(None)
    _judge.check({"alpha": "0.05", "min_samples": "40", "margin": None, "metrics": None})
    # And their text counts as the number that it is.
    assert _judge.judge([], {"alpha": "0.05"})["errors"]["needed"] == pytest.approx(20)


@pytest.mark.claim("judge-bad-criteria-refused")
@pytest.mark.parametrize("criteria, sentence", [
    ({"alpha": 0}, "judge.alpha is 0; it must be a number above 0 and below 1"),
    ({"alpha": 1}, "judge.alpha is 1; it must be a number above 0 and below 1"),
    ({"alpha": "much"}, "judge.alpha is 'much'; it must be a number above 0 and below 1"),
    ({"alpha": True}, "judge.alpha is True; it must be a number above 0 and below 1"),
    ({"alpha": None}, "judge.alpha is None; it must be a number above 0 and below 1"),
    ({"alpha": math.nan}, "judge.alpha is nan; it must be a number above 0 and below 1"),
    ({"confidence": 98}, "judge.confidence is 98; it must be a number above 0 and below 1"),
    ({"min_samples": 0}, "judge.min_samples is 0; it must be a whole number from 1"),
    ({"min_samples": 2.5}, "judge.min_samples is 2.5; it must be a whole number from 1"),
    ({"min_samples": math.inf}, "judge.min_samples is inf; it must be a whole number from 1"),
    ({"tolerance": -0.1}, "judge.tolerance is -0.1; it must be a number from 0 to below 1; from 1 on no metric could ever fail"),
    ({"pass_score": 101}, "judge.pass_score is 101; it must be a number from 0 to 100"),
    ({"marginal_score": -1}, "judge.marginal_score is -1; it must be a number from 0 to 100"),
    ({"marginal_score": 96}, "judge.marginal_score is 96; it must not be above pass_score, which is 95"),
    ({"users": 0.5}, "judge.users is 0.5; it must be a number from 1, or nothing"),
    ({"margin": 0}, "judge.margin is 0; it must be a number above 0, or nothing"),
    ({"alhpa": 0.1}, "judge.alhpa is not known; there are: alpha, confidence, margin, marginal_score, metrics, min_samples, pass_score, tolerance, users"),
    ([], "judge is []; it must be a dictionary of criteria"),
    ({"metrics": ["latency"]}, "judge.metrics is ['latency']; it must be a dictionary with a metric's name for each key"),
    ({"metrics": {"latency": 3}}, "judge.metrics.latency is 3; it must be a dictionary of criteria"),
    ({"metrics": {"latency": {"direction": "up"}}}, "judge.metrics.latency.direction is 'up'; it must be one of: increase, decrease, either"),
    ({"metrics": {"latency": {"nodata": []}}}, "judge.metrics.latency.nodata is []; it must be one of: inconclusive, fail, pass"),
    ({"metrics": {"latency": {"critical": "yes"}}}, "judge.metrics.latency.critical is 'yes'; it must be true or false"),
    ({"metrics": {"latency": {"allowed_increase": 0.9}}},
     "judge.metrics.latency.allowed_increase is 0.9; it must be a number from 1 (1.2 allows 20 percent more)"),
    ({"metrics": {"latency": {"allowed_decrease": 0}}},
     "judge.metrics.latency.allowed_decrease is 0; it must be a number above 0 and at most 1 (0.8 allows 20 percent less)"),
    ({"metrics": {"latency": {"critcal": True}}},
     "judge.metrics.latency.critcal is not known; there are: allowed_decrease, allowed_increase, critical, direction, nodata"),
])
def test_bad_criteria_are_refused_in_a_sentence(criteria, sentence):
    with pytest.raises(DowntimeError) as refusal:
        _judge.check(criteria)
    assert str(refusal.value) == sentence


def test_the_option_is_named_as_it_was_given():
    with pytest.raises(DowntimeError, match=r"^deploy_canary\.judge\.alpha is 7;"):
        _judge.check({"alpha": 7}, "deploy_canary.judge")
    with pytest.raises(DowntimeError, match=r"^deploy_canary\.metrics\.cpu\.direction is 'up';"):
        _judge.check({"metrics": {"cpu": {"direction": "up"}}}, "deploy_canary.judge", "deploy_canary.metrics")


def test_the_judge_refuses_what_the_check_refuses():
    with pytest.raises(DowntimeError, match=r"^judge\.alpha is 7;"):
        _judge.judge([], {"alpha": 7})
