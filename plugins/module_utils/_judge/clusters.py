# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much less counts tell when what is counted comes in bursts. Private to the judge.

A member that hiccups for two seconds answers many requests wrongly, and that is one event, not many. Counts are
therefore taken in blocks: a member of one release in one look. As far as the blocks of the *same* release differ from
each other by more than chance, requests of one block are alike; the correlation rho of two requests of a block is
estimated from that (the moment estimator of the beta-binomial distribution). A block of n requests then tells as much
as n / (1 + (n - 1) rho) requests that do not depend on each other, and so do its failures: this divisor is the design
effect, and to divide both counts by it is the method of Rao and Scott (1992, "A simple method for the analysis of
clustered binary data", Biometrics 48, 577-585). With rho 0 nothing changes; with rho 1 every block is one request.

A burst may last longer than a look. So the blocks are also joined, two and four looks to one, and what tells least is
believed."""

from __future__ import annotations

import typing as t

SIDES = ("canary", "baseline")
# So many looks are joined to one block.
SPANS = (1, 2, 4)
# A burst is in one block or two. With hits in fewer blocks than these nobody can tell it from anything else.
ENOUGH = 5


class Block(t.NamedTuple):
    """What one member answered between two looks."""

    side: str
    share: t.Any  # of the requests that the canary gets: blocks are only joined while it stays
    look: int
    member: str | None
    requests: float
    hits: float


def _joined(
    blocks: t.Iterable[Block], span: int, first: t.Mapping[t.Any, int]
) -> dict[tuple[str, t.Any], list[tuple[float, float]]]:
    """Requests and hits of each block of so many looks, by side and share."""
    sums: dict[tuple[t.Any, ...], list[float]] = {}
    for block in blocks:
        found = sums.setdefault(
            (block.side, block.share, block.member, (block.look - first[block.share]) // span), [0.0, 0.0]
        )
        found[0] += block.requests
        found[1] += block.hits
    by_side: dict[tuple[str, t.Any], list[tuple[float, float]]] = {}
    for key, (requests, hits) in sums.items():
        if requests:
            by_side.setdefault((key[0], key[1]), []).append((requests, hits))
    return by_side


def _beyond(blocks: t.Sequence[tuple[float, float]]) -> tuple[float, float]:
    """By how much blocks of one release differ beyond chance, and the most that they could."""
    requests = sum(size for size, _hits in blocks)
    rate = sum(hits for _size, hits in blocks) / requests if requests else 0.0
    chance = rate * (1 - rate)
    if len(blocks) < 2 or chance <= 0:
        return 0.0, 0.0
    # The rate is that of the same blocks, which lie nearer to it than to the true one.
    wider = len(blocks) / (len(blocks) - 1)
    return (
        sum((hits - rate * size) ** 2 for size, hits in blocks) * wider - chance * requests,
        chance * sum(size * (size - 1) for size, _hits in blocks),
    )


def _correlation(by_side: t.Mapping[tuple[str, t.Any], t.Sequence[tuple[float, float]]]) -> float:
    """Rho: of the side where more of it is seen, for both. Sides that are alike have the same, and the other one may
    have had no burst yet."""
    found = []
    for side in SIDES:
        beyond, most = _beyond(
            [block for (name, _share), blocks in by_side.items() if name == side for block in blocks]
        )
        if most > 0:
            found.append(beyond / most)
    return min(1.0, max([0.0, *found]))


def design_effects(blocks: t.Sequence[Block]) -> dict[tuple[str, t.Any], float]:
    """For each side and share: by what its counts are to be divided; at least 1."""
    first: dict[t.Any, int] = {}
    for block in blocks:
        first[block.share] = min(block.look, first.get(block.share, block.look))
    found: dict[tuple[str, t.Any], float] = {}
    for span in SPANS:
        by_side = _joined(blocks, span, first)
        rho = _correlation(by_side)
        for key, sizes in by_side.items():
            # A request is in a block of this size, on average.
            usual = sum(size * size for size, _hits in sizes) / sum(size for size, _hits in sizes)
            found[key] = max(found.get(key, 1.0), 1 + rho * max(0.0, usual - 1))
    return found


def bad(blocks: t.Iterable[Block]) -> int:
    """How many blocks of the canary have a hit."""
    return sum(block.side == "canary" and block.hits > 0 for block in blocks)
