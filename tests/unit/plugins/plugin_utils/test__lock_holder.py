# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder


@pytest.fixture
def mine():
    return _lock_holder.me()


def test_the_parent_lives(mine):
    assert mine["pid"] == os.getppid()
    assert not _lock_holder.dead({"holder": mine})


@pytest.mark.parametrize("change, expected", [({}, True), ({"start_time": "1"}, False), ({"boot_id": "b"}, False), ({"controller": "elsewhere"}, False)])
def test_the_lock_of_who_is_seen_to_be_at_work_is_nothing_to_break(mine, change, expected):
    lock = {"deploy_id": "d1", "time": 0.0, "holder": {**mine, "verb": "deploy", **change}}
    assert _lock_holder.alive(lock) is expected
    said = _lock_holder.refusal({"verb": "deploy", "app": "shop", "environment": "production"}, "lb1", lock)
    assert ("wait for it, or end that process first" in said) is expected and ("deploy_lock_break" in said) is not expected


@pytest.mark.claim("dead-only-if-proven")
@pytest.mark.parametrize("change, expected", [
    ({"start_time": "1"}, True),
    ({"controller": "elsewhere", "start_time": "1"}, False),
    ({"machine_id": "another machine", "boot_id": "another boot"}, False),
    ({"pid_namespace": "pid:[1]", "start_time": "1"}, False),
])
def test_dead_is_only_who_is_proven_so(mine, monkeypatch, change, expected):
    monkeypatch.setattr(_lock_holder, "machine", lambda here=_lock_holder.machine(): {**here, "machine_id": "m"})
    assert _lock_holder.dead({"holder": {**mine, "machine_id": "m", **change}}) is expected


@pytest.mark.claim("copied-machine-proves-nothing")
@pytest.mark.parametrize("change, age, expected", [
    ({}, 7200.0, True),                           # the machine was started after the lock was taken
    ({}, 60.0, False),                            # it runs for longer than the lock is old: the holder was a copy of it
    ({}, None, False),
    ({"hardware": "02:00:00:00:00:01"}, 7200.0, False),
])
def test_another_start_of_this_machine_is_proof_only_where_it_has_been_started_since(mine, monkeypatch, change, age, expected):
    monkeypatch.setattr(_lock_holder, "machine", lambda here=_lock_holder.machine(): {**here, "machine_id": "m", "hardware": "02:00:00:00:00:02"})
    monkeypatch.setattr(_lock_holder, "uptime", lambda: 3600.0)
    holder = {**mine, "machine_id": "m", "hardware": "02:00:00:00:00:02", "boot_id": "another start", **change}
    assert _lock_holder.dead({"holder": holder, **({} if age is None else {"age": age})}) is expected


def test_hardware_is_that_of_real_cards_only(tmp_path):
    for name, real in (("eth1", True), ("eth0", True), ("lo", False), ("docker0", False)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "address").write_text(f"02:00:{name}\n", encoding="ascii")
        if real:
            (tmp_path / name / "device").mkdir()
    assert _lock_holder.hardware(str(tmp_path)) == "02:00:eth0,02:00:eth1"
    assert _lock_holder.hardware(str(tmp_path / "none")) == ""


def test_a_machine_without_a_name_proves_nothing(mine, monkeypatch):
    monkeypatch.setattr(_lock_holder, "machine", lambda here=_lock_holder.machine(): {**here, "machine_id": ""})
    assert not _lock_holder.dead({"holder": {**mine, "machine_id": "", "start_time": "1"}})
