# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every strategy with an idle side, on two balancers: no request goes without an answer, and a bad release reaches few and not for long."""

from __future__ import annotations

import pytest

ENDS = {"blue_green": (0, "succeeded"), "unhealthy": (2, "rolled_back"), "good": (0, "succeeded"), "bad": (2, "rolled_back"), "back": (0, "succeeded")}


@pytest.mark.parametrize("name", ENDS)
def test_each_ended_as_it_should(stage, record, name):
    expected, result = ENDS[name]
    rc, log = stage.told(name)
    assert rc == expected, log[-3000:]
    assert record(name)["result"] == result
    balance = record(name)["evidence"]["balance"]
    assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0)


def test_nobody_else_began_while_the_canary_held_its_share(stage):
    rc, log = stage.told("second")
    assert rc == 2 and "is locked on lb1 by deploy good of" in log, log[-3000:]


def test_a_controller_that_died_between_the_switch_and_the_end_of_the_old_side_left_a_whole_one(stage, record):
    rc, log = stage.told("killed")
    assert rc == 137, log[-3000:]
    ended = record("back")["sentence"]
    assert "2.0.0 serves already, on green" in ended or "every request goes to green" in ended, ended


def test_no_request_went_without_an_answer(stage, record):
    # What the bad release answered itself is all that anybody saw.
    assert set(stage.load["failures"]) == {"status_500"}, stage.load["losses"]
    assert stage.load["failures"]["status_500"] < 0.2 * stage.load["sent"]
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0", "4.0.0-errors"}
    for name in ("blue_green", "unhealthy", "good", "back"):
        assert record(name)["evidence"]["probe"]["failed"] == 0, name


def test_the_balancers_logs_were_replayed_before_the_switch(record):
    found = record("blue_green")
    assert found["shadow"]["verdict"] == "same" and found["shadow"]["compared"] > 20, found["shadow"]
    steps = [step["name"] for step in found["steps"]]
    assert steps.index("shadow") < steps.index("switch")


def test_the_canaries_were_judged_by_what_both_balancers_counted(record):
    good, bad = record("good")["canary"]["steps"], record("bad")["canary"]["steps"]
    assert [(step["share"], step["verdict"]) for step in good] == [(25, "pass"), (50, "pass")]
    steps = [step["name"] for step in record("good")["steps"] if step["name"].startswith(("share", "judge", "back_switch"))]
    assert steps == ["share 25 %", "judge 25 %", "share 50 %", "judge 50 %", "share 100 %"]
    assert good[-1]["errors"]["canary_errors"] == 0 and good[-1]["errors"]["canary_requests"] > good[0]["errors"]["canary_requests"]
    assert bad[-1]["verdict"] == "fail" and "4.0.0-errors was withdrawn at 25 %" in record("bad")["sentence"]


def test_the_shares_are_alike_and_kept(stage):
    for balancer in stage.balancers:
        # Back on green, which had 2.0.0 before the canary that failed.
        assert stage.said[balancer]["split"].split() == ["shop", "100", "shop", "100"], balancer
    assert stage.served() == {"2.0.0"}


def test_nothing_is_left(stage, nothing_left_running):
    stage.no_lock_left()
    nothing_left_running()
