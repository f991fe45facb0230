# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample application's streams: one topic of numbered messages as server-sent events and over WebSockets.

Message n exists from n times INTERVAL on by the wall clock, so every process of every release has the same messages at
the same time, and a client that says which one it has seen last gets what it missed, from whichever release.

- ``GET /events``: an event a message; ``Last-Event-ID`` (or ``?after=N``) says what was seen last.
- ``GET /socket``: a WebSocket (RFC 6455); ``?after=N`` likewise. Frames of text: ``message N`` from here, ``send K``
  from a client, which is worked on and then told ``counted K``. What was not told so before a close frame has not been
  counted.

On SIGTERM each stream is ended by the application itself. A WebSocket gets an answer to all that it has sent, then the
close frame 1001 ("going away", RFC 6455 section 7.4.1); an event stream a last ``retry: 0``, an event ``end``, and its
last chunk.
"""

from __future__ import annotations

import base64
import hashlib
import re
import select
import signal
import socket
import struct
import threading
import time
import typing as t
from urllib.parse import parse_qs

PATHS = ("/events", "/socket")
INTERVAL = 0.05
# What a client may have missed and still gets.
LONGEST_AWAY = 600.0
WORK = 0.005
# A client that reads nothing, or does not answer a close frame, is not waited for any longer.
PATIENCE = 5.0
LARGEST = 65536
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NORMAL, GOING_AWAY, PROTOCOL_ERROR = 1000, 1001, 1002
NUMBER = re.compile(r"[0-9]{1,15}\Z")


class Refused(Exception):
    """The request cannot be answered as asked."""


class Gone(Exception):
    """The client is not there any more."""


class Streams:
    """All streams of this process, and whether they have to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.ending = False

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self.count -= 1

    def end_on_sigterm(self) -> None:
        """Hear the stop signal beside the server, which goes on to do with it what it does.

        gunicorn sets its handlers in a worker before it loads the application, so there is one to be called. Where
        there is none, as in a test that loads the application, nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if not callable(before):
            return

        def hear(number: int, frame: t.Any) -> None:
            self.ending = True
            before(number, frame)

        signal.signal(signal.SIGTERM, hear)
        # As gunicorn asks for: requests that are being answered are not interrupted.
        signal.siginterrupt(signal.SIGTERM, False)


STREAMS = Streams()


def newest() -> int:
    """The last message that exists."""
    return int(time.time() / INTERVAL)


def _after(environ: dict[str, t.Any]) -> int:
    """The last message that the client has seen; without one, it gets what comes from now on."""
    now = newest()
    text = environ.get("HTTP_LAST_EVENT_ID") or parse_qs(environ.get("QUERY_STRING", "")).get("after", [str(now)])[0]
    if not NUMBER.match(text) or not now - LONGEST_AWAY / INTERVAL <= int(text) <= now + 1:
        raise Refused(
            "the last message is said to be %r; accepted is the number of one of the last %d s" % (text, LONGEST_AWAY)
        )
    return int(text)


class Connection:
    """The client's socket, which belongs to the stream until it has ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def receive(self, seconds: float) -> bytes:
        """What has come from the client, after at most so long; empty when nothing has."""
        try:
            if not select.select([self.sock], [], [], max(0.0, seconds))[0]:
                return b""
            data = self.sock.recv(LARGEST)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return data

    def close(self) -> None:
        """Everything that was sent arrives: a socket that is closed with something unread in it is reset."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                self.receive(end - time.monotonic())
        except (OSError, Gone):
            return


def _head(status: str, headers: t.Iterable[tuple[str, str]]) -> bytes:
    return ("HTTP/1.1 %s\r\n" % status + "".join("%s: %s\r\n" % header for header in headers) + "\r\n").encode(
        "latin-1"
    )


def _until_next(last: int) -> float:
    return (last + 1) * INTERVAL - time.time()


def _events(connection: Connection, last: int, headers: list[tuple[str, str]]) -> None:
    connection.send(
        _head(
            "200 OK",
            [
                ("Content-Type", "text/event-stream"),
                ("Transfer-Encoding", "chunked"),
                ("Connection", "close"),
                *headers,
            ],
        )
    )

    def chunk(text: str) -> None:
        data = text.encode()
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    while not STREAMS.ending:
        now = newest()
        if now > last:
            chunk("".join("id: %d\ndata: message %d\n\n" % (number, number) for number in range(last + 1, now + 1)))
            last = now
        # A client of server-sent events says nothing; that it leaves is heard.
        connection.receive(_until_next(last))
    chunk("retry: 0\nevent: end\ndata: %d\n\n" % last)
    connection.send(b"0\r\n\r\n")
    connection.close()


class Socket:
    """The server's end of a WebSocket: whole frames of up to LARGEST bytes, no extensions."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._read = b""

    def send(self, kind: int, data: bytes) -> None:
        head = (
            struct.pack("!BB", 0x80 | kind, len(data))
            if len(data) < 126
            else struct.pack("!BBH", 0x80 | kind, 126, len(data))
        )
        self.connection.send(head + data)

    def frames(self, seconds: float) -> list[tuple[int, bytes]]:
        """The frames that have come, after at most so long."""
        self._read += self.connection.receive(seconds)
        found = []
        while (frame := self._one()) is not None:
            found.append(frame)
        return found

    def _one(self) -> tuple[int, bytes] | None:
        if len(self._read) < 2:
            return None
        first, second = self._read[:2]
        length, start = second & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(self._read[2:4], "big"), 4
        if not first & 0x80 or first & 0x70 or not second & 0x80 or length == 127:
            raise ValueError("a frame that is not whole, not masked, too long or of an extension")
        if len(self._read) < start + 4 + length:
            return None
        mask, data = self._read[start : start + 4], self._read[start + 4 : start + 4 + length]
        self._read = self._read[start + 4 + length :]
        return first & 0x0F, bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))

    def answer(self, kind: int, data: bytes) -> bool:
        """Answer a frame; False when it has ended the conversation."""
        if kind == CLOSE:
            self.send(CLOSE, data[:2])
            return False
        if kind == PING:
            self.send(PONG, data)
        elif kind == TEXT:
            verb, _space, number = data.decode().partition(" ")
            if verb != "send" or not NUMBER.match(number):
                raise ValueError("a client sends: send NUMBER")
            time.sleep(WORK)
            self.send(TEXT, b"counted " + number.encode())
        return True

    def close(self, code: int, reason: str) -> None:
        """Say that it ends, and wait until the client has heard it. What it sent meanwhile is not counted."""
        self.send(CLOSE, struct.pack("!H", code) + reason.encode())
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if any(kind == CLOSE for kind, _data in self.frames(end - time.monotonic())):
                return


