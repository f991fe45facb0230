# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are forked from a process with Ansible imported: each is as if started by itself."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "real"))

import warm  # noqa: E402  pylint: disable=wrong-import-position

SHOW = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {kept: "{{ kept | default('new') }}"}
    - ansible.builtin.copy:
        dest: "{{ told }}"
        mode: "0600"
        content: "{{ {'kept': kept, 'own': lookup('ansible.builtin.env', 'OWN')} | to_json }}"
    - ansible.builtin.set_fact: {kept: used, cacheable: true}
"""
HANG = "- {hosts: localhost, gather_facts: false, tasks: [{ansible.builtin.command: sleep 60}]}\n"


@pytest.fixture
def play(tmp_path):
    def start(text: str, own: str, **more):
        path = tmp_path / "play.yml"
        path.write_text(text, encoding="utf-8")
        environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "OWN": own, "ANSIBLE_LOCALHOST_WARNING": "false"}
        with open(tmp_path / f"{own}.log", "wb") as log:
            return warm.start(["ansible-playbook", "-e", f"told={tmp_path / own}", str(path)], str(tmp_path), environment, log, **more)
    yield start
    warm.close()


def test_nothing_of_a_run_reaches_the_next(play, tmp_path):
    runs = [play(SHOW, own) for own in ("first", "second")]
    assert [run.wait(120) for run in runs] == [0, 0], (tmp_path / "first.log").read_text(encoding="utf-8")
    assert play(SHOW, "third").wait(120) == 0
    found = [json.loads((tmp_path / own).read_text(encoding="utf-8")) for own in ("first", "second", "third")]
    assert [one["kept"] for one in found] == ["new"] * 3 and [one["own"] for one in found] == ["first", "second", "third"]
    # Each has had a temporary directory of its own, which is gone with it: what is left is that of the process that forks.
    assert [path.name.startswith("ansible-local-") for path in (tmp_path / "home" / "tmp").iterdir()] == [True]
    assert "failed=0" in (tmp_path / "third.log").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "first.log", "home", "play.yml", "second", "second.log", "third", "third.log"]


def test_a_module_is_packed_once_for_all_runs(play, tmp_path):
    def archives() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "home" / "tmp").glob("ansible-local-*/ansiballz_cache/*") if path.suffix != ".lock"}

    assert play(SHOW, "first").wait(120) == 0
    packed = archives()
    assert any("copy" in name for name in packed), packed
    assert play(SHOW, "second").wait(120) == 0
    assert archives() == packed


def test_ends_are_told_as_of_any_process(play):
    assert play("- not a playbook", "broken").wait(120) not in (0, None)
    run = play(HANG, "hangs", new_session=True)
    assert run.poll() is None and os.getsid(run.pid) == run.pid
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait(120) == -signal.SIGKILL == run.poll()


def test_who_asked_takes_the_runs_along(play):
    run = play(HANG, "left")
    warm.close()
    assert run.wait(120) < 0
