# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions that work for all hosts of a play at once have in common. Private to the collection."""

from __future__ import annotations

import abc
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded


class PlayAction(ActionBase):
    """Runs once for all hosts, and a failure is everybody's: with run_once only the first host would be rescued.

    C(SPEC) are the options, and C(act) gets them checked. A DowntimeError that it raises is the sentence with which the task fails.
    """

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    SPEC: t.ClassVar[dict[str, t.Any]] = {}

    @abc.abstractmethod
    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the work; the task's result."""

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            return self.act(_spec.check(self._task.args, self.SPEC), task_vars)
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}
