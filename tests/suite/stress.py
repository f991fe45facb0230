# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""stress.py [-n N] [--table] TEST…: runs tests again and again on a machine that has no time for them.

TEST is a file or a test as pytest names it, a piece of the suite ("integration", "playbooks/faults"), "molecule:SCENARIO", or "all": the whole suite,
several pieces of it beside each other. Each run is in a random order, whose seed is told. Beside it runs a busy loop for each processor, and at
random moments each processor is taken away altogether for up to half a second, by a process with real-time priority (without the right to that:
by one with the highest priority that is allowed).

Each run adds a line to build/stress/runs.jsonl; --table shows what all runs so far came to. The exit code is 0 only if no run failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "stage")]

import layout  # noqa: E402  pylint: disable=wrong-import-position
import results  # noqa: E402  pylint: disable=wrong-import-position
import running  # noqa: E402  pylint: disable=wrong-import-position
from pieces import PIECES, Piece, pytest  # noqa: E402  pylint: disable=wrong-import-position

RUNS = running.BUILD / "stress" / "runs.jsonl"
# How long a processor is taken away, and how long it is left alone: a sixth of it is gone.
TAKEN, LEFT = (0.05, 0.5), (0.5, 2.3)
# A machine under this stress is several times slower for each test.
STRETCH = "3"
# Pieces of the whole suite that run beside each other. They are a load for each other: the busy loops then only fill what they leave.
BESIDE, LEFT_OVER = "5", 5
# What the suite prints of each piece at its end.
PIECE = re.compile(r"(\S+) +(\d+) passed +(\d+) failed +\d+ skipped +(\d+) s ")


def _busy(processor: int, niceness: int) -> None:
    os.sched_setaffinity(0, {processor})
    os.nice(niceness)
    while os.getppid() != 1:
        for _number in range(1_000_000):
            pass


def _taking(processor: int, seed: int) -> None:
    os.sched_setaffinity(0, {processor})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
    draw = random.Random(seed)
    while os.getppid() != 1:
        time.sleep(draw.uniform(*LEFT))
        end = time.monotonic() + draw.uniform(*TAKEN)
        while time.monotonic() < end:
            pass


@contextlib.contextmanager
def stressed(seed: int, niceness: int = 0) -> t.Iterator[None]:
    """Both kinds of load on each processor while the block runs."""
    processors = sorted(os.sched_getaffinity(0))
    load = [multiprocessing.Process(target=_busy, args=(processor, niceness), daemon=True) for processor in processors]
    load += [multiprocessing.Process(target=_taking, args=(processor, seed + processor), daemon=True) for processor in processors]
    for process in load:
        process.start()
    try:
        yield
    finally:
        for process in load:
            process.kill()
            process.join()


def piece_of(name: str) -> Piece:
    """What is to be run again and again."""
    if name.startswith("molecule:"):
        scenario = name.removeprefix("molecule:")
        return Piece("stress", name.replace(":", "-"), ("tests/bin/molecule", scenario), 60, ("molecule",), needs_root=True)
    for piece in PIECES:
        if name == piece.name:
            return piece
    path = name.split("::")[0]
    if not (running.REPO / path).exists():
        raise SystemExit("stress: %s is no test; give a file of tests (file.py::name for one of it), molecule:SCENARIO, or one of: %s" % (
            name, ", ".join(piece.name for piece in PIECES)))
    return Piece("stress", "pytest", pytest(name), 60, ("stage", "artifacts", "records"))


def run(name: str, seed: int) -> dict[str, t.Any]:
    piece = piece_of(name)
    began = time.monotonic()
    with stressed(seed):
        one = running.Running(piece, piece.own is not None and layout.isolates(), False, {"SUITE_SHUFFLE": str(seed), "SUITE_STRETCH": STRETCH})
        one.join()
    ended = one.ended
    assert ended is not None
    if ended.count.failed:
        print("\n".join([*ended.lines[-60:], "The whole output: %s" % results.kept("%s-%d" % (name, seed), ended.lines, RUNS.parent)]))
    return {"test": name, "seed": seed, "passed": ended.count.passed, "failed": ended.count.failed, "seconds": round(time.monotonic() - began, 1),
            "at": int(time.time()), "reasons": results.reasons(ended.lines)[:3] if ended.count.failed else []}


def run_all(seed: int) -> list[dict[str, t.Any]]:
    """The whole suite as `make test` runs it: a result for each of its pieces, and one for the whole."""
    began = time.monotonic()
    environment = {"SUITE_SHUFFLE": str(seed), "SUITE_STRETCH": STRETCH, "SUITE_BESIDE": BESIDE}
    with stressed(seed, LEFT_OVER), subprocess.Popen(
            [sys.executable, "tests/bin/suite.py"], text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **environment}) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line.rstrip("\n"))
            print(line, end="", flush=True)
    at = int(time.time())
    found = [{"test": one[1], "seed": seed, "passed": int(one[2]), "failed": int(one[3]), "seconds": float(one[4]), "at": at, "reasons": []}
             for one in map(PIECE.match, lines) if one]
    passed, failed = (sum(int(one[key]) for one in found) for key in ("passed", "failed"))
    return [*found, {"test": "all", "seed": seed, "passed": passed, "failed": failed or int(child.returncode != 0),
                     "seconds": round(time.monotonic() - began, 1), "at": at, "reasons": []}]


def table() -> str:
    """All runs so far, a line for each test."""
    runs: dict[str, list[dict[str, t.Any]]] = collections.defaultdict(list)
    for line in RUNS.read_text(encoding="utf-8").splitlines() if RUNS.exists() else []:
        runs[json.loads(line)["test"]].append(json.loads(line))
    lines = ["|Test|Runs|Failed|Seconds, least to most|", "|-|-|-|-|"]
    for name, found in sorted(runs.items()):
        seconds = sorted(one["seconds"] for one in found)
        lines.append("|%s|%d|%d|%.0f to %.0f|" % (name, len(found), sum(bool(one["failed"]) for one in found), seconds[0], seconds[-1]))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs tests under stress.")
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("tests", nargs="*")
    wanted = parser.parse_args()
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    running.RESULTS.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in wanted.tests:
        if name != "all":
            piece_of(name)
    for number in range(wanted.n):
        for name in wanted.tests:
            seed = wanted.seed if wanted.seed is not None else random.randrange(1 << 30)
            several = run_all(seed) if name == "all" else [run(name, seed)]
            with open(RUNS, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(one) + "\n" for one in several)
            found = several[-1]
            failed += bool(found["failed"])
            print("%s %s, run %d of %d, seed %d (%.0f s)%s" % (
                "not ok" if found["failed"] else "ok", name, number + 1, wanted.n, seed, found["seconds"],
                "".join("\n    " + reason for reason in found["reasons"])), flush=True)
    if wanted.table:
        print(table())
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(running.REPO)
    sys.exit(main())
