# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 as planted bytes: the probe's connections end at the test, which speaks as servers do and as none should."""

from __future__ import annotations

import random
import socket
import sys

import hpack
import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe_h2 as _probe_h2

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
REFUSED_STREAM, INTERNAL_ERROR, NO_ERROR = 7, 2, 0
EVERY = 2**31 - 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def number(value):
    return value.to_bytes(4, "big")


def block(status="200", **more):
    # Without the dynamic table, whose state would differ between what a test says and what it leaves out.
    headers = [
        (":status", status),
        ("x-release", "abc"),
        *((name.replace("_", "-"), value) for name, value in more.items()),
    ]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in headers])


def head(stream=1, flags=END_HEADERS, **headers):
    return frame(HEADERS, flags, stream, block(**headers))


def whole(stream=1):
    return head(stream) + frame(DATA, END_STREAM, stream, b"hi")


def goaway(last, code=NO_ERROR):
    return frame(GOAWAY, 0, 0, number(last) + number(code))


def reset(stream, code):
    return frame(RST_STREAM, 0, stream, number(code))


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.came = b""

    def heard(self):
        """(kind, flags, stream, payload) of all frames so far."""
        self.sock.setblocking(False)
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                break
            if not data:
                break
            self.came += data
        assert self.came.startswith(PREFACE)
        rest, found = self.came[len(PREFACE) :], []
        while rest:
            length = int.from_bytes(rest[:3], "big")
            found.append((rest[3], rest[4], int.from_bytes(rest[5:9], "big"), rest[9 : 9 + length]))
            rest = rest[9 + length :]
        return found

    def asked(self):
        """The numbers of the requests that came."""
        return [stream for kind, dummy, stream, dummy in self.heard() if kind == HEADERS]

    def said_goodbye(self):
        """The client has closed the connection, and said so first."""
        kinds = [kind for kind, dummy, dummy, dummy in self.heard()]
        self.sock.setblocking(True)
        return kinds[-1] == GOAWAY and self.sock.recv(1) == b""


class Plain(_probe.Probe):
    """Reads no certificates: the handshake is left out."""

    def _tls(self):
        return None


class Site:
    """A probe whose connections end here, in the handshake's place."""

    def __init__(self, **config):
        self.peers = []
        self.probe = Plain(
            {"url": "https://shop.example/", "http2": "true", **config},
            resolve=lambda *dummy, **more: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))],
        )
        self.probe.lookup()
        self.probe.connect = self.connect

    def connect(self, exchange):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        exchange.sock = ours
        self.peers.append(Peer(theirs))
        self.probe.link(exchange)

    def ask(self, stream="keepalive", count=1):
        self.probe.now = self.probe.clock()
        for dummy in range(count):
            self.probe.launch(self.probe.now, stream)
        return self.peers[-1]

    def say(self, peer, *frames, close=False):
        """Let the probe hear it, up to the last byte."""
        peer.sock.setblocking(True)
        peer.sock.sendall(b"".join(frames))
        if close:
            peer.sock.shutdown(socket.SHUT_WR)
        for dummy in range(3):
            self.probe.turn(self.probe.clock())

    @property
    def failures(self):
        return self.probe.tally.failures

    @property
    def details(self):
        return [loss["detail"] for loss in self.probe.tally.losses]

    def end(self):
        self.probe.finish()
        for peer in self.peers:
            peer.sock.close()


@pytest.fixture
def site():
    sites = []

    def begin(**config):
        sites.append(Site(**config))
        return sites[-1]

    yield begin
    for one in sites:
        one.end()


