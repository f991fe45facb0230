# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which losses are the deploy's, and which happen all the time: pure functions.

Private to the collection: it may change without notice.

A loss is the deploy's when it happened where and when the deploy moved something: on a member between the start of its drain and the end of its
return, on every member while traffic is switched, shares change or a balancer reloads. So each loss is one of three:

- **moved**: in such a place and time. Where the same kind of loss never happened on members that stood still, its budget is 0. Otherwise only what
  is more than their rate explains counts.
- **still**: anywhere else. It is background, unless it became more frequent than it was before anything moved.
- **before**: until the first move. It is background.

"More frequent" is the exact test of _rates, for every kind alike. Off the places of the deploy it also has to last: a member that stumbles for a
second or two fails many requests at once, and that is no trend. So the worst moment of each member is left out there.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.placing import LOSSES, Cell
from ansible_collections.zero.downtime.plugins.module_utils._evidence.rates import Count

Step = t.Mapping[str, t.Any]
Span = t.Tuple[float, float]

# What a move leaves behind may show a moment after its end.
AFTER = 2.0
# Of more members than these the names are no help.
FEW = 3
# Seconds that a member may stumble.
BURST = 4.0
# One connection that its member resets is both.
TWICE = ("unanswered", "truncated")
FOREVER = float("inf")

# Where something is moved, a rate is called higher sooner: that is where losses are expected.
MOVED_LEVEL = 1e-5
# Beside fewer requests than these a kind that happens all the time may not have come yet: losses that chance could have put there are no verdict at once.
ENOUGH = 1500
# Seconds that a deploy waits at most for so many, before a move that leaves nobody standing still.
PATIENCE = 10.0
WORDS = {"unanswered": "unanswered", "truncated": "truncated", "own_errors": "answered by the balancer with a 5xx"}


def patience(received: int, seconds: float) -> float:
    """How long to wait before all requests change sides, so that by then ENOUGH of them have come: what happens all the time has shown itself by then.

    :param received: requests that came in the ``seconds`` before.
    :returns: seconds; 0 where so many have come, or would not come in time.
    """
    missing = ENOUGH - received
    wait = missing * seconds / received if received > 0 else FOREVER
    return wait if 0 < wait <= PATIENCE else 0.0


class Places:
    """Which members a deploy moved, and when.

    :param steps: as _events.steps gives them.
    :param began: when it first moved something; None where nothing is known to have moved.
    """

    def __init__(self, steps: t.Sequence[Step], began: float | None) -> None:
        self.began = began
        self.members: dict[str, list[tuple[Span, frozenset[str]]]] = {}
        self.all: list[Span] = []
        batches: dict[tuple[t.Any, bool], list[Step]] = {}
        for step in steps:
            if _steps.of_all(step["name"]):
                self.all.append((step["started"], _end(step)))
            elif _steps.is_move(step["name"]):
                batches.setdefault((step.get("batch"), _steps.goes_back(step["name"])), []).append(step)
        # The name that a balancer has for a member, where that is another one, and the way back.
        self.servers = {name: server for step in steps for name, server in (step.get("servers") or {}).items()}
        self.names = {server: name for name, server in self.servers.items()}
        for batch in batches.values():
            # From the start of its drain to the end of its return, with what is between the steps.
            span = min(step["started"] for step in batch), max(_end(step) for step in batch)
            # A host may carry both sides: only that one is moved whose pool is.
            pools = frozenset(pool for step in batch for pool in step.get("pools") or ())
            for name in {name for step in batch for name in step.get("members") or ()}:
                self.members.setdefault(self.servers.get(name, name), []).append((span, pools))

        # What was ended on purpose, and shows as a loss of its member until that comes back.
        self.meant = sorted((meant for step in steps for meant in _meant(step, steps)), key=lambda one: one.asked)
        self.asked = sum(sum((step.get("asked") or {}).values()) for step in steps)

    def moving(self, cell: Cell) -> bool:
        """Whether something that moves this cell's member (or any, where it names none) ran in its time."""
        return any(start <= cell.ended and cell.began <= end + AFTER for start, end in (*self.all, *self._spans(cell)))

    def moved_before(self, cell: Cell, when: float) -> bool:
        """Whether this cell's member may have run, by then, what the deploy brought it."""
        return any(start <= when for start, _end_of_it in (*self.all, *(self._spans(cell) if cell.member else ())))

    def leaves_some(self, cells: t.Iterable[Cell]) -> bool:
        """Whether there are members that nobody has moved so far, so that it can still show what happens without a move."""
        return any(not self.moved_before(cell, FOREVER) for cell in cells)

    def _spans(self, cell: Cell) -> list[Span]:
        named = [self.members.get(cell.member, [])] if cell.member is not None else list(self.members.values())
        return [span for spans in named for span, pools in spans if not pools or cell.pool is None or cell.pool in pools]


