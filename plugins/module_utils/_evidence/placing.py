# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and when something was lost: what grew between two readings of one worker's counters, member by member. Pure functions.

Private to the collection: it may change without notice.

How many requests were lost is what a worker counts in sum; the counters of its members say whose they were. Where those
do not say it (no member was there to be asked, or the driver knows none), the member is None.
"""

from __future__ import annotations

import typing as t

Row = t.Dict[str, t.Any]
# When a worker was read and what it said; None in place of what it counted before it began.
Reading = t.Tuple[float, t.Optional[Row]]

# Losses: no answer at all, half an answer, and an answer that the balancer gave in a member's place.
LOSSES = ("unanswered", "truncated", "own_errors")
# Answers that the application gave, whole, and that nobody wants, as the counters of a worker and of a member have them.
ANSWERS = {"app_errors": ("server_5xx", "errors"), "refused": ("server_4xx", "refused")}
# How the counts of single statuses begin, which a member has where its balancer knows them.
STATUS = "status_"


class Cell(t.NamedTuple):
    """What one member had between two readings; ``counts`` has the kinds that occurred."""

    balancer: str
    pool: str | None
    member: str | None
    began: float
    ended: float
    requests: int
    counts: dict[str, int]


def value(row: Row | None, name: str) -> int:
    return int((row or {}).get(name) or 0)


def answers(row: Row | None, name: str) -> int:
    return int(((row or {}).get("responses") or {}).get(name) or 0)


def own_errors(first: Row | None, last: Row) -> int | None:
    """5xx that the balancer gave in a member's place; None where it does not tell them from those of its members.

    What a rule of the balancer refused is none of them: only so many count as it has had faults with members.
    """
    if "server_5xx" not in last:
        return None
    made = answers(last, "5xx") - answers(first, "5xx") - (value(last, "server_5xx") - value(first, "server_5xx"))
    return max(0, min(made, value(last, "faults") - value(first, "faults")) if "faults" in last else made)


def _pending(row: Row | None) -> int:
    return 0 if row is None else value(row, "requests") - sum((row.get("responses") or {}).values()) - value(row, "open")


def _lasting(counted: t.Sequence[int]) -> list[int]:
    """Of a count that can only grow, at each reading what no later reading takes back.

    A reading is no instant: a request in motion is one too many in it, once. A lost one is in all later readings.
    """
    found = list(counted)
    for index in range(len(found) - 2, -1, -1):
        found[index] = min(found[index], found[index + 1])
    return [max(0, number) for number in found]


def cells(balancer: str, readings: t.Sequence[Reading]) -> list[Cell]:
    """What one worker counted, between each two of its readings, by member."""
    first = readings[0][1]
    rows = [row for _when, row in readings]
    grown = {
        "unanswered": _lasting([_pending(row) - _pending(first) for row in rows]),
        "own_errors": _lasting([0 if row is None else own_errors(first, row) or 0 for row in rows]),
    }
    broken = [value(row, "server_aborts") - value(first, "server_aborts") for row in rows]
    # A member's reset under a client that had used the connection is here and among the unanswered; which of them are that, no counter tells.
    grown["truncated"] = _lasting(broken)
    found = []
    for index in range(1, len(readings)):
        lost = {kind: counted[index] - counted[index - 1] for kind, counted in grown.items()}
        found += _between(balancer, readings[index - 1], readings[index], lost)
    return found


def _members(row: Row | None) -> dict[tuple[str, str], Row]:
    return {(pool, name): own for pool, counts in ((row or {}).get("pools") or {}).items() for name, own in (counts.get("members") or {}).items()}


def _between(balancer: str, before: Reading, after: Reading, lost: dict[str, int]) -> list[Cell]:
    old, new = _members(before[1]), _members(after[1])
    own = {key: {name: value(row, name) - value(old.get(key), name) for name in ("requests", "faults", "cut_short", "missing", "errors", "refused")}
           for key, row in new.items()}
    counts: dict[tuple[str | None, str | None], dict[str, int]] = {key: {} for key in own}

    def place(kind: str, claimed: t.Callable[[Row], int]) -> None:
        # Whoever claims most comes first: a client that left, or a request in motion, makes a small claim anywhere.
        for key, grown in sorted(own.items(), key=lambda item: -claimed(item[1])):
            taken = min(lost[kind], max(0, claimed(grown)))
            if taken:
                counts[key][kind] = taken
                grown["missing"] -= taken if kind == "own_errors" else 0
                lost[kind] -= taken
        if lost[kind]:
            counts.setdefault((None, None), {})[kind] = lost[kind]

    place("own_errors", lambda grown: grown["faults"])
    place("truncated", lambda grown: grown["cut_short"])
    place("unanswered", lambda grown: grown["missing"])
    for key, grown in own.items():
        counts[key].update({kind: grown[name] for kind, (_whole, name) in ANSWERS.items() if grown[name] > 0})
        known = ((name, value(new[key], name) - value(old.get(key), name)) for name in new[key] if name.startswith(STATUS))
        counts[key].update({name: number for name, number in known if number > 0})
    requests: dict[tuple[str | None, str | None], int] = {key: max(0, grown["requests"]) for key, grown in own.items()}
    if (None, None) in counts:
        # What no member was asked for is a request, too.
        requests[None, None] = max(0, value(after[1], "requests") - value(before[1], "requests") - sum(requests.values()))
    if not own:
        whole = counts.setdefault((None, None), {})
        requests[None, None] = max(0, value(after[1], "requests") - value(before[1], "requests"))
        answered = {kind: value(after[1], name) - value(before[1], name) for kind, (name, _own) in ANSWERS.items()}
        whole.update({kind: number for kind, number in answered.items() if number > 0})
    return [Cell(balancer, key[0], key[1], before[0], after[0], requests.get(key, 0), found)  # type: ignore[arg-type]
            for key, found in counts.items() if found or requests.get(key)]
