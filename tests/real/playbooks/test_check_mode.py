# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What deploys of every strategy would do: shown under --check, and nothing has been changed."""

from __future__ import annotations

import typing as t

import pytest
from cases import HOLDER, Case, Told, locked, try_all

ROLE, RESTART = "main.yml", "restart.yml"
QUICK = {"steps": [20, 50, 100], "step_time": 3, "interval": 1, "deadline": 30, "latency": "none"}
TO_GREEN = "would bring 2.0.0 to the idle side green and switch every request there from blue; nothing has been changed"
# Each with what is printed before the sentence.
SHOWN = {
    "rolling": (Case({}, ["would move 4 of 4 members to 2.0.0"], ROLE), ["batch 1: app1"]),
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
    cases = {**{name: case for name, (case, _printed) in SHOWN.items()}, "locked": Case(locked(path), [HOLDER], RESTART)}
    told = try_all(saved_stage, path, cases, "--check", "--diff")
    assert saved_stage.is_as_first()
    return told


@pytest.mark.claim("check-shows-the-plan")
@pytest.mark.parametrize("name", SHOWN)
def test_the_plan_is_shown_and_nothing_is_changed(tried: dict[str, Told], name: str) -> None:
    case, printed = SHOWN[name]
    told = tried[name]
    assert not told.failed and all(word in told.sentence for word in case.words), told.sentence
    assert all(line in told.output for line in printed), told.output


@pytest.mark.claim("check-shows-the-plan")
def test_a_lock_counts_here_too(tried: dict[str, Told]) -> None:
    assert tried["locked"].failed and HOLDER in tried["locked"].sentence
