# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures which gunicorn loses requests while releases are swapped: the table in docs/process_swap.md.

    python tests/bench/swaps.py [--swaps 10] [--only 20.1.0,23.0.0] [--no-table]

Each version comes from the package index into build/swaps/. Each kind of worker is swapped there and back under two loads. Fresh connections
send their request 10 ms after they were accepted, as a client does that is 10 ms away: what a server does with a connection that it has accepted
and not yet read is what differs. Kept-alive connections send one request after the other; one that is found closed before a request is sent is
every server's right, and is opened again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "build" / "collections"), str(REPO / "tests" / "real"), str(REPO / "tests" / "stage")]

import artifacts  # noqa: E402  pylint: disable=wrong-import-position
from swap_stage import Stage  # noqa: E402  pylint: disable=wrong-import-position

PLACE = REPO / "build" / "swaps"
DOCUMENT = REPO / "docs" / "process_swap.md"
BEGIN, END = "<!-- swaps -->", "<!-- /swaps -->"
RELEASES = ("1.0.0", "2.0.0")
# Debian 12 has 20.1, Debian 13 has 23.0.
VERSIONS = ("20.1.0", "21.2.0", "22.0.0", "23.0.0", "24.1.1", "25.3.0", "26.2.0", "27.0.1")
# The first gunicorn without a package that Python itself brought until 3.12, and the first one with a control socket.
WITHOUT_SETUPTOOLS, WITH_CONTROL_SOCKET = (21,), (25, 1)
WORKERS = {
    # claim: swap-servers-that-lose, swap-sync-workers-lose-nothing
    "sync": ("--worker-class", "sync"),
    "gthread, keep-alive 0": ("--worker-class", "gthread", "--threads", "8", "--keep-alive", "0"),
    "gthread, keep-alive 90": ("--worker-class", "gthread", "--threads", "8", "--keep-alive", "90"),
}
FRESH_RATE, DISTANCE = 100.0, 0.01
KEPT, KEPT_PAUSE = 8, 0.04
LONGEST = 30.0
REQUEST = b"GET / HTTP/1.1\r\nHost: swaps\r\n\r\n"


class Load:
    """What was sent and what got no whole answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = {"fresh": 0, "kept": 0}
        self.lost = {"fresh": 0, "kept": 0}
        self.over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _number in range(KEPT):
                group.create_task(self._keep())
            while not self.over.is_set():
                group.create_task(self._fresh())
                await asyncio.sleep(1 / FRESH_RATE)

    async def _fresh(self) -> None:
        self.sent["fresh"] += 1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                await asyncio.sleep(DISTANCE)
                await _ask(reader, writer)
        except (OSError, EOFError):
            self.lost["fresh"] += 1

    async def _keep(self) -> None:
        """One connection after the other, each for as long as the server keeps it."""
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                with contextlib.closing(writer):
                    await self._on_one(reader, writer)

    async def _on_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = True
        while kept and not self.over.is_set():
            if reader.at_eof():
                return
            self.sent["kept"] += 1
            try:
                kept = await _ask(reader, writer)
            except (OSError, EOFError):
                self.lost["kept"] += 1
                return
            await asyncio.sleep(KEPT_PAUSE)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send a request and read its answer; whether the connection is kept. Raises OSError or EOFError where there is no whole answer."""
    async with asyncio.timeout(LONGEST):
        writer.write(REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise EOFError
        size = re.search(rb"content-length: (\d+)", head)
        assert size
        await reader.readexactly(int(size[1]))
        return b"connection: close" not in head


def installed(version: str) -> pathlib.Path:
    """The directory with that gunicorn."""
    place = PLACE / version
    if not (place / "gunicorn").exists():
        wanted = ["gunicorn==" + version] + (["setuptools==80.9.0"] if _numbers(version) < WITHOUT_SETUPTOOLS else [])
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(place), *wanted], check=True)
    return place


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


async def measure(stage: Stage, swaps: int) -> Load:
    load = Load(stage.port)
    loading = asyncio.create_task(load.run())
    try:
        for number in range(swaps):
            await asyncio.to_thread(stage.activate, RELEASES[(number + 1) % 2])
    finally:
        load.over.set()
        await loading
    return load


def one(version: str, worker: str, swaps: int) -> Load:
    place = pathlib.Path(tempfile.mkdtemp(prefix="zd-swaps-"))
    options = WORKERS[worker] + (("--no-control-socket",) if _numbers(version) >= WITH_CONTROL_SOCKET else ())
    found = installed(version)
    stage = Stage(place, ["env", "PYTHONPATH=" + str(found), str(found / "bin" / "gunicorn")], options)
    try:
        for label in RELEASES:
            stage.stage(label, artifacts.pack(label))
        stage.activate(RELEASES[0])
        return asyncio.run(measure(stage, swaps))
    finally:
        stage.end()
        shutil.rmtree(place)


def row(version: str, worker: str, load: Load) -> str:
    kept = ("{:,}".format(load.sent["kept"]), str(load.lost["kept"])) if worker.endswith("90") else ("–", "–")
    return "|gunicorn|%s|%s|%s|%d|%s|%s|" % (version, worker, "{:,}".format(load.sent["fresh"]), load.lost["fresh"], *kept)


def table(rows: t.Sequence[str], swaps: int) -> str:
    return "\n".join([
        BEGIN,
        f"Measured by `make swaps` on Python {sys.version.split()[0]}: {swaps} swaps of each, with 2 workers, under {FRESH_RATE:.0f} fresh connections a "
        f"second, each of which sends its request {DISTANCE * 1000:.0f} ms after it was accepted, and {KEPT} clients that keep theirs.", "",
        "|server|version|workers|fresh requests|lost|kept-alive requests|lost|", "|-|-|-|-:|-:|-:|-:|", *rows, END])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--only", default=",".join(VERSIONS), help="versions, by comma")
    parser.add_argument("--no-table", action="store_true", help="do not write the table into docs/process_swap.md")
    options = parser.parse_args()
    rows = []
    for version in options.only.split(","):
        for worker in WORKERS:
            rows.append(row(version, worker, one(version, worker, options.swaps)))
            print(rows[-1], flush=True)
    if not options.no_table:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, _begin, rest = text.partition(BEGIN)
        DOCUMENT.write_text(before + table(rows, options.swaps) + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
