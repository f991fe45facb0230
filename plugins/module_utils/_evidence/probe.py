# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An open-loop probe: requests at a fixed timetable, every failure counted by its kind, nothing smoothed over.

Private to the collection: it may change without notice.

Why not an HTTP library: libraries retry, reuse and hide exactly the failures that a deploy causes. Here one request
is one attempt on one socket. Latency runs from the *scheduled* time, so a server that stalls cannot slow the
questions down and look fast. The probe measures its own stalls as well, since a claim finer than those is void.

Three streams: ``fresh`` (a new connection each), ``keepalive`` (connections used again after idle times from
milliseconds to many seconds, which is where idle-close races are) and ``post`` (a body sent in pieces over longer
than p99, so that requests are always in flight when something is taken away).

It runs as a process of its own, without Ansible: ``python probe.py CONFIG.json``. It needs the standard library only. With the library
hpack it speaks HTTP/2 (probe_h2.py) to servers that choose it: then what is kept is one connection, which carries several requests at a time.
"""

from __future__ import annotations

import errno
import heapq
import ipaddress
import json
import math
import os
import random
import resource
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
import typing as t
from urllib.parse import urlsplit

if __package__:
    from ansible_collections.zero.downtime.plugins.module_utils import _steps
    from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
else:
    # A process of its own knows no collections: it finds the files of this room, which is where Python looks first, and of the ground below by their place.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import _steps
    import answers as _answers

STREAMS = ("fresh", "keepalive", "post")

DEFAULTS: dict[str, t.Any] = {
    "url": None,
    "connect_to": None,          # "host:port": where to connect, whatever the URL's host says
    "paths": [],                 # [{"path": "/x", "status": 401}]: others to ask in turn with the URL's own; status: what it answered, if 4xx
    "rate": 50.0,                # requests a second, all streams together
    "streams": {"fresh": 0.5, "keepalive": 0.4, "post": 0.1},
    "timeout": 10.0,             # of one request
    "run_dir": None,             # where progress.json and probe.json go
    "events": None,              # the deploy's events, by which it is known that members were admitted, and that something moved
    "moves": [],                 # the names of the steps that move something
    "answers": None,             # the file with what the deploy knows of releases (_answers.FILE), once it knows it
    "watch": None,               # {"pid": n, "start_time": s}: end when that process has ended
    "max_run": 14400.0,          # seconds; whatever happens, it ends
    "expect_serving": True,      # False: failures before the first member is admitted do not count (a first deploy)
    "validate_certs": True,
    "ca_path": None,
    "http2": "auto",             # auto: where the server chooses it and the library is there; true: nothing else; false
    "release_header": "x-release",
    "method": "GET",
    "bucket_s": 0.5,
    "max_rows": 600,             # of the series; beyond that buckets are merged in pairs
    "seed": None,
}

# Transport: no whole answer came. Everything that is answered is named status_<code>.
TRANSPORT = ("refused", "unreachable", "reset", "timeout", "eof_fresh", "eof_reused", "truncated", "malformed", "tls", "dns",
             "stream_reset", "stream_refused", "no_http2")
HTTP2 = ("auto", "true", "false")
# The command that installs what HTTP/2 needs.
INSTALL_HTTP2 = "%s -m pip install hpack" % sys.executable

_MAX_HEAD = 65536
_MAX_BODY = 65536
_MAX_LOSSES = 1000
_IDLE_POOL = 10
_MOST_PATHS = 50
# How often a request is asked again of which the server says that it has not begun with it.
_AGAIN = 5
_STEP = math.log(1.04)
_TINY = 1e-5
# A request that could not be sent within this time of its place in the timetable is left out: after a suspended
# machine wakes up, the probe must not attack the site with an hour's requests.
_TOO_LATE = 1.0
# Errors that say that the probe, not the site, has run out of something.
_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
# Answers to a POST that mean "this address takes no POST", not "something is broken".
_NO_POST = (404, 405, 501)
# Answers that a balancer gives when a member does not. They are the transport's unless the application signed them.
_GATEWAY = ("status_502", "status_503", "status_504")


# Why the configuration cannot work, or the server does not do as it says: a value that is not accepted, or what else may mend it.
SETTING, TLS_NEEDED, LIBRARY_NEEDED, NO_AUTHORITY, NO_HTTP2 = "setting", "tls_needed", "library_needed", "no_authority", "no_http2"


class BadConfig(ValueError):
    """The configuration cannot work; the text is one sentence for the user.

    C(cause) is one of those above; C(reason) is the sentence without C(what) it is about, for whoever has shown that already.
    """

    def __init__(self, reason: str, cause: str = SETTING, what: str = "") -> None:
        super().__init__(what + reason)
        self.cause = cause
        self.reason = reason


def start_time_of(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when there is none. Tells a pid from its reuse."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as handle:
            fields = handle.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    # A zombie answers to its pid but runs no more.
    return None if fields[0] in ("Z", "X") else fields[19]


class Target(t.NamedTuple):
    """Where requests go and what they say."""

    scheme: str
    host: str           # for TLS and the Host header
    authority: str
    path: str
    connect_host: str
    connect_port: int

    @property
    def url(self) -> str:
        return "%s://%s%s" % (self.scheme, self.authority, self.path)

    @property
    def shown(self) -> str:
        """The address for records: less its query, which may hold a secret."""
        return self.url.partition("?")[0]


def parse_target(url: str | None, connect_to: str | None = None) -> Target:
    """Read ``url`` and ``connect_to`` or say in one sentence what is wrong with them."""
    # Less the address itself: its user, password or query may be secrets, and this goes into records and logs. Whoever gave it can show what is none.
    def bad(reason: str) -> BadConfig:
        return BadConfig(reason, what="url is not usable: ")

    if not isinstance(url, str) or not url.strip():
        raise bad("give http://host[:port]/path or https://host[:port]/path.")
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise bad("it holds a space or a control character; write it percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad("its host or port cannot be read; give http://host[:port]/path or https://host[:port]/path.") from None
    if parts.username is not None or parts.password is not None:
        raise bad("it carries a user name, which would end up in records and logs.")
    if parts.scheme not in ("http", "https"):
        raise bad("the scheme is %r, and http and https are accepted." % parts.scheme)
    if not parts.hostname:
        raise bad("it names no host.")
    if port == 0:
        raise bad("port 0 is no port; 1 to 65535 are accepted.")
    if not url.isascii():
        raise bad("only ASCII is accepted; write the rest percent-encoded or in punycode.")
    standard = 443 if parts.scheme == "https" else 80
    connect_host, connect_port = parts.hostname, port or standard
    if connect_to:
        connect_host, connect_port = _split_address(connect_to)
    path = parts.path or "/"
    if parts.query:
        path += "?" + parts.query
    return Target(parts.scheme, parts.hostname, parts.netloc, path, connect_host, connect_port)


def _split_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise BadConfig("connect_to %r is not usable: give host:port, or [address]:port for IPv6." % (text,))
    return bare, int(port)


def check_paths(paths: t.Sequence[t.Any]) -> None:
    """Refuse what is no path. Raises BadConfig; a path may hold a secret in its query, which is not shown."""
    for path in paths:
        shown = str(path).partition("?")[0]
        if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
            raise BadConfig("a path that begins with a single / is accepted.", what="paths has %r: " % shown)
        if not path.isascii() or any(ord(c) <= 32 or ord(c) == 127 or c == "#" for c in path):
            raise BadConfig("it holds a space, a # or what is not ASCII; write it percent-encoded.", what="paths has %r: " % shown)
    if len(paths) > _MOST_PATHS:
        raise BadConfig("paths has %d entries; at most %d are accepted." % (len(paths), _MOST_PATHS))


def complete(config: dict[str, t.Any]) -> dict[str, t.Any]:
    """The configuration with defaults filled in and checked."""
    unknown = sorted(set(config) - set(DEFAULTS))
    if unknown:
        raise BadConfig("%s is not a setting of the probe; accepted are %s." % (", ".join(unknown), ", ".join(sorted(DEFAULTS))))
    full = dict(DEFAULTS)
    full.update({key: value for key, value in config.items() if value is not None})
    parse_target(full["url"], full["connect_to"])
    check_paths([one.get("path") for one in full["paths"]])
    for name, low, high in (("rate", 0.1, 2000), ("timeout", 0.1, 600), ("max_run", 1, 604800), ("bucket_s", 0.05, 3600)):
        value = full[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise BadConfig("%s is %r; a number from %s to %s is accepted." % (name, value, low, high))
    streams = full["streams"]
    if not isinstance(streams, dict) or set(streams) - set(STREAMS):
        raise BadConfig("streams is %r; a share for each of %s is accepted." % (streams, ", ".join(STREAMS)))
    shares = {name: streams.get(name, 0) for name in STREAMS}
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or share < 0:
            raise BadConfig("streams.%s is %r; a share of 0 or more is accepted." % (name, share))
    total = sum(shares.values())
    if total <= 0:
        raise BadConfig("streams sum to nothing; at least one of %s needs a share above 0." % ", ".join(STREAMS))
    full["streams"] = {name: share / total for name, share in shares.items()}
    return full


# -- HTTP/2 ----------------------------------------------------------------------------------------------------------

def _load_http2() -> t.Any:
    """The file beside this one, with the library; not before they are needed."""
    if __package__:
        from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe_h2 as _probe_h2
    else:
        import probe_h2 as _probe_h2
    return _probe_h2


def http2_of(choice: t.Any, scheme: str) -> t.Any:
    """What speaks HTTP/2, or None for HTTP/1.1 alone. Raises BadConfig, in one sentence, for a choice that cannot be kept to."""
    if choice not in HTTP2:
        raise BadConfig("http2 is %r; accepted are %s." % (choice, ", ".join(HTTP2)))
    if choice == "false" or (choice == "auto" and scheme != "https"):
        return None
    if scheme != "https":
        raise BadConfig("http2 is true, which needs an https address: HTTP/2 is chosen in the TLS handshake; for %s:// auto and false are accepted."
                        % scheme, TLS_NEEDED)
    found = _load_http2()
    if not found.MISSING:
        return found
    if choice == "true":
        raise BadConfig("http2 is true, which needs the Python library hpack on the controller, where auto and false do without: %s"
                        % INSTALL_HTTP2, LIBRARY_NEEDED)
    return None


def lacks_http2(choice: t.Any, url: str) -> bool:
    """Whether HTTP/2 would be spoken to an address that chooses it, and is not since the library is not there."""
    return choice == "auto" and url.startswith("https://") and http2_of(choice, "https") is None


# -- latencies: sparse logarithmic histograms, 4 % wide, which can be added up over any window --------------------

def hist_slot(seconds: float) -> int:
    return int(math.log(max(seconds, _TINY) / _TINY) / _STEP)


def slot_ms(slot: int | str) -> float:
    """The latency in milliseconds that a slot stands for."""
    return round(_TINY * math.exp((int(slot) + 0.5) * _STEP) * 1000, 2)


def hist_percentile_ms(hist: dict[t.Any, int], share: float) -> float | None:
    """The latency in milliseconds below which ``share`` of the requests lie."""
    total = sum(hist.values())
    if not total:
        return None
    rank, seen = share * total, 0
    for slot in sorted(hist, key=int):
        seen += hist[slot]
        if seen >= rank:
            return slot_ms(slot)
    raise AssertionError("a percentile lies within its histogram")


def bound(failed: int, finished: int) -> float | None:
    """The rate of failures that the true one stays below at 95 %: 3/N when none was seen."""
    if finished <= 0:
        return None
    return min(1.0, (failed + 2 * math.sqrt(failed) + 3) / finished)


# -- one answer ----------------------------------------------------------------------------------------------------

class Malformed(Exception):
    """What came is not HTTP/1."""


class Answer:
    """Reads one HTTP/1 answer from pieces of bytes, as strictly as is needed to tell whole from truncated."""

    __slots__ = ("status", "headers", "body", "keep", "received", "whole", "_head", "_left", "_mode", "_line")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.keep = False
        self.received = 0
        self.whole = False
        self._head: bytearray | None = bytearray()
        self._left = 0
        self._mode = ""          # length, chunk-size, chunk, chunk-end, trailer, close
        self._line = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take bytes; True once the answer is whole."""
        self.received += len(data)
        if self._head is not None:
            self._head += data
            data = self._read_head()
        if self.status and data:
            self._read_body(data)
        return self.whole

    def _read_head(self) -> bytes:
        while True:
            seen = self._head or bytearray()
            end = seen.find(b"\r\n\r\n")
            if end < 0:
                if len(seen) > _MAX_HEAD or (len(seen) >= 5 and not seen.startswith(b"HTTP/")):
                    raise Malformed("no HTTP/1 header")
                return b""
            head, rest = bytes(seen[:end]), bytes(seen[end + 4:])
            lines = head.split(b"\r\n")
            first = lines[0].split(None, 2)
            if len(first) < 2 or not first[0].startswith(b"HTTP/1.") or len(first[1]) != 3 or not first[1].isdigit():
                raise Malformed("status line %r" % lines[0][:80])
            status = int(first[1])
            if 100 <= status < 200 and status != 101:
                # Interim answers (100, 103) come before the real one.
                self._head = bytearray(rest)
                continue
            headers: dict[bytes, bytes] = {}
            for line in lines[1:]:
                name, colon, value = line.partition(b":")
                if not colon:
                    raise Malformed("header line %r" % line[:80])
                headers[name.strip().lower()] = value.strip()
            self._head, self.headers, self.status = None, headers, status
            self._frame(first[0])
            return rest

    def _frame(self, version: bytes) -> None:
        connection = self.headers.get(b"connection", b"").lower()
        self.keep = b"close" not in connection and (version != b"HTTP/1.0" or b"keep-alive" in connection)
        if self.status in (101, 204, 304):
            self.whole = True
        elif b"chunked" in self.headers.get(b"transfer-encoding", b"").lower():
            self._mode = "chunk-size"
        elif b"content-length" in self.headers:
            length = self.headers[b"content-length"]
            if not length.isdigit():
                raise Malformed("content-length %r" % length[:40])
            self._mode, self._left = "length", int(length)
            self.whole = self._left == 0
        else:
            self._mode, self.keep = "close", False

    def take(self, data: bytes) -> None:
        """Keep of the body what is looked at."""
        room = _MAX_BODY - len(self.body)
        if room > 0:
            self.body += data[:room]

    def _read_body(self, data: bytes) -> None:
        if self._mode == "length":
            part = data[:self._left]
            self.take(part)
            self._left -= len(part)
            if not self._left:
                self.whole = True
                if len(data) > len(part):
                    self.keep = False
        elif self._mode == "close":
            self.take(data)
        else:
            self._read_chunks(data)

    def _read_chunks(self, data: bytes) -> None:
        while data and not self.whole:
            if self._mode == "chunk":
                part = data[:self._left]
                self.take(part)
                self._left -= len(part)
                data = data[len(part):]
                if not self._left:
                    self._mode = "chunk-end"
                continue
            cut = data.find(b"\n")
            self._line += data if cut < 0 else data[:cut + 1]
            data = b"" if cut < 0 else data[cut + 1:]
            if len(self._line) > _MAX_HEAD:
                raise Malformed("chunk header too long")
            if cut < 0:
                return
            line, self._line = bytes(self._line).strip(), bytearray()
            if self._mode == "chunk-end":
                self._mode = "chunk-size"
            elif self._mode == "trailer":
                self.whole = not line
            else:
                try:
                    self._left = int(line.split(b";", 1)[0], 16)
                except ValueError as exc:
                    raise Malformed("chunk size %r" % line[:40]) from exc
                self._mode = "chunk" if self._left else "trailer"

    def end(self) -> bool:
        """The peer closed; True when that makes the answer whole."""
        if self._mode == "close" and not self.whole:
            self.whole = True
        return self.whole


