# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load while a command runs, every failure counted by kind.

The evidence of a deploy must not be its own judge, so the tests ask a second witness: this generator shares no code with
the collection. It sends fresh, kept-alive and POST requests on a fixed timetable (open loop: a slow answer never slows the
sending), retries nothing unless asked to, follows nothing, and treats an answer as good only when it came back whole with a 2xx.

    python load.py --target http://10.0.0.1:8080 --report report.json -- ansible-playbook ...

``--holds N`` adds N long requests a target, sent ``--before`` seconds ahead of the command: POSTs whose second half follows
``--hold-more`` seconds after ``--hold-until`` was read in the command's output. So they end when the test needs it, on a fast
machine and on a slow one.
``--requests`` names a file for what became of each request, a line of JSON each, for who has to know which of them a part of the run met.
``--ca``, ``--host`` and ``--path`` are for an https target that people know by another name, and for one application of several behind it.
``--mind-idle-close`` treats a kept-alive connection that the server closes while it is idle as every browser does (HTTP allows that at any
time, and a server that is reloaded does so): it lets it go, and where the close met a GET on its way, before any byte of an answer, it sends that
once more on a new connection (RFC 9110, 9.2.2). Both are counted apart, as ``idle_closes`` and ``repeats``.
The exit code says whether the command ended as ``--expect`` asks for; losses are data in the report, judged by the reader.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
import time
import typing as t
from urllib.parse import urlsplit

POST_BODY = b'{"order": "' + b"x" * 4000 + b'"}'
KEPT_LOSSES = 200
# What is waited for between the halves of a body.
Pause = t.Callable[[], t.Awaitable[None]]


