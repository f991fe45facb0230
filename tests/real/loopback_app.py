# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server to be put behind a real balancer, killed and restarted by tests.

One process, asyncio, keep-alive, no dependency. What it answers can be changed per request or for good:

- ``GET /``, ``POST /``: 200 and JSON; ``/slow?ms=N`` takes N ms; ``/ready``, ``/health``: 200, or 503 after ``/ctl?ready=0``
- ``?fault=silent``: the connection is closed without an answer; ``truncate``: half of the body, then closed;
  ``reset``: TCP RST without an answer; a number: that status; ``empty``: no body; ``loop``: a redirect to what was asked;
  ``varied``: now this, now that, without the header of a release; ``slow:MS``: later by so much
- ``/held`` is not answered before ``/ctl?let_go=1``; ``let_go=0`` holds again
- ``/ctl?release=DIGEST&label=LABEL`` has it call itself otherwise, in header and body
- ``/ctl?ready=0|1`` changes readiness, ``/ctl?warm=MS`` makes it not ready for MS, ``/ctl?fault=KIND`` makes every
  ordinary request fail in that way (``/ctl?fault=`` ends it)
- ``/in_flight``: JSON gauge of the ordinary requests being answered, and of those among them that are held
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import time
import typing as t
import urllib.parse


class App:
    def __init__(self, name: str, label: str, digest: str, warm_ms: float) -> None:
        self.name, self.label, self.digest = name, label, digest
        self.ready = True
        self.ready_from = time.monotonic() + warm_ms / 1000.0
        self.fault = ""
        self.in_flight = self.held = 0
        self.let_go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self.one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        method, target, dummy = lines[0].split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, dummy, v in (line.partition(":") for line in lines[1:] if line)}
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        ordinary = url.path not in ("/ready", "/health", "/ctl", "/in_flight")
        self.in_flight += ordinary
        try:
            length = int(headers.get("content-length", "0"))
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if length:
                await reader.readexactly(length)
            if url.path == "/slow":
                await asyncio.sleep(float(query.get("ms", "100")) / 1000.0)
            if url.path == "/held":
                self.held += 1
                try:
                    await self.let_go.wait()
                finally:
                    self.held -= 1
            status, payload = self.answer(url.path, query)
            fault = (query.get("fault", "") or self.fault) if ordinary else ""
            if fault.isdigit():
                status = int(fault)
            if fault.startswith("slow:"):
                await asyncio.sleep(float(fault[5:]) / 1000.0)
            if fault == "varied":
                status, fault = random.choice([(200, "unsigned"), (200, "empty"), (206, "unsigned"), (302, "loop")])
            more = f"Location: {target}\r\n" if fault == "loop" else ""
            status = 302 if fault == "loop" else status
            return await self.write(writer, method, status, payload, fault, "close" not in headers.get("connection", "").lower(), more)
        finally:
            self.in_flight -= ordinary

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, t.Any]]:
        if path == "/ctl":
            self.ready = bool(int(query.get("ready", int(self.ready))))
            self.fault = query.get("fault", self.fault)
            self.digest, self.label = query.get("release", self.digest), query.get("label", self.label)
            if "let_go" in query:
                (self.let_go.set if int(query["let_go"]) else self.let_go.clear)()
            if "warm" in query:
                self.ready_from = time.monotonic() + float(query["warm"]) / 1000.0
            return 200, {"ready": self.ready, "fault": self.fault}
        if path in ("/ready", "/health"):
            good = path == "/health" or (self.ready and time.monotonic() >= self.ready_from)
            return (200 if good else 503), {"ready": good, "version": self.label}
        if path == "/in_flight":
            return 200, {"in_flight": self.in_flight, "held": self.held}
        # A member that is not ready answers 503 to real requests, as an application that is still warming up does.
        warm = time.monotonic() >= self.ready_from
        return (200 if warm else 503), {"version": self.label, "name": self.name, "time": time.time()}

    async def write(self, writer: asyncio.StreamWriter, method: str, status: int, payload: dict[str, t.Any], fault: str, keep: bool,
                    more: str = "") -> bool:
        if fault == "silent":
            return False
        if fault == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        body = b"" if fault == "empty" or status == 204 else (json.dumps(payload) + "\n").encode()
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        signed = "" if fault == "unsigned" else f"x-release: {self.digest}\r\n"
        writer.write((
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{length}{signed}{more}"
            f"x-member: {self.name}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode())
        if method != "HEAD":
            writer.write(body[:len(body) // 2] if fault == "truncate" else body)
        await writer.drain()
        return keep and fault != "truncate"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default="app")
    parser.add_argument("--label", default="1.0.0")
    parser.add_argument("--digest", default="0" * 64)
    parser.add_argument("--warm-ms", type=float, default=0.0)
    options = parser.parse_args()
    app = App(options.name, options.label, options.digest, options.warm_ms)
    server = await asyncio.start_server(app.serve, "127.0.0.1", options.port, backlog=1024, reuse_address=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
