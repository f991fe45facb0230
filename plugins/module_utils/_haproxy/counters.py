# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's own count of every real request, by worker, pool and member: one side of the balance sheet. Private to the collection.

Raw numbers since the worker's start. A reload begins new ones, so each worker is a row of its own, and what was the old one's last
reading stays with whoever compares. What all workers count in one place (C(shm-stats-file), from HAProxy 3.3 on) is a row of its own, too: taken
from each worker it would count as often as there are workers, and a new worker's would seem to begin with all of the past.

Counted are backends and their servers, since a frontend also has what is nobody's release: other applications, malformed requests, and all that a
rule answers before a backend is chosen. What the columns mean was measured on HAProxy 2.6.12, one kind of request at a time:

- C(stot) of a backend grows when a request is given to it, C(hrsp_*) when the request is over. C(req_tot) is their sum, so it does not show what got
  no answer: C(stot) - C(hrsp_*) - C(scur) does. A client that leaves an HTTP/2 stream before the answer is in C(hrsp_other).
- C(hrsp_*) of a server grows when the head of its answer is there. A server's C(stot) counts each attempt, so C(wretr) and C(wredis) are taken off it.
- No server, a full queue's time-out and a connection that fails are C(econ), once each. A connection that ends before the answer, an answer that is
  none and a time-out are C(eresp); so is each answer that is cut short, which is in C(srv_abrt) besides. A reset counts twice in C(eresp).
- C(hrsp_1xx) of a backend are upgrades (WebSockets) that are over. Those of a server are upgrades as soon as they begin, and hints before an answer
  (100, 103) besides: more than requests are open cannot be upgrades, and without one that ever ended they are taken for hints.
- What a rule of the backend refuses is a 4xx or 5xx of the backend, of no server, and neither C(econ) nor C(eresp).
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import parse_stat
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

COMMAND = "show stat -1 7 -1"  # frontends, backends and servers
UPGRADED = "1xx"
CLASSES = (UPGRADED, "2xx", "3xx", "4xx", "5xx", "other")
# In place of a worker's pid: no process has it.
TOGETHER = 0
# Readings of the same moment: so many at most, until so many agree; seconds between the first ones.
READINGS, AGREEING = 7, 3
BETWEEN = 0.005


def _number(row: t.Mapping[str, str], *columns: str) -> int:
    return sum(int(row.get(column) or 0) for column in columns)


def _add(rows: t.Iterable[t.Mapping[str, str]], *columns: str) -> int:
    return sum(_number(row, *columns) for row in rows)


def _answers(row: t.Mapping[str, str]) -> int:
    """Without upgrades, and without hints before an answer."""
    return _number(row, *("hrsp_" + name for name in CLASSES if name != UPGRADED))


class Rows(t.NamedTuple):
    """The rows of one worker's C(show stat) that count."""

    back: list[dict[str, str]]
    servers: list[dict[str, str]]
    # Backends whose requests HAProxy does not know.
    uncounted: list[str]

    def only(self, keep: t.Callable[[dict[str, str]], bool]) -> Rows:
        return Rows([row for row in self.back if keep(row)], [row for row in self.servers if keep(row)], self.uncounted)


def _rows(text: str, pools: t.Sequence[str] | None, ignored: t.Collection[str]) -> Rows:
    rows = parse_stat(text)
    back = [row for row in rows if row["svname"] == "BACKEND" and (row["pxname"] in pools if pools else row["pxname"] not in ignored)]
    tcp = [row["pxname"] for row in back if row.get("mode", "http") != "http"]
    kept = {row["pxname"] for row in back} - set(tcp)
    return Rows([row for row in back if row["pxname"] in kept],
                [row for row in rows if row["pxname"] in kept and row["svname"] not in ("FRONTEND", "BACKEND")], tcp)


def _upgrades(row: t.Mapping[str, str], servers: t.Iterable[t.Mapping[str, str]], held: t.Iterable[t.Mapping[str, str]]) -> tuple[int, int]:
    """Of a backend's upgrades, how many are over and how many are open; C(held) says how many requests are."""
    begun, open_now = (_add((one for one in rows if one["pxname"] == row["pxname"]), column) for rows, column in ((servers, "hrsp_1xx"), (held, "scur")))
    ended = min(begun, _number(row, "hrsp_1xx"))
    if begun - ended > open_now:
        return ended, open_now if ended else 0
    return ended, begun - ended


