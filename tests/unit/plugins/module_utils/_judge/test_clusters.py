# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._judge.clusters import Block, bad, design_effects


def _blocks(draw, burst=0.0, looks=12, size=100, rate=0.01, side="canary", share=50):
    """Blocks of four members; C(burst): how likely a block has 40 errors more."""
    return [
        Block(
            side,
            share,
            look,
            f"m{member}",
            size,
            sum(draw.random() < rate for _request in range(size)) + 40 * (draw.random() < burst),
        )
        for look in range(looks)
        for member in range(4)
    ]


def test_errors_that_lie_apart_count_whole():
    draw = random.Random(1)
    effects = [design_effects(_blocks(draw))["canary", 50] for _run in range(40)]
    assert min(effects) == 1 and sum(effects) / 40 < 1.5


def test_errors_that_come_together_count_as_one():
    """Forty at a time are hardly more than one, and less where requests are fewer."""
    found = design_effects(_blocks(random.Random(2), burst=0.05))
    assert 20 < found["canary", 50] < 45


def test_a_small_side_is_told_by_the_other_one_how_its_requests_go_together():
    draw = random.Random(3)
    blocks = _blocks(draw, burst=0.05, side="baseline", share=5) + _blocks(draw, side="canary", size=5, share=5)
    found = design_effects(blocks)
    assert found["baseline", 5] > 20 and 1.5 < found["canary", 5] < found["baseline", 5] / 3


def test_a_burst_that_lasts_is_still_one():
    """One member fails half of its requests for four looks: that is not four times."""
    one = [
        Block("canary", 50, look, f"m{member}", 100, 50 if member == 0 and 4 <= look < 8 else 0)
        for look in range(12)
        for member in range(4)
    ]
    assert design_effects(one)["canary", 50] > 150


@pytest.mark.parametrize("hits", [0, 100])
def test_blocks_that_are_all_alike_differ_by_nothing(hits):
    blocks = [Block(side, 5, look, None, 100, hits) for look in range(4) for side in ("canary", "baseline")]
    assert set(design_effects(blocks).values()) == {1.0} and bad(blocks) == (4 if hits else 0)


def test_nothing_is_nothing():
    assert design_effects([]) == {} and bad([]) == 0
    assert design_effects([Block("canary", 1, 0, None, 0, 0)]) == {}
