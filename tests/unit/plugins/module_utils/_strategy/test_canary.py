# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import random

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._plan import canary_options as _canary_options
from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome

URL = "http://127.0.0.1:8080/"


def check(url=URL, counted=True, **canary):
    return _canary.check(canary, url, counted)


def test_defaults_are_filled_in():
    found = check()
    assert found["steps"] == [1, 5, 25, 50, 100] and found["errors"] == "balancer" and found["latency"] == "probe"
    assert found["judge"]["alpha"] == 0.01 and list(found["metrics"]) == ["latency_ms"] and found["metrics"]["latency_ms"]["allowed_increase"] == 1.2
    assert found["warm_up"] == 20
    assert check(latency="balancer")["metrics"]["latency_ms"]["allowed_increase"] == 1.5
    assert check(counted=False)["errors"] == "probe" and check(url=None)["latency"] == "balancer"
    # The plan's own options come in once more, when a share is judged.
    assert _canary.check(found, URL, True) == found


@pytest.mark.claim("canary-query-of-both-sides")
@pytest.mark.parametrize("canary, words", [
    ({"steps": [5, 1, 100]}, r"deploy_canary.steps is \[5, 1, 100\]; ascending whole percents"),
    ({"steps": [5, 5, 100]}, "ascending"),
    ({"steps": [1, 50]}, "that end with 100"),
    ({"steps": [0, 100]}, "from 1 on"),
    ({"steps": []}, "ascending"),
    ({"step_time": 10, "deadline": 5}, "deploy_canary.deadline is 5, which is below step_time, 10"),
    ({"step_time": 10, "deadline": 20}, "deploy_canary.deadline is 20, which is not above warm_up, 20"),
    ({"interval": 0}, "deploy_canary.interval is 0.0; a number from 0.1 on"),
    ({"judge": {"alpha": "x"}}, "deploy_canary.judge.alpha is 'x'; a number is accepted"),
    ({"judge": {"alpha": 2}}, "deploy_canary.judge.alpha is 2.0; it must be a number above 0 and below 1"),
    ({"metrics": {"latency_ms": {"allowed_increase": 0.5}}}, "deploy_canary.metrics.latency_ms.allowed_increase is 0.5; it must be a number from 1"),
    ({"judge": {"alfa": 1}}, "deploy_canary.judge.alfa is no known option.*did you mean alpha"),
    ({"metrics": {"cpu": 3}}, "deploy_canary.metrics.cpu is 3; a mapping with a query"),
    ({"metrics": {"cpu": {}}}, "deploy_canary.metrics.cpu.query is missing"),
    ({"metrics": {"cpu": {"query": "up"}}}, "asks the same of both sides"),
    ({"metrics": {"cpu": {"query": "up{job='$job'}"}}}, r"has \$job; \$side, \$pool and \$release are accepted"),
    ({"metrics": {"cpu": {"query": "up{side='$side'}"}}}, "deploy_canary.prometheus is missing"),
    ({"metrics": {"latency_ms": {"query": "up{side='$side'}"}}}, "another name is accepted"),
    ({"prometheus": {"timeout": 5}}, "deploy_canary.prometheus.url is missing"),
])
def test_what_is_refused(canary, words):
    with pytest.raises(DowntimeError, match=words):
        check(**canary)


def test_who_counts_has_to_be_there():
    with pytest.raises(DowntimeError, match="deploy_canary.errors is 'probe', but deploy_evidence_url is not set"):
        check(url=None, errors="probe")
    with pytest.raises(DowntimeError, match="deploy_canary.latency is 'balancer', but the balancers of this driver do not count"):
        check(counted=False, latency="balancer")


def test_the_probe_asks_as_often_as_a_canary_wants():
    assert _canary.evidence_rate({"canary": check(probe_rate=80)}, 50) == 80
    assert _canary.evidence_rate({"canary": check()}, 50) == _canary.evidence_rate({}, 50) == 50


