# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test is in one piece of the suite: a file that nobody runs proves nothing."""

from __future__ import annotations

import collections

import choosing
import pytest
from pieces import PIECES, REPO

DAILY = [piece for piece in PIECES if not piece.nightly and not piece.core]


def test_every_file_of_tests_is_run_by_one_piece():
    run = collections.Counter(path for piece in DAILY for path in choosing._test_files(piece.paths, ()))
    there = {str(path.relative_to(REPO)) for room in ("unit", "real", "conformance") for path in (REPO / "tests" / room).rglob("test_*.py")}
    assert set(run) == there
    assert [path for path, times in run.items() if times > 1] == []


def test_every_scenario_is_run_by_one_piece():
    run = collections.Counter(word for piece in DAILY if piece.section == "molecule" for word in piece.argv[1:])
    there = {path.parent.name for path in (REPO / "extensions" / "molecule").glob("*/molecule.yml")} - {"default"}
    assert set(run) == there and set(run.values()) == {1}


def test_names_tell_pieces_apart():
    assert max(collections.Counter(piece.name for piece in PIECES).values()) == 1


@pytest.mark.claim("debian-12-and-13")
def test_every_scenario_is_tried_on_another_debian_at_night():
    nightly = [piece for piece in PIECES if piece.section == "molecule" and piece.nightly]
    assert all(piece.argv[:3] == ("env", "MOLECULE_DEBIAN_SUITE=trixie", "tests/bin/molecule") and piece.needs_root for piece in nightly)
    daily = [word for piece in DAILY if piece.section == "molecule" for word in piece.argv[1:]]
    assert sorted(word for piece in nightly for word in piece.argv[3:]) == sorted(daily)