def _counted(rows: Rows, worker: int, current: bool, by_pool: bool, held: t.Sequence[t.Mapping[str, str]] | None = None) -> dict[str, t.Any]:
    """C(held): the backends' rows that say what is open, where those are not the rows that count."""
    back, servers, held = rows.back, rows.servers, rows.back if held is None else held
    found: dict[str, t.Any] = {"worker": worker, "current": current, "requests": _add(back, "stot")}
    found["responses"] = {name: _add(back, "hrsp_" + name) for name in CLASSES}
    found.update({
        "open": _add(held, "scur"), "client_aborts": _add(back, "cli_abrt"), "server_aborts": _add(back, "srv_abrt"),
        "retries": _add(back, "wretr"), "redispatches": _add(back, "wredis"), "denied": _add(back, "dreq", "dresp"),
        # What members answered themselves.
        "server_4xx": _add(servers, "hrsp_4xx"), "server_5xx": _add(servers, "hrsp_5xx"),
        "faults": _add(back, "econ", "eresp") - _add(back, "srv_abrt")})
    upgrades = [_upgrades(row, servers, held) for row in back]
    found.update({"streams": sum(still for _ended, still in upgrades), "streams_begun": sum(ended + still for ended, still in upgrades)})
    if rows.uncounted:
        found["uncounted"] = rows.uncounted
    # Of named pools also each one's own: what a canary is judged by. A request that HAProxy answers in a member's place is among them.
    named = {row["pxname"]: row for row in back}
    found["pools"] = {pool: _pool(named.get(pool, {}), [server for server in servers if server["pxname"] == pool])
                      for pool in dict.fromkeys([*named, *(server["pxname"] for server in servers)]) if by_pool}
    return found


def _pool(row: t.Mapping[str, str], servers: t.Sequence[t.Mapping[str, str]]) -> dict[str, t.Any]:
    return {"requests": _number(row, "stot"), "errors": _number(row, "hrsp_5xx"), "time_ms": None, "average_ms": _number(row, "rtime"),
            "members": {server["svname"]: _member(server, _number(row, "hrsp_1xx")) for server in servers}}


def _member(server: t.Mapping[str, str], upgraded: int) -> dict[str, int]:
    """What one server had; names without a number are left out, since most have none. C(upgraded): the upgrades of its pool that are over."""
    given = _number(server, "stot") - _number(server, "wretr", "wredis")
    own = {"requests": given, "errors": _number(server, "hrsp_5xx"), "refused": _number(server, "hrsp_4xx"), "cut_short": _number(server, "srv_abrt"),
           "faults": _number(server, "econ", "eresp") - _number(server, "srv_abrt"),
           "open": _number(server, "scur"), "missing": given - _answers(server) - min(upgraded, _number(server, "hrsp_1xx")) - _number(server, "scur")}
    return {name: number for name, number in own.items() if number or name == "requests"}


def of_worker(text: str, worker: int, current: bool, pools: t.Sequence[str] | None = None, ignored: t.Collection[str] = ()) -> dict[str, t.Any]:
    """The counters in one worker's C(show stat), summed over C(pools) (all of HTTP but C(ignored))."""
    return _counted(_rows(text, pools, ignored), worker, current, bool(pools))


def of_look(look: Snapshot, pools: t.Sequence[str] | None = None, ignored: t.Collection[str] = (),
            shared: t.Collection[tuple[str, str]] = ()) -> list[dict[str, t.Any]]:
    """The counters of every worker that can be read, the current one first; the first reply of each is that to C(COMMAND).

    What the workers count together (C(shared), by proxy and name of the row) is one row before theirs, which a reload does not end. What is open is
    each worker's own, and the sum of it stands there.
    """
    texts = [(look.current, look.replies[0]), *((pid, replies[0]) for pid, replies in sorted(look.old.items()) if replies)]
    workers = [(pid, _rows(text, pools, ignored)) for pid, text in texts]
    found = []
    if shared:
        together = [rows.only(lambda row: (row["pxname"], row["svname"]) in shared) for _pid, rows in workers]
        if together[0].back:
            found.append(_counted(together[0], TOGETHER, True, bool(pools), [row for rows in together for row in rows.back]))
        workers = [(pid, rows.only(lambda row: (row["pxname"], row["svname"]) not in shared)) for pid, rows in workers]
    return found + [_counted(rows, pid, pid == look.current, bool(pools)) for pid, rows in workers if rows.back or rows.servers or not found]


