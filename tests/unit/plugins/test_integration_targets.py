# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that somebody adds is tried as people call it: from a playbook."""

from __future__ import annotations

import pathlib

import pytest
import yaml

REPO = pathlib.Path(__file__).resolve().parents[3]
TARGETS = REPO / "tests" / "integration" / "targets"
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_target_that_calls_it(module):
    files = [path for path in (TARGETS / module).rglob("*.yml") if path.name == "playbook.yml" or path.parent.name == "tasks"]
    assert files, f"there is no target {module}"
    assert any(f"zero.downtime.{module}:" in path.read_text(encoding="utf-8") for path in files)


def test_every_target_is_a_module():
    assert sorted(path.name for path in TARGETS.iterdir()) == MODULES


@pytest.mark.parametrize("target", sorted(path.parent.name for path in TARGETS.glob("*/playbook.yml")))
def test_a_target_on_the_stage_runs_the_documented_examples(target):
    plays = yaml.safe_load((TARGETS / target / "playbook.yml").read_text(encoding="utf-8"))
    assert [task.get("ansible.builtin.include_tasks") for play in plays for task in play["tasks"]].count("{{ examples }}") == 1
