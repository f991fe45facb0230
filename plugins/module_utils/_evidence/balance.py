# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The balance sheet of every real request, from the balancers' own counters.

Private to the collection: it may change without notice.

    received + open at the start = answered whole + truncated + unanswered + still open

Received is what was given to the pools of this application: other applications on the same frontend, malformed requests and what a rule of the
balancer answers are none of it. What each term is made of was measured on HAProxy 2.6.12, one kind of loss at a time (see _haproxy_counters):

=============================================  =======================================================================
what happened                                  what the counters show
=============================================  =======================================================================
a member's connection died under a client that   the request is in no class of responses: **unanswered**. Nothing else
had used its connection before                 shows it, except that a *reset* by the member also counts in server_aborts
the same on a client's first request           502 of the balancer: 5xx of the pool, not of a member
no member took the connection                  503 of the balancer, likewise
half of an answer                              counted as answered (2xx); shows only in server_aborts: **truncated**
the application's own 500 or 503               5xx of the pool and of a member
a rule of the pool refuses with 503            5xx of the pool, and no fault of a member: nothing is lost
the client left or reset                       always in a class of responses, with or without option abortonclose
=============================================  =======================================================================

So client_aborts explain no unanswered request and are never subtracted from them: taken off, one impatient client would
hide one lost request. And server_aborts overlap with unanswered, so only those beyond the unanswered count as truncated;
where both are seen, the note says between which numbers the truth lies.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._evidence import placing as _placing
from ansible_collections.zero.downtime.plugins.module_utils._evidence.placing import answers, value
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events

FILE = "counters.jsonl"

Row = t.Dict[str, t.Any]
Reading = t.Tuple[float, Row]

_SERVER_SIDE = ("client_aborts", "server_aborts", "retries", "redispatches", "denied")


# -- the samples' file ----------------------------------------------------------------------------------------------