@pytest.mark.claim("secrets-stay-out-of-plans")
def test_a_plan_has_no_secrets():
    canary = {"prometheus": {"url": "http://p", "headers": {"authorization": "secret"}}}
    assert "headers" not in _canary.planned({"deploy_canary": canary, "deploy_evidence_url": URL}, True)["canary"]["prometheus"]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Numbers:
    """A source whose numbers are given."""

    def __init__(self, canary=5, baseline=5, slower=1.0, requests=1000):
        self.errors = {"canary": canary, "baseline": baseline}
        self.slower, self.requests = {"canary": slower, "baseline": 1.0}, requests
        self.draw = random.Random(1)
        self.begun = 0
        self.problem = None

    def begin(self):
        self.begun += 1

    def look(self):
        return {side: {"requests": self.requests, "errors": self.errors[side] if self.requests else 0, "metrics": {
            "latency_ms": [self.slower[side] * self.draw.lognormvariate(0, 0.3) for dummy in range(min(self.requests, 30))]}} for side in self.errors}


def watch(source, lost=lambda: None, earlier=(), **canary):
    time = Time()
    options = check(**{"step_time": 30, "interval": 4, "deadline": 60, "warm_up": 0, **canary})
    found, looks = _canary.watch([source], options, 5, earlier, lost, time.clock, time.sleep)
    assert source.begun == 1 and found["share"] == 5 and found["waited"] == pytest.approx(time.now - 100)
    return found, looks


@pytest.mark.claim("canary-pass-waits-for-step-time")
def test_a_good_release_passes_when_its_time_is_over():
    found, looks = watch(Numbers())
    assert found["verdict"] == "pass" and found["waited"] == 30 and len(looks) == 8


def test_a_bad_release_fails_at_once():
    # As soon as it can be told from a burst, and at once when hardly anything else is left.
    found, looks = watch(Numbers(canary=200))
    assert found["verdict"] == "fail" and found["waited"] == 20 and len(looks) == 5
    assert _canary.told(found, "2.0.0").startswith("2.0.0 was withdrawn at 5 % of the requests: The canary fails more often: 1000 of 5000")
    found, looks = watch(Numbers(canary=500))
    assert found["verdict"] == "fail" and len(looks) == 2
    assert found["reasons"] == ["The canary failed 1000 of its last 2000 requests, the baseline 10 of 2000."]
    assert watch(Numbers(slower=10))[0]["verdict"] == "fail"


def test_a_source_that_is_away_holds_and_is_named():
    source = Numbers(requests=0)
    source.problem = "Prometheus is away: http://p cannot be reached: Connection refused."
    found, dummy = watch(source)
    assert found["verdict"] == "inconclusive" and found["reasons"][-1] == source.problem


def test_without_requests_it_is_held_until_the_deadline():
    found, looks = watch(Numbers(requests=0))
    assert found["verdict"] == "inconclusive" and found["deadline"] and found["waited"] == 60 and len(looks) > 10
    assert "after 60 s nothing could be said" in _canary.told(found, "2.0.0")
    # Those of a smaller share do not stand for this one.
    source = Numbers(requests=0)
    found, looks = watch(source, earlier=[Numbers().look() for dummy in range(5)])
    assert found["verdict"] == "inconclusive"


@pytest.mark.claim("canary-errors-count-on")
def test_errors_of_smaller_shares_count_and_times_do_not():
    # Ten times as often, but too few in one look: together they are enough.
    few = Numbers(canary=4, baseline=0, requests=100)
    before = [{**few.look(), "share": 1, "seconds": 4} for dummy in range(5)]
    alone = watch(Numbers(canary=4, baseline=0, requests=100), step_time=4, deadline=4, judge={"alpha": 0.0001})[0]
    assert alone["verdict"] == "pass"
    assert watch(few, earlier=before, step_time=4, deadline=4, judge={"alpha": 0.0001})[0]["verdict"] == "fail"
    slow = Numbers(slower=10)
    assert watch(Numbers(), earlier=[slow.look() for dummy in range(5)])[0]["verdict"] == "pass"


