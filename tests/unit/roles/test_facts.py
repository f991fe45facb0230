# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles note about a run has to mean the same on every ansible-core."""

from __future__ import annotations

import pathlib
import re

import yaml

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"


def numbers() -> list[str]:
    """The facts that are numbers when a deploy begins."""
    tasks = yaml.safe_load((ROLES / "deploy" / "tasks" / "main.yml").read_text(encoding="utf-8"))
    begun = next(task["ansible.builtin.set_fact"] for task in tasks if task["name"] == "Forget an earlier deploy of the same run")
    return [name for name, value in begun.items() if isinstance(value, int) and not isinstance(value, bool)]


def test_numbers_are_read_as_numbers():
    # Before 2.19, what a template makes of a number is a text: the next addition to it fails, in the middle of going back.
    names = numbers()
    assert "__deploy_cut" in names
    used = [(path, line) for path in sorted(ROLES.rglob("*.yml")) for line in path.read_text(encoding="utf-8").splitlines()
            for template in re.findall(r"\{\{.*?\}\}", line) + ([line] if re.match(r" +(that|when): ", line) else [])
            if any(name in template for name in names)]
    assert used
    for path, line in used:
        assert re.search(r"__deploy_\w+( \| default\(0\))? \| int\b", line), f"{path}: {line.strip()}"
