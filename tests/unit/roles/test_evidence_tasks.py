# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each look at the evidence goes by what the user asked for, and a failure is told in the words that hold at a deploy's end."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
# What a user may ask for beyond the budget, each judged at every look after the first move.
ASKED = {"max_failed", "max_slowdown", "judge_4xx"}


def tasks(found: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """All tasks of a file, those in blocks as well."""
    for task in found or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def of_all_roles() -> list[dict[str, t.Any]]:
    return [task for path in sorted(ROLES.glob("*/tasks/*.yml")) for task in tasks(yaml.safe_load(path.read_text(encoding="utf-8")))]


def test_every_look_after_the_first_move_judges_what_was_asked_for() -> None:
    looks = [task["zero.downtime.evidence"] for task in of_all_roles() if "zero.downtime.evidence" in task]
    judging = [look for look in looks if look["state"] not in ("started", "awaited") and not look.get("baseline")]
    assert len(judging) >= 3
    for look in judging:
        assert ASKED <= look.keys(), look
        assert all(f".evidence.{name}" in look[name] for name in ASKED), look


def test_a_deploy_says_of_a_move_that_failed_what_holds_when_members_are_back() -> None:
    noted = [task["ansible.builtin.set_fact"]["__deploy_why"] for task in of_all_roles()
             if (task.get("ansible.builtin.set_fact") or {}).get("__deploy_why")]
    assert noted and all("ansible_failed_result.why | default(ansible_failed_result.msg)" in text for text in noted), noted
