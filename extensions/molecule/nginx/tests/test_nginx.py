# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every strategy on two hosts with nginx under systemd: no request goes without an answer, a mirror leaves nothing, a bad release reaches few."""

from __future__ import annotations

import re

import pytest

ENDS = {"roll": (0, "succeeded"), "shadowed": (0, "succeeded"), "back": (0, "succeeded"), "good": (0, "succeeded"), "bad": (2, "rolled_back")}


@pytest.mark.parametrize("name", ENDS)
def test_each_ended_as_it_should(stage, record, name):
    expected, result = ENDS[name]
    rc, log = stage.told(name)
    assert rc == expected, log[-3000:]
    assert (record(name)["driver"], record(name)["result"]) == ("nginx", result)
    evidence = record(name)["evidence"]
    assert evidence["probe"]["sent"] > 50
    # The probe is a client like others: a bad release answers it, too.
    assert set(evidence["probe"]["failures"]) <= ({"status_500"} if name == "bad" else set())
    # Of every real request, from the logs of both nginx.
    balance = evidence["balance"]
    assert balance["complete"] is True and set(balance["balancers"]) == set(stage.balancers), balance["note"]
    assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0)
    assert balance["received"] >= evidence["probe"]["sent"]
    assert evidence["kernel"]["overflows"] == evidence["kernel"]["drops"] == 0


def test_no_request_went_without_an_answer(stage, record):
    assert stage.load["sent"] > 1000 and {target["sent"] > 500 for target in stage.load["targets"].values()} == {True}
    # What the bad release answered itself, while it had its share, is all that anybody saw.
    assert set(stage.load["failures"]) == {"status_500"}, stage.load["losses"]
    # No connection is kept here, so nothing was repeated that would have been lost otherwise.
    assert stage.load["repeats"] == 0
    assert stage.load["failures"]["status_500"] < 0.1 * stage.load["sent"]
    bad = record("bad")
    assert [loss for loss in stage.load["losses"] if not bad["started"] < loss["time"] < bad["finished"]] == []
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0", "4.0.0-errors"}
    for name in ("roll", "shadowed", "back", "good"):
        assert record(name)["evidence"]["verdict"] == "clean" and record(name)["evidence"]["balance"]["errors_during"] == 0, name


def test_the_members_were_rolled_in_batches(stage, record):
    roll = record("roll")
    assert [batch["members"] for batch in roll["batches"]] == [["app1", "app2"], ["app3", "app4"]]
    drains = [step for step in roll["steps"] if step["name"] == "drain"]
    assert {step["batch"] for step in drains} == {1, 2}


def test_the_idle_side_answered_copies_before_it_was_switched_to(stage, record):
    shadow = record("shadowed")["shadow"]
    assert (shadow["method"], shadow["verdict"], shadow["differences"], shadow["fields"]) == ("mirror", "same", 0, [])
    # Half of about 30 GET requests a second, for four seconds.
    assert shadow["requests"] >= 20, shadow["sentence"]
    for balancer in stage.balancers:
        # What stays of a mirror is how its copies were answered, which nginx does not read.
        assert set(stage.said[balancer]["nginx_files"].split()) == {
            "shop.upstream.conf", "shop_green.upstream.conf", "shop.split.conf", "revision.conf", "counted.json", "shop_green.mirror-log"}, balancer
    assert "shadow" not in record("back") and "shadow" not in record("roll")


def test_the_side_that_nobody_asked_any_more_was_stopped(stage):
    for name, sentence in (("retired", "green was stopped, and a rollback starts it again"), ("doctor", "blue/green and canary work")):
        rc, log = stage.told(name)
        assert rc == 0 and sentence in log, log[-3000:]


def test_the_canaries_were_judged_by_what_both_balancers_logged(record):
    good, bad = record("good")["canary"]["steps"], record("bad")["canary"]["steps"]
    assert [(step["share"], step["verdict"]) for step in good] == [(25, "pass"), (50, "pass")]
    assert good[-1]["errors"]["canary_errors"] == 0 and good[-1]["errors"]["canary_requests"] > good[0]["errors"]["canary_requests"] > 0
    assert [(step["share"], step["verdict"]) for step in bad] == [(25, "fail")] and bad[-1]["errors"]["canary_errors"] >= 3
    assert bad[-1]["errors"]["baseline_errors"] == 0
    assert "4.0.0-errors was withdrawn at 25 %" in record("bad")["sentence"]


def test_the_shares_are_alike_and_kept(stage):
    for balancer in stage.balancers:
        # The good canary went to green, and the bad one gave blue no request to keep.
        assert re.findall(r"^ +(\S+) (blue|green);", stage.said[balancer]["nginx_split"], re.MULTILINE) == [("*", "green")], balancer
        assert stage.said[balancer]["nginx_down"] == "", balancer
    assert stage.served() == {"1.0.0"}
    # Idle, and back on what it ran before.
    assert stage.running() == {member: "2.0.0" for member in stage.members}


def test_nothing_is_left(stage, nothing_left_running):
    stage.no_lock_left()
    nothing_left_running()
    for balancer in stage.balancers:
        workers = stage.said[balancer]["nginx_workers"].splitlines()
        assert [worker.strip() for worker in workers] == ["nginx: worker process"] * 2, balancer
