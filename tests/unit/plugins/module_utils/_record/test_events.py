# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events


def clock(*times):
    return iter(times).__next__


def test_steps_pair_what_began_with_what_ended(tmp_path):
    run = str(tmp_path)
    now = clock(1.0, 2.0, 3.0, 4.0, 5.0)
    _events.append(run, "drain", "started", members=["app1"], batch=1, now=now)
    _events.append(run, "drain", "finished", members=["app1"], batch=1, now=now)
    _events.append(run, "drain", "started", members=["app2"], batch=2, now=now)
    _events.append(run, "drain", "failed", members=["app2"], batch=2, now=now, reason="timed out")
    _events.append(run, "return", "started", batch=2, now=now)
    assert _events.steps(_events.read(run)) == [
        {"name": "drain", "started": 1.0, "finished": 2.0, "result": "succeeded", "members": ["app1"], "batch": 1, "balancer": None},
        {"name": "drain", "started": 3.0, "finished": 4.0, "result": "failed", "members": ["app2"], "batch": 2, "balancer": None, "reason": "timed out"},
        {"name": "return", "started": 5.0, "finished": None, "result": "running", "members": [], "batch": 2, "balancer": None},
    ]


def test_a_line_that_is_still_being_written_is_not_read(tmp_path):
    _events.append(str(tmp_path), "drain", "started")
    with open(tmp_path / _events.FILE, "a", encoding="utf-8") as handle:
        handle.write('{"time": 1, "st')
    assert len(_events.read(str(tmp_path))) == 1


def test_without_a_directory_nothing_is_written(tmp_path):
    _events.append(None, "drain", "started")
    assert _events.read(str(tmp_path)) == []


def test_a_move_goes_on_where_its_events_cannot_be_written(tmp_path):
    notes = _events.Notes()
    for event in ("started", "finished"):
        notes.write(_events.append, str(tmp_path / "gone"), "back_drain", event)
    assert len(notes.warnings) == 1
    assert "cannot be written (No such file or directory" in notes.warnings[0]
