# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A balancer died in the middle: what serves went on serving, the way back was made without it, and it is named until it is back."""

from __future__ import annotations

ALIVE = "10.214.77.11:8080"


def test_the_living_balancer_lost_nothing(stage):
    assert stage.load["targets"][ALIVE]["failed"] == 0, stage.load["losses"]
    assert stage.load["targets"][ALIVE]["sent"] > 200


def test_the_deploy_said_who_died_and_what_serves(stage):
    record = stage.records[0]
    assert record["result"] == "failed"
    assert "lb2" in record["sentence"]
    assert "ended with 2" in stage.output


def test_the_way_back_was_made_without_it(stage):
    record = stage.records[1]
    assert record["result"] == "succeeded"
    assert {row["name"]: row["release"] for row in record["members"]} == dict.fromkeys(stage.members, "1.0.0")
    assert record["evidence"]["probe"]["failed"] == 0


def test_the_status_names_it(stage):
    assert "lb2" in (stage.results / "status.txt").read_text(encoding="utf-8")


def test_when_it_is_back_everything_is_as_it_should_be(stage, nobody_left_out, nothing_left_running):
    assert stage.again["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
