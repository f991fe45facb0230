# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of processor time, and of a machine's room."""

from __future__ import annotations

import subprocess
import sys

import cpu
import pytest


def test_both_kinds_of_account_are_read(tmp_path):
    (tmp_path / "cpuacct.usage").write_text("1500000000\n", encoding="ascii")
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n", encoding="ascii")
    assert cpu.used(str(tmp_path / "cpuacct.usage")) == 1.5
    assert cpu.used(str(tmp_path / "cpu.stat")) == 2.5


def test_a_group_counts_what_its_command_leaves_running():
    group = cpu.Group("unit/test")
    if group.account is None:
        pytest.skip("no control group can be made here")
    try:
        work = "import time\nwhile time.process_time() < 0.3: pass"
        # The command itself does nothing: what it started counts.
        subprocess.run(group.wrap(["sh", "-c", '"$0" -c "$1" & wait', sys.executable, work]), check=True)
        assert 0.3 <= cpu.used(group.account) < 30
    finally:
        group.remove()
    assert group.directory is not None and not group.directory.exists()


def test_without_a_group_the_command_runs_as_it_is():
    group = cpu.Group.__new__(cpu.Group)
    group.directory = None
    assert group.wrap(["a", "b"]) == ["a", "b"] and group.account is None
    group.remove()
    assert cpu.used(None) > 0


def test_pace_is_the_median_of_what_the_work_took(monkeypatch):
    pace = cpu.Pace()
    assert pace.factor == 1.0
    taken = iter([1.0, 2.0, 50.0])
    monkeypatch.setattr(cpu, "_work", lambda: next(taken) * cpu.REFERENCE)
    for _number in range(3):
        pace.look()
    assert pace.factor == 2.0


def test_machine_tells_idle_share_and_free_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 8192 kB\nMemAvailable: 4096000 kB\n", encoding="ascii")
    machine = cpu.Machine(str(tmp_path))
    for numbers in ("100 0 100 800 0 0 0 0 0 0", "190 0 100 810 0 0 0 0 0 0"):
        (tmp_path / "stat").write_text("cpu  " + numbers + "\ncpu0 1 2 3\n", encoding="ascii")
        machine.look()
    assert machine.idle == pytest.approx(0.1)
    assert machine.free_mb == 4000
