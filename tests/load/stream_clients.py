# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of streams while a command runs: WebSockets and server-sent events of the sample application.

The clients are as well written as an application's own ones should be: each reconnects at once when its stream ends,
and says which message it has seen last. So what is lost is told apart from what was merely interrupted:

- ``cut``: streams that ended without a word: a WebSocket without a close frame, an event stream without its last chunk
- ``client_messages``: what the clients sent over their WebSockets. ``counted`` were acknowledged. ``unknown`` were sent
  and not acknowledged when their stream was cut: nobody can say whether they count. After a close frame that is known
  (the server acknowledges before it closes), so they are sent once more on the next stream, ``again``.
- ``server_messages``: ``missing`` are numbers that never came, although the client had said what it saw last; ``late``
  are those that existed before the stream that brought them: a client that does not say what it saw last would have
  lost them
- ``longest_gap_ms``: the longest time in which a client that wanted messages got none
- ``refused``: attempts to connect that brought no stream, by kind

    python stream_clients.py --target http://10.0.0.1:8080 --report report.json -- ansible-playbook ...

The exit code says whether the command ended as ``--expect`` asks for; what became of the streams is in the report.
"""

from __future__ import annotations

import abc
import argparse
import asyncio
import base64
import collections
import hashlib
import json
import os
import random
import struct
import sys
import time
import typing as t
from urllib.parse import urlsplit

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8
NORMAL, GOING_AWAY = 1000, 1001
# Between an end and the next attempt: as reconnecting clients do, each a little apart from the others.
JITTER = 0.05
# After an attempt that brought no stream.
PAUSE = 0.1


class NoStream(Exception):
    """An attempt to connect brought no stream."""


class Cut(Exception):
    """The stream ended without a word."""


class Stream:
    """One connection, from the answer's head on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened = self.ended = time.time()
        # How it ended: "closed" by the server as agreed, "cut", "left" by us at the end of the run; nothing before.
        self.how = ""
        self.code: int | None = None
        self.headers: dict[str, str] = {}

    @property
    def version(self) -> str:
        return self.headers.get("x-version", "")

    async def ask(self, raw: bytes, wanted: int) -> None:
        self.writer.write(raw)
        status = (await self.reader.readline()).split()
        if len(status) < 2:
            raise NoStream("eof")
        while (line := await self.reader.readline()) not in (b"\r\n", b"\n"):
            if not line:
                raise NoStream("eof")
            name, _colon, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if int(status[1]) != wanted:
            raise NoStream(f"status_{int(status[1])}")
        self.opened = time.time()

    def end(self, how: str, code: int | None = None) -> None:
        if not self.how:
            self.ended, self.how, self.code = time.time(), how, code

    def told(self) -> dict[str, t.Any]:
        return {
            "opened": self.opened,
            "ended": self.ended if self.how else None,
            "how": self.how,
            "code": self.code,
            "version": self.version,
            "member": self.headers.get("x-member", ""),
        }


