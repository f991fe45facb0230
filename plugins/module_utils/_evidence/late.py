# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of requests that were open when a deploy ended: the record keeps the last reading, and whoever asks the balancers later compares.

Private to the collection: it may change without notice.

A log tells which request is which (see _late_log). A counter does not. So what a member lost since is put down to those that it had open then as far as
they go: never more than so many, and nothing that the rate at which such requests are lost all the time explains. Where a member lost more than it had
open, or has had other requests since, it is said to be the most that it can have been. Later than C(LATEST), or once another deploy has moved something,
nobody can tell any more.
"""

from __future__ import annotations

import glob
import json
import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late_log as _late_log
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence import placing as _placing
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.placing import LOSSES, value
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._record import record as _record
from ansible_collections.zero.downtime.plugins.module_utils._record import report as _report

# Seconds after the end of a deploy for which its open requests are looked for.
LATEST = 3600.0

Row = t.Dict[str, t.Any]
Infos = t.Mapping[str, t.Mapping[str, t.Any]]
Member = t.Tuple[str, str]


# -- when a deploy ends ---------------------------------------------------------------------------------------------

def kept(samples: t.Sequence[t.Mapping[str, t.Any]], verdicts: t.Iterable[_losses.Verdict], names: t.Mapping[str, str],
         waiting: bool, began: float | None) -> dict[str, t.Any] | None:
    """What a later look compares with; None where no member has a request open, and no balancer has a log of them.

    :param names: the member behind each name that a balancer has for it.
    :param waiting: whether they were waited for, and named.
    :param began: when the first move did; None without one.
    """
    last = {sample["balancer"]: sample for sample in samples if sample.get("counters")}
    balancers: dict[str, dict[str, t.Any]] = {}
    for name, sample in last.items():
        if _late_log.tells(sample["counters"][0]):
            if began is not None:
                readings = [(one["time"], one["counters"][0]) for one in samples if one["balancer"] == name and one.get("counters")]
                balancers[name] = {"time": sample["time"], "counters": [], "log": _late_log.kept(readings, began)}
            continue
        rows = [row for row in sample["counters"] if _held(row) > 0 and _open(row)]
        if rows:
            balancers[name] = {"time": sample["time"], "counters": rows}
    if not balancers:
        return None
    servers = {server for one in balancers.values() for row in one["counters"] for _pool, server in _open(row)}
    usual = {one.kind: [one.before.failed + one.during.failed - one.lost, one.before.requests + one.during.requests] for one in verdicts}
    return {"waiting": waiting, "balancers": balancers, "usual": usual, "names": {server: names[server] for server in sorted(servers & names.keys())}}


def _held(row: Row) -> int:
    """The open requests of a worker without its streams, which last as long as they like."""
    return value(row, "open") - value(row, "streams")


def _members(row: Row) -> dict[Member, Row]:
    return {(pool, name): own for pool, counts in (row.get("pools") or {}).items() for name, own in (counts.get("members") or {}).items()}


def _open(row: Row) -> dict[Member, int]:
    return {member: own["open"] for member, own in _members(row).items() if own.get("open")}


# -- later ----------------------------------------------------------------------------------------------------------

class _Found:
    """What is known, by now, of the requests that were open then."""

    def __init__(self, names: t.Mapping[str, str]) -> None:
        self.names = names
        self.open: dict[str, dict[str, int]] = {}
        self.number = 0
        self.lost: dict[str, dict[str, int]] = {}
        self.still = 0
        self.unknown: list[str] = []
        # Whether a member lost more than it had open, or was asked for something since, which may be what it lost.
        self.at_most = False
        # Whether it was a log that told: it knows of what was lost only.
        self.by_log = False

    def name(self, server: str) -> str:
        return self.names.get(server, server)

    def _lose(self, server: str, kind: str, number: int) -> None:
        who = self.lost.setdefault(self.name(server), {})
        who[kind] = who.get(kind, 0) + number

    def held(self, balancer: str, server: str, number: int) -> None:
        own = self.open.setdefault(balancer, {})
        own[self.name(server)] = own.get(self.name(server), 0) + number

    def log(self, balancer: str, then: t.Mapping[str, t.Any], info: t.Mapping[str, t.Any]) -> None:
        """Look into the log of a balancer."""
        self.by_log = True
        rows = [row for row in info.get("counters") or () if _late_log.tells(row)]
        if info.get("failed") or not rows:
            self.unknown.append("%s cannot be read" % balancer)
            return
        losses, problem = _late_log.later(then, rows[0])
        for one in losses:
            self.held(balancer, one["member"], 1)
            self._lose(one["member"], one["kind"], 1)
        self.number += len(losses)
        self.unknown += ["of %s, %s" % (balancer, problem)] * bool(problem)

    def worker(self, balancer: str, then: Row, now: Row, span: tuple[float, float], usual: t.Mapping[str, t.Sequence[int]]) -> None:
        """Compare two readings of one worker."""
        held, later = _open(then), _members(now)
        left = _held(then)
        for cell in _placing.cells(balancer, [(span[0], then), (span[1], now)]):
            at = held.get((cell.pool or "", cell.member or ""), 0)
            lost = {kind: _beyond(cell, kind, at, usual) for kind in LOSSES} if at else {}
            self.at_most = self.at_most or sum(lost.values()) > at or bool(cell.requests and any(lost.values()))
            for kind in LOSSES:
                taken = min(lost.get(kind, 0), at, left)
                if taken:
                    self._lose(str(cell.member), kind, taken)
                    at, left = at - taken, left - taken
        self.still += sum(min(number, value(later.get(member), "open")) for member, number in held.items())


def _beyond(cell: _placing.Cell, kind: str, at: int, usual: t.Mapping[str, t.Sequence[int]]) -> int:
    """How much of a kind is more than what is lost all the time."""
    # Those that were open were received before the first reading.
    now = _rates.Count(cell.counts.get(kind, 0), cell.requests + at)
    before = _rates.Count(*usual.get(kind, (0, 0)))
    if not before.failed:
        return now.failed
    return _rates.beyond(before, now) if _rates.higher(before, now, level=_losses.MOVED_LEVEL) else 0


def became(then: t.Mapping[str, t.Any], infos: Infos, deploy_id: str, now: float) -> dict[str, t.Any] | None:
    """What the record and C(status) say of them; None where there is nothing to say.

    :param then: what was kept.
    :param infos: what the balancers say now.
    """
    found = _Found(then.get("names") or {})
    for balancer, reading in then["balancers"].items():
        if reading.get("log"):
            found.log(balancer, reading["log"], infos.get(balancer, {}))
            continue
        rows = {row["worker"]: row for row in infos.get(balancer, {}).get("counters") or ()}
        for row in reading["counters"]:
            # Less the streams; who has those, no counter says.
            found.number += min(_held(row), sum(_open(row).values()))
            for (_pool, server), number in _open(row).items():
                found.held(balancer, server, number)
            problem = _incomparable(balancer, row, rows.get(row["worker"]), infos.get(balancer, {}))
            if problem:
                found.unknown.append(problem)
            else:
                found.worker(balancer, row, rows[row["worker"]], (reading["time"], now), then["usual"])
    lost = sum(sum(kinds.values()) for kinds in found.lost.values())
    if not then["waiting"] and not lost:
        # Some are always open, and nobody has named these.
        return None
    found.still = min(found.still, found.number - lost)
    # A log does not tell of those that go on.
    number, still = (None, None) if found.by_log else (found.number, found.still)
    return {"time": round(now, 3), "open": number, "lost": lost, "at_most": found.at_most, "members": found.lost, "still_open": still,
            "unknown": found.unknown, "settled": still == 0, "sentence": _sentence(found, lost, deploy_id)}


def _incomparable(balancer: str, then: Row, now: Row | None, info: t.Mapping[str, t.Any]) -> str | None:
    """Why two readings of a worker cannot be compared."""
    if info.get("failed") or not info.get("counters"):
        return "%s cannot be read" % balancer
    if now is None:
        return "the worker of %s that had them has ended" % balancer
    if now["requests"] < then["requests"] or sum(now["responses"].values()) < sum(then["responses"].values()):
        return "the counters of %s were cleared" % balancer
    if set(now.get("pools") or ()) != set(then.get("pools") or ()):
        return "other pools are counted on %s by now" % balancer
    return None


def _sentence(found: _Found, lost: int, deploy_id: str) -> str:
    sums = sum(count for members in found.open.values() for count in members.values())
    # Streams are none of them, and whose those are no counter says.
    most = "at most " * (sums > found.number)
    where = ", ".join("%s (%s%s)" % (balancer, most, ", ".join("%d on %s" % (count, who) for who, count in members.items()))
                      for balancer, members in found.open.items())
    kinds = ", ".join("%d %s on %s" % (count, _losses.WORDS[kind], who) for who, own in found.lost.items() for kind, count in own.items())
    were = "was" if lost == 1 else "were"
    then = "%d request%s open on %s when deploy %s ended" % (
        found.number, " that was" if found.number == 1 else "s that were", where, deploy_id)
    unknown = ["what became of %s is not known: %s" % ("the others" if lost else "them", "; ".join(found.unknown))] * bool(found.unknown)
    if found.by_log:
        return ", and ".join(["%s %s lost later (%s)" % (then, were, kinds), *unknown])
    parts = []
    if lost:
        parts.append("%s%d %s lost later (%s)" % ("at most " * found.at_most, lost, were, kinds))
    elif not found.unknown:
        parts.append("none was lost %s" % ("so far" if found.still else "later"))
    parts += ["%d may still be open" % found.still] * bool(found.still)
    return "of %s, %s" % (then, ", and ".join(parts + unknown))


# -- the record -----------------------------------------------------------------------------------------------------

def _last(records_dir: str, app: str, environment: str, now: float) -> tuple[str, dict[str, t.Any]] | None:
    """The record of the application's last deploy, where it ended lately."""
    recent = []
    for path in glob.glob(os.path.join(glob.escape(_events.records_in(records_dir)), "*.json")):
        try:
            recent.append((os.stat(path).st_mtime, path))
        except FileNotFoundError:
            continue
    found = []
    # Written when a deploy ends, or after that; older ones need not be read.
    for path in (path for written, path in recent if written >= now - LATEST):
        record = _record.read(path)
        if record and (record.get("app"), record.get("environment")) == (app, environment):
            found.append((float(record.get("finished") or 0), path, record))
    ended, path, record = max(found, key=lambda one: one[0], default=(0.0, "", None))
    return (path, record) if record is not None and ended >= now - LATEST else None