class Cold(Numbers):
    """Members that fail a fifth of their requests, and answer ten times as slowly, in the first looks of their traffic; app2 gets some later."""

    def __init__(self, cold, late=0):
        super().__init__(baseline=0)
        self.cold, self.late, self.count = cold, late, 0

    def look(self):
        self.count += 1
        self.slower["canary"] = 10.0 if self.count <= self.cold or self.late < self.count <= self.late + self.cold else 1.0
        found = super().look()
        since = {"app1": self.count, "app2": self.count - self.late}
        found["canary"]["blocks"] = [{"member": name, "requests": 500 if number > 0 else 0, "errors": 100 if 0 < number <= self.cold else 0}
                                     for name, number in since.items()]
        found["canary"].update({kind: sum(block[kind] for block in found["canary"]["blocks"]) for kind in ("requests", "errors")})
        return found


@pytest.mark.claim("canary-warm-up")
def test_a_members_first_traffic_is_not_judged():
    assert watch(Cold(5), warm_up=0)[0]["verdict"] == "fail"
    found, looks = watch(Cold(5), warm_up=20)
    assert found["verdict"] == "pass" and found["waited"] == 30 and found["errors"]["canary_errors"] == 0
    # What came before the members were warm is no evidence at the next share either, and a member that gets its first request later warms up then.
    assert watch(Numbers(baseline=5), warm_up=20, earlier=looks)[0]["verdict"] == "pass"
    assert watch(Cold(5, late=6), warm_up=20, deadline=100)[0]["verdict"] == "pass"
    # It is not over before there was enough after it.
    found, dummy = watch(Cold(5), warm_up=50, step_time=4, deadline=51)
    assert found["verdict"] == "inconclusive" and found["reasons"][-1] == (
        "13000 more requests came in the first 50 s of a member's traffic, which are not judged.")


@pytest.mark.claim("canary-warm-up-hard-limit")
def test_what_fails_half_of_its_requests_goes_also_while_it_warms_up():
    found, looks = watch(Numbers(canary=600), warm_up=20)
    assert found["verdict"] == "fail" and len(looks) == 2 and "failed 1200 of its last 2000" in found["reasons"][0]

    # One member of two that fails all its requests is not the release.
    class Broken(Numbers):
        def look(self):
            found = super().look()
            found["canary"]["blocks"] = [{"member": "app1", "requests": 600, "errors": 600}, {"member": "app2", "requests": 400, "errors": 0}]
            return found

    assert len(watch(Broken(canary=600), warm_up=20)[1]) > 2
    # Where everybody fails, it is nobody's fault.
    assert watch(Numbers(canary=600, baseline=600), warm_up=20)[0]["verdict"] == "pass"


@pytest.mark.claim("canary-sticky-is-told")
def test_where_users_stay_on_their_side_the_reasons_say_what_is_not_known():
    time, options = Time(), check(step_time=30, interval=4, deadline=60, warm_up=0)
    found, dummy = _canary.watch([Numbers(canary=200)], options, 5, (), lambda: None, time.clock, time.sleep, sticky=True)
    assert found["verdict"] == "fail" and found["reasons"][0].startswith("The canary fails more often") and found["reasons"][-1] == _canary.STICKY
    counted = check(step_time=30, interval=4, deadline=60, warm_up=0, judge={"users": 10 ** 6})
    found, dummy = _canary.watch([Numbers(canary=200)], counted, 5, (), lambda: None, time.clock, time.sleep, sticky=True)
    assert found["verdict"] == "fail" and _canary.STICKY not in found["reasons"]
    found, dummy = _canary.watch([Numbers()], options, 5, (), lambda: None, time.clock, time.sleep, sticky=True)
    assert found["verdict"] == "pass" and _canary.STICKY not in found["reasons"]


