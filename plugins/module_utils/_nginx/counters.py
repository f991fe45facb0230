# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every finished request in nginx's access log, counted by pool and member: one side of the balance sheet. Private to the collection.

nginx's own status page counts connections and requests but no answers, so a log in a format of our own is read. What has been counted is
kept beside the upstream files with the place in the log, so that a long log is read once. What is passed to no pool (files, redirects, rules that
refuse, malformed requests, another application) is in the log and in no count of a pool.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._nginx.config import Config

FORMAT = "zero_downtime"
FIELDS = ("$status", "$request_method", "$request_completion", "$body_bytes_sent", "$upstream_status", "$upstream_header_time",
          "$upstream_response_length", "$upstream_http_content_length", "$proxy_host", "$upstream_response_time", "$msec", "$upstream_addr")
LOG_FORMAT = "|".join(FIELDS)
# Without the last field, which says what each member had, the rest can be counted all the same.
WITHOUT_MEMBERS = "|".join(FIELDS[:-1])
LINE = f"log_format {FORMAT} '{LOG_FORMAT}';"
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
NUMBERS = ("requests", "client_aborts", "server_aborts", "server_4xx", "server_5xx", "retries", "unreadable")
NO_REQUEST = {"requests": 0, "errors": 0, "time_ms": 0.0}
# What a pool and its members have beside that.
OF_A_POOL = ("client_aborts", "server_aborts", "server_4xx", "server_5xx", "retries", *CLASSES)
# What a count of one status by itself is called.
STATUS = "status_"
# nginx's own word for a client that left before there was an answer.
CLIENT_LEFT = "499"
# Closed without an answer.
UNANSWERED = ("000", "444")
# A server as nginx writes it: an address that is resolved, with its port, or a socket's path. And what it writes where it asked none.
SERVER = re.compile(r"unix:.+|.+:\d+")
NOBODY = "-"
CHUNK = 1 << 20
# So many bytes tell one log from another: a line has the time in milliseconds, and what was answered how soon.
MARK = 512
# How the name of a file ends that logrotate has packed.
PACKED = ".gz"
NEWEST = 3
# Seconds from which on a lost request is kept by itself, with its times: whoever asks later can tell whether it was open at a moment of the past.
SLOW = 1.0
# So many of them at most.
KEPT = 1000
UNSEEN = ("counted are requests that ended, not those that are being answered; a request that was lost with a worker process that was killed is not in "
          "the log, nor is a connection that ended before its request; an answer that a member cut short shows only where it had a Content-Length")


def empty() -> dict[str, t.Any]:
    return {**dict.fromkeys((*NUMBERS, *CLASSES), 0), "pools": {}, "slow": [], "slow_seen": 0, "gaps": 0}


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
    if not len(FIELDS) - 1 <= len(fields) <= len(FIELDS) or not fields[0].isdigit():
        counts["unreadable"] += 1
        return
    status, method, completion, sent, servers, headers, lengths, expected, pool, times, ended = fields[:11]
    found = {"requests": 1, "retries": servers.replace(" : ", ", ").count(", ")}
    if status not in UNANSWERED:
        kind = status[0] + "xx" if status[0] in "12345" else "other"
        found[kind] = 1
        if status == CLIENT_LEFT or completion != "OK":
            found["client_aborts"] = 1
        elif method != "HEAD" and status != "304" and _cut_short(sent, _last(lengths), expected):
            found["server_aborts"] = 1
        if kind in ("4xx", "5xx") and _last(headers) not in ("-", ""):
            found["server_" + kind] = 1
    _grow(counts, found)
    if pool in pools:
        own = counts["pools"].setdefault(pool, dict(NO_REQUEST))
        own["last"] = _seconds(ended)
        own["errors"] += status.startswith("5")
        own["time_ms"] = round(own["time_ms"] + _milliseconds(times), 3)
        _grow(own, found)
        address = _server(fields[11]) if len(fields) == len(FIELDS) else NOBODY
        if address != NOBODY:
            _grow(own.setdefault("members", {}).setdefault(address, {}), _of_a_member(found, status))
        kind = _lost(found, status)
        if kind and own["last"] and _milliseconds(times) >= SLOW * 1000:
            counts["slow"].append([round(own["last"] - _milliseconds(times) / 1000, 3), own["last"], pool, address, kind])
            counts["slow_seen"] += 1


