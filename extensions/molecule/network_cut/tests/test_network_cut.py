# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cut of 20 s in the middle: no request was lost, the deploy ended in a known state, and the next one ends clean."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["cut", "again"])
def test_no_request_was_lost(stage, record, name):
    assert stage.load["failed"] == 0, stage.load["losses"]
    evidence = record(name)["evidence"]
    assert evidence["probe"]["failed"] == 0
    assert (evidence["balance"]["truncated"], evidence["balance"]["unanswered"]) == (0, 0)


def test_the_cut_was_felt(record):
    assert record("cut")["finished"] - record("cut")["started"] > 20


def test_the_record_tells_what_each_member_ran(stage, record):
    told = {row["name"]: row["release"] for row in record("cut")["members"]}
    known = {name: release for name, release in told.items() if release}
    ran = stage.at("cut").running()
    assert {name: ran[name] for name in known} == known
    if record("cut")["result"] != "failed":
        assert len(known) == len(stage.members)


@pytest.mark.claim("network-cut")
def test_the_next_deploy_ends_clean(stage, record, nobody_left_out, nothing_left_running):
    assert stage.told("again")[0] == 0 and record("again")["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