class Meant(t.NamedTuple):
    """Connections of a member (of any, where it is None) that were ended on purpose: so many of its losses of these kinds, in that time, are these."""

    server: str | None
    kinds: tuple[str, ...]
    number: int
    since: float
    until: float
    # Whether it was left to the application to end them.
    asked: bool = False

    def may_be(self, cell: Cell) -> bool:
        """Whether this cell may have lost some of them."""
        return self.server in (None, cell.member) and self.since < cell.ended <= self.until


def _meant(step: Step, steps: t.Sequence[Step]) -> t.Iterator[Meant]:
    """A member that has come back loses what it loses by itself, and so does one that nobody has begun to take out."""
    if not (step.get("cut_by") or step.get("cut") or step.get("asked")):
        # Most steps: to look for the return of each takes time by the square of the members.
        return
    began = step["started"]
    back = [other["started"] for other in steps if _steps.returns(other["name"]) and other.get("batch") == step.get("batch") and other["started"] > began]
    until = min(back, default=FOREVER)
    # What was cut comes first: that many were. One that is cut may be waiting for its answer still.
    for server, number in (step.get("cut_by") or {}).items():
        yield Meant(server, LOSSES, number, began, until)
    if step.get("cut") and step.get("cut_by") is None:
        # Where a driver does not tell whose connections it cut, any member's may show as a loss.
        yield Meant(None, LOSSES, step["cut"], began, _end(step) + AFTER)
    # A stream whose application ends it is an answer that has begun.
    for server, number in (step.get("asked") or {}).items():
        yield Meant(server, ("truncated",), number, began, until, asked=True)


def _end(step: Step) -> float:
    return FOREVER if step["finished"] is None else float(step["finished"])


class Verdict(t.NamedTuple):
    """What one kind of loss came to."""

    kind: str
    # The deploy's: how many, and where they were counted.
    lost: int
    where: list[Cell]
    before: Count
    # Less what was ended on purpose.
    during: Count
    # Who had what is background, since the first move.
    others: list[str]
    # It rests on few losses, and on so few requests before that the same may happen all the time.
    hasty: bool
    # How many were streams that their application was left to end.
    asked: int = 0


def _parts(cells: t.Iterable[Cell], kinds: t.Sequence[str]) -> list[Count]:
    return [Count(sum(cell.counts.get(kind, 0) for kind in kinds), cell.requests) for cell in cells]


def count(cells: t.Iterable[Cell], *kinds: str) -> Count:
    return _rates.total(_parts(cells, kinds))


def _spread(cells: t.Iterable[Cell], kinds: t.Sequence[str]) -> float:
    return _rates.dispersion(_parts(cells, kinds))


def split(cells: t.Iterable[Cell], moment: float | None) -> tuple[list[Cell], list[Cell]]:
    """What was counted before a moment, and from then on; without a moment nothing was before it."""
    before, during = [], []
    for cell in cells:
        (before if moment is not None and cell.ended <= moment else during).append(cell)
    return before, during


