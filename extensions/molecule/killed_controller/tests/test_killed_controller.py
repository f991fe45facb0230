# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller was killed with members out of traffic: nobody noticed, and the next run ended in a clean state."""

from __future__ import annotations


def test_no_request_was_lost_from_the_first_run_to_the_end_of_the_second(stage, nothing_lost):
    nothing_lost()
    assert "killed with 137" in stage.output
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0"}


def test_the_status_said_where_things_stood(stage):
    said = " ".join((stage.results / "status.txt").read_text(encoding="utf-8").split())
    assert "has the lock, and its" in said and "takes it over" in said, said
    assert "member app1 is out of traffic" in said and "member app2 is out of traffic" in said


def test_the_second_run_brought_everybody_to_the_release(stage, nobody_left_out, nothing_left_running):
    assert len(stage.records) == 1, "a killed run writes no record"
    assert stage.record["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
