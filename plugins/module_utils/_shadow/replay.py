# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replays the GET requests of a balancer's log to two members of the old release and one of the new, and compares their answers. Private to the collection.

It runs where the log lies, on the balancer: a balancer reaches every member by its trade, which a controller often does not, and the log, with its
addresses and queries, never leaves the host. Only counts and names of fields do.
"""

from __future__ import annotations

import http.client
import queue
import random
import re
import socket
import threading
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._shadow import request_log as _request_log
from ansible_collections.zero.downtime.plugins.module_utils._shadow import response_diff as _response_diff
from ansible_collections.zero.downtime.plugins.module_utils._shadow.response_diff import Answer

TARGETS = ("primary", "secondary", "candidate")
AGENT = "zero-downtime-shadow"
# Each has its own connections. Where all of them wait for slow answers, requests are left out, as an open timetable wants it.
WORKERS = 8
LATE = 1.0
MOST_BODY = 4 * 1024 * 1024

# Options of the comparison, the same words in deploy_shadow.
COMPARING: dict[str, t.Any] = {
    "ignore": {"type": "list", "elements": "str", "default": []},
    "relative_limit": {"type": "float", "default": _response_diff.RELATIVE_LIMIT},
    "absolute_limit": {"type": "float", "default": _response_diff.ABSOLUTE_LIMIT},
    "max_differences": {"type": "int", "default": 0},
}
# Options of sending, the same words in deploy_shadow.
SENDING: dict[str, t.Any] = {
    "log": {"type": "path"},
    "duration": {"type": "float", "default": 30.0},
    "pace": {"type": "float", "default": 1.0},
    "rate": {"type": "float", "default": 20.0},
    "request_timeout": {"type": "float", "default": 5.0},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "host": {"type": "str"},
}


def argument_spec() -> dict[str, t.Any]:
    """The argument spec of the module replay."""
    return {
        **COMPARING,
        **SENDING,
        "log": {"type": "path", "required": True},
        **{name: {"type": "str", "required": True} for name in TARGETS},
        "backends": {"type": "list", "elements": "str", "default": []},
        "release_header": {"type": "str"},
    }


def check(params: t.Mapping[str, t.Any], path: str = "") -> None:
    """Refuse numbers and texts that cannot work, each with a sentence that names the option as C(path) leads to it."""
    for name, least in (("duration", "seconds"), ("pace", "times the recorded pace"), ("rate", "requests a second"), ("request_timeout", "seconds")):
        if params[name] <= 0:
            raise DowntimeError(f"{path}{name} is {params[name]:g}; {least} above 0 are accepted")
    for name in ("relative_limit", "absolute_limit"):
        if not 0 <= params[name] <= 100:
            raise DowntimeError(f"{path}{name} is {params[name]:g}; a percentage from 0 to 100 is accepted")
    if params["max_differences"] < 0:
        raise DowntimeError(f"{path}max_differences is {params['max_differences']}; a number of fields from 0 on is accepted")
    if params.get("host") and re.search(r"[^\x21-\x7e]|[/@]", params["host"]):
        raise DowntimeError(f"{path}host is {params['host']!r}; the name of a Host header, such as shop.example, is accepted")
    try:
        _response_diff.Ignored(params["ignore"])
        patterns(params["exclude"])
    except DowntimeError as error:
        raise DowntimeError(f"{path}{error}") from error


def patterns(texts: t.Sequence[str]) -> list[re.Pattern[str]]:
    """The regular expressions of C(exclude)."""
    found = []
    for text in texts:
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise DowntimeError(f"exclude has {text!r}; regular expressions are accepted ({error})") from error
    return found


def address(text: str, option: str) -> tuple[str, int]:
    """Host and port of a target."""
    host, dummy, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise DowntimeError(f"{option} is '{text}'; an address with a port, such as 192.0.2.11:8000, is accepted")
    return host, int(port)


class Caller:
    """Sends one request at a time to one target, on a connection that is kept. A reused connection that the server has closed meanwhile is no answer of
    the release: such a request is sent once more on a fresh one, which GET allows."""

    def __init__(self, target: tuple[str, int], host: str | None, timeout: float) -> None:
        self.target, self.timeout = target, timeout
        self.headers = {"User-Agent": AGENT, "Accept": "*/*", **({"Host": host} if host else {})}
        self.connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Answer:
        reused = self.connection is not None
        try:
            return self._once(path)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            self.close()
            if not reused:
                return Answer(failure=_word(error))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(failure=_word(error))
        try:
            return self._once(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(failure=_word(error))

    def _once(self, path: str) -> Answer:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.target, timeout=self.timeout)
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = self._body(answer)
        if not answer.isclosed() or answer.will_close:
            # Of a body without end the beginning is compared, and the rest is not waited for.
            self.close()
        return Answer(answer.status, tuple(answer.getheaders()), body)

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """The body, or so much of it as is compared. One that comes in drops gets no more time than another."""
        end = time.monotonic() + self.timeout
        expected = answer.length
        body = bytearray()
        while not answer.isclosed() and len(body) < min(MOST_BODY, MOST_BODY if expected is None else expected):
            part = answer.read1(min(1 << 16, MOST_BODY - len(body)))
            body += part
            if not part and expected is not None:
                raise http.client.IncompleteRead(bytes(body), expected - len(body))
            if time.monotonic() > end:
                raise TimeoutError
        if len(body) == expected:
            # It is whole, and the connection can be used again.
            answer.close()
        return bytes(body)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _word(error: Exception) -> str:
    """Why there was no answer, in a word."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, http.client.IncompleteRead):
        return "cut short"
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return "closed"
    return "no answer that is HTTP" if isinstance(error, http.client.HTTPException) else "out of reach"


