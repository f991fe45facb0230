# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every finished request in nginx's access log, counted: one side of the balance sheet. Private to the collection.

nginx's own status page counts connections and requests but no answers, so a log in a format of our own is read. What has been counted is
kept beside the upstream files with the place in the log, so that a long log is read once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._nginx_config import Config

FORMAT = "zero_downtime"
FIELDS = ("$status", "$request_method", "$request_completion", "$body_bytes_sent", "$upstream_status", "$upstream_header_time",
          "$upstream_response_length", "$upstream_http_content_length", "$proxy_host", "$upstream_response_time", "$msec")
LOG_FORMAT = "|".join(FIELDS)
LINE = f"log_format {FORMAT} '{LOG_FORMAT}';"
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
NUMBERS = ("requests", "client_aborts", "server_aborts", "server_5xx", "retries", "unreadable")
NO_REQUEST = {"requests": 0, "errors": 0, "time_ms": 0.0}
# nginx's own word for a client that left before there was an answer.
CLIENT_LEFT = "499"
CHUNK = 1 << 20
UNSEEN = ("counted are requests that ended, not those that are being answered; a request that was lost with a worker process that was killed is not in "
          "the log, nor is a connection that ended before its request; an answer that a member cut short shows only where it had a Content-Length")


def empty() -> dict[str, t.Any]:
    return {**dict.fromkeys((*NUMBERS, *CLASSES), 0), "pools": {}}


def _last(text: str) -> str:
    """Of a value for each server that was tried, the last one's."""
    return text.replace(" : ", ", ").rpartition(", ")[2] or text


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def _milliseconds(times: str) -> float:
    """All servers' times that were tried, in seconds with a fraction; C(-) for one that was not waited for."""
    return sum(float(text) * 1000 for text in times.replace(" : ", ", ").split(", ") if re.fullmatch(r"\d+(\.\d+)?", text))


def count(counts: dict[str, t.Any], line: str, pools: t.Collection[str] = ()) -> None:
    """Add one line of the log, and to what C(pools) have of it: the names of upstreams, since what else a request is passed to may be any client's word."""
    fields = line.split("|")
    if len(fields) != len(FIELDS) or not fields[0].isdigit():
        counts["unreadable"] += 1
        return
    status, method, completion, sent, servers, headers, lengths, expected, pool, times, ended = fields
    counts["requests"] += 1
    if pool in pools:
        own = counts["pools"].setdefault(pool, dict(NO_REQUEST))
        own["last"] = _seconds(ended)
        own["requests"] += 1
        own["errors"] += status.startswith("5")
        own["time_ms"] = round(own["time_ms"] + _milliseconds(times), 3)
    counts["retries"] += servers.replace(" : ", ", ").count(", ")
    if status in ("000", "444"):
        return  # closed without an answer
    kind = status[0] + "xx" if status[0] in "12345" else "other"
    counts[kind] += 1
    if status == CLIENT_LEFT or completion != "OK":
        counts["client_aborts"] += 1
    elif method != "HEAD" and status != "304" and _cut_short(sent, _last(lengths), expected):
        counts["server_aborts"] += 1
    if kind == "5xx" and _last(headers) not in ("-", ""):
        counts["server_5xx"] += 1


def _cut_short(sent: str, got: str, expected: str) -> bool:
    """Whether a member's connection ended before its answer did. To nginx such a request is complete once it has passed on what it got.

    What nginx sent instead of the member's answer (a page of its own, a file that the member pointed to) is longer than what it got.
    """
    return got.isdigit() and expected.isdigit() and sent.isdigit() and int(sent) <= int(got) < int(expected)


def _read_on(path: str, counts: dict[str, t.Any], offset: int, pools: t.Collection[str]) -> int:
    """Count the whole lines from C(offset) on; returns where they end."""
    with open(path, "rb") as handle:
        handle.seek(offset)
        rest = b""
        while True:
            data = handle.read(CHUNK)
            if not data:
                return offset
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                count(counts, line.decode("utf-8", "replace"), pools)