def _label_of(answer: Answer) -> str | None:
    """The label that the application gives itself in its body."""
    body = answer.body
    if b'"version"' in body and body.lstrip()[:1] == b"{" and b"json" in answer.headers.get(b"content-type", b"").lower():
        try:
            found = json.loads(body)
        except ValueError:
            return None         # not JSON after all, or longer than what is kept
        if isinstance(found, dict) and isinstance(found.get("version"), (str, int, float)):
            return str(found["version"])[:80]
    return None


# -- one request ---------------------------------------------------------------------------------------------------

class Question:
    """One thing that is asked: a path, by one method."""

    def __init__(self, target: Target, method: str, usual: int | None, name: str) -> None:
        self.target, self.method, self.name = target, method, name
        self.usual = usual          # the status of 400 or more that is no error here
        self.shown: str | None = None    # the name in counts, where there is more than one thing to ask
        self.wire: dict[str, bytes] = {}
        self.heads: list[tuple[str, str]] = []


class Exchange:
    """One attempt: what was planned, its socket, and how far it came."""

    __slots__ = ("stream", "scheduled", "answer_from", "sock", "state", "reused", "out", "pieces", "answer", "deadline", "grace", "done",
                 "mask", "send_error", "rested", "link", "number", "left",
                 "tries", "question")

    def __init__(self, stream: str, scheduled: float, question: Question) -> None:
        self.stream = stream
        self.question = question
        self.scheduled = scheduled
        self.answer_from = scheduled
        self.sock: t.Any = None
        self.state = "new"
        self.reused = False
        self.out = b""
        self.pieces = 0
        self.answer = Answer()
        self.deadline = 0.0
        self.grace = 0.0
        self.done = False
        self.mask = 0
        self.send_error: str | None = None
        self.rested = 0.0           # how long its kept connection had been idle
        self.link: t.Any = None     # over HTTP/2: its connection, and its number there
        self.number = 0
        self.left: int | None = None     # of its answer's body, where that says how long it is
        self.tries = 0              # how often it was turned away unanswered


