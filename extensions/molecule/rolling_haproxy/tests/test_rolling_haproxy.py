# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, seen from outside: versions on the hosts, states on the balancers, both witnesses of the load."""

from __future__ import annotations

import pytest

LABELS = {"1.0.0", "2.0.0"}


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()
    assert set(stage.load["versions"]) == LABELS


def test_balance_sheet_counts_the_clients_requests(stage):
    """Every request of the load generator inside the deploy's time is a real request that the balancers must have counted."""
    balance = stage.record["evidence"]["balance"]
    took = stage.load["finished"] - stage.load["started"]
    seconds = stage.record["finished"] - stage.record["started"]
    assert balance["received"] > 0.5 * stage.load["sent"] * min(1.0, seconds / took)
    assert balance["received"] <= stage.load["sent"] + stage.record["evidence"]["probe"]["sent"] + 5
    # Not one went astray: what came in, and what was open before, was answered or is still open.
    assert balance["received"] + balance["open_before"] == balance["answered"] + balance["open"]
    assert balance["complete"] is True


def test_every_member_runs_the_release(stage):
    assert stage.running() == {member: "2.0.0" for member in stage.members}
    assert stage.served() == {"2.0.0"}


def test_nobody_is_left_out(nobody_left_out, nothing_left_running):
    nobody_left_out()
    nothing_left_running()


def test_the_record_tells_what_happened(stage):
    record = stage.record
    assert record["result"] == "succeeded"
    assert (record["release"]["label"], record["previous"]["label"]) == ("2.0.0", "1.0.0")
    assert [batch["members"] for batch in record["batches"]] == [["app1"], ["app2", "app3"], ["app4"]]
    assert [step["batch"] for step in record["steps"] if step["name"] == "drain"] == [1, 2, 3]
    assert (stage.results / "records" / (record["deploy_id"] + ".html")).stat().st_size > 1000


@pytest.mark.parametrize("member", ["app1", "app2", "app3", "app4"])
def test_the_slot_leads_to_the_release_and_the_previous_one_is_kept(stage, member):
    record = stage.record
    assert stage.link(member) == record["release"]["digest"]
    owner, *kept = stage.said[member]["releases"].split()
    assert {f"/srv/shop/releases/{record[release]['digest']}/app.py" for release in ("release", "previous")} <= set(kept)
    assert owner == "root"