def append(run_dir: str | None, balancer: str, result: dict[str, t.Any], at: str, moment: str | None = None,
           now: t.Callable[[], float] | None = None) -> dict[str, t.Any]:
    """Keep what one balancer's module returned as a sample: its counters, or why there are none.

    ``at`` says when (started, checked, stopped, or a step). Samples that share a ``moment`` are readings of the same thing, taken again
    because a single one can be off by a request in motion. Without a ``run_dir`` nothing is written.
    """
    sample: dict[str, t.Any] = {"time": round((now or _events.clock(run_dir))(), 3), "balancer": balancer, "at": at}
    if moment is not None:
        sample["moment"] = moment
    if result.get("counters"):
        # What is compared with an earlier deploy's end is of use in the first sample alone.
        sample["counters"] = [{name: value for name, value in row.items() if at == "started" or name != "slow_losses"} for row in result["counters"]]
        sample["kernel"] = result.get("kernel")
    else:
        sample["failed"] = str(result.get("msg") or result.get("uncounted") or "it returned no counters")
        if result.get("uncounted") and not result.get("failed"):
            # It answers, and says that nobody counts there: a sheet that is missing, and no balancer that is.
            sample["uncounted"] = True
    if run_dir:
        handle = os.open(os.path.join(run_dir, FILE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, (json.dumps(sample, default=str) + "\n").encode())
        finally:
            os.close(handle)
    return sample


def read(run_dir: str) -> list[dict[str, t.Any]]:
    """All complete samples, oldest first."""
    try:
        with open(os.path.join(run_dir, FILE), encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        return []
    found = [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]
    return sorted(found, key=lambda sample: sample["time"])


# -- one worker -----------------------------------------------------------------------------------------------------

def pending(row: Row) -> int:
    """Requests without an answer that the balancer does not hold any more, since the worker began."""
    return row["requests"] - sum(row["responses"].values()) - row.get("open", 0)


def _middle(group: t.Sequence[Reading], high: bool) -> Reading:
    """The reading with the middle count of pending requests.

    A reading is no instant: a request that begins or ends meanwhile moves the count by one, for that reading only. A lost
    request stays in all later ones. Of two readings the one is taken that claims fewer losses.
    """
    ordered = sorted(group, key=lambda reading: pending(reading[1]))
    return ordered[len(ordered) // 2] if high or len(ordered) % 2 else ordered[len(ordered) // 2 - 1]


def _grown(first: Row | None, last: Row) -> dict[str, int]:
    """What one worker counted between two readings; None as the first one: since it began."""
    grown = {name: value(last, name) - value(first, name) for name in _SERVER_SIDE}
    grown["received"] = value(last, "requests") - value(first, "requests")
    grown["responses"] = sum(answers(last, name) - answers(first, name) for name in last["responses"])
    grown["errors"] = answers(last, "5xx") - answers(first, "5xx")
    grown["own_errors"] = _placing.own_errors(first, last) or 0
    grown["open_before"] = value(first, "open")
    grown["open"] = value(last, "open")
    grown["streams_before"] = value(first, "streams")
    grown["streams"] = value(last, "streams")
    # What was taken for a stream may have been a hint.
    grown["streams_begun"] = max(0, value(last, "streams_begun") - value(first, "streams_begun"))
    return grown


def _sum(parts: t.Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total


def _unanswered(grown: dict[str, int]) -> int:
    return grown["received"] - grown["responses"] - (grown["open"] - grown["open_before"])


def _runs(readings: t.Sequence[Reading]) -> list[list[Reading]]:
    """The readings, split where the counters went back: cleared, or another process with the same id."""
    runs: list[list[Reading]] = [[]]
    for reading in readings:
        if runs[-1]:
            before = runs[-1][-1][1]
            if reading[1]["requests"] < before["requests"] or sum(reading[1]["responses"].values()) < sum(before["responses"].values()):
                runs.append([])
        runs[-1].append(reading)
    return runs


class _Run(t.NamedTuple):
    """One worker from a reading on (None: from its own begin) to its last one."""

    base: Reading | None
    readings: list[Reading]
    last: Reading


class _Window(t.NamedTuple):
    before: dict[str, int]
    during: dict[str, int]
    whole: dict[str, int]


def _split(run: _Run, moved_at: float | None) -> _Window:
    """What grew before the first move and from it on. The last reading before the move is where the two meet."""
    base = run.base[1] if run.base else None
    meet: Row | None = base
    seen = False
    for when, row in run.readings:
        if moved_at is not None and when <= moved_at:
            meet, seen = row, True
    nothing = _grown(run.last[1], run.last[1])
    whole = _grown(base, run.last[1])
    if not seen or meet is None or base is None:
        return _Window({name: 0 for name in nothing}, whole, whole)
    return _Window(_grown(base, meet), _grown(meet, run.last[1]), whole)


def _from_the_reading_before(run: _Run, samples: t.Sequence[dict[str, t.Any]]) -> list[_placing.Reading]:
    """The readings of a run; one that began on the way is there since the reading in which it was not there yet."""
    began, ended = (run.base or run.readings[0])[0], run.last[0]
    between: list[_placing.Reading] = [reading for reading in run.readings if began < reading[0] < ended]
    if run.base:
        return [run.base, *between, run.last]
    earlier = max((sample["time"] for sample in samples if sample["time"] < began), default=began)
    return [(earlier, None), *([run.readings[0]] if began < ended else []), *between, run.last]


# -- one balancer ---------------------------------------------------------------------------------------------------

def _one(name: str, samples: t.Sequence[dict[str, t.Any]], moved_at: float | None) -> dict[str, t.Any]:
    good = [sample for sample in samples if "counters" in sample]
    notes: list[str] = []
    gaps: list[str] = []        # notes that make the sheet incomplete
    if not good:
        return {"complete": False, "notes": ["%s was never read: %s" % (name, samples[-1]["failed"])], "read": False}
    if "failed" in samples[-1]:
        gaps.append("%s could not be read at the end: %s" % (name, samples[-1]["failed"]))
    if len(good) < 2:
        gaps.append("%s was read only once" % name)
    opening, closing = _burst(good), _burst(good[::-1])
    readings: dict[t.Any, list[Reading]] = {}
    for sample in good:
        for row in sample["counters"]:
            readings.setdefault(row["worker"], []).append((sample["time"], row))
    for pool in sorted({pool for sample in good for row in sample["counters"] for pool in row.get("uncounted") or ()}):
        gaps.append("%s: the requests of %s are not counted, since it is in mode tcp" % (name, pool))
    parts: list[_Window] = []
    cells: list[_placing.Cell] = []
    for worker, series in readings.items():
        for run in _worker(name, worker, series, opening, closing, gaps):
            parts.append(_split(run, moved_at))
            cells += _placing.cells(name, _from_the_reading_before(run, good))
    before, during = _sum(part.before for part in parts), _sum(part.during for part in parts)
    whole = _sum(part.whole for part in parts)
    unanswered = max(0, _unanswered(whole))
    # At least so many: only where a member had both at a time, one may be the other.
    truncated = sum(max(0, cell.counts.get("truncated", 0) - cell.counts.get("unanswered", 0)) for cell in cells)
    most = min(whole["responses"], max(0, whole["server_aborts"]))
    if truncated < most and unanswered:
        notes.append("%s: a member's reset counts both as unanswered and among %d broken answers, so that between %d and %d requests ended without a whole "
                     "answer" % (name, whole["server_aborts"], unanswered + truncated, unanswered + most))
    knows_servers = all("server_5xx" in row for sample in good for row in sample["counters"])
    return {
        "read": True, "complete": not gaps, "notes": gaps + notes, "began": opening[0]["time"], "ended": closing[0]["time"],
        "received": whole["received"], "answered": whole["responses"] - truncated, "truncated": truncated, "unanswered": unanswered,
        "open_before": whole["open_before"], "open": whole["open"],
        **{name: whole[name] for name in _STREAMS},
        "client_aborts": whole["client_aborts"], "retries": whole["retries"], "redispatches": whole["redispatches"], "denied": whole["denied"],
        "received_before": before["received"], "received_during": during["received"],
        "errors_before": before["errors"], "errors_during": during["errors"],
        "own_errors_before": before["own_errors"] if knows_servers else None,
        "own_errors_during": during["own_errors"] if knows_servers else None,
        "cells": cells,
    }


def _burst(samples: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The first sample and those after it that were taken of the same moment."""
    moment = samples[0].get("moment")
    found = [samples[0]]
    for sample in samples[1:]:
        if moment is None or sample.get("moment") != moment:
            break
        found.append(sample)
    return found


def _worker(name: str, worker: t.Any, series: list[Reading], opening: list[dict[str, t.Any]], closing: list[dict[str, t.Any]],
            gaps: list[str]) -> list[_Run]:
    first_time, last_time = opening[0]["time"], closing[0]["time"]
    runs = _runs(series)
    if value(series[-1][1], "gaps") > value(series[0][1], "gaps"):
        gaps.append("%s: its access log was cut, or moved away, before it was read to its end: what it had meanwhile is not counted" % name)
    if len(runs) > 1:
        gaps.append("%s: the counters of worker %s went back, so what it counted just before is missing" % (name, worker))
    found = []
    for number, run in enumerate(runs):
        base: Reading | None = None
        if number == 0 and run[0][0] == first_time:
            group = [reading for reading in run if any(reading[0] == sample["time"] for sample in opening)]
            base = _middle(group, high=True) if len(run) > len(group) else run[0]
        elif number == 0 and not run[0][1].get("current", True):
            # An old worker that was not listed before: what it counted earlier is not of this deploy.
            base = run[0]
            gaps.append("%s: old worker %s could not be read at the start" % (name, worker))
        last = run[-1]
        if number == len(runs) - 1 and last[0] == last_time:
            group = [reading for reading in run if any(reading[0] == sample["time"] for sample in closing)]
            if len(run) > len(group) or base is None:
                last = _middle(group, high=False)
        elif number == len(runs) - 1 and (last[1].get("open") or last[1].get("current")):
            still = last[1].get("open") or 0
            gaps.append("%s: worker %s ended after its last reading, with %d request%s open%s" % (
                name, worker, still, "" if still == 1 else "s", "" if not last[1].get("current") else " and new ones coming in"))
        found.append(_Run(base, run, last))
    return found


# -- all of them ----------------------------------------------------------------------------------------------------

_STREAMS = ("streams_before", "streams_begun", "streams")
_TOTALS = (*_STREAMS, "received", "answered", "truncated", "unanswered", "open_before", "open", "client_aborts", "retries", "redispatches", "denied",
           "received_before", "received_during", "errors_before", "errors_during")


def balance(samples: t.Sequence[dict[str, t.Any]], moved_at: float | None = None, since: float | None = None, cut: int = 0) -> dict[str, t.Any] | None:
    """The sheet over all balancers and workers; None when no balancer gave any counters. Its ``cells`` say where and when (see _placing).

    :param moved_at: when the deploy first moved something: 5xx until then are the window before.
    :param since: samples before it do not count (a first deploy, until something serves).
    :param cut: connections closed on purpose, which the deploy's own steps reported.
    """
    by_name: dict[str, list[dict[str, t.Any]]] = {}
    for sample in sorted(samples, key=lambda one: one["time"]):
        if since is None or sample["time"] >= since:
            by_name.setdefault(sample["balancer"], []).append(sample)
    balancers = {name: _one(name, own, moved_at) for name, own in by_name.items()}
    read_ones = [one for one in balancers.values() if one["read"]]
    if not read_ones:
        return None
    total: dict[str, t.Any] = {name: sum(one[name] for one in read_ones) for name in _TOTALS}
    for name in ("own_errors_before", "own_errors_during"):
        parts = [one[name] for one in read_ones]
        total[name] = None if any(part is None for part in parts) else sum(parts)
    total["began"], total["ended"] = min(one["began"] for one in read_ones), max(one["ended"] for one in read_ones)
    total["cut"] = cut
    total["complete"] = all(one["complete"] for one in balancers.values())
    notes = [note for one in balancers.values() for note in one.pop("notes")]
    total["cells"] = [cell for one in balancers.values() for cell in one.pop("cells", ())]
    if cut:
        notes.append("%d connections were cut on purpose; they may be among the truncated, unanswered or 5xx" % cut)
    total["note"] = "; ".join(notes) or None
    total["balancers"] = balancers
    return total
