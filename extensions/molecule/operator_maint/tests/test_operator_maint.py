# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person took a member out in the middle of a deploy: it was named, got the release, and nobody fought over it."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()


def test_it_is_named_and_stays_out(stage):
    assert stage.record["result"] == "succeeded"
    assert "app4 stays out of traffic: somebody else took it out meanwhile" in stage.record["sentence"]
    assert {row["name"]: row["state"] for row in stage.record["members"]} == {
        "app4": "drained", **dict.fromkeys(("app1", "app2", "app3"), "active")}
    for balancer in stage.balancers:
        out = {name for name, state in stage.admin_states(balancer).items() if state}
        assert out == {"app4"}, balancer


def test_it_has_the_release_like_everybody(stage, nothing_left_running):
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nothing_left_running()
    stage.no_lock_left()
