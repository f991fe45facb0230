# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the whole suite under stress came to, piece by piece."""

from __future__ import annotations

import pathlib

import pytest
import stress

SUITE = """
import os
print("=== playbooks/faults begins")
print("%-24s %5d passed %4d failed %4d skipped %6.0f s %7.1f CPU s" % ("playbooks/faults", 31, 0, 0, 252.4, 85.3))
print("%-24s %5d passed %4d failed %4d skipped %6.0f s %7.1f CPU s" % ("chaos", 5, FAILED, 0, 130.0, 67.0))
print("36 passed, %d failed" % FAILED)
print("asked for", *(os.environ["SUITE_" + name] for name in ("SHUFFLE", "STRETCH", "BESIDE")))
raise SystemExit(CODE)
"""


@pytest.fixture
def run_all(monkeypatch, tmp_path):
    def run(failed: int, code: int):
        (tmp_path / "tests" / "bin").mkdir(parents=True, exist_ok=True)
        pathlib.Path(tmp_path, "tests", "bin", "suite.py").write_text(SUITE.replace("FAILED", str(failed)).replace("CODE", str(code)), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        return {one["test"]: (one["passed"], one["failed"], one["seconds"]) for one in stress.run_all(7)}
    return run


def test_a_result_for_each_piece_and_for_the_whole(run_all, capfd):
    found = run_all(0, 0)
    assert found["playbooks/faults"] == (31, 0, 252.0) and found["chaos"] == (5, 0, 130.0)
    assert found["all"][:2] == (36, 0)
    assert "asked for 7 3 5" in capfd.readouterr().out


@pytest.mark.parametrize(("failed", "code"), [(1, 1), (0, 1)])
def test_a_run_that_failed_in_any_way_is_a_failed_one(run_all, failed, code):
    assert run_all(failed, code)["all"][:2] == (36, 1)