def of_pools(look: Snapshot, pools: t.Iterable[str], shared: t.Collection[tuple[str, str]] = ()) -> dict[str, dict[str, t.Any]]:
    """By pool, the requests over all workers that can be asked, and the seconds since the last one; null when a worker cannot be asked.

    A worker knows its own time only, so a pool that none of them gave a request has been idle for as long as the newest one runs.
    """
    started = {worker.pid: worker.uptime_s for worker in look.workers}
    found = {pool: {"requests": 0, "idle_s": None if look.unreadable else float(started.get(look.current, 0))} for pool in pools}
    for number, reply in enumerate((look.replies[0], *(replies[0] for replies in look.old.values() if replies))):
        for row in parse_stat(reply):
            if row["svname"] != "BACKEND" or row["pxname"] not in found:
                continue
            pool = found[row["pxname"]]
            if not number or (row["pxname"], "BACKEND") not in shared:
                # Without HTTP there are no requests, but sessions.
                pool["requests"] += int(row.get("req_tot") or row.get("stot") or 0)
            last = int(row.get("lastsess") or -1)
            if last >= 0 and pool["idle_s"] is not None:
                pool["idle_s"] = min(pool["idle_s"], float(last))
    return found


def settled(read: t.Callable[[], list[dict[str, t.Any]]], sleep: t.Callable[[float], None] = time.sleep) -> list[dict[str, t.Any]]:
    """The counters as most of some readings have them: at least C(AGREEING), at most C(READINGS).

    A request that begins or ends during a reading looks like one without an answer, or like an answer without a request, in that reading. At 250
    requests a second one reading of a hundred had an answer too many; the first reading of a deploy would be off by it for all of the deploy,
    which then lost a request that nobody missed. For each worker the first number of missing answers is taken that so many readings agree about,
    or the middle one where none agree.
    """
    seen: dict[int, list[dict[str, t.Any]]] = {}
    for number in range(READINGS):
        if number:
            # A thread that does not get its processor leaves a request half counted for longer.
            sleep(BETWEEN * 2 ** max(0, number - AGREEING + 1))
        rows = read()
        for row in rows:
            seen.setdefault(row["worker"], []).append(row)
        if all(_agreed(seen[row["worker"]]) for row in rows):
            break
    # Which workers there are, and which is the current one, is what the last reading says.
    return [{**(_agreed(seen[row["worker"]]) or _middle(seen[row["worker"]])), "current": row["current"]} for row in rows]


def _agreed(rows: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    """The last of C(AGREEING) readings with the same number of requests without an answer."""
    counted: dict[int, int] = {}
    for row in rows:
        missing = _unanswered(row)
        counted[missing] = counted.get(missing, 0) + 1
        if counted[missing] == AGREEING:
            return row
    return None


def _middle(rows: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    return sorted(rows, key=_unanswered)[len(rows) // 2]


def _unanswered(row: t.Mapping[str, t.Any]) -> int:
    return row["requests"] - sum(row["responses"].values()) - row["open"]


def nothing_counted(rows: t.Sequence[t.Mapping[str, t.Any]]) -> str | None:
    """Why there is nothing to compare, where HAProxy knows no request of any of these pools."""
    silent = rows[0].get("uncounted") if rows else None
    if not silent or rows[0]["pools"] or any(row["requests"] for row in rows):
        return None
    return "%s %s in mode tcp, in which HAProxy knows connections and no requests" % (", ".join(silent), "is" if len(silent) == 1 else "are")


def unknown_frontends(text: str, frontends: t.Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of C(frontends) that do not exist, and all that do."""
    existing = sorted(row["pxname"] for row in parse_stat(text) if row["svname"] == "FRONTEND")
    return [name for name in frontends if name not in existing], existing
