# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Balancers were reloaded before a deploy, in one, and in a canary: no request was lost, what a reload forgot was
noticed, and what it kept is the same.
"""

from __future__ import annotations

import pytest

DEPLOYS = {"before": "2.0.0", "during": "1.0.0", "canary": "2.0.0"}


@pytest.mark.parametrize("name", DEPLOYS)
def test_no_request_was_lost(stage, record, nothing_lost, name):
    nothing_lost(complete=False, record=record(name))
    balance = record(name)["evidence"]["balance"]
    # An old worker ends with its last request, so nobody can read its last counters: that is said, not hidden.
    assert balance["complete"] or "ended after its last reading" in balance["note"]


@pytest.mark.parametrize("name", DEPLOYS)
def test_each_ended_well(stage, record, name):
    rc, log = stage.told(name)
    assert (rc, record(name)["result"]) == (0, "succeeded"), log[-3000:]


@pytest.mark.parametrize("name", ["before", "during"])
def test_everybody_ran_the_release_then(stage, nobody_left_out, nothing_left_running, name):
    seen = stage.at(name)
    assert seen.running() == dict.fromkeys(stage.members, DEPLOYS[name])
    nobody_left_out(seen)
    nothing_left_running(seen)
    seen.no_lock_left()


def test_the_held_requests_were_answered_whole(stage):
    holds = stage.load["holds"]
    assert len(holds) == 16
    assert [hold for hold in holds if not hold["ok"]] == []
    # They were sent before the deploy, so the old release answered them.
    assert {hold["version"] for hold in holds} == {"1.0.0"}


@pytest.mark.claim("waits-for-every-worker")
def test_the_deploy_waited_for_them(stage, record):
    """The first batch left while the old workers held requests of it, and only after these had ended."""
    drain = next(step for step in record("before")["steps"] if step["name"] == "drain")
    held = [hold["finished"] for hold in stage.load["holds"] if hold["member"] in drain["members"]]
    assert held
    assert drain["started"] < max(held) - 2
    assert drain["finished"] > max(held) - 0.1


def test_the_balancers_were_reloaded_before(stage):
    for balancer in stage.balancers:
        said = stage.at("before").said[balancer]["proc"]
        master = next(line.split() for line in said.splitlines() if " master " in line)
        assert int(master[2]) >= 1, balancer


def test_a_reload_that_forgot_who_was_out_was_noticed_and_said(stage, record):
    said = stage.told("during")[1]
    assert "lb1" in said and "reload" in said
    told = [note["detail"]["text"] for note in record("during")["notes"]]
    assert any("haproxy was reloaded or started anew while app1 was out" in text and "app1 got requests since" in text
               for text in told), told


@pytest.mark.claim("shadow-before-the-switch")
def test_the_balancers_logs_were_replayed_before_the_canary_got_its_share(record):
    found = record("canary")
    assert found["shadow"]["verdict"] == "same" and found["shadow"]["compared"] > 20, found["shadow"]
    steps = [step["name"] for step in found["steps"]]
    assert steps.index("shadow") < steps.index("share 25 %")


def test_the_canary_was_judged_by_what_both_balancers_counted(stage, record):
    assert (stage.results / "reloaded_at").read_text(encoding="utf-8").split() == ["shop", "50"]
    good = record("canary")["canary"]["steps"]
    assert [(step["share"], step["verdict"]) for step in good] == [(25, "pass"), (50, "pass")]
    steps = [step["name"] for step in record("canary")["steps"]]
    assert [name for name in steps if name.startswith(("share", "judge", "back_switch"))] == [
        "share 25 %", "judge 25 %", "share 50 %", "judge 50 %", "share 100 %"]
    first, last = good[0]["errors"], good[-1]["errors"]
    assert last["canary_errors"] == 0 and last["canary_requests"] > first["canary_requests"]


def test_the_shares_are_alike_and_kept(stage):
    for balancer in stage.balancers:
        assert stage.said[balancer]["split"].split() == ["shop", "100", "shop", "100"], balancer
    assert stage.served() == {"2.0.0"}
    # Idle, and as it was.
    assert stage.running() == dict.fromkeys(stage.members, "1.0.0")


def test_clients_met_both_releases_and_nothing_is_left(stage, nothing_left_running):
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0"}
    stage.no_lock_left()
    nothing_left_running()
