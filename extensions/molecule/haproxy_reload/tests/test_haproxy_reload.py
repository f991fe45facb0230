# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reload forgot that a batch was out: it was noticed and said, and no request was lost."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost(complete=False)
    balance = stage.record["evidence"]["balance"]
    assert balance["complete"] or "ended after its last reading" in balance["note"]


def test_the_reload_was_noticed_and_said(stage):
    assert stage.record["result"] == "succeeded"
    said = stage.output.replace("\n", " ")
    assert "lb1" in said and "reload" in said
    told = [note["detail"]["text"] for note in stage.record["notes"]]
    assert any("haproxy was reloaded or started anew while app1 was out" in text and "app1 got requests since" in text for text in told), told


def test_everybody_runs_the_release(stage, nobody_left_out, nothing_left_running):
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