def _talk(found: Socket, last: int) -> None:
    while not STREAMS.ending:
        now = newest()
        for number in range(last + 1, now + 1):
            found.send(TEXT, b"message %d" % number)
        last = max(last, now)
        if not all(found.answer(*frame) for frame in found.frames(_until_next(last))):
            return
    # All that has come so far is answered before the end is told.
    if all(found.answer(*frame) for frame in found.frames(0)):
        found.close(GOING_AWAY, "this release is going away")


def _socket(connection: Connection, last: int, key: str, headers: list[tuple[str, str]]) -> None:
    accept = base64.b64encode(hashlib.sha1(key.encode("latin-1") + ACCEPT).digest()).decode()
    connection.send(
        _head(
            "101 Switching Protocols",
            [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept), *headers],
        )
    )
    found = Socket(connection)
    try:
        _talk(found, last)
    except ValueError as error:
        # Whatever such a client sends after that means nothing.
        found.send(CLOSE, struct.pack("!H", PROTOCOL_ERROR) + str(error).encode())
    connection.close()


def serve(environ: dict[str, t.Any], headers: list[tuple[str, str]]) -> t.NoReturn:
    """Be the server of this stream until it has ended; raise Refused when nothing has been answered yet.

    It ends with StopIteration, which tells gunicorn that the connection has been answered and is over.
    """
    last = _after(environ)
    if "gunicorn.socket" not in environ:
        raise Refused("streams need gunicorn, which hands the client's socket to the application")
    if environ["REQUEST_METHOD"] != "GET":
        raise Refused("a stream is asked for with GET")
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if environ["PATH_INFO"] == "/socket" and (environ.get("HTTP_UPGRADE", "").lower() != "websocket" or not key):
        raise Refused("/socket is a WebSocket and is asked for by the header Upgrade")
    connection = Connection(environ["gunicorn.socket"])
    headers = [*headers, ("Cache-Control", "no-store"), ("x-interval-ms", "%g" % (INTERVAL * 1000))]
    with STREAMS:
        try:
            if environ["PATH_INFO"] == "/events":
                _events(connection, last, headers)
            else:
                _socket(connection, last, key, headers)
        except Gone:
            pass
    raise StopIteration