CUT = block()
GOOD = {
    "whole": whole(),
    "one byte of a body at a time": head()
    + b"".join(frame(DATA, 0, 1, b"x") for dummy in range(3))
    + frame(DATA, END_STREAM, 1),
    "header alone": head(flags=END_HEADERS | END_STREAM, status="204"),
    "an interim answer first": head(status="103") + whole(),
    "padding": frame(HEADERS, END_HEADERS | PADDED, 1, b"\x03" + CUT + bytes(3))
    + frame(DATA, END_STREAM | PADDED, 1, b"\x05hi" + bytes(5)),
    "a header in three frames": frame(HEADERS, 0, 1, CUT[:2])
    + frame(CONTINUATION, 0, 1, CUT[2:5])
    + frame(CONTINUATION, END_HEADERS, 1, CUT[5:])
    + frame(DATA, END_STREAM, 1, b"hi"),
    "trailers": head()
    + frame(DATA, 0, 1, b"hi")
    + frame(HEADERS, END_HEADERS | END_STREAM, 1, hpack.Encoder().encode([("x-sum", "1")])),
    "an unknown frame": frame(0xBE, 0xFF, 1, b"whatever") + whole(),
    "its length": head(content_length="2") + frame(DATA, END_STREAM, 1, b"hi"),
    "RST_STREAM once it is whole": whole() + reset(1, NO_ERROR),
    "GOAWAY that accepts it": goaway(1) + whole(),
    "GOAWAY in two steps": goaway(EVERY) + head() + goaway(1) + frame(DATA, END_STREAM, 1, b"hi"),
    "GOAWAY with a reason and a text": frame(GOAWAY, 0, 0, number(EVERY) + number(11) + b"calm down") + whole(),
}


@pytest.mark.parametrize("said", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("step", [1, 65536])
def test_what_is_an_answer(site, said, step):
    one = site()
    peer = one.ask()
    for start in range(0, len(said), step):
        one.say(peer, said[start : start + step])
    assert (one.probe.tally.ok, one.failures, one.probe.repeated) == (1, {}, 0), one.details
    assert one.probe.tally.protocols == {"HTTP/2": 1} and one.probe.last_outcome.release == "abc"
    assert not one.probe.open and len(one.peers) == 1


BAD = {
    "nothing": ("eof_fresh", b"", "closed without an answer"),
    "a header": ("truncated", head(), "closed after "),
    "half of a body": ("truncated", head(content_length="4") + frame(DATA, 0, 1, b"hi"), "closed after "),
    "half of a frame": ("truncated", head() + frame(DATA, END_STREAM, 1, b"hi there")[:-3], "closed after "),
    "less than its length": (
        "truncated",
        head(content_length="4") + frame(DATA, END_STREAM, 1, b"hi"),
        "2 bytes of a body of 4",
    ),
    "more than its length": (
        "truncated",
        head(content_length="1") + frame(DATA, END_STREAM, 1, b"hi"),
        "2 bytes of a body of 1",
    ),
    "given up": ("stream_reset", reset(1, INTERNAL_ERROR), "INTERNAL_ERROR after 0 bytes"),
    "given up for an unknown reason": ("stream_reset", reset(1, 77), "error 77 after 0 bytes"),
    "given up, and it may be asked again": ("stream_refused", reset(1, REFUSED_STREAM), "REFUSED_STREAM after 0 bytes"),
    "given up within": ("stream_reset", head() + frame(DATA, 0, 1, b"hi") + reset(1, NO_ERROR), "NO_ERROR after "),
    "accepted and cut": ("eof_fresh", goaway(EVERY), "closed without an answer"),
    "no body where one was told": (
        "truncated",
        head(flags=END_HEADERS | END_STREAM, content_length="4"),
        "0 bytes of a body of 4",
    ),
    "HTTP/1.1": (
        "malformed",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "a frame of 4740180 bytes, where at most 16384 are accepted",
    ),
    "a frame that is too large": ("malformed", frame(DATA, 0, 1, bytes(16385)), "a frame of 16385 bytes"),
    "a header that cannot be read": ("malformed", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), ""),
    "no status": ("malformed", frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode([("x-a", "1")])), ""),
    "an odd status": ("malformed", head(status="2x0"), "status b'2x0'"),
    "an odd length": ("malformed", head(content_length="-1"), "content-length b'-1'"),
    "a second header": ("malformed", head() + head(), "a second header"),
    "an interim answer alone": (
        "malformed",
        head(status="103", flags=END_HEADERS | END_STREAM),
        "an end without an answer",
    ),
    "an endless header": (
        "malformed",
        frame(HEADERS, 0, 1, CUT) + b"".join(frame(CONTINUATION, 0, 1, bytes(16384)) for dummy in range(4)),
        "a header of more",
    ),
    "something within a header": (
        "malformed",
        frame(HEADERS, 0, 1, CUT) + frame(PING, 0, 0, bytes(8)),
        "a header that is not whole",
    ),
    "an answer to nothing": ("malformed", head(7), "a frame of kind 1 for stream 7"),
    "a PING of one request": ("malformed", frame(PING, 0, 1, bytes(8)), "a frame of kind 6 for stream 1"),
    "a short PING": ("malformed", frame(PING, 0, 0, b"1234567"), "a frame of kind 6 with 7 bytes"),
    "half a setting": ("malformed", frame(SETTINGS, 0, 0, b"1234567"), "SETTINGS of 7 bytes"),
    "a body of nobody": ("malformed", frame(DATA, 0, 0, b"hi"), ""),
    "a body before its header": ("malformed", frame(DATA, 0, 1, b"hi"), ""),
    "a push": ("malformed", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + CUT), ""),
    "CONTINUATION of nothing": ("malformed", frame(CONTINUATION, END_HEADERS, 1, CUT), ""),
    "padding beyond the frame": ("malformed", head() + frame(DATA, PADDED, 1, b"\x09hi"), ""),
    "a short GOAWAY": ("malformed", frame(GOAWAY, 0, 0, number(1)), ""),
    "a status": ("status_503", head(flags=END_HEADERS | END_STREAM, status="503"), "answered 503 by abc"),
}


