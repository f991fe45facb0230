# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, seen from outside: versions on the hosts, states on the balancers, both witnesses of the load. Before
that a disk without room, then a release that never becomes ready, a person who takes a member out in the middle, and a
way back that fails on one member.
"""

from __future__ import annotations

import pytest

ENDS = {"good": (0, "succeeded"), "bad": (2, "rolled_back"), "maint": (0, "succeeded"), "fails": (2, "failed"),
        "again": (0, "succeeded")}


@pytest.mark.parametrize("name", ENDS)
def test_each_ended_as_it_should(stage, record, name):
    rc, log = stage.told(name)
    assert (rc, record(name)["result"]) == ENDS[name], log[-3000:]


@pytest.mark.claim("no-request-is-lost")
@pytest.mark.parametrize("name", ENDS)
def test_no_request_was_lost(stage, record, nothing_lost, name):
    nothing_lost(record=record(name))
    assert len(stage.requests_of(name)) > 200


@pytest.mark.claim("proven-with-measurements")
@pytest.mark.parametrize("name", ENDS)
def test_balance_sheet_counts_the_clients_requests(stage, record, name):
    """Every request of the load generator inside the deploy's time is one that the balancers must have counted."""
    found = record(name)
    balance = found["evidence"]["balance"]
    # They are first read when the deploy is planned, before it says that it has begun.
    least, most = stage.requests_between(found["started"], found["finished"]), stage.requests_of(name)
    assert 0.5 * len(least) < balance["received"] <= len(most) + found["evidence"]["probe"]["sent"] + 5
    # Not one went astray: what came in, and what was open before, was answered or is still open.
    assert balance["received"] + balance["open_before"] == balance["answered"] + balance["open"]
    assert balance["complete"] is True


@pytest.mark.parametrize(("name", "versions"), [("good", {"1.0.0", "2.0.0"}), ("bad", {"2.0.0"})])
def test_clients_met_no_other_release(stage, name, versions):
    assert {one.get("version") for one in stage.requests_of(name)} == versions


@pytest.mark.claim("staged-everywhere-before-traffic-moves", "disk-full")
def test_a_host_without_room_ends_a_deploy_before_any_traffic_moves(stage, nothing_left_running):
    rc, log = stage.told("full")
    sentence = log.rpartition("msg: ")[2].lstrip("'")
    assert rc == 2 and sentence.startswith("Deploy of shop was refused: app3: ")
    assert "no space left on its file system" in sentence
    assert "Nothing has been changed." in sentence
    nothing_left_running(stage.at("full"))
    # The inventory's secret was there, and each host's log says so, without it.
    assert all(int(stage.at("full").said[member]["masked"]) for member in stage.members)
    assert stage.at("full").running() == dict.fromkeys(stage.members, "1.0.0")
    assert stage.at("full").served() == {"1.0.0"}
    # Nothing is half-staged, and with room the next deploy went through: the good one.
    left = (stage.results / "left.txt").read_text(encoding="utf-8").split()
    assert len(left) == 1, left
    met = stage.requests_of("full")
    assert len(met) > 50 and {one.get("version") for one in met} == {"1.0.0"}


def test_nobody_ever_met_the_bad_release(stage):
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0"}


@pytest.mark.parametrize(("name", "version"), [("good", "2.0.0"), ("bad", "2.0.0")])
def test_every_member_runs_it_and_nobody_is_left_out(stage, nobody_left_out, nothing_left_running, name, version):
    seen = stage.at(name)
    assert seen.running() == dict.fromkeys(stage.members, version)
    assert seen.served() == {version}
    nobody_left_out(seen)
    nothing_left_running(seen)


@pytest.mark.claim("record-and-page")
def test_the_record_tells_what_happened(stage, record):
    good = record("good")
    assert (good["release"]["label"], good["previous"]["label"]) == ("2.0.0", "1.0.0")
    assert [batch["members"] for batch in good["batches"]] == [["app1"], ["app2", "app3"], ["app4"]]
    assert [step["batch"] for step in good["steps"] if step["name"] == "drain"] == [1, 2, 3]
    assert (stage.results / "records" / "good.html").stat().st_size > 1000


@pytest.mark.parametrize("member", ["app1", "app2", "app3", "app4"])
def test_the_slot_leads_to_the_release_and_the_previous_one_is_kept(stage, record, member):
    good, seen = record("good"), stage.at("good")
    assert seen.link(member) == good["release"]["digest"]
    owner, *kept = seen.said[member]["releases"].split()
    assert {f"/srv/shop/releases/{good[release]['digest']}/app.py" for release in ("release", "previous")} <= set(kept)
    assert owner == "root"


@pytest.mark.claim("later-batches-never-start")
def test_one_batch_tried_the_bad_release_and_went_back(stage, record):
    bad, seen = record("bad"), stage.at("bad")
    assert {seen.link(member) for member in stage.members} == {bad["previous"]["digest"]}
    tried = bad["batches"][0]["members"]
    assert tried == ["app1", "app2"]
    for member in stage.members:
        restarted = seen.service_started(member) > bad["started"]
        assert restarted == (seen.service_started(member) > stage.at("good").service_started(member))
        assert restarted == (member in tried), member


@pytest.mark.claim("fails-with-one-sentence")
def test_the_bad_deploy_failed_with_one_sentence(stage, record):
    bad = record("bad")
    assert bad["previous"]["label"] == "2.0.0"
    assert "2.0.0" in bad["sentence"] and "\n" not in bad["sentence"]
    assert bad["sentence"] in stage.printed("bad")


@pytest.mark.claim("persons-maintenance-stays")
def test_who_was_taken_out_meanwhile_is_named_and_stays_out(stage, record):
    found, seen = record("maint"), stage.at("maint")
    assert "app4 stays out of traffic: somebody else took it out meanwhile" in found["sentence"]
    assert {row["name"]: row["state"] for row in found["members"]} == {
        "app4": "drained", **dict.fromkeys(("app1", "app2", "app3"), "active")}
    for balancer in stage.balancers:
        assert {name for name, state in seen.admin_states(balancer).items() if state} == {"app4"}, balancer


@pytest.mark.claim("persons-maintenance-stays")
def test_it_has_the_release_like_everybody(stage, nothing_left_running):
    seen = stage.at("maint")
    assert seen.running() == dict.fromkeys(stage.members, "1.0.0")
    nothing_left_running(seen)
    seen.no_lock_left()


@pytest.mark.claim("failed-rollback")
def test_a_way_back_that_failed_says_who_serves_what(record):
    found = record("fails")
    assert "app1 stays out of traffic" in found["sentence"]
    assert "3 of 4 members serve 1.0.0" in found["sentence"]
    rows = {row["name"]: (row["release"], row["state"]) for row in found["members"]}
    assert rows == {"app1": (None, "drained"), **dict.fromkeys(("app2", "app3", "app4"), ("1.0.0", "active"))}


def test_the_status_shows_who_is_out(stage):
    said = (stage.results / "status.log").read_text(encoding="utf-8")
    line = next(line for line in said.splitlines() if line.startswith("app1 "))
    assert "drained" in line, said


@pytest.mark.claim("failed-rollback-again")
def test_it_could_be_run_again(stage, nobody_left_out, nothing_left_running):
    assert stage.running() == dict.fromkeys(stage.members, "1.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