class Outcome(t.NamedTuple):
    """How one request ended: ``kind`` is None for a success."""

    kind: str | None
    detail: str
    status: int
    version: str | None
    release: str | None
    protocol: str | None = None      # of the answer
    path: str | None = None          # what was asked, where that is one of several

    @property
    def by_application(self) -> bool:
        """A failure that was answered whole, and not by a balancer in the application's place."""
        if self.kind in _answers.KINDS:
            return True
        if self.kind is None or not self.kind.startswith("status_"):
            return False
        return self.kind not in _GATEWAY or self.version is not None


class Tally:
    """Everything that is counted, apart from sockets, so that it can be tested without any."""

    def __init__(self, config: dict[str, t.Any], started: float) -> None:
        self.started = started
        self.expect_serving = bool(config["expect_serving"])
        self.bucket_s = float(config["bucket_s"])
        self.max_rows = int(config["max_rows"])
        self.rows: dict[int, dict[str, t.Any]] = {}
        self.hist: dict[int, int] = {}
        self.sent = 0
        self.ok = 0
        self.failed = 0
        self.transport = 0
        self.max_latency = 0.0
        self.failures: dict[str, int] = {}
        self.versions: dict[str, dict[str, t.Any]] = {}
        self.releases: dict[str, dict[str, t.Any]] = {}
        self.by_release: dict[str, dict[str, t.Any]] = {}
        self.streams = {name: {"sent": 0, "failed": 0} for name in STREAMS}
        self.protocols: dict[str, int] = {}
        self.paths: dict[str, dict[str, int]] = {}
        self.losses: list[dict[str, t.Any]] = []
        self.losses_left_out = 0
        self.first_ok: float | None = None
        self.last_ok: float | None = None
        self.gap = 0.0
        self.gap_at: float | None = None
        self.uncounted: dict[str, t.Any] = {"sent": 0, "failures": {}}
        # On a first deploy a balancer that has read of its first member answers, while another, or a worker that a reload left behind, knows
        # none yet: whether such a failure counts is known when the step that admits members has ended.
        self.admitted: float | None = None
        self.pending: list[tuple[str, float, float, Outcome]] = []
        self.closing = False         # no more questions: what is between the last answers is no gap

    def _row(self, when: float) -> dict[str, t.Any]:
        index = int((when - self.started) / self.bucket_s)
        row = self.rows.get(index)
        if row is None:
            if len(self.rows) >= self.max_rows:
                self._merge()
                return self._row(when)
            row = self.rows[index] = {"sent": 0, "ok": 0, "failed": 0, "transport": 0, "versions": {}, "failures": {}, "hist": {}}
        return row

    def _merge(self) -> None:
        merged: dict[int, dict[str, t.Any]] = {}
        for index, row in self.rows.items():
            into = merged.setdefault(index // 2, {"sent": 0, "ok": 0, "failed": 0, "transport": 0, "versions": {}, "failures": {}, "hist": {}})
            for name in ("sent", "ok", "failed", "transport"):
                into[name] += row[name]
            for name in ("versions", "failures", "hist"):
                for key, count in row[name].items():
                    into[name][key] = into[name].get(key, 0) + count
        self.rows = merged
        self.bucket_s *= 2

    def admit(self, when: float) -> None:
        """On a first deploy: failures of requests count from this time on, seconds since the epoch."""
        if self.admitted is not None:
            return
        self.admitted = when
        pending, self.pending = self.pending, []
        for stream, scheduled, now, outcome in pending:
            self.finish(stream, scheduled, now, None, outcome)

    def _early(self, stream: str, scheduled: float, now: float, outcome: Outcome) -> bool:
        """Whether a failure does not count, or not yet."""
        if self.expect_serving:
            return False
        if self.admitted is not None and scheduled >= self.admitted:
            return False
        if self.admitted is None and self.first_ok is not None and scheduled >= self.first_ok and len(self.pending) < _MAX_LOSSES:
            self.pending.append((stream, scheduled, now, outcome))
        else:
            self._leave_out(self.uncounted, outcome)
        return True

    @staticmethod
    def _leave_out(uncounted: dict[str, t.Any], outcome: Outcome) -> None:
        uncounted["sent"] += 1
        kinds = uncounted["failures"]
        kinds[outcome.kind] = kinds.get(outcome.kind, 0) + 1

    def _uncounted(self) -> dict[str, t.Any]:
        """With what may count later."""
        found = {"sent": self.uncounted["sent"], "failures": dict(self.uncounted["failures"])}
        for _stream, _scheduled, _now, outcome in self.pending:
            self._leave_out(found, outcome)
        return found

    def finish(self, stream: str, scheduled: float, now: float, latency: float | None, outcome: Outcome) -> None:
        """Book one finished request; times are seconds since the epoch."""
        if outcome.kind is not None and self._early(stream, scheduled, now, outcome):
            return
        self.sent += 1
        self._row(max(scheduled, self.started))["sent"] += 1
        self.streams[stream]["sent"] += 1
        row = self._row(now)
        if outcome.path is not None:
            of_path = self.paths.setdefault(outcome.path, {"sent": 0, "failed": 0})
            of_path["sent"] += 1
            of_path["failed"] += outcome.kind is not None
        if outcome.protocol is not None:
            self.protocols[outcome.protocol] = self.protocols.get(outcome.protocol, 0) + 1
        if outcome.version is not None:
            self._seen(self.versions, outcome.version, now)
            row["versions"][outcome.version] = row["versions"].get(outcome.version, 0) + 1
        if outcome.release is not None:
            self._seen(self.releases, outcome.release, now)
            self._of_release(outcome, latency)
        if latency is not None and outcome.kind is None:
            slot = hist_slot(latency)
            self.hist[slot] = self.hist.get(slot, 0) + 1
            row["hist"][slot] = row["hist"].get(slot, 0) + 1
            self.max_latency = max(self.max_latency, latency)
        if outcome.kind is None:
            self.ok += 1
            row["ok"] += 1
            if self.first_ok is None:
                self.first_ok = now
            elif not self.closing:
                self._gap_until(now)
            self.last_ok = now
            return
        self.failed += 1
        row["failed"] += 1
        if not outcome.by_application:
            self.transport += 1
            row["transport"] += 1
        row["failures"][outcome.kind] = row["failures"].get(outcome.kind, 0) + 1
        self.failures[outcome.kind] = self.failures.get(outcome.kind, 0) + 1
        self.streams[stream]["failed"] += 1
        if len(self.losses) < _MAX_LOSSES:
            self.losses.append({"time": round(now, 3), "scheduled": round(scheduled, 3), "kind": outcome.kind,
                                "stream": stream, "detail": outcome.detail, "transport": not outcome.by_application,
                                **({"path": outcome.path} if outcome.path else {})})
        else:
            self.losses_left_out += 1

    def _of_release(self, outcome: Outcome, latency: float | None) -> None:
        """What a judge asks: how each release answers. Only releases that are told apart have an entry."""
        if outcome.release not in self.releases:
            return
        entry = self.by_release.setdefault(str(outcome.release), {"requests": 0, "errors": 0, "wrong": 0, "hist": {}})
        entry["requests"] += 1
        entry["errors"] += outcome.kind is not None
        entry["wrong"] += outcome.kind in _answers.KINDS
        if latency is not None and outcome.kind is None:
            slot = hist_slot(latency)
            entry["hist"][slot] = entry["hist"].get(slot, 0) + 1

    def _by_release(self) -> dict[str, dict[str, t.Any]]:
        return {name: {"requests": entry["requests"], "errors": entry["errors"], "wrong": entry["wrong"], "p50_ms": hist_percentile_ms(entry["hist"], 0.5),
                       "p99_ms": hist_percentile_ms(entry["hist"], 0.99), "hist": {str(slot): count for slot, count in entry["hist"].items()}}
                for name, entry in self.by_release.items()}

    def _gap_until(self, now: float) -> None:
        if self.last_ok is not None and now - self.last_ok > self.gap:
            self.gap, self.gap_at = now - self.last_ok, self.last_ok

    @staticmethod
    def _seen(table: dict[str, dict[str, t.Any]], name: str, now: float) -> None:
        entry = table.get(name)
        if entry is None:
            # A site that answers a new name each time must not fill the memory.
            if len(table) >= 50:
                name = "(others)"
                entry = table.get(name)
            if entry is None:
                entry = table[name] = {"count": 0, "first": round(now, 3), "last": round(now, 3)}
        entry["count"] += 1
        entry["last"] = round(now, 3)

    def summary(self) -> dict[str, t.Any]:
        """The small table for progress.json."""
        return {
            "sent": self.sent, "ok": self.ok, "failed": self.failed, "transport": self.transport, "failures": dict(self.failures),
            "versions": {name: entry["count"] for name, entry in self.versions.items()},
            "first_ok": self.first_ok, "uncounted": self._uncounted(),
            "p99_ms": hist_percentile_ms(self.hist, 0.99),
            "by_release": self.by_release,
        }

    def report(self, now: float) -> dict[str, t.Any]:
        """The whole account for probe.json."""
        self._gap_until(now)
        rows = []
        for index in sorted(self.rows):
            row = self.rows[index]
            rows.append({
                "t": round(self.started + index * self.bucket_s, 3),
                "sent": row["sent"], "ok": row["ok"], "failed": row["failed"], "transport": row["transport"],
                "p50_ms": hist_percentile_ms(row["hist"], 0.5), "p99_ms": hist_percentile_ms(row["hist"], 0.99),
                "versions": row["versions"], "failures": row["failures"],
                "hist": {str(slot): count for slot, count in row["hist"].items()},
            })
        return {
            "sent": self.sent, "ok": self.ok, "failed": self.failed, "transport": self.transport, "failures": self.failures,
            "longest_gap_ms": round(self.gap * 1000, 1), "longest_gap_at": self.gap_at,
            "p50_ms": hist_percentile_ms(self.hist, 0.5), "p99_ms": hist_percentile_ms(self.hist, 0.99),
            "max_ms": round(self.max_latency * 1000, 2),
            "versions": self.versions, "releases": self.releases, "streams": self.streams, "protocols": self.protocols,
            "by_release": self._by_release(), "paths": self.paths,
            "bound": bound(self.failed, self.sent),
            "losses": self.losses, "losses_left_out": self.losses_left_out,
            "uncounted": self._uncounted(), "first_ok": self.first_ok,
            "series": {"bucket_s": self.bucket_s, "rows": rows},
        }


# -- the engine ----------------------------------------------------------------------------------------------------

class Probe:
    """The event loop: one thread, non-blocking sockets, a timetable."""

    def __init__(self, config: dict[str, t.Any], clock: t.Callable[[], float] = time.monotonic,
                 wall: t.Callable[[], float] = time.time, resolve: t.Callable[..., t.Any] = socket.getaddrinfo) -> None:
        self.config = complete(config)
        self.target = parse_target(self.config["url"], self.config["connect_to"])
        self.clock = clock
        # One offset for the whole run: a clock that is set meanwhile must not tear the series apart.
        self.offset = wall() - clock()
        self.resolve = resolve
        # Above 50 a second, several share one moment of the timetable: half of the cost is waking up.
        self.together = max(1, round(self.config["rate"] / 50))
        self.interval = self.together / self.config["rate"]
        self.random = random.Random(self.config["seed"])
        self.selector = selectors.DefaultSelector()
        self.timers: list[tuple[float, int, t.Callable[..., None], tuple]] = []
        # Apart from the timers, since they end no waiting: the timetable wakes the loop often enough to look at them.
        self.deadlines: list[tuple[float, int, Exchange]] = []
        self.sequence = 0
        self.open: set[Exchange] = set()
        self.idle: list[t.Any] = []
        self.credits = dict.fromkeys(STREAMS, 0.0)
        self.shares = dict(self.config["streams"])
        self.addresses: list[tuple[int, t.Any]] = []
        self.address_turn = 0
        self.dns_error = ""
        self.stall = 0.0
        self.stall_at: float | None = None
        self.grace = 0.0
        self.skipped = 0
        self.reopened = 0
        self.idle_since: dict[t.Any, float] = {}
        self.idle_closes: list[tuple[float, float]] = []     # when, and after how long at rest
        self.idle_races = 0
        self.notes: list[str] = []
        self.post_no = 0
        self.post_yes = 0
        self.ended: str | None = None
        self.over = threading.Event()                        # the same for the thread that looks up the name
        self.stopping = False
        self.progress_due = 0.0
        self.stopped_at: float | None = None
        self.now = clock()
        self.born = self.now
        self.tally = Tally(self.config, self.epoch(self.now))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_open = max(16, min(4000, (soft if soft > 0 else 4096) - 64))
        self.http2 = http2_of(self.config["http2"], self.target.scheme)
        self.links: list[t.Any] = []                         # the connections that speak HTTP/2
        self.repeated = 0
        self.tls = self._tls() if self.target.scheme == "https" else None
        self.header = self.config["release_header"].lower().encode("ascii")
        self.piece = b"x=" + b"0" * 253 + b"&"
        self.piece_count = 4
        self.questions = self._questions()
        # POSTs go to the URL alone: nobody has said that another path may be posted to.
        self.post_question = self._question(self.target, "POST")
        self.turns = dict.fromkeys(STREAMS, 0)
        events, moves, known = self.config["events"], self.config["moves"], self.config["answers"]
        self.expected = _answers.Expected(lambda: _answers.first_move(events, moves, _steps.SHARE) if moves else None, lambda: _answers.read(known))
        self.before: dict[int, int] = {}
        self.last_outcome: Outcome | None = None

    def _questions(self) -> list[Question]:
        """What is asked in turn: the URL's own path, and those beside it. Their names in records are less their queries, and differ."""
        method = self.config["method"]
        found = [self._question(self.target, method)]
        for one in self.config["paths"]:
            found.append(self._question(self.target._replace(path=one["path"]), method, one.get("status")))
        names = [question.name for question in found]
        for number, question in enumerate(found):
            if names.count(question.name) > 1:
                question.name += " (%d)" % (number + 1)
            question.shown = question.name if len(found) > 1 else None
        return found

    def _question(self, target: Target, method: str, usual: int | None = None) -> Question:
        question = Question(target, method, usual, "%s %s" % (method, target.path.partition("?")[0]))
        always = (("User-Agent", "zero.downtime-probe"), ("Accept", "*/*"), ("Cache-Control", "no-cache"))
        more: tuple[tuple[str, str], ...] = ()
        if method == "POST":
            more = (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(self.piece) * self.piece_count)))
        headers = (("Host", target.authority), *always)
        start = "%s %s HTTP/1.1\r\n%s" % (method, target.path, "".join("%s: %s\r\n" % pair for pair in headers))
        rest = "".join("%s: %s\r\n" % pair for pair in more)
        question.wire = {stream: (start + last + rest + "\r\n").encode("ascii")
                         for stream, last in (("fresh", "Connection: close\r\n"), ("keepalive", ""), ("post", "Connection: close\r\n"))}
        # The same, as HTTP/2 has it.
        question.heads = [(":method", method), (":scheme", target.scheme), (":authority", target.authority), (":path", target.path),
                          *((name.lower(), value) for name, value in (*always, *more))]
        return question

    def epoch(self, monotonic: float) -> float:
        return monotonic + self.offset

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.config["ca_path"])
        except (OSError, ssl.SSLError) as exc:
            raise BadConfig("ca_path %r cannot be read as certificates: %s." % (self.config["ca_path"], exc), NO_AUTHORITY) from exc
        if not self.config["validate_certs"]:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols((["h2"] if self.http2 else []) + ([] if self.config["http2"] == "true" else ["http/1.1"]))
        return context

    # -- names --

    def lookup(self) -> None:
        """Resolve the name. IPv4 where there is any: one family, no falling back, or a dead address would hide."""
        host, port = self.target.connect_host, self.target.connect_port
        try:
            found = self.resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            self.dns_error, self.addresses = "%s does not resolve: %s" % (host, exc), []
            return
        pairs = list(dict.fromkeys((family, address) for family, _kind, _proto, _name, address in found))
        v4 = [pair for pair in pairs if pair[0] == socket.AF_INET]
        self.addresses = v4 or pairs

    def _is_name(self) -> bool:
        try:
            ipaddress.ip_address(self.target.connect_host)
        except ValueError:
            return True
        return False

    def _keep_looking_up(self) -> None:
        # A thread, since a slow resolver would stall the timetable. Every 5 s until the end: DNS is one of the ways to move traffic.
        while not self.over.wait(5):
            self.lookup()

    # -- timers --

    def tick(self) -> int:
        self.sequence += 1
        return self.sequence

    def at(self, when: float, call: t.Callable[..., None], *args: t.Any) -> None:
        heapq.heappush(self.timers, (when, self.tick(), call, args))

    def _lateness(self, late: float) -> None:
        if late > self.stall:
            self.stall, self.stall_at = late, self.epoch(self.now)

    # -- requests --

    def next_stream(self) -> str:
        """Spread the streams evenly over the timetable, by their shares."""
        best = ""
        for name, share in self.shares.items():
            self.credits[name] += share
            if share and (not best or self.credits[name] > self.credits[best]):
                best = name
        self.credits[best] -= sum(self.shares.values())
        return best

    def next_question(self, stream: str) -> Question:
        """Of each stream the paths take turns."""
        if stream == "post":
            return self.post_question
        self.turns[stream] += 1
        return self.questions[(self.turns[stream] - 1) % len(self.questions)]

    def launch(self, scheduled: float, stream: str | None = None) -> None:
        """Start one request now; its time counts from ``scheduled``."""
        if len(self.open) >= self.max_open:
            self.skipped += 1
            return
        stream = stream or self.next_stream()
        exchange = Exchange(stream, scheduled, self.next_question(stream))
        exchange.grace = self.grace
        exchange.deadline = self.now + self.config["timeout"]
        self.open.add(exchange)
        if exchange.stream == "post":
            exchange.pieces = self.piece_count - 1
            pause = self.post_pause()
            exchange.deadline += pause * exchange.pieces
            exchange.answer_from = scheduled + pause * exchange.pieces
            for number in range(1, self.piece_count):
                self.at(scheduled + pause * number, self.send_piece, exchange)
        heapq.heappush(self.deadlines, (exchange.deadline, self.tick(), exchange))
        self.begin(exchange)

    def begin(self, exchange: Exchange) -> None:
        """Send a request on a kept connection, or on a new one."""
        link = self.take_link() if exchange.stream != "fresh" else None
        if link is not None:
            link.ask(exchange)
            return
        exchange.out = exchange.question.wire[exchange.stream] + self.body(exchange)
        exchange.sock = self.take_idle() if exchange.stream == "keepalive" else None
        if exchange.sock is None:
            self.connect(exchange)
            return
        exchange.reused = True
        exchange.rested = self.now - self.idle_since.pop(exchange.sock)
        exchange.state = "talk"
        # It stayed registered, and is this request's from now on.
        exchange.mask = selectors.EVENT_READ
        self.selector.modify(exchange.sock, exchange.mask, exchange)
        self.flush(exchange)

    def body(self, exchange: Exchange) -> bytes:
        """What was due by now of a request's body."""
        return self.piece * (self.piece_count - exchange.pieces) if exchange.stream == "post" else b""

    def again(self, exchange: Exchange, why: str) -> None:
        """The server says that it has not begun with a request: it is asked once more, within the same time-out."""
        exchange.link = None
        exchange.tries += 1
        if exchange.tries > _AGAIN:
            self.lose(exchange, "stream_refused", "turned away %d times, the last time by %s" % (exchange.tries, why))
            return
        self.repeated += 1
        exchange.answer = Answer()
        self.begin(exchange)

    def post_pause(self) -> float:
        """The time between two pieces of a POST's body, which takes longer than p99, so that it is in flight across whatever happens."""
        p99 = hist_percentile_ms(self.tally.hist, 0.99) or 0.0
        pause = min(5.0, max(0.25, 1.5 * p99 / 1000)) / (self.piece_count - 1)
        # A piece goes out when the timetable wakes the loop anyway, where it does so more often.
        return math.ceil(pause / self.interval) * self.interval if self.interval < pause else pause

    def connect(self, exchange: Exchange) -> None:
        if not self.addresses:
            self.lose(exchange, "dns", self.dns_error or "%s has no address" % self.target.connect_host)
            return
        self.address_turn += 1
        family, address = self.addresses[self.address_turn % len(self.addresses)]
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:
            self.give_up_own(exchange, exc)
            return
        exchange.sock = sock
        exchange.state = "connect"
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(address)
        except OSError as exc:
            code = exc.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EISCONN):
            self.connect_failed(exchange, code)
            return
        if self.tls is None:
            # On a short path the connection is there by now: sending at once saves a turn of the loop and its cost.
            try:
                count = sock.send(exchange.out)
            except BlockingIOError:
                count = 0
            except OSError as exc:
                if exc.errno not in (errno.ENOTCONN, errno.EPIPE):
                    self.connect_failed(exchange, exc.errno or errno.EIO)
                    return
                count = 0
            if count:
                exchange.state = "talk"
                exchange.out = exchange.out[count:]
                self.want(exchange, selectors.EVENT_READ | (selectors.EVENT_WRITE if exchange.out else 0))
                return
        self.want(exchange, selectors.EVENT_WRITE)

    def connect_failed(self, exchange: Exchange, code: int) -> None:
        text = os.strerror(code)
        if code in _OWN:
            self.give_up_own(exchange, OSError(code, text))
        elif code == errno.ECONNREFUSED:
            self.lose(exchange, "refused", text)
        elif code in (errno.ECONNRESET, errno.EPIPE):
            self.lose(exchange, "reset", "while connecting")
        elif code == errno.ETIMEDOUT:
            self.lose(exchange, "timeout", "while connecting")
        else:
            self.lose(exchange, "unreachable", text)

    def give_up_own(self, exchange: Exchange, exc: OSError) -> None:
        """The probe's own machine has run out: no request was made, and none is counted."""
        self.skipped += 1
        note = "some requests could not be made: %s" % (exc.strerror or exc)
        if note not in self.notes:
            self.notes.append(note)
        self.drop(exchange)

    def want(self, exchange: Exchange, mask: int) -> None:
        if exchange.mask == mask:
            return
        if exchange.mask:
            self.selector.modify(exchange.sock, mask, exchange)
        else:
            self.selector.register(exchange.sock, mask, exchange)
        exchange.mask = mask

    def ready(self, exchange: Exchange, mask: int) -> None:
        """The socket of a request can be read or written."""
        if exchange.state == "connect":
            code = exchange.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.connect_failed(exchange, code)
                return
            if self.tls is None:
                exchange.state = "talk"
            else:
                exchange.state = "tls"
                # The selector knows the plain socket's number, which the wrapped one keeps.
                self.selector.unregister(exchange.sock)
                exchange.mask = 0
                exchange.sock = self.tls.wrap_socket(exchange.sock, server_hostname=self.target.host, do_handshake_on_connect=False)
        if exchange.state == "tls" and not self.handshake(exchange):
            return
        if mask & selectors.EVENT_READ and exchange.state == "talk" and self.read(exchange):
            return
        if exchange.out:
            self.flush(exchange)

    def handshake(self, exchange: Exchange) -> bool:
        try:
            exchange.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.want(exchange, selectors.EVENT_READ)
            return False
        except ssl.SSLWantWriteError:
            self.want(exchange, selectors.EVENT_WRITE)
            return False
        except ConnectionResetError:
            self.lose(exchange, "reset", "in the TLS handshake")
            return False
        except ssl.SSLEOFError:
            self.lose(exchange, "eof_fresh", "in the TLS handshake")
            return False
        except OSError as exc:          # SSLError is one
            # Whoever speaks nothing that was offered may say so by ending the handshake.
            refused = self.config["http2"] == "true" and "no application protocol" in str(exc).lower().replace("_", " ")
            self.lose(exchange, NO_HTTP2 if refused else "tls", str(exc)[:200])
            return False
        chosen = exchange.sock.selected_alpn_protocol() if self.http2 else None
        if chosen == "h2":
            self.link(exchange)
            return False
        if self.config["http2"] == "true":
            self.lose(exchange, NO_HTTP2, "the server chose %s" % (chosen or "none of the protocols that were offered"))
            return False
        exchange.state = "talk"
        return True

    def link(self, exchange: Exchange) -> None:
        """The server has chosen HTTP/2: from now on the connection may carry several requests."""
        kept = exchange.stream != "fresh" and sum(link.takes_more for link in self.links) < self.links_kept
        sock, exchange.sock = exchange.sock, None
        if exchange.mask:
            self.selector.unregister(sock)
            exchange.mask = 0
        link = self.http2.Link(self, sock, kept)
        self.links.append(link)
        link.ask(exchange)

    def send_piece(self, exchange: Exchange) -> None:
        """The next piece of a slow POST is due."""
        if exchange.done or exchange.send_error:
            return
        exchange.pieces -= 1
        exchange.out += self.piece
        if exchange.link is not None:
            exchange.link.push(exchange)
        elif exchange.state == "talk":
            self.flush(exchange)

    def flush(self, exchange: Exchange) -> None:
        try:
            count = exchange.sock.send(exchange.out)
        except (BlockingIOError, ssl.SSLWantWriteError):
            count = 0
        except ssl.SSLWantReadError:
            self.want(exchange, selectors.EVENT_READ)
            return
        except OSError as exc:
            # The answer may have come before the connection went: what can be read decides.
            exchange.out = b""
            exchange.send_error = exc.strerror or str(exc)
            self.want(exchange, selectors.EVENT_READ)
            self.read(exchange)
            return
        exchange.out = exchange.out[count:]
        self.want(exchange, selectors.EVENT_READ | (selectors.EVENT_WRITE if exchange.out else 0))

    def read(self, exchange: Exchange) -> bool:
        """Read what is there; True once the request is over."""
        answer = exchange.answer
        while True:
            try:
                data = exchange.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if exchange.send_error:
                    # Sending failed and nothing is there to read: no answer will come.
                    self.lose(exchange, "reset", "while sending: %s" % exchange.send_error)
                    return True
                return False
            except OSError as exc:
                self.broke(exchange, exc)
                return True
            if not data:
                self.closed(exchange)
                return True
            try:
                whole = answer.feed(data)
            except Malformed as exc:
                self.lose(exchange, "malformed", str(exc))
                return True
            if whole:
                self.answered(exchange)
                return True
            if self.tls is None and len(data) < 65536:
                return False

    def broke(self, exchange: Exchange, exc: OSError) -> None:
        answer = exchange.answer
        if not isinstance(exc, ConnectionResetError):
            self.lose(exchange, "timeout" if exc.errno == errno.ETIMEDOUT else "truncated" if answer.received else "reset", str(exc)[:200])
        elif answer.received:
            self.lose(exchange, "truncated", "reset after %d bytes" % answer.received)
        else:
            self.lose(exchange, "reset", "on a reused connection" if exchange.reused else "before the first byte")

    def closed(self, exchange: Exchange) -> None:
        answer = exchange.answer
        if not answer.received:
            self.lose(exchange, "eof_reused" if exchange.reused else "eof_fresh",
                      "closed without an answer" + (" after the request was sent on a kept connection" if exchange.reused else ""))
        elif answer.status and answer.end():
            self.answered(exchange)
        else:
            self.lose(exchange, "truncated", "closed after %d bytes" % answer.received)

    def answered(self, exchange: Exchange) -> None:
        answer = exchange.answer
        release = answer.headers.get(self.header)
        digest = release.decode("latin-1")[:128] if release else None
        label = _label_of(answer)
        version = digest if label is None else label
        status = answer.status
        kind: str | None = None if status < 400 or status == exchange.question.usual else "status_%d" % status
        if exchange.stream == "post":
            kind = self.judge_post(status, kind)
        detail = "" if kind is None else "answered %d%s" % (status, " by %s" % version if version else "")
        if kind is None and not (exchange.stream == "post" and status in _NO_POST):
            kind, detail = self.wrong(exchange, digest, label) or (None, "")
        latency: float | None = self.now - exchange.answer_from
        if latency is not None and latency < 0:
            latency = None          # answered before the body was sent: says nothing about speed
        reuse = answer.keep and exchange.stream == "keepalive" and not exchange.out and not self.stopping and len(self.idle) < _IDLE_POOL
        protocol = "HTTP/2" if exchange.link else "HTTP/1.1"
        self.settle(exchange, latency, Outcome(kind, detail, status, version, digest, protocol, exchange.question.shown), keep=reuse)

    def wrong(self, exchange: Exchange, release: str | None, label: str | None) -> _answers.Wrong | None:
        """What is wrong with an answer that came whole, by what this address answered before anything moved."""
        answer, question = exchange.answer, exchange.question
        location = answer.headers.get(b"location", b"").decode("latin-1")
        told = _answers.Told(answer.status, release, label, not answer.body and self.config["method"] != "HEAD",
                             _answers.is_loop(question.method, question.target.url, answer.status, location))
        return self.expected.judge(question.name, told, self.epoch(self.now))

    def judge_post(self, status: int, kind: str | None) -> str | None:
        """An address that never took a POST is no failure: the stream stops, and says so."""
        if status in _NO_POST and not self.post_yes:
            self.post_no += 1
            if self.post_no == 3 and self.shares["post"] < 1:
                self.shares["post"] = 0.0
                self.notes.append("the URL answers %d to POST: that stream was stopped" % status)
            return None
        if kind is None:
            self.post_yes += 1
        return kind

    def lose(self, exchange: Exchange, kind: str, detail: str) -> None:
        if exchange.reused and kind in ("eof_reused", "reset") and self.is_idle_race(exchange.rested):
            self.idle_races += 1
            self.drop(exchange)
            return
        self.settle(exchange, None, Outcome(kind, detail, exchange.answer.status, None, None, path=exchange.question.shown))

    def settle(self, exchange: Exchange, latency: float | None, outcome: Outcome, keep: bool = False) -> None:
        self.last_outcome = outcome
        self.tally.finish(exchange.stream, self.epoch(exchange.scheduled), self.epoch(self.now), latency, outcome)
        self.drop(exchange, keep)

    def drop(self, exchange: Exchange, keep: bool = False) -> None:
        exchange.done = True
        self.open.discard(exchange)
        if exchange.link is not None:
            exchange.link.leave(exchange)
            return
        sock, exchange.sock = exchange.sock, None
        if sock is None:
            return
        if keep:
            # Stay registered for reading: a close while idle must be seen before the next request is sent on it.
            self.selector.modify(sock, selectors.EVENT_READ, sock)
            self.idle.append(sock)
            self.idle_since[sock] = self.now
            return
        if exchange.mask:
            self.selector.unregister(sock)
        sock.close()

    def check_deadline(self, exchange: Exchange) -> None:
        # Time in which the probe itself stood still is not the site's.
        extended = exchange.deadline + (self.grace - exchange.grace)
        if self.now < extended:
            heapq.heappush(self.deadlines, (extended, self.tick(), exchange))
            return
        where = {"connect": "while connecting", "tls": "in the TLS handshake"}.get(
            exchange.state, "in the answer" if exchange.answer.received else "waiting for the answer")
        if exchange.link is not None:
            # What answers nothing in time gets no more requests, as over HTTP/1.1, where such a connection is closed.
            exchange.link.retired = True
        self.lose(exchange, "timeout", where)

    # -- kept connections --

    @property
    def links_kept(self) -> int:
        """How many connections are kept over HTTP/2: one, and where several addresses take turns, as many as there are."""
        return max(1, min(_IDLE_POOL, len(self.addresses)))

    def take_link(self) -> t.Any:
        """A kept connection that carries another request over HTTP/2, or None for a new one."""
        usable = [link for link in self.links if link.takes_more]
        return self.random.choice(usable) if usable and len(usable) >= self.links_kept else None

    def take_idle(self) -> t.Any:
        """A kept connection that is still open, or None for a new one. Half the time the one used last, else one that rested longer:
        idle times spread from milliseconds to many seconds, and idle-close races lie anywhere between."""
        # As long as there are few, each request adds one: fast answers would otherwise leave a single one that never rests.
        busy = sum(1 for exchange in self.open if exchange.stream == "keepalive" and exchange.sock is not None)
        while len(self.idle) + busy >= _IDLE_POOL and self.idle:
            depth = 0
            while depth < len(self.idle) - 1 and self.random.random() < 0.5:
                depth += 1
            sock = self.idle[len(self.idle) - 1 - depth]
            if self.is_quiet(sock):
                self.idle.remove(sock)
                return sock
            self.forget_idle(sock)
        return None

    @staticmethod
    def is_quiet(sock: t.Any) -> bool:
        """Open, and nothing to read. (TLS may read a session ticket here, which is nothing.)"""
        try:
            sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def forget_idle(self, sock: t.Any) -> None:
        """The server closed it while nothing was asked: allowed, and no loss. The next request opens a new one."""
        self.idle_closed(self.idle_since.pop(sock))
        self.idle.remove(sock)
        self.selector.unregister(sock)
        sock.close()

    def idle_closed(self, since: float) -> None:
        self.reopened += 1
        self.idle_closes.append((self.now, self.now - since))
        del self.idle_closes[:-200]

    def is_idle_race(self, rested: float) -> bool:
        """Whether the server's own idle time-out met the request on its way.

        Every site with such a time-out has this race all day, whatever is deployed: it is counted apart. It takes two earlier closes
        after the same time at rest, at different moments: a reload closes many connections at once, of any age, and excuses nothing.
        """
        if rested < 0.3:
            return False
        alike = [when for when, age in self.idle_closes if abs(age - rested) <= max(0.05, 0.03 * rested) and self.now - when > 1]
        return len(alike) >= 2 and max(alike) - min(alike) > 1

    # -- the loop --

    def turn(self, until: float) -> None:
        """Wait for sockets, timers or ``until``, and handle what is due."""
        if self.timers:
            until = min(until, self.timers[0][0])
        events = self.selector.select(max(0.0, until - self.clock()))
        self.now = woke = self.clock()
        if woke - until > 0.25:
            self.grace += woke - until
        for key, mask in events:
            item = key.data
            if isinstance(item, Exchange):
                if not item.done:
                    self.ready(item, mask)
            elif item is None:
                try:
                    key.fileobj.recv(512)       # only the wake-up of a signal
                except BlockingIOError:
                    continue
            elif item in self.links:
                item.ready(mask)
            elif item in self.idle and not self.is_quiet(item):
                self.forget_idle(item)
        self.now = self.clock()
        while self.timers and self.timers[0][0] <= self.now:
            _when, _number, call, args = heapq.heappop(self.timers)
            call(*args)
        while self.deadlines and (self.deadlines[0][2].done or self.deadlines[0][0] <= self.now):
            exchange = heapq.heappop(self.deadlines)[2]
            if not exchange.done:
                self.check_deadline(exchange)
        self.now = self.clock()
        self._lateness(self.now - woke)

    def run(self, on_progress: t.Callable[["Probe"], None] | None = None, every: float = 0.5) -> dict[str, t.Any]:
        """Keep to the timetable until asked to stop, the watched process ends, or the hard cap; returns the account."""
        self.lookup()
        if self._is_name():
            threading.Thread(target=self._keep_looking_up, daemon=True).start()
        together, interval = self.together, self.interval
        self.now = self.born = begin = self.clock()
        self.tally.started = self.epoch(begin)
        number = 0
        self.progress_due = begin
        last = begin + self.config["max_run"]
        while self.ended is None:
            due = begin + number * interval
            self.turn(min(due, self.progress_due) if not self.stopping else self.progress_due)
            if self.now >= self.progress_due:
                self.progress_due = self.now + every
                self.check_watch()
                self.look()
                if on_progress is not None:
                    on_progress(self)
            if self.now >= last and not self.stopping:
                self.notes.append("stopped at the hard limit of %g s" % self.config["max_run"])
                self.stop("max_run")
            while not self.stopping and begin + number * interval <= self.now:
                due = begin + number * interval
                number += 1
                late = self.now - due
                self._lateness(late)
                if late > _TOO_LATE:
                    self.skipped += together
                    continue
                for _each in range(together):
                    self.launch(due)
            if self.stopping and not self.open:
                self.ended = self.why
        return self.finish()

    why = "asked"

    def hurry(self) -> None:
        """Somebody waits: the next progress is due now."""
        self.progress_due = 0.0

    def stop(self, why: str = "asked") -> None:
        """No new requests; those in flight are still waited for. A second call ends at once."""
        if self.stopping:
            self.ended = self.why
            return
        self.stopping, self.why = True, why
        self.stopped_at = self.epoch(self.clock())
        self.tally.closing = True

    def check_watch(self) -> None:
        watch = self.config["watch"]
        if watch and start_time_of(int(watch["pid"])) != watch["start_time"]:
            # Nobody waits for an answer any more: end now, whatever is open.
            self.why = self.ended = "controller_died"

    def look(self) -> None:
        """Whether anything has moved by now; until then, how long answers take is how long they took before."""
        self.expected.look()
        if self.expected.moved is None:
            self.before = dict(self.tally.hist)

    def check_admitted(self) -> None:
        tally = self.tally
        if self.config["events"] and not tally.expect_serving and tally.admitted is None and tally.first_ok is not None:
            when = admitted(self.config["events"])
            if when is not None:
                tally.admit(when)

    def progress(self) -> dict[str, t.Any]:
        self.check_admitted()
        small = self.tally.summary()
        small.update(time=round(self.epoch(self.now), 3), pid=os.getpid(), open=len(self.open), stall_ms=round(self.stall * 1000, 1),
                     skipped=self.skipped, ended=self.ended, learned=min(self.expected.answers(one.name) for one in self.questions))
        return small

    def account(self) -> dict[str, t.Any]:
        """Everything known so far."""
        self.check_admitted()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        ran = max(1e-9, self.now - self.born)
        # The last gap ends where the questions ended, not where the last answer was waited for.
        report = self.tally.report(self.epoch(self.now) if self.stopped_at is None else self.stopped_at)
        report.update({
            "url": self.target.shown, "rate": self.config["rate"], "answers": self.expected.account(),
            "before": {str(slot): count for slot, count in self.before.items()},
            "started": round(self.tally.started, 3), "finished": round(self.epoch(self.now), 3),
            "unfinished": len(self.open), "open_since": round(self.epoch(min(one.scheduled for one in self.open)), 3) if self.open else None,
            "skipped": self.skipped, "reopened": self.reopened, "idle_races": self.idle_races, "repeated": self.repeated,
            "stall_ms": round(self.stall * 1000, 1), "stall_at": self.stall_at,
            "ended": self.ended, "notes": list(self.notes),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "cpu_share": round((usage.ru_utime + usage.ru_stime - self.cpu_before) / ran, 4),
        })
        return report

    cpu_before = 0.0

    def finish(self) -> dict[str, t.Any]:
        self.over.set()
        report = self.account()
        for exchange in list(self.open):
            self.drop(exchange)
        for link in list(self.links):
            link.close()
        while self.idle:
            sock = self.idle.pop()
            self.selector.unregister(sock)
            sock.close()
        self.selector.close()
        return report

    def once(self, stream: str = "fresh") -> Outcome:
        """One request, without a timetable."""
        self.lookup()
        self.now = self.clock()
        self.launch(self.now, stream)
        while self.open:
            self.turn(self.now + 0.25)
        self.finish()
        if self.last_outcome is None:
            return Outcome("own", "; ".join(self.notes) or "no request could be made", 0, None, None)
        return self.last_outcome