def _server(addresses: str) -> str:
    """Who was tried last. Where no server was left to be, nginx writes the upstream's own name: that is nobody, and what is lost then is of whoever was
    tried before, or may be any member's."""
    tried = [address for address in addresses.replace(" : ", ", ").split(", ") if SERVER.fullmatch(address)]
    return tried[-1] if tried else NOBODY


def _lost(found: t.Mapping[str, int], status: str) -> str | None:
    """Which of the losses one request is, as _placing has them."""
    if status in UNANSWERED:
        return "unanswered"
    if found.get("server_aborts"):
        return "truncated"
    return "own_errors" if found.get("5xx", 0) > found.get("server_5xx", 0) else None


def _grow(counts: dict[str, t.Any], by: t.Mapping[str, int]) -> None:
    for name, number in by.items():
        if number:
            counts[name] = counts.get(name, 0) + number


def _of_a_member(found: t.Mapping[str, int], status: str) -> dict[str, int]:
    """One request as the count of the member that was tried last has it (see _placing)."""
    refused = {STATUS + status: 1} if found.get("server_4xx") else {}
    return {**refused, "requests": 1, "errors": found.get("server_5xx", 0), "refused": found.get("server_4xx", 0), "cut_short": found.get("server_aborts", 0),
            "faults": found.get("5xx", 0) - found.get("server_5xx", 0)}


def _cut_short(sent: str, got: str, expected: str) -> bool:
    """Whether a member's connection ended before its answer did. To nginx such a request is complete once it has passed on what it got.

    What nginx sent instead of the member's answer (a page of its own, a file that the member pointed to) is longer than what it got.
    """
    return got.isdigit() and expected.isdigit() and sent.isdigit() and int(sent) <= int(got) < int(expected)


class Place(t.NamedTuple):
    """Where a log has been read to: the file, the byte, and those before it, by which the file is known again wherever it lies."""

    file: int
    offset: int
    mark: str


def _opened(path: str) -> t.BinaryIO:
    return t.cast("t.BinaryIO", gzip.open(path, "rb")) if path.endswith(PACKED) else open(path, "rb")


def _mark(handle: t.BinaryIO, offset: int) -> str:
    """The bytes before C(offset) in short; of a file that ends before it, what no mark is."""
    begin = max(0, offset - MARK)
    handle.seek(begin)
    found = handle.read(offset - begin)
    return hashlib.sha256(found).hexdigest() if len(found) == offset - begin else ""


def _read_on(path: str, counts: dict[str, t.Any], offset: int, pools: t.Collection[str]) -> Place:
    """Count the whole lines from C(offset) on; returns where they end."""
    with _opened(path) as handle:
        handle.seek(offset)
        rest = b""
        while True:
            data = handle.read(CHUNK)
            if not data:
                return Place(os.fstat(handle.fileno()).st_ino, offset, _mark(handle, offset))
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
    if state.get("path") != path or "place" not in state:
        state = {"path": path, "place": None, "before": None, "counts": {}}
    read_at = clock()
    counts = state["counts"] = {**empty(), "since": read_at, **state["counts"]}
    try:
        place, before = (Place(*one) if one else None for one in (state["place"], state["before"]))
        if before:
            # After a rotation nginx' processes write to the old file until they have opened the new one.
            before = _rest(path, before, counts, pools, content=False)
        if place and not _is_same(path, place):
            old, copied = place, os.stat(path).st_ino == place.file
            place, before = None, _rest(path, old, counts, pools)
            if copied or before is None:
                # It was emptied, and between the copy and that there may have been more; or nobody knows where it lies.
                counts["gaps"] += 1
                before = None
        place = _read_on(path, counts, place.offset if place else 0, pools)
        state.update(place=place, before=before)
    except (OSError, EOFError) as error:
        raise DowntimeError(f"access_log is '{path}', which cannot be read: {getattr(error, 'strerror', None) or error}") from error
    counts["read"] = read_at
    del counts["slow"][:-KEPT]
    if keep:
        _keep(state_path, state)
    return t.cast("dict[str, t.Any]", counts)


def _is_same(path: str, place: Place) -> bool:
    """Whether the log is still the file that was read, and nobody has emptied it meanwhile."""
    with open(path, "rb") as handle:
        return os.fstat(handle.fileno()).st_ino == place.file and _mark(handle, place.offset) == place.mark


