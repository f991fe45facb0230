# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canaries on the local stage: a bad one loses what it had, one that cannot be judged is held, and nobody else moves anything meanwhile.
(A good one, and a bad one on two balancers: test_two_balancers. Reloads by systemd: the scenarios haproxy_reload and nginx. A controller that
dies: tests/chaos.)"""

from __future__ import annotations

import json
import re
import signal
import typing as t

import pytest
from haproxy_stage import wait_until
from sides import Side, version

# Quick steps: the load is a few requests a second, so the shares are large enough to get some of them.
QUICK = {"steps": [20, 50, 100], "step_time": 3, "interval": 1, "warm_up": 0, "deadline": 30, "latency": "none"}
# Nobody passes before he is proven to fail less than twice as often, which one that fails can never be: however few requests come, it is a matter of
# time until he is found out, and none of chance.
STRICT = {**QUICK, "deadline": 200, "judge": {"margin": 1}}
CANARY = {"deploy_strategy": "canary", "deploy_soak": 0, "deploy_canary": QUICK, "deploy_evidence_rate": 50}


def play(found: Side, playbook: str, **variables: t.Any) -> t.Any:
    return found.play(playbook, **{**CANARY, **variables})


def play_under_load(found: Side, playbook: str, expect: str = "success", **variables: t.Any) -> dict[str, t.Any]:
    return found.play_under_load(playbook, expect, **{**CANARY, **variables})


@pytest.mark.claim("canary-worse-loses-all-at-once", "canary-flag-off-first")
def test_one_that_answers_with_errors_is_withdrawn_and_its_flag_goes_first(side):
    hook, told = side.path / "flag_off.yml", side.path / "flag"
    hook.write_text(f"- name: Switch the flag off\n  ansible.builtin.copy:\n    content: off\n    dest: {told}\n    mode: '0600'\n", encoding="utf-8")
    # Its errors are the application's: no request is lost for want of an answer.
    bad = play_under_load(side, "deploy", expect="failure", deploy_release="4.0.0-errors", deploy_canary=STRICT,
                          deploy_hooks={"flag_off": str(hook)})
    assert set(bad["failures"]) == {"status_500"}, bad
    assert "4.0.0-errors was withdrawn at 20 % of the requests: The canary fails more often" in bad["output"], bad["output"]
    assert "every request was switched back to blue; blue serves 1.0.0" in bad["output"]
    assert told.exists() and side.shares() == ("0", "0") and version() == "1.0.0"
    found = side.record()
    assert found["result"] == "rolled_back" and [step["verdict"] for step in found["canary"]["steps"]] == ["fail"]


def test_one_that_is_slow_is_withdrawn_by_what_the_probe_measures(side):
    # It goes as soon as it is found out; the time is for a machine on which others are slow, too.
    slow = play(side, "deploy", deploy_release="4.0.0-slow", deploy_canary={**QUICK, "step_time": 120, "deadline": 200, "latency": "probe"})
    # Ten times slower shows in the middle, in the tails and in how many are slow, and whichever is told first.
    told = r"4\.0\.0-slow was withdrawn at 20 % of the requests: latency_ms((_p\d+)? of the canary is \+|_slow: \d+ of \d+ values of the canary lie above )"
    assert slow.rc == 2 and re.search(told, slow.sentence), slow.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"


@pytest.mark.claim("judge-slow-part-is-found")
def test_one_of_which_one_of_twenty_requests_takes_a_second_more_is_withdrawn(side):
    canary = {**QUICK, "steps": [50, 100], "step_time": 60, "interval": 2, "deadline": 200, "latency": "probe", "probe_rate": 40}
    slow = play(side, "deploy", deploy_release="4.0.0-tail", deploy_canary=canary)
    assert slow.rc == 2 and "4.0.0-tail was withdrawn at 50 % of the requests: latency_ms_" in slow.sentence, slow.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"
    (step,) = side.record()["canary"]["steps"]
    slow_part = next(one for one in step["metrics"] if one["name"] == "latency_ms_slow")
    assert step["verdict"] == "fail" and slow_part["canary_slow"] > 0.02 > slow_part["baseline_slow"], step["metrics"]


@pytest.mark.claim("canary-fresh-baseline")
def test_a_fresh_baseline_is_restarted_first(side):
    records = side.path / "records"
    # One run, two deploys: also where a person has named it, each has a record of its own.
    played = play(side, "deploy", deploy_release="2.0.0", deploy_canary={**QUICK, "steps": [50, 100], "baseline": "fresh"}, deploy_batches=[2],
                  deploy_id="r7", deploy_records_dir=str(records))
    assert played.rc == 0, played.output
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*.json")}
    assert {name: (one["verb"], one["strategy"], one["release"]["label"], one["result"]) for name, one in found.items()} == {
        "r7": ("deploy", "canary", "2.0.0", "succeeded"), "r7-restart": ("restart", "rolling", "1.0.0", "succeeded")}


@pytest.mark.claim("canary-fresh-baseline-goes-on", "canary-little-traffic-is-told")
def test_one_with_a_fresh_baseline_that_was_killed_is_gone_on_with_and_restarts_nothing_once_more(side):
    fresh = {"deploy_canary": {**QUICK, "baseline": "fresh", "probe_rate": 40}, "deploy_state_dir": str(side.path)}
    intent = {"verb": "deploy", "strategy": "canary", "release": "0" * 64, "label": "2.0.0", "serving": "blue", "side": "green", "before": {}}
    move = {"deploy_id": "d1", "time": 1.0, "state": "active", "members": ["app1"], "done": True, "intent": intent}
    (side.path / "local-shop.journal").write_text(json.dumps(move) + "\n", encoding="utf-8")
    played = side.stage.play("zero.downtime.deploy", "--check", **{**CANARY, **fresh}, deploy_release="2.0.0")
    assert played.rc == 0 and "Deploy of shop would bring 2.0.0 to the idle side green" in played.output, played.output
    assert "Restart of shop" not in played.output, played.output
    # The probe alone asks, 40 times a second, and each share has three seconds.
    said = " ".join(played.output.split())
    assert "and at 40 requests a second these steps do not tell 2 % errors from 0.5 %: 50 % of the requests takes " in said, played.output
    assert "at 40 requests a second, 2 % errors are told from 0.5 % after " in said, played.output
    assert "the deploy to 2.0.0 (d1) has not ended: this one goes on from there, and what serves is not restarted before" in said


@pytest.mark.claim("canary-inconclusive-holds", "canary-little-traffic-is-told")
def test_one_that_nobody_uses_is_held_until_the_deadline(side):
    # Nobody asks, and without a probe nobody counts either.
    held = play(side, "deploy", deploy_release="2.0.0", deploy_evidence_url="", deploy_canary={**QUICK, "deadline": 3})
    assert "at 0 requests a second a share of 50 % does not get 20 requests within 3 s" in " ".join(held.output.split()), held.output
    assert held.rc == 2 and re.search(r"after \d+ s nothing could be said: The canary got 0 requests", held.sentence), held.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"


@pytest.mark.claim("canary-unjudged-is-said")
def test_one_that_nobody_uses_and_that_goes_on_is_said_to_be_unjudged(side):
    canary = {**QUICK, "steps": [50, 100], "deadline": 3, "at_deadline": "go_on"}
    on = play(side, "deploy", deploy_release="2.0.0", deploy_evidence_url="", deploy_canary=canary)
    assert on.rc == 0 and version() == "2.0.0", on.output
    assert "it was not judged at 50 % of the requests: nothing could be said until the deadline" in on.sentence, on.sentence


@pytest.mark.claim("canary-second-deploy-refused")
def test_somebody_else_while_a_canary_is_held(side):
    """One more deploy is refused; whoever breaks the lock has the last word, and the first one cannot move anything any more."""
    # The process is stopped as soon as the share is set, so the deadline is only what the judge takes to come to its end afterwards.
    held = {**CANARY, "deploy_canary": {**QUICK, "steps": [50, 100], "deadline": 10}, "deploy_id": "held"}
    with open(side.path / "held.log", "wb") as log:
        process = side.stage.start("zero.downtime.deploy", output=log, **held, deploy_release="2.0.0")
        try:
            wait_until(lambda: side.shares()[0] == "50" or process.poll() is not None, "half of the requests go to the canary", timeout=120)
            assert process.poll() is None, (side.path / "held.log").read_text(encoding="utf-8")
            # It begins no other step for as long as the others take: its judge alone goes on.
            process.send_signal(signal.SIGSTOP)
            # A restart needs to know which side serves, and nobody should set the shares by hand now.
            restart = play(side, "restart")
            assert restart.rc == 2 and "is locked on lb1 by" in restart.sentence and "held" in restart.sentence, restart.output
            second = play(side, "deploy", deploy_release="2.0.0")
            assert second.rc == 2 and "is locked on lb1 by" in second.sentence and "held" in second.sentence, second.output
            over = play_under_load(side, "rollback", deploy_lock_break=True)
            assert over["failed"] == 0 and side.shares() == ("0", "0"), over
        finally:
            process.send_signal(signal.SIGCONT)
            rc = process.wait(300)
        assert rc == 2
    told = (side.path / "held.log").read_text(encoding="utf-8")
    said = " ".join(told.split())
    assert "so deploy held may not move anything any more; its lock was taken from it, so what serves now is not known here; ansible-playbook " in said, told
    assert side.shares() == ("0", "0") and version() == "1.0.0"