@pytest.mark.parametrize("kind, said, detail", BAD.values(), ids=BAD)
def test_what_a_failure_is_called(site, kind, said, detail):
    one = site()
    one.say(one.ask(), said, close=True)
    assert (one.probe.tally.ok, one.failures) == (0, {kind: 1}), one.details
    assert one.details[0].startswith(detail)
    assert not one.probe.open


def test_requests_share_a_connection_and_a_fresh_one_has_its_own(site):
    one = site()
    kept = one.ask(count=3)
    assert len(one.peers) == 1 and kept.asked() == [1, 3, 5]
    fresh = one.ask("fresh")
    assert len(one.peers) == 2 and fresh.asked() == [1]
    one.say(kept, whole(3), whole(1))
    one.say(fresh, whole())
    assert one.probe.tally.ok == 3 and fresh.said_goodbye()
    one.ask()
    one.say(kept, whole(5), whole(7))
    assert (one.probe.tally.ok, len(one.peers), one.failures) == (5, 2, {})


@pytest.mark.claim("probe-http2-turned-away")
@pytest.mark.parametrize(
    "said, gone",
    [(goaway(1), [3, 5]), (goaway(EVERY) + goaway(3), [5]), (goaway(0, INTERNAL_ERROR), [1, 3, 5])],
    ids=["GOAWAY", "GOAWAY in two steps", "GOAWAY of all"],
)
def test_what_the_server_has_not_begun_with_is_asked_again(site, said, gone):
    one = site()
    first = one.ask(count=3)
    assert first.asked() == [1, 3, 5]
    one.say(first, said)
    again = one.peers[1:]
    assert sum(len(peer.asked()) for peer in again) == len(gone) == one.probe.repeated
    one.ask()
    assert first.asked() == [1, 3, 5], "whoever has got a GOAWAY gets no new requests"
    for peer in one.peers[1:]:
        one.say(peer, *(whole(stream) for stream in peer.asked()))
    if len(gone) < 3:
        one.say(first, *(whole(stream) for stream in (1, 3, 5) if stream not in gone))
    assert (one.probe.tally.ok, one.failures) == (4, {}) and first.said_goodbye()