def look(records_dir: str, app: str, environment: str, infos: Infos, write: bool,
         clock: t.Callable[[], float] = time.time) -> dict[str, t.Any] | None:
    """What became of the requests that were open when the application's last deploy ended, which its record gets as C(late); None for nothing to say.

    :param infos: what the balancers say now.
    :param write: whether to write it to the record.
    """
    now = clock()
    found = _last(records_dir, app, environment, now)
    if found is None:
        return None
    path, record = found
    before = record.get("late")
    then = ((record.get("evidence") or {}).get("balance") or {}).get("open_at_end")
    if not then or (before and before.get("settled")):
        return before
    late = became(then, infos, str(record["deploy_id"]), now)
    if late is None:
        return None
    if write and not _same(before, late):
        problem = _write(path, {**record, "late": late})
        if problem:
            late = {**late, "sentence": "%s (which its record lacks: %s)" % (late["sentence"], problem)}
    return late


def _same(before: t.Mapping[str, t.Any] | None, late: t.Mapping[str, t.Any]) -> bool:
    return before is not None and {**before, "time": None} == json.loads(json.dumps({**late, "time": None}))


def _write(path: str, record: dict[str, t.Any]) -> str | None:
    """Put a record and its page in the place of those that are there; why that cannot be done."""
    try:
        for name, text in ((path, _record.dumps(record)), (os.path.splitext(path)[0] + ".html", _report.render(record))):
            if os.path.exists(name):
                _durable.rewrite(name, text.encode(), needs_owner=False)
        _durable.sync_directory(os.path.dirname(path))
    except OSError as error:
        return error.strerror or str(error)
    return None