def read(path: str, state_path: str, keep: bool = True, pools: t.Collection[str] = (),
         clock: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """All that the log has ever been seen to have, and C(since) when, in seconds since the epoch. Raises DowntimeError when it cannot be read."""
    state: dict[str, t.Any] = {}
    with contextlib.suppress(OSError, ValueError):
        with open(state_path, encoding="utf-8") as handle:
            state = json.load(handle)
    if state.get("path") != path:
        state = {"path": path, "file": None, "offset": 0, "counts": {}}
    state["counts"] = {**empty(), "since": clock(), **state["counts"]}
    try:
        now = os.stat(path)
        if state["file"] is not None and state["file"] != now.st_ino:
            # Rotated: what came after the last look is at the end of the old file, as long as it lies beside the new one.
            old = _moved(path, state["file"])
            if old:
                _read_on(old, state["counts"], state["offset"], pools)
            state["offset"] = 0
        elif now.st_size < state["offset"]:
            state["offset"] = 0
        state["file"] = now.st_ino
        state["offset"] = _read_on(path, state["counts"], state["offset"], pools)
    except OSError as error:
        raise DowntimeError(f"access_log is '{path}', which cannot be read: {error.strerror}") from error
    if keep:
        _keep(state_path, state)
    return state["counts"]


def _moved(path: str, inode: int) -> str | None:
    directory, base = os.path.split(path)
    for name in os.listdir(directory):
        if name.startswith(base) and name != base:
            with contextlib.suppress(OSError):
                if os.stat(os.path.join(directory, name)).st_ino == inode:
                    return os.path.join(directory, name)
    return None


def _keep(path: str, state: t.Mapping[str, t.Any]) -> None:
    """Where it cannot be kept, the whole log is read again the next time."""
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(state, stream)
        os.rename(temporary, path)


def idle(counts: t.Mapping[str, t.Any], pool: str, now: float) -> float | None:
    """Seconds since the last request of a pool ended; of one that never had a request, since the log is read. None where the log did not tell."""
    last = (counts["pools"].get(pool) or {"last": counts["since"]}).get("last")
    return None if last is None else round(max(0.0, now - last), 3)


def rows(counts: t.Mapping[str, t.Any], pools: t.Collection[str] = ()) -> list[dict[str, t.Any]]:
    """As the balance sheet takes them. A log is no process: it goes on when workers change. Those of C(pools) that nobody has asked yet have a row, too."""
    by_pool = {**{pool: NO_REQUEST for pool in sorted(pools)}, **counts["pools"]}
    return [{
        "worker": "log", "current": True, "requests": counts["requests"], "responses": {name: counts[name] for name in CLASSES}, "open": 0,
        "client_aborts": counts["client_aborts"], "server_aborts": counts["server_aborts"], "server_5xx": counts["server_5xx"],
        "response_errors": counts["server_aborts"], "retries": counts["retries"], "redispatches": counts["retries"], "denied": 0,
        "request_errors": 0, "unreadable": counts["unreadable"],
        "pools": {name: {**{of: own[of] for of in NO_REQUEST}, "average_ms": None} for name, own in by_pool.items()},
    }]


def lint(config: Config, path: str | None) -> list[dict[str, t.Any]]:
    """Whether nginx writes that log, and the lines with which it would."""
    if not path:
        return [finding("warning", "access_log", "without access_log real requests are not counted, so there is no balance sheet",
                        ["http { " + LINE + " }", f"server {{ access_log /var/log/nginx/zero-downtime.log {FORMAT}; }}",
                         "deploy_traffic: access_log: /var/log/nginx/zero-downtime.log"])]
    formats = {directive.words[1]: "".join(word for word in directive.words[2:] if not word.startswith("escape="))
               for directive in config.all("log_format") if len(directive.words) > 2}
    written = [directive for directive in config.all("access_log") if len(directive.words) > 2
               and os.path.realpath(directive.words[1]) == os.path.realpath(path)]
    if not written:
        return [finding("error", "access_log", f"access_log is '{path}', which nginx does not write",
                        ["http { " + LINE + " }", f"server {{ access_log {path} {FORMAT}; }}"])]
    wrong = [directive for directive in written if formats.get(directive.words[2]) != LOG_FORMAT]
    if wrong:
        return [finding("error", "log_format", f"{path} is written in the format {wrong[0].words[2]}, which is not the one that can be counted",
                        ["http { " + LINE + " }", f"server {{ access_log {path} {FORMAT}; }}"])]
    buffered = [directive for directive in written if any(word.startswith(("buffer=", "gzip", "if=")) for word in directive.words)]
    if buffered:
        return [finding("warning", "access_log", f"{path} is written with {' '.join(buffered[0].words[3:])}: requests are counted late, or not at all",
                        [f"access_log {path} {FORMAT};"])]
    return []