def test_a_post_is_asked_again_with_what_was_due_of_its_body(site):
    one = site()
    first = one.ask("post")
    (exchange,) = one.probe.open
    one.probe.send_piece(exchange)
    one.say(first, goaway(0))
    for dummy in range(2):
        one.probe.send_piece(exchange)
    body = [(flags, payload) for kind, flags, dummy, payload in one.peers[1].heard() if kind == DATA]
    assert sum(len(payload) for dummy, payload in body) == 1024
    assert [flags & END_STREAM for flags, dummy in body] == [0] * (len(body) - 1) + [1]
    one.say(one.peers[1], whole())
    assert (one.probe.tally.ok, one.failures, one.probe.repeated) == (1, {}, 1)


def test_who_is_turned_away_again_and_again_is_lost(site):
    one = site()
    one.ask()
    for dummy in range(6):
        one.say(one.peers[-1], goaway(0))
    assert one.failures == {"stream_refused": 1} and one.details == ["turned away 6 times, the last time by GOAWAY"]
    assert len(one.peers) == 6 and one.probe.repeated == 5


@pytest.mark.claim("probe-http2-each-is-lost")
@pytest.mark.parametrize(
    "before, kinds",
    [
        (b"", {"eof_fresh": 1, "eof_reused": 2}),
        (goaway(EVERY), {"eof_fresh": 1, "eof_reused": 2}),
        (head(3), {"eof_fresh": 1, "truncated": 1, "eof_reused": 1}),
    ],
    ids=["unannounced", "accepted by GOAWAY", "one begun"],
)
def test_each_request_on_a_connection_that_ends_is_lost(site, before, kinds):
    one = site()
    one.say(one.ask(count=3), before, close=True)
    assert one.failures == kinds and one.probe.repeated == 0


def test_one_bad_answer_is_not_the_others_fault(site):
    one = site()
    peer = one.ask(count=5)
    one.say(
        peer,
        head(3, content_length="4"),
        frame(DATA, END_STREAM, 3, b"hi"),
        reset(5, INTERNAL_ERROR),
        reset(7, REFUSED_STREAM),
        head(9, status="2x0"),
    )
    assert one.failures == {"truncated": 1, "stream_reset": 1, "stream_refused": 1, "malformed": 1}
    # What the server has given up itself, or ended, is not given up by the client as well.
    assert [stream for kind, dummy, stream, dummy in peer.heard() if kind == RST_STREAM] == [9]
    # What still comes of them has no meaning any more.
    one.say(peer, frame(DATA, 0, 9, b"hi"), frame(DATA, END_STREAM, 9, b"hi"), whole(1))
    assert (one.probe.tally.ok, one.probe.repeated, len(one.peers)) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_it_is_an_answer_or_one_of_the_known_failures(site, seed):
    chance = random.Random(seed)
    one = site()
    peer = one.ask(count=3)
    parts = [
        frame(
            chance.randrange(11),
            chance.choice((0, 1, 4, 5, 8, 32, 0xFF)),
            chance.choice((0, 1, 3, 5)),
            chance.randbytes(chance.randrange(20)),
        )
        for dummy in range(chance.randrange(4))
    ]
    said = bytearray(b"".join([head(5), *parts, *GOOD.values()]))
    for dummy in range(chance.randrange(3)):
        said[chance.randrange(len(said))] = chance.randrange(256)
    one.say(peer, bytes(said), close=True)
    for later in one.peers[1:]:
        one.say(later, close=True)
    assert not one.probe.open and set(one.failures) <= {*_probe.TRANSPORT, "status_503"}
    assert one.probe.tally.ok + sum(one.failures.values()) == 3


def test_pings_settings_and_windows(site):
    one = site()
    peer = one.ask()
    one.say(peer, frame(SETTINGS, 0, 0), frame(PING, 0, 0, b"12345678"), frame(PING, ACK, 0, b"87654321"))
    answers = [
        (kind, payload) for kind, flags, dummy, payload in peer.heard() if kind in (PING, SETTINGS) and flags & ACK
    ]
    assert answers == [(SETTINGS, b""), (PING, b"12345678")]
    # More than the first window holds: the rest can come only if the client makes room.
    for dummy in range(5):
        one.say(peer, *([head()] if not dummy else []), *(frame(DATA, 0, 1, bytes(10000)) for dummy in range(3)))
    room = sum(
        int.from_bytes(payload, "big")
        for kind, dummy, stream, payload in peer.heard()
        if kind == WINDOW_UPDATE and stream == 1
    )
    assert room > 80000
    one.say(peer, frame(DATA, END_STREAM, 1))
    assert one.probe.tally.ok == 1


