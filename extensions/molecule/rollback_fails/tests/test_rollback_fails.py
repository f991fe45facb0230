# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back failed on one member: what serves was left serving, and the next run put everything right."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()


def test_the_sentence_says_who_serves_what(stage):
    record = stage.record
    assert record["result"] == "failed"
    assert "app1 stays out of traffic" in record["sentence"]
    assert "3 of 4 members serve 1.0.0" in record["sentence"]
    rows = {row["name"]: (row["release"], row["state"]) for row in record["members"]}
    assert rows == {"app1": (None, "drained"), **dict.fromkeys(("app2", "app3", "app4"), ("1.0.0", "active"))}


def test_the_status_shows_who_is_out(stage):
    said = (stage.results / "status.txt").read_text(encoding="utf-8")
    line = next(line for line in said.splitlines() if line.startswith("app1 "))
    assert "drained" in line, said


def test_it_could_be_run_again(stage, nobody_left_out, nothing_left_running):
    assert stage.again["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "1.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