@pytest.mark.claim("canary-lost-request-ends-it")
def test_a_lost_request_ends_it():
    found, looks = watch(Numbers(), lost=lambda: "The probe lost 1 of 100 requests.")
    assert found["verdict"] == "fail" and len(looks) == 1 and found["reasons"] == ["The probe lost 1 of 100 requests."]


def test_no_time_is_one_look():
    assert watch(Numbers(), step_time=0, deadline=0)[0]["waited"] == 4


def test_only_a_deploy_to_the_idle_side_goes_step_by_step():
    def release(letter):
        return letter and {"digest": letter * 64, "label": letter}

    def laid_out(serves="o", idle="n", **changes):
        plan = {"verb": "deploy", "release": "n", "members": ["app1"], "side": "green", "serving_side": "blue", "serving_slots": {"app1": "blue"},
                "capacity": {"first": False, "ready": ["app1"]}, "canary": check(), **changes}
        return _canary.lay_out(plan, {"app1": {"release": release("n"), "active": release(idle), "slots": {"blue": {"active": release(serves)}}}})

    assert laid_out()["steps"] == [1, 5, 25, 50, 100]
    assert laid_out(verb="rollback", release="previous")["steps"] == [100]
    # Nothing serves yet: there is nothing to compare with.
    assert laid_out(serves=None)["steps"] == [100]
    # Balancers disagreed, and the one that sends requests elsewhere is brought back.
    assert laid_out(serves="n", sides_agree=False)["steps"] == [100]


UNJUDGED = "nothing could be said until the deadline, and deploy_canary.at_deadline is go_on"


@pytest.mark.claim("canary-unjudged-is-said")
@pytest.mark.parametrize("verdicts, clause", [
    ({}, ""), ({1: "pass", 50: "pass"}, ""),
    ({1: "inconclusive", 50: "pass"}, f"; it was not judged at 1 % of the requests: {UNJUDGED}"),
    ({1: "inconclusive", 25: "pass", 50: "inconclusive"}, f"; it was not judged at 1 % and 50 % of the requests: {UNJUDGED}")])
def test_the_last_sentence_says_at_which_shares_nobody_judged_it(tmp_path, verdicts, clause):
    steps = [{"share": share, "verdict": verdict, **({"deadline": True} if verdict == "inconclusive" else {})} for share, verdict in verdicts.items()]
    if steps:
        (tmp_path / "canary.json").write_text(json.dumps({"steps": steps, "looks": []}), encoding="utf-8")
    old, new = ({"digest": letter * 64, "label": letter} for letter in "on")
    plan = {"verb": "deploy", "app": "shop", "strategy": "canary", "members": ["app1"], "absent": [], "balancers": ["lb1"], "run_dir": str(tmp_path),
            "release": new, "intended": new, "serving_release": old, "serving_side": "blue", "side": "green", "batches": [],
            "switch": {"from": "blue", "to": "green", "home": False}, "hooks": {}}
    local = {"__deploy_switched": {"shares": {"blue": 0, "green": 100}}}
    went = "Deploy of shop: n serves on green (1 of 1 members); blue keeps o warm"
    assert _canary.outcome(local, plan, "Deploy of shop", None, False)["sentence"] == f"{went}{clause}."
    assert "judged" not in _canary.outcome(local, plan, "Deploy of shop", None, True)["sentence"]
    assert "judged" not in _canary.outcome(local, plan, "Deploy of shop", "2 requests were lost", False)["sentence"]
    # Neither does it go missing where requests were lost at the end.
    hostvars = {"localhost": {**local, "__deploy_evidence": {"evidence": {"verdict": "lost", "sentence": "Requests were lost: 2."}}}, "app1": {}}
    assert clause.removeprefix("; ") in _outcome.outcome(hostvars, ["app1"], plan, plan)["sentence"]


def test_the_options_and_the_judge_agree_on_defaults():
    assert {name: option.get("default") for name, option in _canary_options.JUDGE.items()} == _judge.DEFAULTS
    assert {name: option.get("default") for name, option in _canary_options.METRIC.items() if name != "query"} == _judge.METRIC