def judge(cells: t.Sequence[Cell], places: Places) -> list[Verdict]:
    """Each kind of loss: what is the deploy's, and what is background."""
    cells, asked = _less_what_was_meant(cells, places)
    before, during = split(cells, places.began)
    # Where nothing is known to have moved, nothing can be called background either.
    moved = [cell for cell in during if places.began is None or places.moving(cell)]
    still = [cell for cell in during if not (places.began is None or places.moving(cell))]
    untouched = before + [cell for cell in still if not places.moved_before(cell, cell.ended)]
    found = []
    for kind in LOSSES:
        here, usual = _compared(moved, untouched, during, kind)
        own = here.failed
        if usual.failed:
            is_more = _rates.higher(usual, Count(own, here.requests), _spread(untouched, [kind]), MOVED_LEVEL)
            own = min(own, _rates.beyond(usual, here)) if is_more else 0
        where, left = (list(moved), still) if own else ([], still)
        if own:
            # What goes on behind the moves, on members that they have brought something to, is of the same cause.
            behind, left = _apart(still, lambda cell: cell.member is not None and places.moved_before(cell, cell.began))
            if _rates.higher(usual, count(behind, kind), _spread(untouched, [kind]), MOVED_LEVEL):
                own += _rates.beyond(usual, count(behind, kind))
                where += behind
        if lasts(before, left, kind):
            own += _rates.beyond(count(before, kind), count(left, kind))
            where = where + left
        placed = _at_most(own, where, kind)
        theirs = set(map(id, where))
        others = sorted({places.names.get(cell.member, cell.member) for cell in during
                         if cell.member and cell.counts.get(kind) and id(cell) not in theirs})
        hasty = bool(own) and not usual.failed and usual.requests < ENOUGH and not _rates.higher(usual, Count(own, here.requests), level=MOVED_LEVEL)
        found.append(Verdict(kind, own, placed, count(before, kind), count(during, kind), others, hasty, asked if kind == "truncated" else 0))
    return _counted_once(found)


def _apart(cells: t.Iterable[Cell], chosen: t.Callable[[Cell], bool]) -> tuple[list[Cell], list[Cell]]:
    """Those that are chosen, and the others."""
    found: tuple[list[Cell], list[Cell]] = ([], [])
    for cell in cells:
        found[not chosen(cell)].append(cell)
    return found


def _at_most(lost: int, cells: t.Iterable[Cell], kind: str) -> list[Cell]:
    """The places of so many losses: where most were counted, since what is less than that may be what happens all the time."""
    found = []
    for cell in sorted(cells, key=lambda one: -one.counts.get(kind, 0)):
        taken = min(lost, cell.counts.get(kind, 0))
        lost -= taken
        if taken:
            found.append(cell if taken == cell.counts[kind] else cell._replace(counts={**cell.counts, kind: taken}))
    return sorted(found, key=lambda one: one.began)


def _less_what_was_meant(cells: t.Sequence[Cell], places: Places) -> tuple[list[Cell], int]:
    """The cells without what was ended on purpose, which is neither lost nor background: it is told by its own number. And how many of it were streams that
    their application was left to end."""
    found = [cell._replace(counts=dict(cell.counts)) for cell in cells]
    asked = 0
    for one in places.meant:
        left = one.number
        for cell in found:
            if left and one.may_be(cell) and (places.began is None or places.moving(cell)):
                taken = _take(cell.counts, one.kinds, left)
                left -= taken
                asked += taken if one.asked else 0
    return found, asked


def _take(counts: dict[str, int], kinds: t.Sequence[str], number: int) -> int:
    """Take so many connections off what was lost, and tell how many there were to take. One that its member resets may show as two losses."""
    taken = 0
    for together in (TWICE, *((kind,) for kind in kinds)):
        if set(together) <= set(kinds):
            these = min([number - taken, *(counts.get(kind, 0) for kind in together)])
            for kind in together:
                counts[kind] = counts.get(kind, 0) - these
            taken += these
    return taken


def _compared(moved: t.Sequence[Cell], untouched: t.Sequence[Cell], during: t.Sequence[Cell], kind: str) -> tuple[Count, Count]:
    """A kind of loss on what is moved, and where nothing has been.

    A loss that names no member may be any member's. So at its time everybody's requests are on the side of what is moved, and nobody's on the other.
    """
    nameless = {_moment(cell) for cell in moved if cell.member is None and cell.counts.get(kind)}
    counted = set(map(id, moved))
    here = sum(cell.requests for cell in during if id(cell) in counted or _moment(cell) in nameless)
    usual = count(untouched, kind).failed
    return Count(count(moved, kind).failed, here), Count(usual, max(usual, sum(cell.requests for cell in untouched if _moment(cell) not in nameless)))


