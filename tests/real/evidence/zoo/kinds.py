# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zoo itself: what may become of a request, one kind a line. A new kind is a new line."""

from __future__ import annotations

import subprocess
import sys
import typing as t

from zoo.clients import Behaviour, again, cancels, drips, leaves, once, says, several, shuts, silent, stays, together, upgrades


class Seen(t.NamedTuple):
    """Which line of evidence has to see a kind of loss, and what that calls it."""

    line: str
    kind: str = ""


NOTHING = Seen("")
UNANSWERED, TRUNCATED, OWN_ERRORS = (Seen("sheet", kind) for kind in ("unanswered", "truncated", "own_errors"))
# What the log of nginx does not say: that chunks were missing, or that a connection was reset. Over HTTP/2 the probe gets a reset of its request.
HALF_PASSED_ON = {"haproxy": TRUNCATED, "nginx h1": Seen("probe", "truncated"), "nginx h2": Seen("probe", "stream_reset")}
BAD_CHUNK = {"haproxy": OWN_ERRORS, "nginx h1": Seen("probe", "eof_fresh"), "nginx h2": Seen("probe", "stream_reset")}
# HAProxy gives up a request with the connection that it came on, unless that is its first; over HTTP/2 none is.
FIRST, USED = {"haproxy h2": UNANSWERED, "": OWN_ERRORS}, {"haproxy": UNANSWERED, "": OWN_ERRORS}
# nginx logs a WebSocket as answered, however it ended, and the probe opens none.
NOBODY = Seen("nobody")
PLACES = ("haproxy h1", "haproxy h2", "nginx h1", "nginx h2")


class Kind(t.NamedTuple):
    """One kind. ``seen`` may differ by place: "haproxy h2" goes before "haproxy" and "h2", and these before ""."""

    name: str
    does: Behaviour
    seen: Seen | dict[str, Seen] = NOTHING
    # Where it can be met at all, by words of places.
    only: str = ""
    # How often it is met before anything moves, too.
    before: int = 0
    # What a deploy that loses none says beside its numbers, by place as well.
    told: str | dict[str, str] = ""

    def places(self) -> list[str]:
        return [place for place in PLACES if not self.only or self.only in (place, *place.split())]


def at(place: str, value: t.Any) -> t.Any:
    """What is to be found in a place."""
    if not isinstance(value, dict):
        return value
    return next(value[name] for name in (place, *place.split(), "") if name in value)


def upload(path: str, **more: t.Any) -> Behaviour:
    return once(path, method="POST", **more)


class Busy:
    """Processes that want a processor each, all the time."""

    def __init__(self) -> None:
        endless = "import time; end = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
        self.processes = [subprocess.Popen([sys.executable, "-c", endless]) for dummy in range(4)]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def busy(door: t.Any) -> Busy:
    found = Busy()
    together(*[several(*[once("/ok")] * 5)] * 4)(door)
    return found


def reloads(door: t.Any) -> None:
    door.reload()


def reloads_under_a_stream(door: t.Any) -> t.Any:
    stream = stays(door)
    door.reload()
    return stream


