# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the pieces of the suite: the longest first, as many at the same time as there are processors and room for.

As many pieces as processors always run (SUITE_BESIDE: as many as it says). One more begins while the processors idle, since most tests wait more
than they compute, and while there is memory for it. On a machine that another load keeps busy nothing is added, so that what runs gets its share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import typing as t

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "keeping"))

import cpu  # noqa: E402  pylint: disable=wrong-import-position
import keeping  # noqa: E402  pylint: disable=wrong-import-position
import results  # noqa: E402  pylint: disable=wrong-import-position
from pieces import REPO, Piece  # noqa: E402  pylint: disable=wrong-import-position

BUILD = REPO / "build"
RESULTS = BUILD / "results"
# So much of the processors has to idle for one more piece, and no more than so many times as many pieces as processors run.
IDLE, MOST = 0.2, 3
# Seconds in which a piece that has begun shows how busy it is.
SETTLE = 3.0
LOOK = 0.5
# Kept free for everything else on the machine.
SPARE_MB = 1500


class Running:
    """A piece that runs, and is read by a thread of its own."""

    def __init__(self, piece: Piece, isolated: bool, live: bool, environment: t.Mapping[str, str]) -> None:
        self.piece = piece
        self.live = live
        self.ended: results.Ended | None = None
        self._group = cpu.Group(piece.name)
        # A name may have dots of its own, such as a core's.
        stem = piece.name.replace("/", "-")
        self._report, self._tests = RESULTS / f"{stem}.xml", RESULTS / f"{stem}.tests"
        for path in (self._report, self._tests):
            path.unlink(missing_ok=True)
        argv = list(piece.argv) + (["--junitxml", str(self._report)] if piece.is_pytest else [])
        if isolated:
            argv = ["tests/bin/isolated", piece.name.replace("/", "-"), " ".join(piece.own or ()), *argv]
        self._began = time.monotonic()
        self.child = subprocess.Popen(
            self._group.wrap(argv), cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            text=True, errors="replace",
            env={**keeping.environment(os.environ), **environment, "SUITE_CPU": self._group.account or "", "SUITE_CGROUP": self._group.parent or "",
                 "SUITE_TESTS": str(self._tests)})
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        late = threading.Event()
        # Reading ends when the last writer has gone: a piece that hangs is ended from the side.
        timer = threading.Timer(self.piece.minutes * 60, lambda: (late.set(), self.end()))
        timer.daemon = True
        timer.start()
        lines: list[str] = []
        tests: list[results.Test] = []
        before = self._began, 0.0
        try:
            assert self.child.stdout is not None
            for line in self.child.stdout:
                lines.append(line.rstrip("\n"))
                if self.live:
                    print(line, end="", flush=True)
                if not self.piece.is_pytest and (found := results.verdict(lines[-1])):
                    now = time.monotonic(), cpu.used(self._group.account)
                    tests.append(results.Test("%s: %s" % (self.piece.name, found[0].split(" (")[0]), now[0] - before[0], now[1] - before[1]))
                    before = now
            self.child.wait()
        finally:
            timer.cancel()
            self.end()
        used = cpu.used(self._group.account)
        self._group.remove()
        if late.is_set():
            lines.append("%s did not end within %g minutes" % (self.piece.name, self.piece.minutes))
            if self.live:
                print(lines[-1], flush=True)
        self.ended = results.Ended(self._count(lines, late.is_set()), time.monotonic() - self._began, used, lines,
                                   results.recorded(str(self._tests)) if self.piece.is_pytest else tests)

    def _count(self, lines: list[str], late: bool) -> results.Count:
        count = results.from_report(str(self._report)) if self.piece.is_pytest else results.from_lines(lines)
        if not self.piece.is_pytest and count == results.Count():
            count = results.Count(passed=1) if self.child.returncode == 0 else results.Count()
        # Files that were chosen by what has changed may hold nothing that runs in this machine's suite.
        nothing = self.piece.is_pytest and self.child.returncode == 5
        # A piece of which nobody can say that it ran anything has not passed.
        unknown = self.piece.is_pytest and count == results.Count()
        if (late or self.child.returncode or unknown) and not count.failed and not nothing:
            count += results.Count(failed=1)
        return count

    def join(self) -> None:
        """Wait until it is over."""
        self._thread.join()

    def end(self) -> None:
        """Kindly first: several pieces have servers to stop."""
        if self.child.poll() is not None:
            return
        try:
            os.killpg(self.child.pid, signal.SIGTERM)
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        except ProcessLookupError:
            pass


class Runner:
    """All pieces of one run of the suite."""

    def __init__(self, pieces: t.Sequence[Piece], seconds: t.Mapping[str, float], isolates: bool, environment: t.Mapping[str, str] | None = None,
                 most: int | None = None, least: int | None = None) -> None:
        # What nobody has ever timed may be long.
        self._left = sorted(pieces, key=lambda piece: -seconds.get(piece.name, float("inf")))
        self.live = len(self._left) == 1
        # A single piece has the machine, and its stage is where people look for it.
        self._isolates = isolates and not self.live
        self._environment = environment or {}
        self._most = most
        self._least = least or os.cpu_count() or 1
        self._running: list[Running] = []
        self._machine = cpu.Machine()
        self._settled = 0.0
        self.pace = cpu.Pace()
        self.ended: dict[str, results.Ended] = {}

    def run(self) -> dict[str, results.Ended]:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        RESULTS.mkdir(parents=True, exist_ok=True)
        self._machine.look()
        self.pace.look()
        looked = time.monotonic()
        while self._left or self._running:
            for one in [one for one in self._running if one.ended]:
                self._running.remove(one)
                self._over(one)
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                self._machine.look()
            while piece := self._next():
                self._begin(piece)
            time.sleep(0.05)
        return self.ended

    def _next(self) -> Piece | None:
        """The longest piece that can begin now."""
        if not self._left or len(self._running) >= (self._most or MOST * (os.cpu_count() or 1)):
            return None
        if len(self._running) >= self._least and (self._machine.idle < IDLE or time.monotonic() < self._settled):
            return None
        staged = any(one.piece.own for one in self._running)  # where the stage is everybody's
        for piece in self._left:
            if piece.own and staged and not self._isolates:
                continue
            if self._running and self._machine.free_mb < piece.memory_mb + SPARE_MB:
                continue
            return piece
        return None

    def _begin(self, piece: Piece) -> None:
        self._left.remove(piece)
        self.pace.look()
        print("=== %s%s" % (piece.name, "" if self.live else " begins"), flush=True)
        if piece.needs_root and os.geteuid():
            print("skipped %s: it needs root" % piece.name)
            self.ended[piece.name] = results.Ended(results.Count(skipped=1))
            return
        # Limits that a healthy host must not hit are as much longer as this machine is slower.
        stretch = max(1.0, self.pace.factor, float(os.environ.get("SUITE_STRETCH") or 1.0))
        environment = {"SUITE_STRETCH": "%.2f" % stretch, **self._environment}
        self._running.append(Running(piece, piece.own is not None and self._isolates, self.live, environment))
        self._settled = time.monotonic() + SETTLE
        self._machine.look()

    def _over(self, one: Running) -> None:
        assert one.ended is not None
        self.ended[one.piece.name] = one.ended
        if not self.live:
            print("\n=== %s (%d s)\n%s" % (one.piece.name, one.ended.seconds, "\n".join(one.ended.lines)), flush=True)

    def _stop(self, *_args: t.Any) -> None:
        for one in self._running:
            one.end()
        sys.stdout.flush()
        os._exit(143)
