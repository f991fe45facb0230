# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's own count of every real request, by worker: one side of the balance sheet. Private to the collection.

Raw numbers since the worker's start. A reload begins new ones, so each worker is a row of its own, and what was the old one's last
reading stays with whoever compares. What all workers count in one place (C(shm-stats-file), from HAProxy 3.3 on) is a row of its own, too: taken
from each worker it would count as often as there are workers, and a new worker's would seem to begin with all of the past.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy_client import parse_stat
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_workers import Look

COMMAND = "show stat -1 7 -1"  # frontends, backends and servers
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
OF_POOLS = {"client_aborts": "cli_abrt", "server_aborts": "srv_abrt", "response_errors": "eresp", "retries": "wretr", "redispatches": "wredis"}
# In place of a worker's pid: no process has it.
TOGETHER = 0
# Readings of the same moment: so many at most, until so many agree; seconds between the first ones.
READINGS, AGREEING = 7, 3
BETWEEN = 0.005
OF_FRONTENDS = {"denied": "dreq", "request_errors": "ereq"}


def _add(rows: t.Iterable[t.Mapping[str, str]], column: str) -> int:
    return sum(int(row.get(column) or 0) for row in rows)


def _open(frontends: t.Sequence[t.Mapping[str, str]], backends: t.Sequence[t.Mapping[str, str]]) -> int:
    """Requests that are being answered. A frontend's C(scur) also counts idle kept-alive connections, so its streams are taken."""
    if frontends and all(row.get("h1_open_streams") for row in frontends):
        # The column of HTTP/2 has this name on frontends, too.
        return _add(frontends, "h1_open_streams") + _add(frontends, "h2_backend_open_streams")
    return _add(backends, "scur") + _add(backends, "qcur")


class Rows(t.NamedTuple):
    """The rows of one worker's C(show stat) that count."""

    front: list[dict[str, str]]
    back: list[dict[str, str]]
    servers: list[dict[str, str]]

    def only(self, keep: t.Callable[[dict[str, str]], bool]) -> Rows:
        return Rows(*([row for row in rows if keep(row)] for rows in self))


def _rows(text: str, frontends: t.Sequence[str] | None, pools: t.Sequence[str] | None, ignored: t.Collection[str]) -> Rows:
    rows = parse_stat(text)
    front = [row for row in rows if row["svname"] == "FRONTEND" and (
        row["pxname"] in frontends if frontends else row.get("mode", "http") == "http" and row["pxname"] not in ignored)]
    back = [row for row in rows if row["svname"] == "BACKEND" and (row["pxname"] in pools if pools else row["pxname"] not in ignored)]
    kept = {row["pxname"] for row in back}
    return Rows(front, back, [row for row in rows if row["pxname"] in kept and row["svname"] not in ("FRONTEND", "BACKEND")])


def _counted(rows: Rows, worker: int, current: bool, by_pool: bool) -> dict[str, t.Any]:
    front, back, servers = rows
    found: dict[str, t.Any] = {"worker": worker, "current": current, "requests": _add(front, "req_tot")}
    found["responses"] = {name: _add(front, "hrsp_" + name) for name in CLASSES}
    found.update({name: _add(back, column) for name, column in OF_POOLS.items()})
    found["open"] = _open(front, back)
    # What members answered themselves: the other 5xx are the balancer's own, for requests that no member answered.
    found["server_5xx"] = _add(servers, "hrsp_5xx")
    found.update({name: _add(front, column) for name, column in OF_FRONTENDS.items()})
    # Of named pools also each one's own: what a canary is judged by. A request that HAProxy answers in a member's place is among them.
    found["pools"] = {row["pxname"]: {"requests": int(row["req_tot"] or 0), "errors": int(row["hrsp_5xx"] or 0), "time_ms": None,
                                      "average_ms": int(row["rtime"] or 0)} for row in back if by_pool}
    return found


def of_worker(text: str, worker: int, current: bool, frontends: t.Sequence[str] | None = None, pools: t.Sequence[str] | None = None,
              ignored: t.Collection[str] = ()) -> dict[str, t.Any]:
    """The counters in one worker's C(show stat), summed over C(frontends) (all of HTTP but C(ignored)) and over C(pools) (all)."""
    return _counted(_rows(text, frontends, pools, ignored), worker, current, bool(pools))


def of_look(look: Look, frontends: t.Sequence[str] | None = None, pools: t.Sequence[str] | None = None,
            ignored: t.Collection[str] = (), shared: t.Collection[tuple[str, str]] = ()) -> list[dict[str, t.Any]]:
    """The counters of every worker that can be read, the current one first; the first reply of each is that to C(COMMAND).

    What the workers count together (C(shared), by proxy and name of the row) is one row before theirs, which a reload does not end. What is open is
    each worker's own, and the sum of it stands there.
    """
    texts = [(look.current, look.replies[0]), *((pid, replies[0]) for pid, replies in sorted(look.old.items()) if replies)]
    workers = [(pid, _rows(text, frontends, pools, ignored)) for pid, text in texts]
    found = []
    if shared:
        together = [rows.only(lambda row: (row["pxname"], row["svname"]) in shared) for _pid, rows in workers]
        if any(together[0]):
            found.append({**_counted(together[0], TOGETHER, True, bool(pools)), "open": sum(_open(rows.front, rows.back) for rows in together)})
        workers = [(pid, rows.only(lambda row: (row["pxname"], row["svname"]) not in shared)) for pid, rows in workers]
    return found + [_counted(rows, pid, pid == look.current, bool(pools)) for pid, rows in workers if any(rows) or not found]


def of_pools(look: Look, pools: t.Iterable[str], shared: t.Collection[tuple[str, str]] = ()) -> dict[str, dict[str, t.Any]]:
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


def unknown_frontends(text: str, frontends: t.Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of C(frontends) that do not exist, and all that do."""
    existing = sorted(row["pxname"] for row in parse_stat(text) if row["svname"] == "FRONTEND")
    return [name for name in frontends if name not in existing], existing