LOSSES = [
    Kind("the member closes a fresh connection", once("/close"), FIRST),
    Kind("the member closes a used connection", again("/close"), USED),
    Kind("the member resets a fresh connection", once("/reset"), FIRST),
    Kind("the member resets a used connection", again("/reset"), USED),
    Kind("an upload meets a closed connection", upload("/close", body=b"hi"), FIRST),
    Kind("half an answer", once("/half"), TRUNCATED),
    Kind("half an answer, then a reset", once("/half_reset"), TRUNCATED),
    Kind("half an answer, then nothing", once("/half_hang"), TRUNCATED),
    Kind("half an answer in chunks", once("/half_chunk"), HALF_PASSED_ON),
    Kind("half an answer of unknown length, then a reset", once("/until_reset"), HALF_PASSED_ON),
    Kind("a chunk that is none", once("/bad_chunk"), BAD_CHUNK),
    # To nginx it is an answer in HTTP/0.9, which it passes on.
    Kind("an answer that is none", once("/garbage", patience=1.0), {"haproxy": OWN_ERRORS, "": Seen("probe", "malformed")}),
    Kind("half a head", once("/half_head"), FIRST),
    Kind("a head that fits nowhere", once("/big_head"), OWN_ERRORS),
    # nginx takes a hint for the answer, up to 1.28.
    Kind("a hint, and no answer", once("/hint"), {"h1": OWN_ERRORS, "h2": UNANSWERED}, only="haproxy"),
    Kind("a hint on a used connection, and no answer", again("/hint"), USED, only="haproxy"),
    Kind("no answer in time", once("/slow=4"), OWN_ERRORS),
    Kind("nobody listens", once("/dead/ok"), OWN_ERRORS),
    Kind("a WebSocket that its member refuses", upgrades("/close"), OWN_ERRORS, only="h1"),
    Kind("a WebSocket that its member resets", upgrades("/ws_reset"), {"haproxy": TRUNCATED, "": NOBODY}),
]
NOISE = [
    Kind("an answer", once("/ok")),
    Kind("an answer that ends with its connection", once("/until_eof")),
    Kind("the client leaves", leaves("/slow=0.5")),
    Kind("the client resets", leaves("/slow=0.5", reset=True)),
    Kind("the client leaves during an upload", leaves("/ok", method="POST", body=b"half", length=100)),
    Kind("the client stalls its upload", upload("/ok", body=b"half", length=100)),
    Kind("the client closes its half of the connection", shuts("/slow=0.3"), only="h1"),
    Kind("the client asks nothing", silent),
    Kind("the client drips its request", drips(b"GET /ok HTTP/1.1\r\nHost: shop.example\r\nX: " + b"x" * 500), only="h1"),
    Kind("the client cancels", cancels("/slow=0.6"), only="h2"),
    Kind("the client cancels a hundred", cancels("/slow=0.6", times=100), only="h2"),
    Kind("the client says farewell while it is answered", cancels("/slow=0.6", says_so=False), only="h2"),
    Kind("the member refuses an upload half-way", upload("/too_big", body=b"x" * 1000, length=90000)),
    Kind("the member stands still for a moment", together(once("/pause=0.8"), *[once("/ok")] * 4)),
    Kind("the processors are busy", busy),
    Kind("a rule denies", once("/deny/ok")),
    Kind("a rule answers 503", once("/away/ok")),
    Kind("a rule ends the connection", once("/drop/ok", patience=1.0)),
    Kind("a rule of the pool ends the connection", once("/vanish/ok", patience=1.0), only="haproxy"),
    Kind("a rule of the pool rejects the connection", once("/reject/ok", patience=1.0), only="haproxy"),
    Kind("a rule lets wait", several(once("/tarpit/ok"), once("/tarpit/ok"))),
    Kind("another application fails", once("/other/close")),
    Kind("a version that there is not", once("/ok", version="HTTP/9.9"), only="h1"),
    Kind("no request at all", says(b"\x16\x03\x01\x02\x00\r\n\r\n" * 3)),
    Kind("half a request", says(b"GET / HTTP/1.1\r\nHost:"), only="h1"),
    Kind("half a request in HTTP/2", says(b"\0\0\x09\x01\x04\0\0\0\x01\x82", patience=3.0), only="h2"),
    Kind("a scanner", several(once("/e404"), once("/ok", method="PROPFIND"), once("/" + "x" * 9000), once("/../../etc/passwd"))),
    Kind("a WebSocket whose client closes it", upgrades("/websocket", reads=False)),
    Kind("a WebSocket that its member closes", upgrades("/ws_closed")),
    Kind("a WebSocket that lasts", stays),
    Kind("events without an end, all the time", once("/events"), before=3, told={"haproxy": "1 truncated", "": ""}),
    Kind("the balancer's own 502s, all the time", once("/close"), before=3, told={"haproxy h2": "1 unanswered", "": "1 answered by the balancer with a 5xx"}),
    Kind("half answers, all the time", once("/half"), before=3, told="1 truncated"),
    # What the old process counted after it was read last, nobody knows any more.
    Kind("the operator reloads", reloads, told={"haproxy": "ended after its last reading, with 0 requests open and new ones coming in", "": ""}),
    Kind("the operator reloads under a stream", reloads_under_a_stream),
]
# What the application answers itself: its members' errors, and no losses.
ANSWERED = [Kind("the application's own 500", once("/e500"), Seen("application", "app_errors")),
            Kind("the application's own 503", once("/e503"), Seen("application", "app_errors")),
            Kind("a page that is not there", once("/e404"), Seen("application", "refused"))]
