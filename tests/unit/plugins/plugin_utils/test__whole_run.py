# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _whole_run

LINEAR = types.SimpleNamespace(strategy="linear")


@pytest.fixture
def started_at(monkeypatch):
    def set_to(task):
        monkeypatch.setattr(_whole_run.context, "CLIARGS", {"start_at_task": task})
    set_to(None)
    return set_to


@pytest.mark.parametrize("strategy", ["linear", "ansible.builtin.linear", None])
def test_a_whole_run_passes(started_at, strategy):
    _whole_run.check(types.SimpleNamespace(strategy=strategy), {"ansible_run_tags": ["all"], "ansible_skip_tags": []})


@pytest.mark.claim("no-part-of-a-playbook")
@pytest.mark.parametrize("task, play, variables, words", [
    ("Take the lock", LINEAR, {}, "--start-at-task is 'Take the lock'"),
    (None, types.SimpleNamespace(strategy="free"), {}, "the play's strategy is 'free'.*strategy: linear"),
    (None, types.SimpleNamespace(strategy="ansible.builtin.host_pinned"), {}, "host_pinned"),
    (None, LINEAR, {"ansible_run_tags": ["web", "db"]}, "--tags is 'web,db'"),
    (None, LINEAR, {"ansible_run_tags": ["all"], "ansible_skip_tags": ["slow", "untagged"]}, "--skip-tags is 'slow,untagged'"),
])
def test_a_part_is_refused_in_one_sentence(started_at, task, play, variables, words):
    started_at(task)
    with pytest.raises(DowntimeError, match=words):
        _whole_run.check(play, variables)


def test_tags_that_nobody_has_are_skipped_in_vain(started_at):
    _whole_run.check(LINEAR, {"ansible_run_tags": ["all"], "ansible_skip_tags": ["notest", "molecule-notest"]})


def test_a_sites_own_tags_are_its_own(started_at):
    _whole_run.check(LINEAR)
