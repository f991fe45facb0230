# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host was lost in the middle: it stays out and is named, the others went back, and the next deploy brings everybody to the release."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()


def test_it_is_named_and_stays_out(stage):
    record = stage.record
    assert record["result"] == "failed"
    assert "app3 cannot be reached and may run either release" in record["sentence"]
    assert "3 of 4 members serve 1.0.0" in record["sentence"]
    assert {row["name"]: (row["release"], row["state"]) for row in record["members"]} == {
        "app3": (None, "lost"), **dict.fromkeys(("app1", "app2", "app4"), ("1.0.0", "active"))}
    assert record["sentence"] in stage.output.replace("\\n", "\n")


def test_nobody_was_restarted_behind_its_back(stage):
    """What could not be told to change still ran what it ran."""
    assert stage.noted() == dict.fromkeys(stage.members, "1.0.0")


def test_the_next_deploy_brings_everybody_to_the_release(stage, nobody_left_out, nothing_left_running):
    assert stage.again["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
