# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the collection's own roles and playbooks, an action's sentences name the variables that the user wrote. Private to the collection."""

from __future__ import annotations

import functools
import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _written

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
ROOMS = tuple(os.path.join(ROOT, room, "") for room in ("playbooks", "roles"))


def in_collection(task: t.Any) -> bool:
    """Whether a task stands in a role or playbook of this collection. One of the user's own has options that he wrote as options."""
    path = str(task.get_path()) if hasattr(task, "get_path") else ""
    return os.path.realpath(path.rpartition(":")[0]).startswith(ROOMS)


def worded(run: t.Callable[..., dict[str, t.Any]]) -> t.Callable[..., dict[str, t.Any]]:
    """C(run) of an action, whose result is in the user's words where the task is the collection's own."""
    @functools.wraps(run)
    def wrapped(self: t.Any, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        found = run(self, tmp, task_vars)
        return _written.result(found) if in_collection(self._task) else found
    return wrapped