class Client(abc.ABC):
    """Somebody who wants every message of the topic, over as many connections as it takes."""

    kind = ""

    def __init__(self, host: str, port: int, options: argparse.Namespace) -> None:
        self.host, self.port, self.options = host, port, options
        self.streams: list[Stream] = []
        self.refused: collections.Counter[str] = collections.Counter()
        self.first: int | None = None
        self.last: int | None = None
        self.received = self.missing = self.twice = self.late = 0
        self.heard: float | None = None
        self.longest_gap = 0.0
        self.leaving = asyncio.Event()

    # -- messages from the server ------------------------------------------------------------------------------------
    def message(self, stream: Stream, number: int) -> None:
        now = time.time()
        if self.heard is not None:
            self.longest_gap = max(self.longest_gap, now - self.heard)
        self.heard = now
        if self.last is not None and number <= self.last:
            self.twice += 1
            return
        self.received += 1
        if self.last is None:
            self.first = number
        else:
            self.missing += number - self.last - 1
            self.late += len(self.streams) > 1 and number <= int(
                stream.opened / (float(stream.headers["x-interval-ms"]) / 1000)
            )
        self.last = number

    # -- connections -------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        while not self.leaving.is_set():
            try:
                await self.one()
                pause = random.uniform(0, JITTER)
            except NoStream as error:
                self.refused[str(error)] += 1
                pause = PAUSE
            if not self.leaving.is_set():
                await asyncio.sleep(pause)

    async def one(self) -> None:
        """One connection to its end."""
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self.host, self.port), self.options.timeout)
        except (OSError, asyncio.TimeoutError) as error:
            raise NoStream(type(error).__name__) from error
        stream = Stream(reader, writer)
        try:
            try:
                await asyncio.wait_for(self.open(stream), self.options.timeout)
            except (OSError, asyncio.TimeoutError) as error:
                raise NoStream(type(error).__name__) from error
            self.streams.append(stream)
            try:
                # Whoever left while the stream was being opened has said good-bye to none.
                if not self.leaving.is_set():
                    await self.follow(stream)
                stream.end("left")
            except (OSError, asyncio.IncompleteReadError, Cut):
                stream.end("left" if self.leaving.is_set() else "cut")
        finally:
            writer.close()

    def is_on(self, version: str) -> bool:
        """Whether its stream is one of this release, and goes on."""
        return bool(self.streams) and self.streams[-1].version == version and not self.streams[-1].how

    @abc.abstractmethod
    async def open(self, stream: Stream) -> None:
        """Ask for the stream; raise NoStream where there is none."""

    @abc.abstractmethod
    async def follow(self, stream: Stream) -> None:
        """Read to the end, and say how it was; raise what reading raises, or Cut, where there was no word."""

    async def leave(self) -> None:
        """The run is over."""
        self.leaving.set()

    def told(self) -> dict[str, t.Any]:
        return {
            "kind": self.kind,
            "streams": [stream.told() for stream in self.streams],
            "refused": dict(self.refused),
            "received": self.received,
            "missing": self.missing,
            "twice": self.twice,
            "late": self.late,
            "longest_gap_ms": round(self.longest_gap * 1000),
        }

    def head(self, path: str, *more: str) -> bytes:
        return "\r\n".join(
            [f"GET {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "User-Agent: stream-clients", *more, "", ""]
        ).encode()


class Events(Client):
    """Server-sent events over a chunked answer."""

    kind = "events"

    async def open(self, stream: Stream) -> None:
        await stream.ask(self.head("/events", *([] if self.last is None else [f"Last-Event-ID: {self.last}"])), 200)

    async def follow(self, stream: Stream) -> None:
        said_end = False
        rest = ""
        while data := await self.chunk(stream):
            rest += data.decode()
            *whole, rest = rest.split("\n\n")
            for event in whole:
                fields = dict(line.split(": ", 1) for line in event.split("\n"))
                if fields.get("event") == "end":
                    said_end = True
                else:
                    self.message(stream, int(fields["id"]))
        if not said_end:
            raise Cut
        stream.end("closed")

    async def chunk(self, stream: Stream) -> bytes:
        size = int((await stream.reader.readuntil(b"\r\n")).split(b";")[0], 16)
        return (await stream.reader.readexactly(size + 2))[:-2]

    async def leave(self) -> None:
        await super().leave()
        if self.streams:
            self.streams[-1].writer.close()


class Socket(Client):
    """A WebSocket, which also sends numbered messages and wants each to be counted."""

    kind = "socket"

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.number = self.sent = self.counted = self.unknown = self.again = 0
        # Sent on the present stream and not acknowledged; and those that the last stream is known not to have counted.
        self.open_numbers: dict[int, None] = {}
        self.owed: list[int] = []

    async def open(self, stream: Stream) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        path = "/socket" if self.last is None else f"/socket?after={self.last}"
        await stream.ask(
            self.head(
                path,
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {key}",
            ),
            101,
        )
        if (
            stream.headers.get("sec-websocket-accept")
            != base64.b64encode(hashlib.sha1(key.encode() + ACCEPT).digest()).decode()
        ):
            raise NoStream("accept")

    async def follow(self, stream: Stream) -> None:
        sending = asyncio.ensure_future(self.send_all(stream))
        try:
            while True:
                kind, data = await self.frame(stream)
                if kind == CLOSE:
                    break
                verb, _space, number = data.decode().partition(" ")
                if verb == "message":
                    self.message(stream, int(number))
                else:
                    self.counted += 1
                    del self.open_numbers[int(number)]
            sending.cancel()
            # RFC 6455 5.5.1: the answer to a close frame is one; then the server closes the connection.
            if not self.leaving.is_set():
                self.write(stream, CLOSE, data[:2])
                # The server acknowledged what it has counted: these are known, and sent once more.
                self.owed += self.open_numbers
                self.open_numbers.clear()
            stream.end("left" if self.leaving.is_set() else "closed", int.from_bytes(data[:2], "big") if data else None)
            await stream.reader.read()
        finally:
            sending.cancel()
            self.unknown += len(self.open_numbers)
            self.open_numbers.clear()

    async def send_all(self, stream: Stream) -> None:
        self.again += len(self.owed)
        while self.owed:
            self.send(stream, self.owed.pop(0))
        # Clients whose streams begin together would send together, and one cut would meet all of them or none.
        await asyncio.sleep(random.uniform(0, self.options.pace))
        while not self.leaving.is_set():
            self.number += 1
            self.sent += 1
            self.send(stream, self.number)
            await asyncio.sleep(self.options.pace)

    def send(self, stream: Stream, number: int) -> None:
        self.open_numbers[number] = None
        self.write(stream, TEXT, b"send %d" % number)

    @staticmethod
    def write(stream: Stream, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        stream.writer.write(
            struct.pack("!BB", 0x80 | kind, 0x80 | len(data))
            + mask
            + bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
        )

    @staticmethod
    async def frame(stream: Stream) -> tuple[int, bytes]:
        first, length = await stream.reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await stream.reader.readexactly(2), "big")
        return first & 0x0F, await stream.reader.readexactly(length)

    async def leave(self) -> None:
        """With a close frame; what it answers before it are acknowledgements."""
        await super().leave()
        if self.streams and not self.streams[-1].how:
            self.write(self.streams[-1], CLOSE, struct.pack("!H", NORMAL))

    def told(self) -> dict[str, t.Any]:
        return {
            **super().told(),
            "sent": self.sent,
            "counted": self.counted,
            "unknown": self.unknown,
            "again": self.again,
            "owed": len(self.owed),
        }


def summary(clients: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    """What became of all of them."""
    streams = [stream for client in clients for stream in client["streams"]]

    def total(name: str) -> int:
        return sum(client.get(name, 0) for client in clients)

    return {
        "clients": len(clients),
        "streams": len(streams),
        "ends": dict(
            collections.Counter(
                "%s%s" % (stream["how"], " %d" % stream["code"] if stream["code"] else "") for stream in streams
            )
        ),
        "cut": sum(stream["how"] == "cut" for stream in streams),
        "refused": dict(sum((collections.Counter(client["refused"]) for client in clients), collections.Counter())),
        "server_messages": {name: total(name) for name in ("received", "missing", "late", "twice")},
        "client_messages": {name: total(name) for name in ("sent", "counted", "unknown", "again", "owed")},
        "longest_gap_ms": max((client["longest_gap_ms"] for client in clients), default=0),
        # Where each client is in the end.
        "versions": dict(
            collections.Counter(client["streams"][-1]["version"] for client in clients if client["streams"])
        ),
    }


def moved(report: dict[str, t.Any], version: str, since: float) -> float | None:
    """Seconds from C(since) until the last client was on a release; None where one is not."""
    firsts = []
    for client in report["clients"]:
        found = client["streams"][-1:]
        if not found or found[0]["version"] != version:
            return None
        firsts.append(min(stream["opened"] for stream in client["streams"] if stream["version"] == version))
    return round(max(firsts) - since, 3)


async def command(options: argparse.Namespace) -> dict[str, t.Any]:
    began = time.time()
    with open(options.output or os.devnull, "wb") as log:
        process = await asyncio.create_subprocess_exec(*options.command, stdout=log, stderr=asyncio.subprocess.STDOUT)
        rc = await process.wait()
    return {"rc": rc, "started": began, "finished": time.time()}


async def measure(options: argparse.Namespace) -> dict[str, t.Any]:
    host, port = urlsplit(options.target).hostname or "", urlsplit(options.target).port or 80
    clients: list[Client] = [Socket(host, port, options) for _number in range(options.sockets)]
    clients += [Events(host, port, options) for _number in range(options.events)]
    running = [asyncio.ensure_future(client.run()) for client in clients]
    end = time.monotonic() + options.timeout
    while not all(client.received for client in clients) and time.monotonic() < end:
        await asyncio.sleep(PAUSE)
    if not all(client.received for client in clients):
        raise SystemExit(f"not every client got a message within {options.timeout} s")
    await asyncio.sleep(options.before)
    ran = await command(options)
    end = time.monotonic() + options.settle_timeout
    while options.settle and not all(client.is_on(options.settle) for client in clients) and time.monotonic() < end:
        await asyncio.sleep(PAUSE)
    await asyncio.sleep(options.after)
    for client in clients:
        await client.leave()
    # A client that crashed must not look like a quiet one.
    await asyncio.wait_for(asyncio.gather(*running), options.timeout)
    told = [client.told() for client in clients]
    return {"summary": summary(told), "clients": told, "command": ran}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="clients of streams while a command runs")
    parser.add_argument("--target", required=True, help="http://host:port")
    parser.add_argument("--report", required=True, help="where the JSON goes")
    parser.add_argument("--output", help="where the command's output goes")
    parser.add_argument("--sockets", type=int, default=6, help="clients with a WebSocket")
    parser.add_argument("--events", type=int, default=6, help="clients with server-sent events")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds between two messages of a client")
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--before", type=float, default=1.0)
    parser.add_argument("--after", type=float, default=1.0)
    parser.add_argument("--settle", help="a release: go on until each client is on it")
    parser.add_argument("--settle-timeout", type=float, default=60.0, help="seconds after which this is given up")
    parser.add_argument("--expect", choices=["success", "failure", "any"], default="success")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    report = asyncio.run(measure(options))
    with open(options.report, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    rc = report["command"]["rc"]
    sys.stdout.write(f"{json.dumps(report['summary'])}, command rc {rc}\n")
    return 0 if {"success": rc == 0, "failure": rc != 0, "any": True}[options.expect] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