class Loss(Exception):
    """One request that was not answered whole and well."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail


class Connection:
    """One client connection. It knows whether it was used before, since a loss on a reused connection is a kind of its own."""

    def __init__(self, host: str, port: int, name: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = host, port
        self.name, self.tls = name or host, tls
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.used = 0

    async def open(self, timeout: float) -> None:
        try:
            opening = asyncio.open_connection(self.host, self.port, ssl=self.tls, server_hostname=self.name if self.tls else None)
            self.reader, self.writer = await asyncio.wait_for(opening, timeout)
        except ConnectionRefusedError as error:
            raise Loss("refused", str(error)) from error
        except asyncio.TimeoutError as error:
            raise Loss("connect_timeout", f"no connection within {timeout} s") from error
        except OSError as error:
            raise Loss("connect_error", str(error)) from error

    def closed_while_idle(self) -> bool:
        return self.reader is not None and (self.reader.at_eof() or self.reader.exception() is not None)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None
        self.used = 0

    async def request(self, method: str, path: str, body: bytes, keep: bool, pause: Pause) -> tuple[int, dict[str, str], bytes]:
        assert self.reader is not None and self.writer is not None
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.name}:{self.port}", "User-Agent: load", f"Connection: {'keep-alive' if keep else 'close'}"]
        if body:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        raw = ("\r\n".join(head) + "\r\n\r\n").encode()
        reused = self.used > 0
        self.used += 1
        answered = b""
        try:
            self.writer.write(raw)
            if body:
                half = len(body) // 2
                self.writer.write(body[:half])
                await self.writer.drain()
                await pause()
                self.writer.write(body[half:])
            await self.writer.drain()
            answered = await self.reader.readline()
            if not answered:
                raise Loss("eof_reused" if reused else "eof", "closed before the first byte of the answer")
            status = int(answered.split()[1])
            headers: dict[str, str] = {}
            while True:
                line = await self.reader.readline()
                if line in (b"\r\n", b"\n"):
                    break
                if not line:
                    raise Loss("truncated", "closed inside the header")
                name, _sep, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            return status, headers, await self.body(headers)
        except (ConnectionResetError, BrokenPipeError) as error:
            kind = "reset_in_answer" if answered else "reset_reused" if reused else "reset"
            raise Loss(kind, str(error)) from error

    async def body(self, headers: dict[str, str]) -> bytes:
        assert self.reader is not None
        try:
            if "content-length" in headers:
                return await self.reader.readexactly(int(headers["content-length"]))
            if headers.get("transfer-encoding", "").lower() == "chunked":
                data = b""
                while True:
                    size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                    data += (await self.reader.readexactly(size + 2))[:-2]
                    if size == 0:
                        return data
        except asyncio.IncompleteReadError as error:
            raise Loss("truncated", "closed inside the body") from error
        # Without a length the end of the answer cannot be told from a cut: the tests' servers always send one.
        raise Loss("no_length", "the answer has neither a length nor chunks")


class Load:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.targets = [(urlsplit(target).hostname or "", urlsplit(target).port or 80) for target in options.target]
        secure = any(urlsplit(target).scheme == "https" for target in options.target)
        self.tls = ssl.create_default_context(cafile=options.ca) if secure else None
        self.stopping = asyncio.Event()
        self.pending: set[asyncio.Task[None]] = set()
        self.sent = self.ok = 0
        self.failures: dict[str, int] = {}
        self.streams: dict[str, dict[str, int]] = {}
        self.by_target: dict[str, dict[str, int]] = {}
        self.versions: dict[str, dict[str, t.Any]] = {}
        self.losses: list[dict[str, t.Any]] = []
        self.holds: list[dict[str, t.Any]] = []
        self.outcomes: list[dict[str, t.Any]] = []
        self.last_ok: float | None = None
        self.longest_gap = self.stall = self.slowest = 0.0
        self.crash: BaseException | None = None
        self.begun = False
        self.idle_closes = self.repeats = 0

    # -- one request -------------------------------------------------------------------------------------------------
    def connection(self, host: str, port: int) -> Connection:
        return Connection(host, port, self.options.host, self.tls)

    async def one(self, stream: str, host: str, port: int, connection: Connection, keep: bool, method: str, path: str, timeout: float,
                  pause: Pause | None = None) -> dict[str, t.Any]:
        began = time.time()
        target = f"{host}:{port}"
        self.sent += 1
        for table, key in ((self.streams, stream), (self.by_target, target)):
            table.setdefault(key, {"sent": 0, "failed": 0})["sent"] += 1
        outcome: dict[str, t.Any] = {"time": began, "stream": stream, "target": target, "ok": False}
        try:
            if connection.writer is None:
                await connection.open(timeout)
            body = POST_BODY if method == "POST" else b""
            try:
                status, headers, data = await asyncio.wait_for(
                    self.answer(connection, method, path, body, keep, pause or self.slow_body, timeout), timeout)
            except asyncio.TimeoutError as error:
                raise Loss("timeout", f"no whole answer within {timeout} s") from error
            if not 200 <= status < 300:
                raise Loss(f"status_{status}", data[:120].decode("latin-1"))
            try:
                answer = json.loads(data)
            except ValueError as error:
                raise Loss("bad_body", data[:120].decode("latin-1")) from error
            outcome.update(ok=True, version=str(answer.get("version")), member=str(answer.get("member")))
            self.good(began, str(answer.get("version")))
            if not keep or headers.get("connection", "").lower() == "close":
                connection.close()
        except Loss as loss:
            connection.close()
            outcome.update(kind=loss.kind, detail=str(loss))
            self.failures[loss.kind] = self.failures.get(loss.kind, 0) + 1
            self.streams[stream]["failed"] += 1
            self.by_target[target]["failed"] += 1
            if len(self.losses) < KEPT_LOSSES:
                self.losses.append(dict(outcome))
        outcome["seconds"] = round(time.time() - began, 4)
        self.outcomes.append(outcome)
        self.slowest = max(self.slowest, outcome["seconds"]) if stream != "hold" else self.slowest
        return outcome

    async def answer(self, connection: Connection, method: str, path: str, body: bytes, keep: bool, pause: Pause,
                     timeout: float) -> tuple[int, dict[str, str], bytes]:
        try:
            return await connection.request(method, path, body, keep, pause)
        except Loss as loss:
            if not (self.options.mind_idle_close and method == "GET" and loss.kind in ("eof_reused", "reset_reused")):
                raise
        self.repeats += 1
        connection.close()
        await connection.open(timeout)
        return await connection.request(method, path, body, keep, pause)

    def good(self, began: float, version: str) -> None:
        now = time.time()
        self.ok += 1
        if self.last_ok is not None:
            self.longest_gap = max(self.longest_gap, now - self.last_ok)
        self.last_ok = now
        seen = self.versions.setdefault(version, {"count": 0, "first": began, "last": began})
        seen["count"] += 1
        seen["last"] = max(seen["last"], began)

    # -- timetables --------------------------------------------------------------------------------------------------
    async def timetable(self, rate: float, offset: float) -> t.AsyncIterator[float]:
        """Yield at fixed times whatever happened before; how late it was is this generator's own stall."""
        start = time.monotonic() + offset / rate
        number = 0
        while not self.stopping.is_set():
            due = start + number / rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            self.stall = max(self.stall, time.monotonic() - due)
            yield due
            number += 1

    def spawn(self, work: t.Coroutine[t.Any, t.Any, t.Any]) -> asyncio.Task[t.Any]:
        task = asyncio.ensure_future(work)
        self.pending.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[t.Any]) -> None:
        self.pending.discard(task)
        # A crash of the generator itself must not look like a quiet run.
        self.crash = self.crash or (None if task.cancelled() else task.exception())

    async def fresh(self, stream: str, method: str, path: str, rate: float, host: str, port: int, offset: float) -> None:
        async for _due in self.timetable(rate, offset):
            self.spawn(self.one(stream, host, port, self.connection(host, port), False, method, path, self.options.timeout))

    async def keepalive(self, rate: float, host: str, port: int, offset: float) -> None:
        """Connections held open and used in turn; a busy one is skipped over to another, never waited for."""
        idle: list[Connection] = []
        async for _due in self.timetable(rate, offset):
            connection = idle.pop(0) if len(idle) >= self.options.connections else self.connection(host, port)
            if self.options.mind_idle_close and connection.closed_while_idle():
                self.idle_closes += 1
                connection.close()

            async def run(connection: Connection = connection) -> None:
                await self.one("keepalive", host, port, connection, True, "GET", self.options.path, self.options.timeout)
                idle.append(connection)

            self.spawn(run())

    async def slow_body(self) -> None:
        await asyncio.sleep(self.options.slow_body)

    async def hold(self, host: str, port: int) -> None:
        outcome = await self.one("hold", host, port, self.connection(host, port), False, "POST", self.options.path, self.options.hold_timeout, self.until_said)
        outcome["finished"] = time.time()
        self.holds.append(outcome)

    async def until_said(self) -> None:
        """Wait until the command has said so, and a little more; should it never say so, its end will do."""
        wanted = self.options.hold_until.encode()
        while not self.stopping.is_set():
            if self.begun:
                with open(self.options.output, "rb") as log:
                    if wanted in log.read():
                        break
            await asyncio.sleep(0.1)
        await asyncio.sleep(self.options.hold_more)

    # -- the whole run -----------------------------------------------------------------------------------------------
    async def command(self) -> dict[str, t.Any]:
        began = time.time()
        with open(self.options.output or os.devnull, "wb") as log:
            self.begun = True
            process = await asyncio.create_subprocess_exec(*self.options.command, stdout=log, stderr=asyncio.subprocess.STDOUT)
            rc = await process.wait()
        return {"rc": rc, "started": began, "finished": time.time()}

    async def run(self) -> dict[str, t.Any]:
        options = self.options
        began = time.time()
        runners = []
        for number, (host, port) in enumerate(self.targets):
            offset = number / len(self.targets)
            runners.append(self.spawn(self.fresh("fresh", "GET", options.path, options.rate, host, port, offset)))
            runners.append(self.spawn(self.keepalive(options.rate, host, port, offset + 0.3)))
            runners.append(self.spawn(self.fresh("post", "POST", options.path, options.rate / 2, host, port, offset + 0.6)))
            for _number in range(options.holds):
                self.spawn(self.hold(host, port))
        await asyncio.sleep(options.before)
        command = await self.command()
        await asyncio.sleep(options.after)
        self.stopping.set()
        while self.pending:
            await asyncio.wait(self.pending)
        if self.crash is not None:
            raise self.crash
        return {
            "started": began, "finished": time.time(), "sent": self.sent, "ok": self.ok, "failed": self.sent - self.ok,
            "failures": self.failures, "streams": self.streams, "targets": self.by_target, "versions": self.versions,
            "longest_gap_ms": round(self.longest_gap * 1000), "slowest_ms": round(self.slowest * 1000), "stall_ms": round(self.stall * 1000),
            "idle_closes": self.idle_closes, "repeats": self.repeats, "losses": self.losses, "holds": self.holds, "command": command,
        }


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="load while a command runs")
    parser.add_argument("--target", action="append", required=True, help="http(s)://host:port, may be repeated; all of one scheme")
    parser.add_argument("--ca", help="PEM file that signs the targets' certificates")
    parser.add_argument("--host", help="the name that is asked for, in place of the target's own")
    parser.add_argument("--path", default="/")
    parser.add_argument("--report", required=True, help="where the JSON goes")
    parser.add_argument("--output", help="where the command's output goes")
    parser.add_argument("--requests", help="where a line for each request goes")
    parser.add_argument("--rate", type=float, default=12.0, help="requests a second, stream and target (POST: half)")
    parser.add_argument("--connections", type=int, default=4, help="kept-alive connections a target")
    parser.add_argument("--mind-idle-close", action="store_true", help="do as browsers do with a connection that is closed while idle")
    parser.add_argument("--slow-body", type=float, default=0.2, help="seconds between the halves of a POST body")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--before", type=float, default=1.5)
    parser.add_argument("--after", type=float, default=1.5)
    parser.add_argument("--holds", type=int, default=0, help="long requests a target; needs --hold-until and --output")
    parser.add_argument("--hold-until", help="text in the command's output that ends the long requests")
    parser.add_argument("--hold-more", type=float, default=3.0, help="seconds that they last after it")
    parser.add_argument("--hold-timeout", type=float, default=240.0)
    parser.add_argument("--expect", choices=["success", "failure", "any"], default="success")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if options.holds and not (options.hold_until and options.output):
        parser.error("--holds needs --hold-until and --output")
    return options


async def measure(options: argparse.Namespace) -> dict[str, t.Any]:
    load = Load(options)
    report = await load.run()
    if options.requests:
        with open(options.requests, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(outcome) + "\n" for outcome in load.outcomes)
    return report


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    report = asyncio.run(measure(options))
    with open(options.report, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    seconds = report["command"]["finished"] - report["command"]["started"]
    sys.stdout.write(
        f"{report['sent']} requests, {report['failed']} failed {report['failures']}, longest gap {report['longest_gap_ms']} ms, "
        f"versions { {name: seen['count'] for name, seen in report['versions'].items()} }, command rc {report['command']['rc']} in {seconds:.1f} s\n")
    wanted = {"success": report["command"]["rc"] == 0, "failure": report["command"]["rc"] != 0, "any": True}[options.expect]
    if not wanted:
        sys.stdout.write(f"the command ended with {report['command']['rc']}, wanted {options.expect}\n")
        if options.output:
            with open(options.output, encoding="utf-8", errors="replace") as file:
                sys.stdout.write(file.read()[-6000:])
    return 0 if wanted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
