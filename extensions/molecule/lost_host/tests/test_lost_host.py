# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host was lost at each step: it stays out and is named, the others went back, and the next deploy brings everybody to the release."""

from __future__ import annotations

import json

import pytest

# Which step had just begun or ended, by the deploy's own events, when each host was cut off, or what a slow machine sees in its place: that the next
# one has begun, which needs the host. In its restart the host did that itself.
LOST_AT = {
    "before_drain": [{("verify", "finished", 2), ("drain", "started", 3)}, {("back_drain", "finished", 2), ("back_activate", "started", 2)}],
    "after_drain": [{("drain", "finished", 2), ("activate", "started", 2)}],
    "in_restart": [],
    "before_return": [{("gate", "started", 2)}],
}


@pytest.fixture(scope="module")
def points(stage):
    """What was seen of each loss, with its record and its output."""
    found = json.loads((stage.results / "points.json").read_text(encoding="utf-8"))
    records = {record["deploy_id"]: record for record in stage.records}
    assert found.keys() == LOST_AT.keys() | {"absent"}
    return {name: {**seen, "record": records[name], "record_again": records[f"{name}-again"],
                   "output": stage.printed(name)} for name, seen in found.items()}


@pytest.fixture(params=[*LOST_AT, "absent"])
def any_point(request, points):
    return points[request.param]


@pytest.fixture(params=list(LOST_AT))
def point(request, points):
    return points[request.param]


def test_no_request_was_lost(any_point, nothing_lost):
    nothing_lost(record=any_point["record"])


@pytest.mark.parametrize("name", LOST_AT)
def test_each_was_lost_at_its_step(points, name):
    seen = [(last["step"], last["event"], last["batch"]) for last in points[name]["at"]]
    assert len(seen) == len(LOST_AT[name]) and all(last in those for last, those in zip(seen, LOST_AT[name])), seen


def test_one_was_lost_in_its_restart(points):
    """The service came up with the release, but nobody was left to say so."""
    point = points["in_restart"]
    (step,) = [step for step in point["record"]["steps"] if step["name"] == "activate" and step["members"] == ["app2"]]
    assert step["result"] == "failed"
    assert point["running"]["app2"] == "2.0.0"


def test_the_lost_are_named_in_one_sentence(stage, point):
    record = point["record"]
    assert (point["rc"], record["result"]) == (2, "failed")
    assert f"{', '.join(sorted(point['lost']))} cannot be reached and may run either release" in record["sentence"]
    assert f"{len(stage.members) - len(point['lost'])} of 4 members serve 1.0.0" in record["sentence"]
    assert "\n" not in record["sentence"]
    assert record["sentence"] in point["output"]


@pytest.mark.claim("lost-host-stays-out")
def test_they_stay_out_of_traffic_and_the_others_serve(stage, point):
    others = [name for name in stage.members if name not in point["lost"]]
    assert {row["name"]: (row["release"], row["state"]) for row in point["record"]["members"]} == {
        **dict.fromkeys(point["lost"], (None, "lost")), **dict.fromkeys(others, ("1.0.0", "active"))}
    for balancer, said in point["servers"].items():
        assert [name for name, state in stage.admin_states_in(said).items() if state] == sorted(point["lost"]), balancer


@pytest.mark.claim("lost-host-others-go-back")
def test_who_had_moved_went_back(stage, point):
    steps = point["record"]["steps"]
    for step in ("activate", "back_return"):
        assert [one["members"] for one in steps if (one["name"], one["batch"], one["result"]) == (step, 1, "succeeded")] == [["app1"]], step
    assert {name: point["running"][name] for name in stage.members if name not in point["lost"]} == {
        name: "1.0.0" for name in stage.members if name not in point["lost"]}


def test_later_batches_never_started(point):
    assert [batch["members"] for batch in point["record"]["batches"]] == [["app1"], ["app2"], ["app3"], ["app4"]]
    begun = {step["batch"] for step in point["record"]["steps"] if step["batch"]}
    assert begun == set(range(1, max(int(name[3:]) for name in point["lost"]) + 1))


@pytest.mark.claim("absent-host-left-out")
def test_one_that_serves_nobody_is_left_out_and_named(points):
    point = points["absent"]
    assert (point["rc"], point["record"]["result"]) == (0, "succeeded")
    assert "3 of 4 members were moved to 2.0.0; app4 could not be reached, serves nobody, and runs what it ran" in point["record"]["sentence"]
    assert {row["name"]: (row["release"], row["state"]) for row in point["record"]["members"]} == {
        "app4": (None, "absent"), **dict.fromkeys(("app1", "app2", "app3"), ("2.0.0", "active"))}
    assert point["running"] == dict.fromkeys(("app1", "app2", "app3"), "2.0.0")


@pytest.mark.claim("lost-host-next-run")
def test_the_next_deploy_brings_everybody_to_the_release(stage, any_point):
    release = any_point["record_again"]["release"]["label"]
    assert (any_point["again"], any_point["record_again"]["result"]) == (0, "succeeded")
    assert any_point["running_again"] == dict.fromkeys(stage.members, release)
    for balancer, said in any_point["servers_again"].items():
        assert stage.admin_states_in(said) == dict.fromkeys(stage.members, 0), balancer


def test_in_the_end_all_is_as_it_should_be(stage, nobody_left_out, nothing_left_running):
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()


@pytest.mark.claim("module-outlives-no-controller")
def test_a_module_whose_controller_was_killed_ends_and_the_next_deploy_goes_on(stage, points):
    seen = points["absent"]
    # It was at work, and nobody was left to hear of it.
    assert seen["left"]
    assert seen["again"] == 0 and seen["running_again"] == dict.fromkeys(stage.members, "2.0.0")
