# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What deploys of every strategy would do: shown under --check, and nothing has been changed."""

from __future__ import annotations

import typing as t

import pytest
from cases import HOLDER, Case, Told, locked, try_all

ROLE, RESTART = "main.yml", "restart.yml"
QUICK = {"steps": [20, 50, 100], "step_time": 3, "interval": 1, "warm_up": 0, "deadline": 30, "latency": "none"}
TO_GREEN = "would bring 2.0.0 to the idle side green and switch every request there from blue; nothing has been changed"
# Each with what is printed before the sentence.
SHOWN = {
    "rolling": (Case({}, ["would move 4 of 4 members to 2.0.0"], ROLE), ["batch 1: app1"]),
    "another health path": (
        Case({"deploy_health": {"path": "/nope", "header": "x-release", "timeout": 7}}, ["would move 4 of 4 members to 2.0.0"], ROLE),
        ["deploy_health: what runs now on app1, app2, app3, app4 answered 404 at /nope; the new release has to answer 200 there, or its gate fails "
         "after 7 s; what goes back to this one passes none either, and stays out of traffic"]),
    "blue/green": (
        Case({"deploy_strategy": "blue_green", "deploy_keep_previous": 0, "deploy_idle_for": 1}, [TO_GREEN], ROLE),
        ["switch every request from blue to green",
         "stop the side that does not serve, once it has seen no request for 1 s"]),
    "canary": (
        Case({"deploy_strategy": "canary", "deploy_canary": QUICK}, ["2.0.0"], ROLE),
        ["green gets 20, 50 % of the requests, is watched for 3 s or more at each share"]),
}


@pytest.fixture(scope="module")
def tried(saved_stage: t.Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    saved_stage.restore()
    path = tmp_path_factory.mktemp("check")
    cases = {**{name: case for name, (case, _printed) in SHOWN.items()}, "locked": Case(locked(path), [HOLDER], RESTART),
             "restart": Case(SHOWN["another health path"][0].variables, [], RESTART)}
    told = try_all(saved_stage, path, cases, "--check", "--diff")
    assert saved_stage.is_as_first()
    return told


@pytest.mark.claim("check-shows-the-plan", "plan-asks-what-runs-now")
@pytest.mark.parametrize("name", SHOWN)
def test_the_plan_is_shown_and_nothing_is_changed(tried: dict[str, Told], name: str) -> None:
    case, printed = SHOWN[name]
    told = tried[name]
    assert not told.failed and all(word in told.sentence for word in case.words), told.sentence
    # A warning is broken into lines.
    output = " ".join(told.output.split())
    assert all(line in output for line in printed), told.output


@pytest.mark.claim("plan-asks-what-runs-now")
def test_a_restart_of_what_does_not_know_the_health_path_is_refused(tried: dict[str, Told]) -> None:
    refused = "deploy_health.path is /nope, which app1, app2, app3, app4 answers with 404: begun anew it is the same release"
    assert tried["restart"].failed and refused in tried["restart"].sentence, tried["restart"].sentence


@pytest.mark.claim("check-shows-the-plan", "check-again-is-a-check")
def test_a_lock_counts_here_too(tried: dict[str, Told]) -> None:
    assert tried["locked"].failed and HOLDER in tried["locked"].sentence
    # Whoever only looks is given a command that only looks.
    assert "zero.downtime.restart --check -e deploy_app=shop " in tried["locked"].sentence, tried["locked"].sentence
