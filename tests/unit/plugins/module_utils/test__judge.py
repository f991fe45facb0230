# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import math
import random
import time

import pytest
from ansible_collections.zero.downtime.plugins.module_utils import _judge, _mann_whitney, _sequential


@pytest.mark.parametrize("seed", range(20))
def test_order_statistics_agree_with_all_differences(seed, monkeypatch):
    monkeypatch.setattr(_mann_whitney, "ENUMERATE", 3)
    draw = random.Random(seed)
    ties = seed % 2
    xs, ys = (sorted(draw.randrange(5) if ties else draw.random() for _number in range(draw.randrange(1, 30))) for _number in "xy")
    every = sorted(x - y for x in xs for y in ys)
    assert [_mann_whitney.kth_difference(xs, ys, rank + 1) for rank in range(len(every))] == every


def test_exact_rank_is_the_tables_one():
    # P(U <= 2) = 4/126 and P(U <= 1) = 2/126 for 4 and 5.
    assert _mann_whitney._exact_rank(4, 5, 4 / 126) == 2
    assert _mann_whitney._exact_rank(4, 5, 2 / 126) == 1


def test_permeability_constants_of_hollander_and_wolfe():
    x = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    y = [1.15, 0.88, 0.90, 0.74, 1.21]
    found = _mann_whitney.location_shift(x, y, 0.95)
    assert found["exact"] and math.isclose(found["estimate"], 0.305)
    assert found["low"] == pytest.approx(-0.15) and found["high"] == pytest.approx(0.76)


def _looks(canary, baseline):
    return [{"canary_requests": 20, "canary_errors": canary, "baseline_requests": 180, "baseline_errors": baseline}]


def test_e_value_is_a_martingale_where_both_are_alike():
    # Summed over all ways to deal 12 errors, its mean is 1.
    for better in (False, True):
        mean = sum(math.comb(12, k) * 0.1 ** k * 0.9 ** (12 - k) * _sequential.e_value(_looks(k, 12 - k), better=better) for k in range(13))
        assert math.isclose(mean, 1, rel_tol=1e-9)


def _side(latencies, requests=1000, errors=5):
    return {"requests": requests, "errors": errors, "metrics": {"latency": latencies}}


def _verdict(canary, baseline, **criteria):
    found = _judge.judge([{"canary": canary, "baseline": baseline}], {"metrics": {"latency": {"critical": True}}, **criteria})
    json.dumps(found, allow_nan=False)
    return found["verdict"]


def test_verdicts():
    draw = random.Random(1)
    base, same = ([draw.lognormvariate(0, 0.3) for _number in range(60)] for _number in "ab")
    assert _verdict(_side(same), _side(base)) == "pass"
    assert _verdict(_side([2 * one for one in same]), _side(base)) == "fail"
    assert _verdict(_side(same, errors=40), _side(base)) == "fail"
    assert _verdict(_side(same[:3]), _side(base)) == "inconclusive"
    assert _verdict(_side(same[:-1] + [math.nan]), _side(base)) == "inconclusive"
    assert _verdict(_side([], 0, 0), _side(base)) == "inconclusive"
    assert _verdict(_side(same), _side(base), margin=1.0) == "inconclusive"


def test_ten_thousand_samples_take_little(capsys):
    draw = random.Random(2)
    xs, ys = ([draw.lognormvariate(0, 1) for _number in range(5000)] for _number in "xy")
    start = time.process_time()
    _mann_whitney.location_shift(xs, ys)
    spent = time.process_time() - start
    print("CPU %.1f ms" % (spent * 1e3))
    assert spent < 1