def test_a_body_waits_for_the_servers_window(site):
    one = site()
    peer = one.ask()
    one.say(peer, frame(SETTINGS, 0, 0, b"\x00\x04" + number(100)), whole())
    one.ask("post")
    (exchange,) = one.probe.open
    for dummy in range(3):
        one.probe.send_piece(exchange)

    def sent():
        return sum(len(payload) for kind, dummy, stream, payload in peer.heard() if kind == DATA and stream == 3)

    assert sent() == 100
    one.say(peer, frame(WINDOW_UPDATE, 0, 3, number(150)))
    assert sent() == 250
    one.say(peer, frame(SETTINGS, 0, 0, b"\x00\x04" + number(5000)))
    assert sent() == 1024 and [flags for kind, flags, dummy, dummy in peer.heard() if kind == DATA][-1] & END_STREAM
    one.say(peer, whole(3))
    assert one.probe.tally.ok == 2


def test_a_server_gets_no_more_at_a_time_than_it_says(site):
    one = site()
    first = one.ask()
    one.say(first, frame(SETTINGS, 0, 0, b"\x00\x03" + number(2)))
    one.ask(count=2)
    assert first.asked() == [1, 3] and one.peers[1].asked() == [1]


def test_who_is_not_answered_in_time_gives_up_and_the_connection_gets_no_more(site):
    one = site(timeout=5)
    peer = one.ask(count=2)
    one.say(peer, whole(3))
    later = one.probe.clock() + 6
    one.probe.clock = lambda: later
    # Held up by itself for that long: its grace is used up first.
    one.probe.turn(later)
    one.probe.turn(later)
    assert one.failures == {"timeout": 1} and one.details == ["waiting for the answer"]
    assert (RST_STREAM, 1) in [(kind, stream) for kind, dummy, stream, dummy in peer.heard()] and peer.said_goodbye()


def test_a_connection_that_closes_at_rest_is_no_loss(site):
    one = site()
    peer = one.ask()
    one.say(peer, whole())
    one.say(peer, close=True)
    assert (one.probe.reopened, one.failures, one.probe.links) == (1, {}, [])
    one.ask()
    assert len(one.peers) == 2


@pytest.mark.parametrize(
    "choice, scheme, spoken",
    [("false", "https", False), ("auto", "http", False), ("auto", "https", True), ("true", "https", True)],
)
def test_when_it_is_spoken(choice, scheme, spoken):
    assert (_probe.http2_of(choice, scheme) is not None) == spoken


@pytest.mark.claim("probe-http2-refused")
def test_what_cannot_be_chosen_is_one_sentence(monkeypatch):
    with pytest.raises(
        _probe.BadConfig,
        match="^http2 is true, which needs an https address: .*; for http:// auto and false are accepted.$",
    ) as plain:
        _probe.http2_of("true", "http")
    with pytest.raises(_probe.BadConfig, match="^http2 is 'yes'; accepted are auto, true, false.$") as unknown:
        _probe.http2_of("yes", "https")
    assert (plain.value.cause, unknown.value.cause) == (_probe.TLS_NEEDED, _probe.SETTING)
    monkeypatch.setattr(_probe_h2, "MISSING", "No module named 'hpack'")
    assert _probe.http2_of("auto", "https") is None
    lacking = [_probe.lacks_http2(choice, url) for choice, url in (("auto", "https://a/"), ("auto", "http://a/"), ("false", "https://a/"))]
    assert lacking == [True, False, False]
    with pytest.raises(_probe.BadConfig) as caught:
        _probe.http2_of("true", "https")
    assert str(caught.value) == (
        "http2 is true, which needs the Python library hpack on the controller, where auto and false do without: "
        f"{sys.executable} -m pip install hpack"
    )
    assert caught.value.cause == _probe.LIBRARY_NEEDED
