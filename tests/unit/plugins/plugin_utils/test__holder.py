# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _holder


@pytest.fixture
def mine():
    return _holder.me()


def test_the_parent_lives(mine):
    assert mine["pid"] == os.getppid()
    assert not _holder.dead({"holder": mine})


@pytest.mark.parametrize("change, expected", [
    ({"start_time": "1"}, True),
    ({"boot_id": "another boot"}, True),
    ({"controller": "elsewhere", "start_time": "1"}, False),
    ({"machine_id": "another machine", "boot_id": "another boot"}, False),
    ({"pid_namespace": "pid:[1]", "start_time": "1"}, False),
])
def test_dead_is_only_who_is_proven_so(mine, monkeypatch, change, expected):
    monkeypatch.setattr(_holder, "machine", lambda here=_holder.machine(): {**here, "machine_id": "m"})
    assert _holder.dead({"holder": {**mine, "machine_id": "m", **change}}) is expected


def test_a_machine_without_a_name_proves_nothing(mine, monkeypatch):
    monkeypatch.setattr(_holder, "machine", lambda here=_holder.machine(): {**here, "machine_id": ""})
    assert not _holder.dead({"holder": {**mine, "machine_id": "", "start_time": "1"}})