def _rest(path: str, place: Place, counts: dict[str, t.Any], pools: t.Collection[str], content: bool = True) -> Place | None:
    """Count what a rotated log has beyond the place that it was read to, as long as it lies beside the new one; None where it does not.

    :param content: whether to look for a copy, or a packed one, by its content, where no file is that file.
    """
    old = _beside(path)
    found = [name for name, status in old.items() if status.st_ino == place.file and not name.endswith(PACKED)]
    if not found and content and place.offset:
        # To unpack one takes time: it is one of the last that were made.
        newest = sorted(old, key=lambda name: -old[name].st_mtime)[:NEWEST]
        found = [name for name in newest if _holds(name, place)]
    return _read_on(found[0], counts, place.offset, pools) if found else None


def _beside(path: str) -> dict[str, os.stat_result]:
    """The files beside the log that may be an older one, whatever the way to name it."""
    directory, base = os.path.split(path)
    found = {}
    for name in os.listdir(directory):
        if name.startswith(os.path.splitext(base)[0]) and name != base:
            with contextlib.suppress(OSError):
                found[os.path.join(directory, name)] = os.stat(os.path.join(directory, name))
    return found


def _holds(path: str, place: Place) -> bool:
    try:
        with _opened(path) as handle:
            return _mark(handle, place.offset) == place.mark
    except (OSError, EOFError):
        # Not to be read, or not packed to its end yet.
        return False


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


def rows(counts: t.Mapping[str, t.Any], pools: t.Collection[str] = (), names: t.Mapping[str, str] | None = None) -> list[dict[str, t.Any]]:
    """As the balance sheet takes them. A log is no process: it goes on when workers change. Those of C(pools) that nobody has asked yet have a row, too.

    The sums are those of the pools: of all that the log has only where there is no pool.

    :param names: the member behind each address.
    """
    by_pool = {**{pool: NO_REQUEST for pool in sorted(pools)}, **counts["pools"]}
    whole = {name: sum(own.get(name, 0) for own in by_pool.values()) if by_pool else counts.get(name, 0) for name in ("requests", *OF_A_POOL)}
    found = {
        "worker": "log", "current": True, "requests": whole["requests"], "responses": {name: whole[name] for name in CLASSES}, "open": 0,
        **{name: whole[name] for name in ("client_aborts", "server_aborts", "server_4xx", "server_5xx", "retries")},
        "redispatches": whole["retries"], "denied": 0, "unreadable": counts["unreadable"], "gaps": counts["gaps"], "read": counts.get("read"),
        "slow_losses": [dict(zip(("began", "ended", "pool", "member", "kind"), (*one[:3], (names or {}).get(one[3], one[3]), one[4])))
                        for one in counts["slow"]], "slow_losses_seen": counts["slow_seen"],
        "pools": {name: {**{of: own[of] for of in NO_REQUEST}, "average_ms": None} for name, own in by_pool.items()},
    }
    for pool, own in by_pool.items():
        if own.get("members"):
            found["pools"][pool]["members"] = _named(own["members"], names or {})
    return [found]


def _named(members: t.Mapping[str, t.Mapping[str, int]], names: t.Mapping[str, str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for address, counted in members.items():
        _grow(found.setdefault(names.get(address, address), {}), counted)
    return found


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
    wrong = [directive for directive in written if formats.get(directive.words[2]) not in (LOG_FORMAT, WITHOUT_MEMBERS)]
    if wrong:
        return [finding("error", "log_format", f"{path} is written in the format {wrong[0].words[2]}, which is not the one that can be counted",
                        ["http { " + LINE + " }", f"server {{ access_log {path} {FORMAT}; }}"])]
    nameless = [directive for directive in written if formats.get(directive.words[2]) == WITHOUT_MEMBERS]
    if nameless:
        return [finding("info", "log_format", f"{path} does not say which member had a request, so a loss there names none and counts as the deploy's "
                        "while any member is moved", ["http { " + LINE + " }"])]
    buffered = [directive for directive in written if any(word.startswith(("buffer=", "gzip", "if=")) for word in directive.words)]
    if buffered:
        return [finding("warning", "access_log", f"{path} is written with {' '.join(buffered[0].words[3:])}: requests are counted late, or not at all",
                        [f"access_log {path} {FORMAT};"])]
    return []