def once(config: dict[str, t.Any]) -> Outcome:
    """Ask the URL of a configuration once."""
    return Probe(config).once()


def admitted(events: str) -> float | None:
    """When the first step of a deploy that admits members had ended, by the file of its events; None while there is none."""
    try:
        with open(events, encoding="utf-8") as stream:
            lines = stream.readlines()
    except FileNotFoundError:
        return None
    for line in lines:
        event = json.loads(line) if line.endswith("\n") else {}
        if event.get("event") == "finished" and _steps.admits(event["step"]):
            return float(event["time"])
    return None


# -- as a process --------------------------------------------------------------------------------------------------

def write_json(path: str, value: t.Any) -> None:
    """Replace a file in one step: a reader sees the old one or the new one, never half."""
    part = "%s.%d.part" % (path, os.getpid())
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as stream:
        json.dump(value, stream)
    os.rename(part, path)


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        sys.stderr.write("usage: probe.py CONFIG.json\n")
        return 2
    try:
        with open(argv[1], encoding="utf-8") as stream:
            config = json.load(stream)
        probe = Probe(config)
    except (OSError, ValueError) as exc:
        sys.stderr.write("%s\n" % exc)
        return 2
    run_dir = probe.config["run_dir"]
    if not run_dir:
        sys.stderr.write("run_dir is missing; the directory for progress.json and probe.json is needed.\n")
        return 2
    asked: list[str] = []
    wake_in, wake_out = socket.socketpair()
    wake_in.setblocking(False)
    wake_out.setblocking(False)
    signal.set_wakeup_fd(wake_out.fileno(), warn_on_full_buffer=False)
    probe.selector.register(wake_in, selectors.EVENT_READ, None)
    signal.signal(signal.SIGTERM, lambda *_unused: probe.stop())
    # Ctrl-C goes to the terminal's whole group; this process ends with the one that it watches.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def on_ask(*_unused: t.Any) -> None:
        asked.append("snapshot")
        probe.hurry()

    signal.signal(signal.SIGUSR1, on_ask)

    def on_progress(running: Probe) -> None:
        if asked:
            del asked[:]
            write_json(os.path.join(run_dir, "snapshot.json"), running.account())
        write_json(os.path.join(run_dir, "progress.json"), running.progress())

    usage = resource.getrusage(resource.RUSAGE_SELF)
    probe.cpu_before = usage.ru_utime + usage.ru_stime
    try:
        report = probe.run(on_progress)
        write_json(os.path.join(run_dir, "probe.json"), report)
        write_json(os.path.join(run_dir, "progress.json"), probe.progress())
    except FileNotFoundError as exc:
        # Somebody removed the run directory: nobody is left to report to.
        sys.stderr.write("%s\n" % exc)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