def _moment(cell: Cell) -> tuple[str, float, float]:
    return cell.balancer, cell.began, cell.ended


def _counted_once(verdicts: t.Sequence[Verdict]) -> list[Verdict]:
    """A member's reset under a kept connection is both unanswered and truncated: where both are the deploy's, on one member at a time, it counts once."""
    unanswered = next(one for one in verdicts if one.kind == "unanswered")
    there = {cell[:5] for cell in unanswered.where}
    found = []
    for one in verdicts:
        if one.kind == "truncated" and unanswered.lost:
            once = [cell._replace(counts={**cell.counts, one.kind: max(0, cell.counts[one.kind] - cell.counts.get("unanswered", 0))})
                    if cell[:5] in there else cell for cell in one.where]
            both = count(one.where, one.kind).failed - count(once, one.kind).failed
            one = one._replace(lost=max(0, one.lost - both), where=[cell for cell in once if cell.counts[one.kind]])
        found.append(one if one.lost else one._replace(where=[], hasty=False))
    return found


def worse(before: t.Sequence[Cell], during: t.Sequence[Cell], *kinds: str) -> bool:
    """Whether answers of these kinds became more frequent."""
    return _rates.higher(count(before, *kinds), count(during, *kinds), _spread(before, kinds))


def lasts(before: t.Sequence[Cell], during: t.Sequence[Cell], *kinds: str) -> bool:
    """Whether they did, and not for a moment only."""
    return worse(before, during, *kinds) and worse(before, _without_bursts(during, kinds), *kinds)


def _without_bursts(cells: t.Sequence[Cell], kinds: t.Sequence[str]) -> list[Cell]:
    """The cells without the worst moment of each member.

    A cell that is longer than a moment, such as one of a restart that takes its time, is one as well: all its failures may lie within a second or two,
    and what lasts shows in the cells after it, too.
    """
    by_member: dict[str | None, list[Cell]] = {}
    for cell in cells:
        by_member.setdefault(cell.member, []).append(cell)
    left_out: set[int] = set()
    for own in by_member.values():
        if count(own, *kinds).failed:
            # It may begin as late as at the end of its first cell.
            moments = [[cell for cell in own if first.began <= cell.began and cell.ended <= first.ended + BURST] for first in own]
            left_out.update(map(id, max(moments, key=lambda moment: count(moment, *kinds).failed)))
    return [cell for cell in cells if id(cell) not in left_out]


def percent(counted: Count) -> str:
    """A rate in words: as many digits as it takes to tell it from 0."""
    share = 100 * counted.rate
    return "0 %" if not share else "%.1f %%" % share if share >= 0.1 else "%.2g %%" % share


def background(verdicts: t.Iterable[Verdict]) -> str:
    """What was lost anyway, for a sentence; empty where nothing was."""
    told, usual = [], []
    for one in verdicts:
        during = Count(one.during.failed - one.lost, one.during.requests)
        if one.before.failed and not during.failed:
            told.append("%s %s before anything moved (%s)" % (format(one.before.failed, ","), WORDS[one.kind], percent(one.before)))
        elif during.failed:
            usual.append(one.before.failed > 0)
            who = " on %s" % ", ".join(one.others) if one.others and len(one.others) <= FEW else ""
            told.append("%s %s%s (%s, %s before)" % (format(during.failed, ","), WORDS[one.kind], who, percent(during), percent(one.before)))
    return ("background%s: %s" % (" as before" if usual and all(usual) else "", ", ".join(told))) if told else ""


def background_rate(verdicts: t.Iterable[Verdict], cells: t.Sequence[Cell]) -> Count:
    """Of all requests, how many were lost without the deploy's doing."""
    return Count(sum(one.before.failed + one.during.failed - one.lost for one in verdicts), sum(cell.requests for cell in cells))
