# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads requests out of a balancer's request log: HAProxy's C(option httplog), nginx's C(combined). Private to the collection.

In both, a line has the time in brackets and the request in quotes, so one reader serves both. HAProxy names the backend in between.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


class NothingLogged(DowntimeError):
    """A log that can be read, and has no request to repeat: one of several balancers may well have had none."""

    details = {"nothing_logged": True}


# The end of a log is read, and no more of it: a day's log of a busy balancer does not fit into memory.
MOST_BYTES = 32 * 1024 * 1024
MONTHS = {name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
TIME = re.compile(r"\[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?P<ms>\.\d{1,6})?"
                  r"(?: (?P<zone>[+-]\d{4}))?\](?P<rest>.*)", re.DOTALL)
# Without HTTP/… at its end a line was cut off, and its path may be half of one.
REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[\d.]+"')
# Behind the time of a line of HAProxy: frontend (with ~ for TLS), backend/server, and five timers.
BACKEND = re.compile(r"\s\S+\s(?P<backend>[^\s/]+)/\S+\s[-+\d]+/[-+\d]+/")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One request: when it came, as seconds since the epoch, and its path with query."""

    time: float
    path: str


@dataclasses.dataclass
class Read:
    """What a log had: the GET requests in order, how many lines of requests there were, and the backends of those that were passed over."""

    entries: list[Entry]
    lines: int = 0
    others: frozenset[str] = frozenset()


def parse(lines: t.Iterable[str], backends: t.Collection[str] = (), exclude: t.Sequence[re.Pattern[str]] = ()) -> Read:
    """The GET requests of a log. Where its lines name backends, C(backends) are those that count; paths that match C(exclude) do not."""
    found = Read([])
    others: set[str] = set()
    for line in lines:
        moment = TIME.search(line)
        if not moment:
            continue
        request = REQUEST.search(moment["rest"])
        if not request:
            continue
        found.lines += 1
        if request["method"] != "GET":
            continue
        path = _path(request["target"])
        if path is None or any(pattern.search(path) for pattern in exclude):
            continue
        backend = BACKEND.match(moment["rest"])
        if backends and backend and backend["backend"] not in backends:
            others.add(backend["backend"])
            continue
        time = _seconds(moment)
        if time is not None:
            found.entries.append(Entry(time, path))
    # A line is written when its request ends, and has the time at which it came.
    found.entries.sort(key=lambda entry: entry.time)
    found.others = frozenset(others)
    return found


def _path(target: str) -> str | None:
    """The path with its query. A request over HTTP/2 is logged with the whole address."""
    target = re.sub(r"\Ahttps?://[^/?]+", "", target) or "/"
    return target if target.startswith("/") and not re.search(r"[^\x21-\x7e]", target) else None


def _seconds(moment: re.Match[str]) -> float | None:
    zone = datetime.timezone.utc
    if moment["zone"]:
        hours, minutes = int(moment["zone"][1:3]), int(moment["zone"][3:])
        zone = datetime.timezone((1 if moment["zone"][0] == "+" else -1) * datetime.timedelta(hours=hours, minutes=minutes))
    try:
        whole = datetime.datetime(int(moment["year"]), MONTHS[moment["month"]], int(moment["day"]), int(moment["h"]), int(moment["m"]), int(moment["s"]),
                                  tzinfo=zone)
    except (KeyError, ValueError):
        return None
    return whole.timestamp() + float(moment["ms"] or 0)


def read(path: str, backends: t.Collection[str] = (), exclude: t.Sequence[re.Pattern[str]] = (), most: int = MOST_BYTES) -> Read:
    """The GET requests at the end of a log file. Raises DowntimeError when there is no such file, or none in it."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            if size > most:
                file.readline()
            text = file.read().decode("utf-8", errors="replace")
    except OSError as error:
        raise DowntimeError(f"log is '{path}', which cannot be read: {error.strerror}; the file of a HAProxy with option httplog, or of an nginx in the "
                            "format combined, is accepted") from error
    found = parse(text.split("\n"), backends, exclude)
    if not found.entries:
        if found.others:
            why = f"GET requests for {', '.join(sorted(found.others))} only, and none for {', '.join(backends)}"
        elif found.lines:
            why = f"{found.lines} requests, and none of them is a GET that may be repeated"
        else:
            why = "no line of a request; the format of HAProxy's option httplog, or nginx's format combined, is accepted"
        raise NothingLogged(f"log is '{path}', which has {why}")
    return found


def timetable(entries: t.Sequence[Entry], duration: float, pace: float, rate: float) -> list[tuple[float, str]]:
    """When to send what: the last C(duration) seconds' worth of requests, C(pace) times as fast as they came, and at most C(rate) a second.

    Where more came than C(rate) allows, an even part of them is taken, so that the time that is covered stays the same. Logs that know no fraction of
    a second have their requests spread over it.
    """
    if not entries:
        return []
    last = entries[-1].time
    chosen = [entry for entry in entries if entry.time > last - duration * pace]
    times = _spread([entry.time for entry in chosen])
    begin = times[0]
    found: list[tuple[float, str]] = []
    # As a bucket that holds one second's requests: a short burst is kept, a long one is thinned.
    tokens, before = max(1.0, rate), 0.0
    for time, entry in zip(times, chosen):
        at = (time - begin) / pace
        tokens = min(max(1.0, rate), tokens + (at - before) * rate)
        before = at
        if tokens >= 1.0:
            tokens -= 1.0
            found.append((at, entry.path))
    return found


def _spread(times: t.Sequence[float]) -> list[float]:
    if any(time % 1 for time in times):
        return list(times)
    found: list[float] = []
    index = 0
    while index < len(times):
        count = 1
        while index + count < len(times) and times[index + count] == times[index]:
            count += 1
        found += [times[index] + part / count for part in range(count)]
        index += count
    return found
