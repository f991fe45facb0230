# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _move

ROLES = pathlib.Path(__file__).resolve().parents[4] / "roles"
# Modules that move something, and what they are told where the state is another one.
MOVERS = ("members", "split", "push", "releases")


def tasks(found: t.Any) -> t.Iterator[dict[str, t.Any]]:
    for task in found or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def told() -> list[tuple[str, str, dict[str, t.Any]]]:
    """The steps that the roles name: module, step, options."""
    found = []
    for path in sorted(ROLES.glob("*/tasks/*.yml")):
        for task in tasks(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for module, options in task.items():
                if module.startswith("zero.downtime.") and isinstance(options, dict) and options.get("step"):
                    found.append((module.rpartition(".")[2], options["step"].partition("{{")[0], options))
    return found


def test_each_step_that_a_role_names_is_known_and_who_moves_something_names_a_move() -> None:
    found = told()
    assert len(found) > 20
    for module, step, options in found:
        assert step in _steps.STEPS or step in (_steps.SHARE, "judge "), (module, step)
        if module in MOVERS and options.get("state") not in ("observed", "staged") and not str(options.get("state", "")).startswith("{{") and step != "retire":
            assert _steps.is_move(step), (module, step)


@pytest.mark.parametrize("step, move, of_all, admits, meets", [
    ("drain", True, False, False, False), ("return", True, False, True, False), ("switch", True, True, True, True), ("push", True, True, True, True),
    ("share 5 %", True, True, True, True), ("clear", True, True, False, False), ("back_push", True, True, False, False),
    ("back_return", True, False, False, False), ("verify", False, False, False, False), ("nonesuch", False, False, False, False)])
def test_what_each_of_them_is(step: str, move: bool, of_all: bool, admits: bool, meets: bool) -> None:
    assert (_steps.is_move(step), _steps.of_all(step), _steps.admits(step), _steps.meets_users(step)) == (move, of_all, admits, meets)


def test_a_move_that_the_evidence_would_take_for_none_is_refused() -> None:
    _move.check_step({"run_dir": None, "step": "mine"})
    _move.check_step({"run_dir": "/run", "step": "share 5 %"})
    with pytest.raises(DowntimeError, match="step is 'mine', which moves nothing; accepted are clear, drain, .*, and 'share ' with a share"):
        _move.check_step({"run_dir": "/run", "step": "mine"})
