# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be looked at as often as one likes: e-values for counts of errors, and a limit for a measurement that grows.

Errors. When both sides answer n requests wrongly in a look, and the error rate of the canary is r times the other's, then the canary has each of
them with probability r s / (r s + 1 - s), where s is its share of the requests. The likelihood of what was seen under an r beyond the limit, divided
by that under the limit itself, starts at 1, is never negative, and does not grow on average as long as the limit holds. So does a mean of several.
By Ville's inequality such an e-value ever reaches 1 / alpha with probability alpha at most, however often it is looked at (Ramdas, Gruenwald, Vovk
and Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference", arXiv 2210.01948; tests of this kind for two proportions are in Turner,
Ly and Gruenwald, arXiv 2106.02693). Two requests cannot both be the same error, so the true deal is one without replacement: it spreads less around
the same mean, and the e-value, convex in the canary's errors, can only be smaller on average (Hoeffding 1963, "Probability inequalities for sums of
bounded random variables").

The mean is taken over ratios of error rates, fixed beforehand, and not by a beta distribution over the canary's share of the errors: that share moves
with every step of the traffic, so a mixture over it is only valid while the shares stay. It costs nothing: where they do stay, both found all of 400
canaries with 2 % errors in place of 0.5 %, half of them within 30 s, and both failed less than 1 % of 1,000 healthy ones.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters

# Counts since the look before: canary_requests, canary_errors, baseline_requests, baseline_errors. Parts of requests where they come in bursts.
Window = t.Mapping[str, float]

COUNTS = ("canary_requests", "canary_errors", "baseline_requests", "baseline_errors")
# Alternatives, in multiples of the limit, evenly spaced in their logarithm: 1.3 to 35 times, and 0.9 to 0.12 times.
WORSE = tuple(1.3 * 1.6 ** step for step in range(8))
BETTER = tuple(0.9 * 0.8 ** step for step in range(10))
# More evidence than anybody asks for, and still a number in JSON.
LARGEST = 1e300
# Where the limit for a growing measurement is tightest: at this part of the information that the first decision had.
TIGHTEST = 0.2


def e_value(looks: t.Iterable[Window], limit: float = 1.0, better: bool = False) -> float:
    """Evidence that the canary's error rate is above C(limit) times the baseline's.

    @param looks: what was counted between one look and the next, not summed up, since the shares of the requests may change in between; a look in which
        a side got no request says nothing
    @param limit: a ratio of error rates, above 0
    @param better: evidence for below the limit, not above it
    @return: from 0 to 1e300; 1 where nothing was seen
    """
    return mean_ratio(looks, BETTER if better else WORSE, limit)


def mean_ratio(looks: t.Iterable[Window], factors: t.Sequence[float], limit: float = 1.0) -> float:
    """The mean, over alternatives in multiples of C(limit), of how much likelier the looks are under each than under the limit."""
    # Without an error a look is as likely under one ratio as under another.
    seen = [(limit * look["canary_requests"] / look["baseline_requests"], look["canary_errors"], look["canary_errors"] + look["baseline_errors"])
            for look in looks if look["canary_requests"] and look["baseline_requests"] and (look["canary_errors"] or look["baseline_errors"])]
    mine = math.fsum(errors for _odds, errors, _both in seen)
    usual = math.fsum(both * math.log1p(odds) for odds, _errors, both in seen)
    return _mean([mine * math.log(factor) - math.fsum(both * math.log1p(factor * odds) for odds, _errors, both in seen) + usual for factor in factors])


def _mean(logs: t.Sequence[float]) -> float:
    """The mean of numbers whose logarithms these are."""
    top = max(logs)
    if top > math.log(LARGEST):
        return LARGEST
    return math.exp(top) * math.fsum(math.exp(one - top) for one in logs) / len(logs)


def odds_value(looks: t.Iterable[Window], usual: float, factors: t.Sequence[float]) -> float:
    """Evidence that the odds of what is counted are larger for the canary, where it is no rare event; with factors below 1, that they are smaller.

    As the e-value above, but of all that was counted, and not only of whose it is: how much likelier each side's count is when its part is C(usual) for
    the baseline and has so many times these odds for the canary, than when both have the part that both together would have then. That it is 1 on average
    at most, whichever part both have, is theorem 1 of Turner, Ly and Gruenwald (arXiv 2106.02693).

    @param usual: the part of the baseline's that is expected to be counted, above 0 and below 1
    """
    seen = [tuple(look[name] for name in COUNTS) for look in looks if look["canary_requests"] and look["baseline_requests"]]
    logs = []
    for factor in factors:
        odds = factor * usual / (1 - usual)
        ours, found = odds / (1 + odds), []
        for mine, my_hits, others, their_hits in seen:
            both = (mine * ours + others * usual) / (mine + others)
            found.append(my_hits * math.log(ours / both) + (mine - my_hits) * math.log((1 - ours) / (1 - both))
                         + their_hits * math.log(usual / both) + (others - their_hits) * math.log((1 - usual) / (1 - both)))
        logs.append(math.fsum(found))
    return _mean(logs)


def deflated(blocks: t.Iterable[_clusters.Block], effects: t.Mapping[tuple[str, t.Any], float]) -> list[dict[str, float]]:
    """The blocks summed up to looks, each side's counts divided by its design effect."""
    looks: dict[int, dict[str, float]] = {}
    for block in blocks:
        look = looks.setdefault(block.look, dict.fromkeys(COUNTS, 0.0))
        effect = effects.get((block.side, block.share), 1.0)
        look[block.side + "_requests"] += block.requests / effect
        look[block.side + "_errors"] += block.hits / effect
    return list(looks.values())


def standard_errors(information: float, alpha: float) -> float:
    """How many standard errors a measurement may be off, at any of ever so many looks, with probability C(alpha) at most.

    This is the limit of Robbins from a normal mixture, for a measurement that is as good as normal and whose samples do not depend on each other
    (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476).

    @param information: how many times as much is known as at the first decision, at least 1
    @param alpha: above 0 and below 1, for both directions together
    """
    return math.sqrt((1 + TIGHTEST / information) * (math.log1p(information / TIGHTEST) - 2 * math.log(alpha)))
