# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When each task of a play began, and when which sentence said that it failed, for the bench."""

from __future__ import annotations

DOCUMENTATION = """
name: timeline
type: notification
short_description: A line of JSON for each task that begins and each that fails
description:
  - The environment variable E(BENCH_TIMELINE) names the file. Where E(BENCH_LOSE_AT) is the beginning of a task's name, the file E(BENCH_LOSE)
    comes into being before that task is given to anybody, which the connection C(lost) takes for the loss of a host.
author: zero.downtime contributors
"""

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Appends to the file, and reads nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "timeline"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        name = task.get_name()
        lose_at = os.environ.get("BENCH_LOSE_AT")
        if lose_at and lose_at in name and not os.path.exists(os.environ["BENCH_LOSE"]):
            with open(os.environ["BENCH_LOSE"], "w", encoding="ascii"):
                self._write("lost", name)
        self._write("began", name)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._write("failed", result.task.get_name(), sentence=str(result.result.get("msg", "")))

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._write("failed", result.task.get_name(), sentence=str(result.result.get("msg", "")))

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._write("ended", "")

    @staticmethod
    def _write(event: str, task: str, **more: t.Any) -> None:
        with open(os.environ["BENCH_TIMELINE"], "a", encoding="utf-8") as file:
            # The role's name before the task's is the same for all.
            file.write(json.dumps({"time": time.time(), "event": event, "task": task.rpartition(" : ")[2], **more}) + "\n")
