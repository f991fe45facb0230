# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member that answers each request as the request's path asks for, down to the socket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import struct
import threading
import time
import typing as t

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
UNTIL_EOF = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n"
EVENT = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nc\r\ndata: news\n\n\r\n"


def status(number: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {number} Status\r\nContent-Length: 2\r\n{more}\r\nno".encode()


def accepted(head: bytes) -> bytes:
    """What proves to who asked for a WebSocket that its member knows of them (RFC 6455)."""
    keys = [line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
    return base64.b64encode(hashlib.sha1(b"".join(keys) + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


# What a member answers, and how its connection ends then: "keep" (it does not), "close", "reset", or "hang" until the balancer has had enough.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "ok": (OK, "keep"), "close": (b"", "close"), "reset": (b"", "reset"), "half": (HALF, "close"), "half_reset": (HALF, "reset"), "half_hang": (HALF, "hang"),
    "half_chunk": (CHUNKED, "close"), "bad_chunk": (CHUNKED + b"nonsense\r\n", "close"), "half_head": (OK[:30], "close"),
    "big_head": (OK[:17] + b"X-Big: " + b"x" * 70000 + b"\r\n" + OK[17:], "close"), "hint": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "close"),
    "until_eof": (UNTIL_EOF, "close"), "until_reset": (UNTIL_EOF, "reset"), "garbage": (b"nonsense\r\n\r\n", "close"), "events": (EVENT, "close"),
    "e500": (status(500), "keep"), "e503": (status(503), "keep"), "e404": (status(404), "keep"), "too_big": (status(413, "Connection: close\r\n"), "close"),
    "websocket": (UPGRADE, "hang"), "ws_closed": (UPGRADE, "close"), "ws_reset": (UPGRADE, "reset"),
}


class Member:
    """Listens until it is stopped."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=100)
        self._goes_on = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._socket.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with connection, contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    part = connection.recv(65536)
                    if not part:
                        return
                    data += part
                head, _end, data = data.partition(b"\r\n\r\n")
                if not self._answer(connection, head.split()[1].decode().strip("/").rpartition("/")[2], head):
                    return

    def _answer(self, connection: socket.socket, kind: str, head: bytes) -> bool:
        kind, _equals, seconds = kind.partition("=")
        if kind == "slow":
            time.sleep(float(seconds))
        elif kind == "pause":
            # The whole process stands still, as while its memory is cleaned up.
            self._goes_on = time.monotonic() + float(seconds)
        time.sleep(max(0.0, self._goes_on - time.monotonic()))
        answer, end = ANSWERS.get(kind, ANSWERS["ok"])
        if answer:
            connection.sendall(answer.replace(b"KEY", accepted(head)))
        if end == "keep":
            return True
        if end == "hang":
            return self._until_it_goes(connection)
        if answer:
            # The balancer has read the half before it hears of the end.
            time.sleep(0.1)
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    @staticmethod
    def _until_it_goes(connection: t.Any) -> bool:
        while connection.recv(65536):
            pass
        return False
