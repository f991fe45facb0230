# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve().parent
THIRD = HERE.parent / "real" / "third_party"
for path in (HERE.parent.parent / "build" / "collections", HERE.parent / "real", HERE.parent / "aws", THIRD, HERE):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))

import rigs  # noqa: E402  pylint: disable=wrong-import-position

rigs.of_others()


@pytest.fixture(scope="module", params=list(rigs.RIGS))
def stage(request: pytest.FixtureRequest) -> t.Iterator[rigs.Rig]:
    """The driver's real parts, started once for all tests of a driver."""
    with rigs.RIGS[request.param]() as rig:
        yield rig


@pytest.fixture
def rig(stage: rigs.Rig) -> t.Iterator[rigs.Rig]:
    """The same, with every member in traffic before and after each test."""
    yield stage
    result = stage.call(stage.members, "active", timeout=120)
    assert not result.get("failed"), result["msg"]


@pytest.fixture(scope="module", params=list(rigs.SIDED_RIGS))
def sided(request: pytest.FixtureRequest) -> t.Iterator[rigs.SidedRig]:
    """Two sides, and blue has all of the requests, or what the test before has left it."""
    with rigs.SIDED_RIGS[request.param]() as rig:
        yield t.cast(rigs.SidedRig, rig)


@pytest.fixture
def balanced(rig: rigs.Rig) -> rigs.BalancedRig:
    if not isinstance(rig, rigs.BalancedRig):
        pytest.skip(f"{rig.name} moves no traffic")
    return rig
