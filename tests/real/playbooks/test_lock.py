# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock that nobody can prove to be dead. A second deploy beside a running one: test_two_balancers.
Killed controllers: there, and tests/chaos."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from cases import HOLDER, Case, locked, try_all


@pytest.mark.claim("lock-broken-by-hand-only")
def test_a_lock_of_another_controller_is_only_broken_by_hand(stage: t.Any, tmp_path: pathlib.Path) -> None:
    variables = {**locked(tmp_path), "deploy_release": "1.0.0"}
    told = try_all(stage, tmp_path, {
        "restart": Case(variables, [], "restart.yml"),
        "deploy": Case(variables, [], "main.yml"),
        "broken": Case({**variables, "deploy_lock_break": True}, [], "main.yml"),
        "after": Case(variables, [], "main.yml"),
    })
    for name in ("restart", "deploy"):
        assert told[name].failed and HOLDER in told[name].sentence, told[name].sentence
    # What serves already needs no move, and still the lock.
    for name in ("broken", "after"):
        assert not told[name].failed and "nothing was moved" in told[name].sentence, told[name].sentence
    assert not [path for path in (tmp_path / "state").iterdir() if path.suffix not in (".shares", ".last")]
