# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A short form of the judge's figures (tests/bench/canaries.py): a few deploys in each world, the same in each run."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "bench"))

import canaries  # noqa: E402  pylint: disable=wrong-import-position
import worlds  # noqa: E402  pylint: disable=wrong-import-position

STEPS, RATE = (5, 25, 50), 50
# Users of whom nobody counts who is who: what is lost there is written down, not promised away.
HEALTHY = [world for world in worlds.WORLDS if world.healthy and not (world.sticky and not world.told)]
FOUND = [world for world in worlds.WORLDS if not world.healthy and world.slower != 1.2 and not world.told]


@pytest.mark.claim("judge-worlds")
@pytest.mark.parametrize("world", HEALTHY, ids=lambda world: world.name)
def test_a_healthy_canary_passes(world):
    quick = {} if world.cold > 1 or world.times != "lognormal 0.5" or world.trend else {"latency": "none"}
    ended = [canaries.canary(world, RATE, STEPS, number, **quick) for number in range(4 if not quick else 12)]
    assert [one.reasons for one in ended if one.ours is not None] == []


@pytest.mark.claim("judge-worlds")
@pytest.mark.parametrize("world", FOUND, ids=lambda world: world.name)
def test_a_bad_canary_is_withdrawn(world):
    quick = {"latency": "none"} if world.canary_errors is not None else {}
    ended = [canaries.canary(world, 2 * RATE, STEPS, number, **quick) for number in range(4)]
    assert [one.ours is not None and not one.held for one in ended] == [True] * 4


@pytest.mark.claim("judge-slow-part-is-found")
def test_one_of_twenty_that_takes_a_second_more_is_found_by_forty_requests_a_second():
    world = next(world for world in worlds.WORLDS if world.late_ms == 1000 and not world.healthy and not world.hiccups and not world.stalls)
    ended = [canaries.canary(world, 40, (10, 50), number) for number in range(12)]
    assert [one.ours is not None and not one.held for one in ended] == [True] * 12
    # Where the middle decided alone, none would be: it is as fast as before.
    assert not any("latency_ms of the canary" in reason for one in ended for reason in one.reasons)


def test_what_is_allowed_is_not_withdrawn():
    world = next(world for world in worlds.WORLDS if world.slower == 1.2)
    assert [canaries.canary(world, RATE, STEPS, number).ours for number in range(3)] == [None] * 3


def test_a_burst_is_not_seen_by_the_test_for_errors_that_lie_apart(monkeypatch):
    """Without the design effect, bursts withdraw healthy releases: the worlds are such that it matters."""
    from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters

    world = next(world for world in worlds.WORLDS if world.hiccups == 40)
    monkeypatch.setattr(_clusters, "_correlation", lambda _by_side: 0.0)
    ended = [canaries.canary(world, 4 * RATE, STEPS, number, latency="none") for number in range(12)]
    assert sum(one.ours is not None for one in ended) >= 3
