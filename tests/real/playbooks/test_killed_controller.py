# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that dies in the middle, and a second deploy beside a running one."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import time

import pytest


def events(stage) -> list[dict]:
    """What the newest run has noted so far."""
    runs = sorted((stage.dir.parent / "records" / ".running").glob("*/events.jsonl"), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in runs[-1].read_text(encoding="utf-8").splitlines()] if runs else []


def wait_for(stage, process, step: str, event: str, batch: int) -> None:
    """Until the run of that process has come so far. It must not end before."""
    end = time.monotonic() + 120
    while not any((entry["step"], entry["event"], entry.get("batch")) == (step, event, batch) for entry in events(stage)):
        assert process.poll() is None, "it ended before " + step
        assert time.monotonic() < end, "it never came to " + step
        time.sleep(0.02)


def forget_runs(stage) -> None:
    for path in (stage.dir.parent / "records" / ".running").glob("*"):
        for name in path.iterdir():
            name.unlink()
        path.rmdir()


def killed(stage, step: str, event: str, batch: int) -> None:
    """A deploy of 2.0.0 whose controller is killed there."""
    forget_runs(stage)
    process = stage.start("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[1])
    wait_for(stage, process, step, event, batch)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def states(stage) -> list[str]:
    """What the balancer says of each member: operational and administrative state."""
    return [" ".join(columns[2:4]) for columns in stage.seen()["servers"][:4]]


def releases(stage) -> set[str]:
    return {os.path.basename(os.readlink(path)) for path in pathlib.Path(stage.dir / "hosts").glob("app*/srv/blue")}


POINTS = [("drain", "started", 1), ("drain", "finished", 2), ("activate", "finished", 2), ("return", "started", 3)]


@pytest.mark.parametrize("playbook, step, event, batch", [
    (playbook, *point) for playbook, point in zip(["deploy", "rollback", "deploy", "rollback"], POINTS)])
def test_the_next_run_ends_in_a_clean_state(stage, playbook, step, event, batch):
    killed(stage, step, event, batch)
    told = stage.play("zero.downtime.status")
    assert told.rc == 2 and "its controller has died; deploy or rollback again takes it over" in told.sentence, told.output
    played = stage.play(f"zero.downtime.{playbook}", **({"deploy_release": "2.0.0"} if playbook == "deploy" else {}))
    assert played.rc == 0, played.output
    assert "whose controller has died" in played.output
    assert len(releases(stage)) == 1
    status = stage.play("zero.downtime.status")
    assert status.rc == 0, status.output
    assert ("2.0.0" if playbook == "deploy" else "1.0.0") in status.sentence
    assert not list((stage.dir / "state").iterdir())
    if playbook == "deploy":
        assert stage.play("zero.downtime.rollback").rc == 0


def test_a_second_deploy_is_refused_and_names_the_first(stage):
    forget_runs(stage)
    first = stage.start("zero.downtime.deploy", deploy_release="2.0.0")
    wait_for(stage, first, "drain", "started", 1)
    second = stage.play("zero.downtime.deploy", deploy_release="3.0.0-bad")
    assert second.rc == 2, second.output
    assert f"(process {first.pid})" in second.sentence and "deploy_lock_break" in second.sentence
    checked = stage.play("zero.downtime.deploy", "--check", deploy_release="3.0.0-bad")
    assert checked.rc == 2 and f"(process {first.pid})" in checked.sentence
    assert first.wait(240) == 0
    assert stage.play("zero.downtime.rollback").rc == 0


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
    assert not list(state.iterdir())
