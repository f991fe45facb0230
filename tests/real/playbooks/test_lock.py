# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock that nobody can prove to be dead. A second deploy beside a running one: test_two_balancers.
Killed controllers: there, and tests/chaos."""

from __future__ import annotations

import json
import time


def test_a_lock_of_another_controller_is_only_broken_by_hand(stage):
    state = stage.dir / "state"
    state.mkdir(exist_ok=True)
    lock = state / "local-shop.lock"
    holder = {"controller": "elsewhere", "pid": 7, "user": "ops"}
    lock.write_text(json.dumps({"deploy_id": "d1", "holder": holder, "since": time.time()}), encoding="utf-8")
    for options in ((), ("--check",)):
        refused = stage.play("zero.downtime.restart", *options)
        assert refused.rc == 2
        assert "deploy d1 of ops on elsewhere (process 7)" in refused.sentence
    assert stage.play("zero.downtime.restart", deploy_lock_break=True).rc == 0
    assert not [path for path in state.iterdir() if path.suffix != ".shares"]
