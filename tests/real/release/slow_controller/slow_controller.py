# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback with which the processes that work for localhost and for the worker w1 are slow whenever batches are included, as on a busy machine."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: slow_controller
type: aggregate
short_description: Make some hosts answer last
description: For tests of the order of batches.
"""
SECONDS = 2
# Whose process is forked next.
_next = {"is_slow": False}


def _begin() -> None:
    if _next["is_slow"]:
        time.sleep(SECONDS)


os.register_at_fork(after_in_child=_begin)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slow_controller"

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        _next["is_slow"] = host.name in ("localhost", "w1") and task.get_name().endswith((": Shift a batch", ": Take a batch back"))
