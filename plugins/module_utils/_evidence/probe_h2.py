# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 for the probe: connections that carry several requests at a time.

Private to the collection: it may change without notice.

The compression of headers is the library hpack's, which the controller may lack. The framing (RFC 9113) is written
here, since the library for it, h2, ends a whole connection where this has to tell request by request. It takes a GOAWAY
for the end and refuses the answers that still come, while a server that reloads says GOAWAY first and then answers all
that it has accepted. And it ends a connection over a body that is shorter than its content-length, which is what
HAProxy makes of each answer that a member breaks off: every truncated answer would cut others that are fine.

What became of a request is told in the words of HTTP/1.1. Two things are known here only. A GOAWAY says which requests
the server has not begun with: they are asked again, and none of them is lost. A RST_STREAM gives up one request alone,
which is a loss. So is one with REFUSED_STREAM, although it means that the request may be asked again: HAProxy 2.6 says
that, too, of a request that died in the hands of a member.
"""

from __future__ import annotations

import contextlib
import selectors
import ssl
import struct
import typing as t

try:
    from hpack import Decoder, Encoder, HPACKError

    MISSING = ""
except ImportError as _error:
    MISSING = str(_error)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
ERRORS = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEAD = 9
# The largest frame that a server may send to whoever announces no other size, and the windows until one is announced.
_LARGEST = 16384
_WINDOW = 65535
_MAX_BLOCK = 65536
_HIGHEST = 2**31 - 1
# Lengths that a frame has to have.
_FIXED = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_STREAMS = (DATA, HEADERS, RST_STREAM, CONTINUATION)
_OF_CONNECTIONS = (SETTINGS, PING, GOAWAY)


class Broken(Exception):
    """What came is not HTTP/2."""


class Head(t.NamedTuple):
    """A header of an answer, or what follows its body."""

    stream: int
    headers: dict[bytes, bytes]
    ends: bool


class Body(t.NamedTuple):
    """A piece of a body."""

    stream: int
    data: bytes
    ends: bool


class Reset(t.NamedTuple):
    """The server gives up one request."""

    stream: int
    error: str


class GoAway(t.NamedTuple):
    """The server takes no more requests on this connection; those up to C(last) it may still answer."""

    last: int


class Room(t.NamedTuple):
    """The server has room for more of a body; 0 for all of them."""

    stream: int


Event = t.Union[Head, Body, Reset, GoAway, Room]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _number(data: bytes) -> int:
    return int.from_bytes(data[:4], "big") & _HIGHEST


def _error(data: bytes) -> str:
    code = int.from_bytes(data[:4], "big")
    return ERRORS[code] if code < len(ERRORS) else "error %d" % code


def _bare(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken("padding beyond its frame")
    return payload[1:len(payload) - payload[0]]


class Talk:
    """What is said on one connection, without its socket: bytes in and out, events between."""

    def __init__(self) -> None:
        self.out = bytearray(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", ENABLE_PUSH, 0)))
        self.most = 100  # requests at a time, until the server says how many it takes
        self._came = bytearray()
        self._decoder, self._encoder = Decoder(max_header_list_size=_MAX_BLOCK), Encoder()
        self._block: tuple[int, bool, bytearray] | None = None  # a header of which CONTINUATION has to bring the rest
        self._next = 1
        self._largest = _LARGEST
        self._window = self._first_window = _WINDOW
        self._windows: dict[int, int] = {}  # of each request that neither side has given up
        self._ended: set[int] = set()  # those of them that the server has answered to the end

    # -- what comes --

    def receive(self, data: bytes) -> t.Iterator[Event]:
        """The events of what came. Raises Broken; what frames before that said holds."""
        self._came += data
        while len(self._came) >= _HEAD:
            length = int.from_bytes(self._came[:3], "big")
            if length > _LARGEST:
                raise Broken("a frame of %d bytes, where at most %d are accepted" % (length, _LARGEST))
            if len(self._came) < _HEAD + length:
                return
            kind, flags, stream = self._came[3], self._came[4], _number(self._came[5:9])
            payload = bytes(self._came[_HEAD:_HEAD + length])
            del self._came[:_HEAD + length]
            yield from self._events(kind, flags, stream, payload)

    def _events(self, kind: int, flags: int, stream: int, payload: bytes) -> t.Iterator[Event]:
        if self._block is not None and (kind, stream) != (CONTINUATION, self._block[0]):
            raise Broken("a header that is not whole")
        if self._block is None and kind == CONTINUATION:
            raise Broken("CONTINUATION of no header")
        asked = stream % 2 == 1 and stream < self._next
        if (kind in _OF_STREAMS and not asked) or (kind in _OF_CONNECTIONS and stream):
            raise Broken("a frame of kind %d for stream %d" % (kind, stream))
        if len(payload) != _FIXED.get(kind, len(payload)):
            raise Broken("a frame of kind %d with %d bytes" % (kind, len(payload)))
        if kind == DATA:
            yield self._body(flags, stream, payload)
        elif kind in (HEADERS, CONTINUATION):
            yield from self._header(kind, flags, stream, payload)
        elif kind == RST_STREAM:
            self._windows.pop(stream, None)
            yield Reset(stream, _error(payload))
        elif kind == SETTINGS and not flags & ACK:
            yield self._settings(payload)
        elif kind == PING and not flags & ACK:
            self.out += frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            if len(payload) < 8:
                raise Broken("a GOAWAY of %d bytes" % len(payload))
            last = _number(payload)
            for number in [number for number in self._windows if number > last]:
                del self._windows[number]
            yield GoAway(last)
        elif kind == WINDOW_UPDATE:
            yield self._more_room(stream, _number(payload))
        elif kind == PUSH_PROMISE:
            raise Broken("a push, which nobody has allowed")

    def _body(self, flags: int, stream: int, payload: bytes) -> Body:
        if payload:
            # Read is read: the server has the whole window again.
            for number in (0, stream) if stream in self._windows and not flags & END_STREAM else (0,):
                self.out += frame(WINDOW_UPDATE, 0, number, struct.pack(">I", len(payload)))
        return Body(stream, _bare(flags, payload), self._ends(flags, stream))

    def _ends(self, flags: int, stream: int) -> bool:
        if flags & END_STREAM and stream in self._windows:
            self._ended.add(stream)
        return bool(flags & END_STREAM)

    def _header(self, kind: int, flags: int, stream: int, payload: bytes) -> t.Iterator[Head]:
        if kind == HEADERS:
            block = _bare(flags, payload)
            self._block = (stream, self._ends(flags, stream), bytearray(block[5:] if flags & WITH_PRIORITY else block))
        elif self._block is not None:
            self._block[2].extend(payload)
        if self._block is None or len(self._block[2]) > _MAX_BLOCK:
            raise Broken("a header of more than %d bytes" % _MAX_BLOCK)
        if flags & END_HEADERS:
            (dummy, ends, whole), self._block = self._block, None
            try:
                headers = self._decoder.decode(bytes(whole), raw=True)
            except HPACKError as exc:
                raise Broken("a header that cannot be read: %s" % exc) from exc
            yield Head(stream, {bytes(name): bytes(value) for name, value in headers}, ends)

    def _settings(self, payload: bytes) -> Room:
        if len(payload) % 6:
            raise Broken("SETTINGS of %d bytes" % len(payload))
        for name, value in struct.iter_unpack(">HI", payload):
            if name == HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, 4096)
            elif name == MAX_CONCURRENT_STREAMS:
                self.most = value
            elif name == INITIAL_WINDOW_SIZE:
                for stream in self._windows:
                    self._windows[stream] += value - self._first_window
                self._first_window = value
            elif name == MAX_FRAME_SIZE:
                self._largest = max(value, _LARGEST)
        self.out += frame(SETTINGS, ACK, 0)
        return Room(0)

    def _more_room(self, stream: int, more: int) -> Room:
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
        return Room(stream)

    # -- what is sent --

    def ask(self, headers: t.Sequence[tuple[str, str]], ends: bool) -> int:
        """Begin a request; its number."""
        stream, self._next = self._next, self._next + 2
        self._windows[stream] = self._first_window
        self.out += frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, self._encoder.encode(headers))
        return stream

    def send(self, stream: int, data: bytes, ends: bool) -> int:
        """Send of a body what the server has room for; how many bytes that was. C(ends): the body ends with C(data)."""
        sent = 0
        while sent < len(data):
            room = min(self._window, self._windows[stream], self._largest)
            if room <= 0:
                return sent
            part = data[sent:sent + room]
            sent += len(part)
            self._window -= len(part)
            self._windows[stream] -= len(part)
            self.out += frame(DATA, END_STREAM if ends and sent == len(data) else 0, stream, part)
        return sent

    def forget(self, stream: int, unsent: bool) -> None:
        """A request is over. The server is told where it still answers, or waits for C(unsent) parts of the body."""
        if self._windows.pop(stream, None) is not None and (unsent or stream not in self._ended):
            self.out += frame(RST_STREAM, 0, stream, struct.pack(">I", ERRORS.index("CANCEL")))
        self._ended.discard(stream)

    def farewell(self) -> None:
        self.out += frame(GOAWAY, 0, 0, struct.pack(">II", 0, ERRORS.index("NO_ERROR")))


class Link:
    """One connection of the probe, and the requests that are on it.

    :param probe: what counts, and what keeps the time and the sockets.
    :param sock: connected, non-blocking, and past the handshake that chose h2.
    :param kept: whether it is used for more than one request.
    """

    def __init__(self, probe: t.Any, sock: t.Any, kept: bool) -> None:
        self.probe = probe
        self.sock = sock
        self.kept = kept
        self.retired = False  # gets no more requests, and ends with the last one that it has
        self.talk = Talk()
        self.streams: dict[int, t.Any] = {}
        self.used = False
        self.idle_since = probe.now
        self.send_error = ""
        self.mask = selectors.EVENT_READ
        probe.selector.register(sock, self.mask, self)

    @property
    def takes_more(self) -> bool:
        return self.kept and not self.retired and len(self.streams) < self.talk.most

    # -- requests --

    def ask(self, exchange: t.Any) -> None:
        exchange.link, exchange.state = self, "talk"
        exchange.reused, self.used = self.used, True
        exchange.rested = 0.0 if self.streams else self.probe.now - self.idle_since
        exchange.out, exchange.left = self.probe.body(exchange), None
        exchange.number = self.talk.ask(exchange.question.heads, not exchange.out)
        self.streams[exchange.number] = exchange
        self.push(exchange)

    def push(self, exchange: t.Any) -> None:
        """Send what there is of a request's body, as far as the server lets us."""
        exchange.out = exchange.out[self.talk.send(exchange.number, exchange.out, not exchange.pieces):]
        self._flush()

    def leave(self, exchange: t.Any) -> None:
        """A request is over, answered or lost."""
        if self.streams.pop(exchange.number, None) is None:
            return
        self.talk.forget(exchange.number, bool(exchange.out or exchange.pieces))
        self._flush()
        self._rest()

    def _rest(self) -> None:
        if not self.streams:
            self.idle_since = self.probe.now
            if self.retired or not self.kept:
                self.close()

    # -- the connection --

    def _want(self, mask: int) -> None:
        if self.mask != mask:
            self.probe.selector.modify(self.sock, mask, self)
            self.mask = mask

    def ready(self, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            self._read()
        self._flush()

    def _flush(self) -> None:
        if self.sock is None or self.send_error:
            return
        out = self.talk.out
        while out:
            try:
                count = self.sock.send(out)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
            except OSError as exc:
                # Answers may have come before the connection went: what can be read decides.
                self.send_error, self.retired = exc.strerror or str(exc), True
                self._want(selectors.EVENT_READ)
                return
            del out[:count]
        self._want(selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0))

    def _read(self) -> None:
        while self.sock is not None:
            try:
                data = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if self.send_error:
                    self._end(
                        lambda exchange: self.probe.lose(exchange, "reset", "while sending: %s" % self.send_error)
                    )
                return
            except OSError as exc:
                error = exc
                self._end(lambda exchange: self.probe.broke(exchange, error))
                return
            if data:
                self._take(data)
            else:
                self._end(self.probe.closed)

    def _take(self, data: bytes) -> None:
        try:
            for event in self.talk.receive(data):
                self._on(event)
                if self.sock is None:
                    return
        except Broken as exc:
            why = str(exc)
            self._end(lambda exchange: self.probe.lose(exchange, "malformed", why))

    def _on(self, event: Event) -> None:
        if isinstance(event, GoAway):
            self.retired = True
            for number in [number for number in self.streams if number > event.last]:
                self.probe.again(self.streams.pop(number), "GOAWAY")
            self._rest()
        elif isinstance(event, Room):
            for exchange in [exchange for number, exchange in self.streams.items() if event.stream in (0, number)]:
                self.push(exchange)
        elif event.stream in self.streams:
            # Else nobody waits for it any more.
            self._on_answer(event, self.streams[event.stream])

    def _on_answer(self, event: Head | Body | Reset, exchange: t.Any) -> None:
        answer = exchange.answer
        if isinstance(event, Reset):
            self.probe.lose(
                exchange,
                "stream_refused" if event.error == "REFUSED_STREAM" else "stream_reset",
                "%s after %d bytes" % (event.error, answer.received),
            )
            return
        wrong = self._on_head(event, exchange) if isinstance(event, Head) else self._on_body(event, exchange)
        if wrong:
            self.probe.lose(exchange, "malformed", wrong)
        elif event.ends and not answer.status:
            self.probe.lose(exchange, "malformed", "an end without an answer")
        elif exchange.left is not None and (exchange.left < 0 or (event.ends and exchange.left)):
            told = int(answer.headers[b"content-length"])
            self.probe.lose(exchange, "truncated", "%d bytes of a body of %d" % (told - exchange.left, told))
        elif event.ends:
            answer.whole = True
            self.probe.answered(exchange)

    def _on_head(self, event: Head, exchange: t.Any) -> str | None:
        """Take a header, or what follows a body; what is wrong with it."""
        answer = exchange.answer
        answer.received += sum(len(name) + len(value) for name, value in event.headers.items())
        if answer.status:
            return None if event.ends else "a second header"
        status, length = event.headers.get(b":status", b""), event.headers.get(b"content-length")
        if len(status) != 3 or not status.isdigit():
            return "status %r" % status[:40]
        if length is not None and not length.isdigit():
            return "content-length %r" % length[:40]
        if status.startswith(b"1"):
            return None  # 100 and 103 come before the real one
        answer.status, answer.headers = int(status), event.headers
        if length is not None and answer.status != 304:
            exchange.left = int(length)
        return None

    @staticmethod
    def _on_body(event: Body, exchange: t.Any) -> str | None:
        answer = exchange.answer
        answer.received += len(event.data)
        if not answer.status:
            return "a body before its header"
        answer.take(event.data)
        if exchange.left is not None:
            exchange.left -= len(event.data)
        return None

    def _end(self, tell: t.Callable[[t.Any], None]) -> None:
        """The connection is over; C(tell) says what that is for each request on it."""
        left, self.streams = list(self.streams.values()), {}
        if not left and not self.retired:
            self.probe.idle_closed(self.idle_since)
        self.close()
        for exchange in left:
            tell(exchange)

    def close(self) -> None:
        if self.sock is None:
            return
        sock, self.sock = self.sock, None
        self.probe.links.remove(self)
        self.probe.selector.unregister(sock)
        if not self.send_error:
            self.talk.farewell()
            with contextlib.suppress(OSError):  # a courtesy: the other end may be gone
                sock.send(self.talk.out)
        sock.close()
