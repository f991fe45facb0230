# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import random
import time

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._judge import mann_whitney as _mann_whitney

# Hollander and Wolfe 1973, page 69: permeability constants of the human chorioamnion, at term and at 12 to 26 weeks.
AT_TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLIER = [1.15, 0.88, 0.90, 0.74, 1.21]


@pytest.mark.parametrize("seed", range(20))
def test_order_statistics_agree_with_all_differences(seed, monkeypatch):
    monkeypatch.setattr(_mann_whitney, "ENUMERATE", 3)
    draw = random.Random(seed)
    ties = seed % 2
    xs, ys = (sorted(draw.randrange(5) if ties else draw.random() for _number in range(draw.randrange(1, 30))) for _number in "xy")
    every = sorted(x - y for x in xs for y in ys)
    assert [_mann_whitney.kth_difference(xs, ys, rank + 1) for rank in range(len(every))] == every


@pytest.mark.parametrize("rank", [1, 2, 999999, 1000000, 1500000, 2250000, 2999999, 3000000])
def test_order_statistics_of_large_samples_agree_with_all_differences(rank):
    draw = random.Random(3)
    xs, ys = sorted(draw.lognormvariate(0, 2) for _number in range(1500)), sorted(draw.choice([0.0, 1.0, draw.random()]) for _number in range(2000))
    assert _mann_whitney.kth_difference(xs, ys, rank) == sorted(x - y for x in xs for y in ys)[rank - 1]


def test_exact_rank_is_the_tables_one():
    # P(U <= 2) = 4/126 and P(U <= 1) = 2/126 for 4 and 5.
    assert _mann_whitney._exact_rank(4, 5, 4 / 126) == 2
    assert _mann_whitney._exact_rank(4, 5, 2 / 126) == 1
    assert _mann_whitney._exact_rank(4, 5, 0.9 / 126) == 0


def test_permeability_constants_of_hollander_and_wolfe():
    found = _mann_whitney.location_shift(AT_TERM, EARLIER, 0.95)
    assert found.exact and math.isclose(found.estimate, 0.305)
    assert found.low == pytest.approx(-0.15) and found.high == pytest.approx(0.76)
    # R gives p = 0.2544122544123 for them: an interval that is less sure than 1 - p leaves out 0, one that is surer has it.
    assert _mann_whitney.location_shift(AT_TERM, EARLIER, 1 - 0.25442).low > 0
    assert _mann_whitney.location_shift(AT_TERM, EARLIER, 1 - 0.25441).low < 0


@pytest.mark.parametrize("sample, reference", [([1.0], [2.0, 3.0]), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), ([1.0, 1.0], [2.0, 2.0])])
def test_too_few_values_bound_nothing(sample, reference):
    found = _mann_whitney.location_shift(sample, reference, 0.98)
    assert (found.low, found.high) == (-math.inf, math.inf) and math.isfinite(found.estimate)


def test_values_that_are_all_alike_differ_by_what_they_differ():
    found = _mann_whitney.location_shift([3.0] * 20, [1.0] * 20)
    assert found == (2.0, 2.0, 2.0, False)


def test_the_correction_for_ties_makes_the_interval_narrower():
    draw = random.Random(4)
    coarse = [[draw.choice([1.0, 1.0, 1.0, 2.0, 3.0]) for _number in range(200)] for _number in "xy"]
    fine = [[one + draw.random() * 1e-9 for one in sample] for sample in coarse]
    coarse_rank = _mann_whitney._approximate_rank(sorted(coarse[0]), sorted(coarse[1]), 0.01)
    assert coarse_rank > _mann_whitney._approximate_rank(sorted(fine[0]), sorted(fine[1]), 0.01)


def test_ten_thousand_samples_take_little(capsys):
    draw = random.Random(2)
    xs, ys = ([draw.lognormvariate(0, 1) for _number in range(5000)] for _number in "xy")
    start = time.process_time()
    _mann_whitney.location_shift(xs, ys)
    spent = time.process_time() - start
    print("CPU %.1f ms" % (spent * 1e3))
    assert spent < 1
