# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room on one host: the deploy ended before any traffic moved, said so, and left nothing half-staged."""

from __future__ import annotations


def test_no_request_was_lost(stage):
    assert stage.load["failed"] == 0, stage.load["losses"]
    assert stage.load["sent"] > 50
    assert set(stage.load["versions"]) == {"1.0.0"}


def test_the_sentence_names_the_host_and_the_reason(stage):
    sentence = stage.sentence
    assert sentence.startswith("Deploy of shop was refused: app3: ")
    assert "no space left on its file system" in sentence
    assert "Nothing has been changed." in sentence


def test_nobody_was_touched_and_nothing_is_half_staged(stage):
    assert stage.noted() == dict.fromkeys(stage.members, "1.0.0")
    left = (stage.results / "left.txt").read_text(encoding="utf-8").split()
    assert len(left) == 1, left


def test_with_room_the_next_deploy_goes_through(stage, nobody_left_out, nothing_left_running):
    assert stage.again["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
