# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Always-valid tests on counts of errors: e-values, which may be looked at as often as one likes.

Given an error, it is the canary's with probability r s / (r s + 1 - s), where s is the canary's share of the requests and r how many
times its error rate is the baseline's. The likelihood ratio against the limit of r, mixed over alternatives beyond it, is a
supermartingale that starts at 1; by Ville's inequality it reaches 1 / alpha with probability alpha at most (Ville 1939; Ramdas et al.,
Game-theoretic statistics and safe anytime-valid inference, 2023). A mixture over ratios, not over shares, stays valid when s changes.
"""

from __future__ import annotations

import math
import typing as t

# Alternatives, in multiples of the limit: evenly spaced in their logarithm.
WORSE = tuple(1.25 * 1.25 ** step for step in range(16))
BETTER = tuple(0.9 * 0.8 ** step for step in range(10))
LARGEST = 1e300


def e_value(looks: t.Sequence[t.Mapping[str, int]], limit: float = 1.0, better: bool = False) -> float:
    """Evidence that the ratio of error rates is above limit (better: below it). Looks: requests and errors of each side, not summed."""
    logs = []
    for factor in BETTER if better else WORSE:
        total = 0.0
        for look in looks:
            requests, errors = look["canary_requests"], look["canary_errors"]
            others, other_errors = look["baseline_requests"], look["baseline_errors"]
            if not requests or not others:
                continue
            odds = limit * requests / others
            total += errors * math.log(factor) - (errors + other_errors) * math.log((1 + factor * odds) / (1 + odds))
        logs.append(total)
    top = max(logs)
    return min(LARGEST, math.exp(min(top, 690.0)) * sum(math.exp(one - top) for one in logs) / len(logs))
