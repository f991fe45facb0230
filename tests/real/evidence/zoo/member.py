# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member that answers each request as the request's path asks for, down to the socket; and clients that behave as badly as some do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import typing as t

import hpack

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
UPGRADE = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
# What a member answers, and whether its connection ends then; "reset" and None: no answer.
ANSWERS: dict[str, tuple[bytes | None, str]] = {
    "ok": (OK, "keep"), "close": (None, "close"), "reset": (None, "reset"), "half": (HALF, "close"), "half_reset": (HALF, "reset"),
    "half_chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "close"),
    "until_eof": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole", "close"), "garbage": (b"nonsense\r\n\r\n", "close"),
    "e500": (b"HTTP/1.1 500 E\r\nContent-Length: 2\r\n\r\nno", "keep"), "e503": (b"HTTP/1.1 503 E\r\nContent-Length: 2\r\n\r\nno", "keep"),
    "e404": (b"HTTP/1.1 404 E\r\nContent-Length: 2\r\n\r\nno", "keep"),
    "too_big": (b"HTTP/1.1 413 E\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", "close"),
}


class Member:
    """Listens until it is stopped."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=100)
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
                if not self._answer(connection, head.split()[1].decode().strip("/").rpartition("/")[2]):
                    return

    def _answer(self, connection: socket.socket, kind: str) -> bool:
        if kind.startswith("slow="):
            time.sleep(float(kind[5:]))
            kind = "ok"
        if kind == "websocket":
            connection.sendall(UPGRADE)
            # Until the client goes.
            while connection.recv(65536):
                pass
            return False
        answer, end = ANSWERS.get(kind, ANSWERS["ok"])
        if answer:
            connection.sendall(answer)
        if end == "keep":
            return True
        if answer:
            # The balancer has read the half before it hears of the end.
            time.sleep(0.1)
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Client:
    """A connection to a balancer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(20)

    def ask(self, path: str, head: str = "", body: bytes = b"", method: str = "GET", version: str = "HTTP/1.1") -> Client:
        self.socket.sendall(f"{method} {path} {version}\r\nHost: shop.example\r\n{head}\r\n".encode() + body)
        return self

    def read(self) -> bytes:
        """The answer as far as it comes, until it is whole, or the connection ends."""
        found = b""
        with contextlib.suppress(OSError):
            while part := self.socket.recv(65536):
                found += part
                head, end, body = found.partition(b"\r\n\r\n")
                length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if end and (b" 101 " in head or (length and len(body) >= int(length[0]))):
                    break
        return found

    def close(self, reset: bool = False) -> None:
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def once(port: int, path: str, **more: t.Any) -> bytes:
    """One request on a connection of its own."""
    client = Client(port)
    try:
        return client.ask(path, **more).read()
    finally:
        client.close()


def again(port: int, path: str) -> bytes:
    """The second request on a connection that has had a good answer: balancers do not answer it when a member breaks off."""
    client = Client(port)
    try:
        client.ask("/ok").read()
        return client.ask(path).read()
    finally:
        client.close()


def leaves(port: int, path: str, reset: bool = False, **more: t.Any) -> None:
    """A client that goes while it is answered."""
    client = Client(port)
    client.ask(path, **more)
    time.sleep(0.2)
    client.close(reset)


def raw(port: int, data: bytes) -> bytes:
    client = Client(port)
    try:
        client.socket.sendall(data)
        return client.read()
    finally:
        client.close()


HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8


class Http2:
    """An HTTP/2 connection to a balancer that expects one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(20)
        self._encoder = hpack.Encoder()
        self._stream = -1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._send(SETTINGS, 0, 0)

    def _send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def ask(self, path: str) -> Http2:
        self._stream += 2
        head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "shop.example")]
        self._send(HEADERS, END_STREAM | END_HEADERS, self._stream, self._encoder.encode(head))
        return self

    def read(self) -> str:
        """How the last request ended: "answered", "reset" or "closed"."""
        data = b""
        while True:
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                length, kind, flags, stream = int.from_bytes(data[:3], "big"), data[3], data[4], int.from_bytes(data[5:9], "big")
                data = data[9 + length:]
                if kind == GOAWAY or (kind == RST_STREAM and stream == self._stream):
                    return "reset"
                if kind in (0, HEADERS) and stream == self._stream and flags & END_STREAM:
                    return "answered"
            try:
                part = self.socket.recv(65536)
            except OSError:
                part = b""
            if not part:
                return "closed"
            data += part

    def cancel(self) -> None:
        self._send(RST_STREAM, 0, self._stream, struct.pack(">I", CANCEL))

    def close(self) -> None:
        self.socket.close()


def over_http2(port: int, path: str, how: str) -> None:
    """A request over HTTP/2, after a good one on the same connection: read to its end, cancelled, or left with its connection."""
    client = Http2(port)
    assert client.ask("/ok").read() == "answered"
    client.ask(path)
    if how == "read":
        client.read()
    else:
        time.sleep(0.2)
        if how == "cancel":
            client.cancel()
            time.sleep(0.2)
    client.close()
