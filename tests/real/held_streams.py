# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member that holds WebSockets and server-sent events open until it, or the client, ends them; and clients that hold them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t

UPGRADE = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# Seconds that the path /slow takes.
SLOW = 1.0
ASKS = {
    "websocket": "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "events": "Accept: text/event-stream\r\n",
}


class Holding:
    """Listens until it is stopped; ``held`` are the streams."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.held: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._socket.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    part = connection.recv(65536)
                    if not part:
                        connection.close()
                        return
                    data += part
                head, _end, data = data.partition(b"\r\n\r\n")
                path = head.split()[1]
                if path in (b"/websocket", b"/events"):
                    # Before its client knows of it.
                    self.held.append(connection)
                    connection.sendall(UPGRADE if path == b"/websocket" else EVENTS)
                    return
                if path == b"/slow":
                    time.sleep(SLOW)
                connection.sendall(OK)

    def end(self) -> None:
        """End every stream, as an application does that is asked to."""
        for connection in self.held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.held.clear()

    def stop(self) -> None:
        self.end()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Stream:
    """One stream through a balancer, of a kind of ``ASKS``, that has begun."""

    def __init__(self, port: int, kind: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.sendall(f"GET /{kind} HTTP/1.1\r\nHost: shop.example\r\n{ASKS[kind]}\r\n".encode())
        begun = self.socket.recv(65536)
        assert begun.split()[1:2] == [b"101" if kind == "websocket" else b"200"], begun

    def ended(self) -> bool:
        """Whether the other side has ended it."""
        self.socket.settimeout(0.05)
        try:
            while self.socket.recv(65536):
                pass
        except (TimeoutError, socket.timeout):
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def streams(port: int, *kinds: str) -> t.Iterator[list[Stream]]:
    found = [Stream(port, kind) for kind in kinds]
    try:
        yield found
    finally:
        for stream in found:
            stream.close()
