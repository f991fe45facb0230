# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old workers held requests when the deploy began: it waited for every one of them."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost(complete=False)
    balance = stage.record["evidence"]["balance"]
    # An old worker ends with its last request, so nobody can read its last counters: that is said, not hidden.
    assert balance["complete"] or "ended after its last reading" in balance["note"]


def test_the_held_requests_were_answered_whole(stage):
    holds = stage.load["holds"]
    assert len(holds) == 16
    assert [hold for hold in holds if not hold["ok"]] == []
    # They were sent before the deploy, so the old release answered them.
    assert {hold["version"] for hold in holds} == {"1.0.0"}


def test_the_deploy_waited_for_them(stage):
    """The first batch left while the old workers held requests of it, and only after these had ended."""
    drain = next(step for step in stage.record["steps"] if step["name"] == "drain")
    held = [hold["finished"] for hold in stage.load["holds"] if hold["member"] in drain["members"]]
    assert held
    assert drain["started"] < max(held) - 2
    assert drain["finished"] > max(held) - 0.1


def test_the_balancers_were_reloaded(stage):
    for balancer in stage.balancers:
        master = next(line.split() for line in stage.said[balancer]["proc"].splitlines() if " master " in line)
        assert int(master[2]) >= 1


def test_every_member_runs_the_release(stage, nobody_left_out, nothing_left_running):
    assert stage.record["result"] == "succeeded"
    assert stage.running() == {member: "2.0.0" for member in stage.members}
    nobody_left_out()
    nothing_left_running()