class Replay:
    """Sends a timetable of requests to the three targets. Clock, sleep and callers are parameters, so that tests need no waiting."""

    def __init__(self, ignored: _response_diff.Ignored, caller: t.Callable[[str], t.Any], clock: t.Callable[[], float] = time.monotonic,
                 sleep: t.Callable[[float], None] = time.sleep, workers: int = WORKERS, seed: int | None = None) -> None:
        self.tally = _response_diff.Tally(ignored)
        self.caller, self.clock, self.sleep, self.workers = caller, clock, sleep, workers
        self.random = random.Random(seed)
        self.late = 0
        self.broken: list[BaseException] = []
        self._lock = threading.Lock()
        # Without room for more than the workers can soon take: a queue would turn slow answers into a burst afterwards.
        self._waiting: queue.Queue[tuple[float, str] | None] = queue.Queue(workers)

    def run(self, timetable: t.Sequence[tuple[float, str]]) -> None:
        threads = [threading.Thread(target=self._work, daemon=True) for dummy in range(self.workers)]
        for thread in threads:
            thread.start()
        begun = self.clock()
        for at, path in timetable:
            due = begun + at
            while self.clock() < due:
                self.sleep(due - self.clock())
            try:
                self._waiting.put_nowait((due, path))
            except queue.Full:
                self.late += 1
            if self.broken:
                break
        for dummy in threads:
            self._waiting.put(None)
        for thread in threads:
            thread.join()
        if self.broken:
            raise self.broken[0]

    def _work(self) -> None:
        callers = {name: self.caller(name) for name in TARGETS}
        while True:
            job = self._waiting.get()
            if job is None:
                break
            if self.broken:
                continue
            due, path = job
            if self.clock() - due > LATE:
                with self._lock:
                    self.late += 1
                continue
            try:
                with self._lock:
                    order = self.random.sample(TARGETS, len(TARGETS))
                # One after the other and in changing order, so that what the first one warms for the others evens out.
                answers = {name: callers[name].get(path) for name in order}
                with self._lock:
                    self.tally.add(path, **answers)
            except Exception as error:  # pylint: disable=broad-except
                # It ends the run, in the thread that somebody waits for.
                self.broken.append(error)
        for caller in callers.values():
            caller.close()


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """What the module replay does; returns its result. The balancer and its live path are not touched."""
    check(params)
    targets = {name: address(params[name], name) for name in TARGETS}
    if targets["candidate"] in (targets["primary"], targets["secondary"]):
        raise DowntimeError(f"candidate is '{params['candidate']}', which is also {'primary' if targets['candidate'] == targets['primary'] else 'secondary'}; "
                            "a member of the idle side is accepted")
    found = _request_log.read(params["log"], params["backends"], patterns(params["exclude"]))
    timetable = _request_log.timetable(found.entries, params["duration"], params["pace"], params["rate"])
    ignored = _response_diff.Ignored(params["ignore"], [params["release_header"]] if params.get("release_header") else [])
    replay = Replay(ignored, lambda name: Caller(targets[name], params.get("host"), params["request_timeout"]))
    if not check_mode:
        replay.run(timetable)
    return result(replay.tally.as_dict(), params, len(timetable), replay.late)


def result(tally: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], planned: int, late: int) -> dict[str, t.Any]:
    """The result of one balancer, or of all of them."""
    report = _response_diff.judged(tally, params["max_differences"], params["relative_limit"], params["absolute_limit"])
    return {"changed": False, "planned": planned, "late": late, **report, "sentence": _response_diff.sentence(report)}
