# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that never becomes ready: one batch tried it, it went back, and no client ever met it."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()


def test_no_client_met_the_release(stage):
    assert set(stage.load["versions"]) == {"1.0.0"}


def test_every_member_runs_the_old_release(stage):
    assert stage.running() == {member: "1.0.0" for member in stage.members}
    digest = stage.record["previous"]["digest"]
    assert {member: stage.link(member) for member in stage.members} == {member: digest for member in stage.members}


def test_later_batches_were_not_touched(stage):
    tried = stage.record["batches"][0]["members"]
    assert tried == ["app1", "app2"]
    for member in stage.members:
        restarted = stage.service_started(member) > stage.load["command"]["started"]
        assert restarted == (member in tried), member


def test_the_deploy_failed_with_one_sentence(stage):
    record = stage.record
    assert stage.load["command"]["rc"] == 2
    assert record["result"] == "rolled_back"
    assert "1.0.0" in record["sentence"] and "\n" not in record["sentence"]
    assert record["sentence"] in stage.output.replace("\\n", "\n")


def test_nobody_is_left_out(nobody_left_out, nothing_left_running):
    nobody_left_out()
    nothing_left_running()
