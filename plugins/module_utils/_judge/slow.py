# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a part of one side's requests takes far longer than those of the other. Private to the judge.

That one of twenty requests takes a second more moves a quantile far, and is little to see there: of the baseline's
requests just as many lie above its 95 % quantile, and they come and go with whatever the machine does. Far above it
hardly any lie, so each that does tells much, as an error does. It is therefore judged like one: of how many requests of
each side came the answer later than a limit, and whose are they? The limits are multiples of the 95 % quantile of what
the baseline did *before* a look. As with errors, what neighbours in time say twice is left out; as with tails, the look
in which the canary is worst does not count. Members pause by the clock, however small their share is. So the canary has
to be worse in several looks, beyond those in which the baseline is: several pauses in a row may be one side's by chance.

A new process has a few requests that take long, such as the first of a kind. So fewer than two of a hundred are none of
the judge's business here; if they are more than one of a hundred, they are in the 99 % quantile.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters
from ansible_collections.zero.downtime.plugins.module_utils._judge import order as _order
from ansible_collections.zero.downtime.plugins.module_utils._judge import sequential as _sequential

# The limits, in multiples of this quantile of the baseline.
SHARE, MULTIPLES = 0.95, (2.0, 4.0, 8.0, 16.0, 32.0)
# So large a part of a side's values has to lie above the limit.
LEAST = 0.02
# In so many more looks has it to be worse than it is better.
LOOKS = 8


class Slow(t.NamedTuple):
    """What is to be seen of one limit: that which shows most."""

    above: float  # e-value, of all limits: the canary has more slow requests
    below: float
    limit: float  # the last one; 0 where none is known yet
    canary: tuple[int, int]  # slow requests, of so many
    baseline: tuple[int, int]


class _Limit:
    """One multiple, asked of both sides at each look."""

    def __init__(self, multiple: float) -> None:
        self.multiple, self.limit = multiple, 0.0
        self.looks: list[tuple[int, float, _order.Distribution, _order.Distribution]] = []

    def add(
        self, number: int, usual: float, canary: _order.Distribution, baseline: _order.Distribution
    ) -> None:
        self.limit = usual * self.multiple
        self.looks.append((number, self.limit, canary, baseline))

    def asked(self, times: float, factors: t.Sequence[float], side: str) -> tuple[float, Slow]:
        """The evidence that C(side) has more slow requests, and what it rests on."""
        blocks = [
            _clusters.Block(name, None, number, None, one.size, one.above(limit * factor))
            for number, limit, canary, baseline in self.looks
            for name, one, factor in (("canary", canary, times), ("baseline", baseline, 1.0))
        ]
        seen = _sequential.deflated(blocks, _clusters.design_effects(blocks))
        value = _sequential.mean_ratio(_order.without_worst(seen, side == "canary"), factors)
        counts = {name: _sums([one for one in blocks if one.side == name]) for name in _clusters.SIDES}
        hits, size = counts[side]
        if hits < LEAST * size or self._more(times) * (1 if side == "canary" else -1) < LOOKS:
            value = min(value, 1.0)
        return value, Slow(value, value, self.limit * times, counts["canary"], counts["baseline"])

    def _more(self, times: float) -> int:
        """In how many looks the canary has the larger share of slow requests, less those in which the baseline has."""
        found = 0
        for _number, limit, canary, baseline in self.looks:
            ours, theirs = canary.above(limit * times) / canary.size, baseline.above(limit) / baseline.size
            found += (ours > theirs) - (ours < theirs)
        return found


def _sums(blocks: t.Sequence[_clusters.Block]) -> tuple[int, int]:
    return int(sum(one.hits for one in blocks)), int(sum(one.requests for one in blocks))


def judged(looks: t.Sequence[_order.Pair], up: float, down: float) -> Slow:
    """What the looks show.

    @param looks: the canary's and the baseline's counts of each look, oldest first; a look without any of the canary's
    only adds to what the baseline did
    @param up: the canary's values may be so many times the baseline's
    @param down: the same downwards
    """
    known: dict[float, int] = {}
    limits = [_Limit(multiple) for multiple in MULTIPLES]
    for number, (canary, baseline) in enumerate(looks):
        before = _order.Distribution(known)
        if canary and baseline and before.size * (1 - SHARE) >= _order.ABOVE:
            ours, theirs = _order.Distribution(canary), _order.Distribution(baseline)
            for limit in limits:
                limit.add(number, before.quantile(SHARE), ours, theirs)
        _order.add(known, baseline)
    if not limits[0].looks:
        return Slow(1.0, 1.0, 0.0, (0, 0), (0, 0))
    more = [one.asked(up, _sequential.WORSE, "canary") for one in limits]
    fewer = [one.asked(down, _sequential.BETTER, "baseline") for one in limits]
    above, below = (sum(value for value, _shown in found) / len(found) for found in (more, fewer))
    _value, shown = max(more if above >= below else fewer, key=lambda one: one[0])
    return shown._replace(above=above, below=below)
