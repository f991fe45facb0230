# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a balancer over HTTP/1.1 and over HTTP/2 on TLS, some of which behave as badly as clients do."""

from __future__ import annotations

import abc
import contextlib
import socket
import ssl
import struct
import threading
import time
import typing as t

import hpack

# Seconds that a client waits for an answer.
PATIENCE = 20.0
NAME = "shop.example"
WEBSOCKET = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8
# Whether a certificate is good is no question of the zoo.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
TLS.set_alpn_protocols(["h2"])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Client(abc.ABC):
    """A connection to a balancer."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        # How the last request ended.
        self.ended = ""

    @abc.abstractmethod
    def ask(self, path: str, method: str = "GET", head: t.Mapping[str, str] | None = None, body: bytes = b"", length: int | None = None) -> Client:
        """Begin a request; its body ends with ``body`` unless ``length`` promises more."""

    @abc.abstractmethod
    def upgrade(self, path: str) -> Client:
        """Ask for a WebSocket."""

    @abc.abstractmethod
    def read(self) -> bytes:
        """The answer to the last request as far as it comes, until it is whole, or the balancer gives it up."""

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def close(self, reset: bool = False) -> None:
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def more(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""


class Http1(Client):
    def ask(self, path: str, method: str = "GET", head: t.Mapping[str, str] | None = None, body: bytes = b"", length: int | None = None,
            version: str = "HTTP/1.1") -> Client:
        lines = {"host": NAME, **(head or {})}
        if body:
            lines["content-length"] = str(length or len(body))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.send(f"{method} {path} {version}\r\n{text}\r\n".encode() + body)

    def upgrade(self, path: str) -> Client:
        return self.ask(path, head=WEBSOCKET)

    def read(self) -> bytes:
        found = b""
        while not _is_whole(found):
            part = self.more()
            if not part:
                self.ended = "closed"
                return found
            found += part
        self.ended = "answered"
        return found


def _is_whole(answer: bytes) -> bool:
    """Whether an answer over HTTP/1.1 has come to its end, as its head tells that."""
    head, end, body = answer.partition(b"\r\n\r\n")
    while end and head.split()[1:2] and head.split()[1] in (b"100", b"103"):
        head, end, body = body.partition(b"\r\n\r\n")
    if not end:
        return False
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n") if b":" in line)
    if b"transfer-encoding" in fields:
        return body.endswith(b"0\r\n\r\n")
    return b" 101 " in head or (b"content-length" in fields and len(body) >= int(fields[b"content-length"]))


class Http2(Client):
    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self._encoder = hpack.Encoder()
        self._stream = -1
        self._came = b""
        self.send(PREFACE)
        self._send(SETTINGS, 0, 0)

    def _send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.send(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def _begin(self, head: t.Iterable[tuple[str, str]], ends: bool) -> Client:
        self._stream += 2
        self._send(HEADERS, END_HEADERS | (END_STREAM if ends else 0), self._stream, self._encoder.encode(list(head)))
        return self

    def ask(self, path: str, method: str = "GET", head: t.Mapping[str, str] | None = None, body: bytes = b"", length: int | None = None) -> Client:
        lines = {":method": method, ":path": path, ":scheme": "https", ":authority": NAME, **(head or {})}
        if body:
            lines["content-length"] = str(length or len(body))
        self._begin(lines.items(), ends=not body)
        if body:
            self._send(DATA, 0 if length and length > len(body) else END_STREAM, self._stream, body)
        return self

    def upgrade(self, path: str) -> Client:
        # RFC 8441.
        return self._begin([(":method", "CONNECT"), (":protocol", "websocket"), (":path", path), (":scheme", "https"), (":authority", NAME),
                            ("sec-websocket-version", "13")], ends=False)

    def read(self) -> bytes:
        found = b""
        while True:
            while len(self._came) >= 9 and len(self._came) >= 9 + int.from_bytes(self._came[:3], "big"):
                length, kind, flags, stream = int.from_bytes(self._came[:3], "big"), *self._came[3:5], int.from_bytes(self._came[5:9], "big")
                payload, self._came = self._came[9:9 + length], self._came[9 + length:]
                found += payload if (kind, stream) == (DATA, self._stream) else b""
                if kind == GOAWAY or (kind == RST_STREAM and stream == self._stream):
                    self.ended = "reset"
                    return found
                if kind in (DATA, HEADERS) and stream == self._stream and flags & END_STREAM:
                    self.ended = "answered"
                    return found
            part = self.more()
            if not part:
                self.ended = "closed"
                return found
            self._came += part

    def cancel(self) -> None:
        self._send(RST_STREAM, 0, self._stream, struct.pack(">I", CANCEL))

    def farewell(self) -> None:
        self._send(GOAWAY, 0, 0, struct.pack(">II", 0, 0))


class Door(t.NamedTuple):
    """Where a client comes in: over ``h1``, or over ``h2`` on TLS; and which side its requests are for."""

    transport: str
    port: int
    side: str
    # What an operator does.
    reload: t.Callable[[], t.Any]

    def connect(self) -> t.Any:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        if self.transport == "h1":
            return Http1(plain)
        wrapped = TLS.wrap_socket(plain, server_hostname=NAME)
        assert wrapped.selected_alpn_protocol() == "h2"
        return Http2(wrapped)

    @contextlib.contextmanager
    def client(self) -> t.Iterator[t.Any]:
        found = self.connect()
        try:
            yield found
        finally:
            found.close()

    def path(self, path: str) -> str:
        return ("/green" if self.side == "green" else "") + path


Behaviour = t.Callable[[Door], t.Any]
MOMENT = 0.2


class Once(t.NamedTuple):
    """One request on a connection of its own."""

    path: str
    patience: float
    request: dict[str, t.Any]

    def __call__(self, door: Door) -> None:
        with door.client() as client:
            client.socket.settimeout(self.patience)
            client.ask(door.path(self.path), **self.request).read()


def once(path: str, patience: float = PATIENCE, **request: t.Any) -> Once:
    return Once(path, patience, request)


def again(path: str) -> Behaviour:
    """The second request on a connection that has had a good answer: balancers do not answer it when a member breaks off."""
    def does(door: Door) -> None:
        with door.client() as client:
            client.ask(door.path("/ok")).read()
            assert client.ended == "answered"
            client.ask(door.path(path)).read()
    return does


def leaves(path: str, reset: bool = False, **more: t.Any) -> Behaviour:
    """A client that goes while it is answered."""
    def does(door: Door) -> None:
        client = door.connect()
        client.ask(door.path(path), **more)
        time.sleep(MOMENT)
        client.close(reset)
    return does


def cancels(path: str, times: int = 1, says_so: bool = True) -> Behaviour:
    """Over HTTP/2: a client that gives up some requests, and then the connection, or the other way round."""
    def does(door: Door) -> None:
        with door.client() as client:
            for dummy in range(times):
                client.ask(door.path(path))
                time.sleep(MOMENT if times == 1 else 0)
                if says_so:
                    client.cancel()
            client.farewell()
            time.sleep(MOMENT)
    return does


def says(data: bytes, patience: float = PATIENCE) -> Behaviour:
    """What is no request, or the begin of one."""
    def does(door: Door) -> None:
        with door.client() as client:
            client.socket.settimeout(patience)
            client.send(data).read()
    return does


def drips(data: bytes) -> Behaviour:
    """A client that says it a byte at a time, until nobody listens any more."""
    def does(door: Door) -> None:
        with door.client() as client, contextlib.suppress(OSError):
            client.socket.settimeout(0.1)
            for number in range(len(data)):
                client.send(data[number:number + 1])
                with contextlib.suppress(TimeoutError):
                    if not client.socket.recv(65536):
                        return
    return does


def shuts(path: str) -> Behaviour:
    """A client that closes its half of the connection once it has asked."""
    def does(door: Door) -> None:
        with door.client() as client:
            client.ask(door.path(path))
            client.socket.shutdown(socket.SHUT_WR)
            client.read()
    return does


def silent(door: Door) -> t.Any:
    """A connection on which nothing is ever asked."""
    return door.connect()


def upgrades(path: str, reads: bool = True) -> Behaviour:
    """A WebSocket: until its member ends it, or for a moment."""
    def does(door: Door) -> None:
        with door.client() as client:
            client.upgrade(door.path(path))
            if not reads:
                time.sleep(MOMENT)
            elif b" 101 " in client.read():
                while client.more():
                    pass
    return does


def stays(door: Door) -> t.Any:
    """A WebSocket that lasts longer than the deploy."""
    client = door.connect()
    client.upgrade(door.path("/websocket"))
    time.sleep(MOMENT)
    return client


def several(*behaviours: Behaviour) -> Behaviour:
    def does(door: Door) -> None:
        for behaviour in behaviours:
            behaviour(door)
    return does


def together(*behaviours: Behaviour) -> Behaviour:
    """All at the same time."""
    def does(door: Door) -> None:
        threads = [threading.Thread(target=behaviour, args=(door,)) for behaviour in behaviours]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return does
