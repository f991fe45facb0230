# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second deploy beside a running one, and a lock that nobody can prove to be dead. Killed controllers: tests/chaos."""

from __future__ import annotations

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "chaos"))

from controller import Controller, event  # noqa: E402


def test_a_second_deploy_is_refused_and_names_the_first(stage, tmp_path):
    run = Controller(tmp_path).start("deploy", tmp_path / "first.log", deploy_release="2.0.0")
    run.wait_for(event("drain", "started", 1))
    first = run.process
    second = stage.play("zero.downtime.deploy", deploy_release="3.0.0-bad")
    assert second.rc == 2, second.output
    assert f"(process {first.pid})" in second.sentence and "deploy_lock_break" in second.sentence
    checked = stage.play("zero.downtime.deploy", "--check", deploy_release="3.0.0-bad")
    assert checked.rc == 2 and f"(process {first.pid})" in checked.sentence
    assert first.wait(240) == 0


def test_a_lock_of_another_controller_is_only_broken_by_hand(stage):
    state = stage.dir / "state"
    state.mkdir(exist_ok=True)
    lock = state / "local-shop.lock"
    holder = {"controller": "elsewhere", "pid": 7, "user": "ops"}
    lock.write_text(json.dumps({"deploy_id": "d1", "holder": holder, "since": time.time()}), encoding="utf-8")
    refused = stage.play("zero.downtime.restart")
    assert refused.rc == 2
    assert "deploy d1 of ops on elsewhere (process 7)" in refused.sentence
    assert stage.play("zero.downtime.restart", deploy_lock_break=True).rc == 0
    assert not [path for path in state.iterdir() if path.suffix != ".shares"]
