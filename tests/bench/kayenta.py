# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spinnaker's canary judge (NetflixACAJudge) in plain Python, by its published constants, for the same simulated looks.

Its metrics are series with a value for each look: the error rate, the mean latency and the 99th percentile of each
side. Values that are no numbers are dropped; outliers beyond three interquartile ranges, too; the Mann-Whitney interval
of 98 % has to lie beyond a quarter of its estimate for a metric to be High; the score is the share of the metrics that
pass, and a canary fails below 75. It judges once, at the end of each share."""

from __future__ import annotations

import statistics
import typing as t

CONFIDENCE, TOLERANCE, OUTLIERS, MARGINAL = 0.98, 0.25, 3.0, 75.0


def _without_outliers(values: list[float]) -> list[float]:
    if len(values) < 4:
        return values
    low, _middle, high = statistics.quantiles(values, n=4, method="inclusive")
    off = OUTLIERS * (high - low)
    return [one for one in values if low - off <= one <= high + off]


def _series(looks: t.Sequence[t.Mapping[str, t.Any]], side: str) -> list[list[float]]:
    rates, means, tails = [], [], []
    for look in looks:
        one = look[side]
        if one["requests"]:
            rates.append(one["errors"] / one["requests"])
        values = sorted((one["metrics"].get("latency_ms") or {}).items())
        size = sum(count for _value, count in values)
        if size:
            means.append(sum(value * count for value, count in values) / size)
            seen = 0
            for value, count in values:
                seen += count
                if seen >= 0.99 * size:
                    tails.append(value)
                    break
    return [rates, means, tails]


def fails(looks: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    from ansible_collections.zero.downtime.plugins.module_utils._judge.mann_whitney import (
        location_shift,
    )  # pylint: disable=import-outside-toplevel

    passed = told = 0
    for canary, baseline in zip(_series(looks, "canary"), _series(looks, "baseline")):
        canary, baseline = _without_outliers(canary), _without_outliers(baseline)
        if not canary or not baseline:
            continue
        told += 1
        if canary == baseline:
            passed += 1
            continue
        shift = location_shift(canary, baseline, CONFIDENCE)
        passed += not shift.low > TOLERANCE * abs(shift.estimate)
    return bool(told) and 100 * passed / told < MARGINAL
