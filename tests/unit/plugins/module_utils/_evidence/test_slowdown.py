# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._evidence import slowdown as _slowdown
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import Outcome, Tally

T0, OLD, NEW = 1000.0, "a" * 64, "b" * 64
STEPS = [
    {"name": "drain", "started": T0 + 10, "finished": T0 + 12, "result": "succeeded", "members": ["app1"], "batch": 1},
    {"name": "return", "started": T0 + 14, "finished": T0 + 16, "result": "succeeded", "members": ["app1"], "batch": 1},
]


def account(latency, release=lambda when: OLD if when < 14 else NEW, seconds=26, rate=50):
    """A probe's account; C(latency) and C(release) say of each second what answers and how fast."""
    tally = Tally(_probe.complete({"url": "http://shop.example/"}), T0)
    for number in range(seconds * rate):
        when = number / rate
        outcome = Outcome(None, "", 200, None, release(when))
        tally.finish("fresh", T0 + when, T0 + when, latency(when), outcome)
    labels = {OLD: "1.0.0", NEW: "2.0.0"}
    extra = {"stall_ms": 2.0, "skipped": 0, "notes": [], "answers": {"labels": labels, "addresses": {}}}
    return {**tally.report(T0 + seconds), **extra}


def composed(latency, most=None, **about):
    return _evidence.compose(account(latency, **about), steps=STEPS, max_slowdown=most)


def slow(factor, since=14, base=0.01):
    return lambda when: base * (factor if when >= since else 1)


@pytest.mark.claim("slower-is-said")
def test_three_seconds_slower_are_said_and_fail_nothing():
    found = composed(lambda when: 0.01 if when < 14 else 3.01)
    assert found["verdict"] == "clean" and not found["rollback"]
    assert found["sentence"].startswith("No request was lost: 0 of 1,300 probe requests;")
    said = re.search(
        r"; release 2.0.0 answers slower: p50 (\d),(\d{3}) ms, 10 ms before \((\d+) times\)\.$", found["sentence"]
    )
    assert int(said[1] + said[2]) == pytest.approx(3010, rel=0.05) and int(said[3]) == pytest.approx(301, rel=0.1)
    before, (entry,) = (found["probe"]["slowdown"][name] for name in ("before", "compared"))
    assert (before["requests"], entry["requests"], entry["what"], entry["slower"]) == (
        500,
        600,
        "release 2.0.0 answers",
        True,
    )
    assert before["p50_ms"] == pytest.approx(10, rel=0.05) and entry["p99_ms"] == pytest.approx(3010, rel=0.05)
    assert found["probe"]["by_release"][NEW]["requests"] == 600 and "hist" not in found["probe"]["by_release"][NEW]


@pytest.mark.claim("slower-fails-where-asked")
@pytest.mark.parametrize("most, verdict", [(None, "clean"), (40, "clean"), (20, "degraded"), (1, "degraded")])
def test_it_fails_where_somebody_asked(most, verdict):
    found = composed(slow(30), most)
    assert found["verdict"] == verdict and found["rollback"] == (verdict == "degraded")
    assert found["sentence"].count("slower") == 1
    if verdict == "degraded":
        assert found["sentence"].startswith("The application got worse: release 2.0.0 answers slower: p50 ")
        assert found["sentence"].endswith(f"and max_slowdown allows {most} times.")


@pytest.mark.parametrize(
    "latency",
    [
        slow(1),
        slow(1.4, base=0.2),
        # Ten times as slow, and nobody notices: it is a matter of 18 ms.
        slow(10, base=0.002),
        # The old release is as slow as ever, and the new one is faster.
        slow(0.1, base=3),
    ],
)
def test_as_before(latency):
    found = composed(latency, most=1.5)
    assert found["verdict"] == "clean" and "slower" not in found["sentence"]


def test_what_lies_within_the_probes_own_stall_is_not_said():
    def with_stall(milliseconds):
        probe = {**account(slow(30)), "stall_ms": milliseconds}
        return _slowdown.look(probe, T0 + 10, T0 + 16, None).told

    assert with_stall(250) and not with_stall(350)


def test_a_few_slow_requests_of_a_hundred_are_a_matter_of_the_99th_percentile():
    draw = random.Random(1)
    found = composed(lambda when: 3 if when >= 14 and draw.random() < 0.05 else 0.01)
    assert "; release 2.0.0 answers slower: p99 " in found["sentence"] and found["verdict"] == "clean"


def beside(seconds=70, until=68, late=0.05, seed=2):
    """A canary's account: two seconds before, then every second answer is the new release's, and some take a second
    more."""
    draw = random.Random(seed)
    tally = Tally(_probe.complete({"url": "http://shop.example/"}), T0)
    for number in range(seconds * 40):
        when = number / 40
        release = OLD if when < 2 or (when < until and draw.random() < 0.5) else NEW
        took = 0.003 * draw.lognormvariate(0, 0.5) + (1 if release == NEW and draw.random() < late else 0)
        tally.finish("fresh", T0 + when, T0 + when, took, Outcome(None, "", 200, None, release))
    extra = {"stall_ms": 22.0, "skipped": 0, "notes": [], "answers": {"labels": {NEW: "2.0.0"}, "addresses": {}}}
    return {**tally.report(T0 + seconds), **extra}


@pytest.mark.claim("slower-than-meanwhile")
def test_while_both_releases_answer_the_old_ones_answers_are_a_yardstick_too():
    found = _slowdown.look(beside(), T0 + 2, T0 + 70, None)
    assert re.fullmatch(
        r"release 2.0.0 answers slower: p99 [\d,]+ ms, \d+ ms of the release before meanwhile \(\d+ times\)", found.told
    )
    assert found.account["before"]["requests"] < 100 < 1000 < found.account["meanwhile"]["requests"]
    assert found.account["meanwhile"]["p99_ms"] < 20 and found.account["compared"][0]["slower"]
    failing = _slowdown.look(beside(), T0 + 2, T0 + 70, 3).failing
    assert failing and failing[0].endswith(" times), and max_slowdown allows 3 times")
    # No slower than the other one in the same minutes, and than before.
    assert _slowdown.look(beside(late=0), T0 + 2, T0 + 70, 1).told == ""


def test_what_the_old_release_answered_before_a_switch_is_no_yardstick():
    """For the better part of its time the new one answers alone."""
    found = _slowdown.look(beside(until=20), T0 + 2, T0 + 70, None)
    assert found.account["meanwhile"] is None and found.told == ""


def test_chance_makes_no_release_slower_than_the_other_one():
    for seed in range(60):
        assert _slowdown.look(beside(30, 30, 0, seed), T0 + 2, T0 + 30, None).told == ""


@pytest.mark.parametrize("same", [OLD, None])
def test_without_another_release_the_times_are_compared(same):
    found = composed(slow(30), release=lambda when: same)
    assert "; answers after the moves are slower: p50 " in found["sentence"]
    during = composed(lambda when: 0.3 if 10 <= when < 16 else 0.01, release=lambda when: same)
    assert "; answers during the moves are slower: p50 " in during["sentence"]


def test_too_few_answers_say_nothing():
    def told(latency, began, **about):
        return _slowdown.look(account(latency, **about), began, None, 1)

    assert told(slow(30, 0.5), T0 + 0.5) == (None, "", [])
    few = told(slow(30), T0 + 10, release=lambda when: OLD if when < 25.9 else NEW)
    assert (few.told, few.failing, few.account["compared"]) == ("", [], [])
    assert told(slow(30), None) == (None, "", [])


def test_what_varies_by_nature_is_not_slower():
    """Heavy tails, the same before and after: the rule has to hold over many deploys."""
    draw = random.Random(5)
    told = 0
    for dummy in range(100):
        probe = account(lambda when: 0.02 * draw.lognormvariate(0, 1.5))
        told += bool(_slowdown.look(probe, T0 + 10, T0 + 16, None).told)
    assert told == 0


def test_what_became_slower_is_said_once():
    found = _slowdown.Slowdown({}, "x slower: y", ["x slower: y, and max_slowdown allows 2 times"])
    assert (
        _slowdown.said("The application got worse: %s." % found.failing[0], found)
        == "The application got worse: %s." % found.failing[0]
    )
    assert _slowdown.said("Requests were lost: 2.", found) == "Requests were lost: 2; x slower: y."
    assert _slowdown.said("Nothing.", None) == "Nothing."


@pytest.mark.parametrize("kind, verdict", [("empty", "degraded"), ("status_500", "clean")])
def test_wrong_answers_of_a_release_that_few_members_have_are_its_own(kind, verdict):
    """One request of ten reaches it, for three seconds: all answers together hardly show what it does.

    Errors as many may be a member that stumbles, which the probe cannot tell.
    """
    tally = Tally(_probe.complete({"url": "http://shop.example/"}), T0)
    for number in range(20 * 50):
        when = number / 50
        new = when >= 17 and number % 10 == 0
        tally.finish(
            "fresh",
            T0 + when,
            T0 + when,
            0.01,
            Outcome(kind if new else None, "no body", 200, None, NEW if new else OLD),
        )
    extra = {"stall_ms": 2.0, "skipped": 0, "notes": [], "answers": {"labels": {NEW: "2.0.0"}, "addresses": {}}}
    probe = {**tally.report(T0 + 20), **extra}
    found = _evidence.compose(probe, steps=STEPS)
    assert (found["verdict"], found["rollback"]) == (verdict, verdict == "degraded")
    if verdict == "degraded":
        assert found["sentence"] == (
            "The application got worse: 15 of 15 probe requests got a wrong answer of release 2.0.0, none of 500 before; "
            "the first wrong one: no body."
        )
    # By the header alone: the same answers of no release are a matter of all requests, of which they are too few.
    for name in ("by_release", "releases"):
        probe[name] = {}
    assert _evidence.compose(probe, steps=STEPS)["verdict"] == "clean"
