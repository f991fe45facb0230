# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much processor time a piece of the suite took, with all that it started: servers that outlive their parent, and containers.

Each piece runs in a control group of its own, whose account the kernel keeps (cgroup v1: cpuacct.usage; v2: usage_usec of cpu.stat). Where no
group can be made (without root), the time of the children that were waited for stands in for it, and daemons are missing from it.

Processor time depends on the machine, too: a slower core, or one that another load shares, takes more of it for the same work. What the budget
is held against is therefore divided by the machine's pace: the time that a fixed piece of work takes here and now, over what it took on the
machine on which the budget was written down.
"""

from __future__ import annotations

import os
import pathlib
import resource
import statistics
import time
import typing as t

ROOT = pathlib.Path("/sys/fs/cgroup")
# Seconds of processor time that _work takes on the machine whose figures tests/suite/recorded.json holds.
REFERENCE = 0.0150


class Group:
    """A control group for one piece, or what stands in for it."""

    def __init__(self, name: str) -> None:
        self.directory = _make("zero-downtime-%d-%s" % (os.getpid(), name.replace("/", "-")))

    @property
    def account(self) -> str | None:
        """The file that tells how much the group has used; None where there is no group."""
        if self.directory is None:
            return None
        return str(self.directory / ("cpuacct.usage" if (self.directory / "cpuacct.usage").exists() else "cpu.stat"))

    @property
    def parent(self) -> str | None:
        """What containers are given as their groups' parent, so that they count, too."""
        return None if self.directory is None else "/" + str(self.directory.relative_to(ROOT)).removeprefix("cpuacct/").removeprefix("cpu,cpuacct/")

    def wrap(self, argv: t.Sequence[str]) -> list[str]:
        """The command, so that it begins inside the group."""
        if self.directory is None:
            return list(argv)
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.directory / "cgroup.procs"), *argv]

    def remove(self) -> None:
        """Remove it, with what containers left below, there and in other hierarchies."""
        if self.directory is None:
            return
        for group in {self.directory, *ROOT.glob("*/" + self.directory.name)}:
            for path in sorted(group.rglob("*"), reverse=True):
                if path.is_dir():
                    _remove(path)
            _remove(group)


def _make(name: str) -> pathlib.Path | None:
    for parent in (ROOT / "cpuacct", ROOT / "cpu,cpuacct", ROOT):
        directory = parent / name
        try:
            directory.mkdir()
        except OSError:
            continue
        if any((directory / account).exists() for account in ("cpuacct.usage", "cpu.stat")):
            return directory
        _remove(directory)
    return None


def _remove(directory: pathlib.Path) -> None:
    # A process that is about to end keeps its group for a moment, and an empty group that stays costs nobody anything.
    try:
        directory.rmdir()
    except OSError:
        pass


def used(account: str | None) -> float:
    """Seconds of processor time so far: of a group, or of this process and the children that it has waited for."""
    if account is None:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    text = pathlib.Path(account).read_text(encoding="ascii")
    if account.endswith("cpuacct.usage"):
        return int(text) / 1e9
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def _work() -> float:
    began = time.thread_time()
    total, seen = 0, {}
    for number in range(300_000):
        total += number * number
        seen[number % 997] = total
    return time.thread_time() - began


class Pace:
    """How much slower than the reference this machine is while the suite runs: 1.0 is as fast, 2.0 takes twice the time."""

    def __init__(self) -> None:
        self._taken: list[float] = []

    def look(self) -> None:
        self._taken.append(_work())

    @property
    def factor(self) -> float:
        return statistics.median(self._taken) / REFERENCE if self._taken else 1.0


class Machine:
    """Room for one more: processors that idle, and memory."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._seen: tuple[float, float] | None = None
        self.idle = 0.0

    def look(self) -> None:
        """Measure what share of the processors idled since the last look."""
        with open(os.path.join(self._proc, "stat"), encoding="ascii") as file:
            numbers = [int(word) for word in file.readline().split()[1:9]]
        now = float(sum(numbers)), float(numbers[3] + numbers[4])
        if self._seen and now[0] > self._seen[0]:
            self.idle = (now[1] - self._seen[1]) / (now[0] - self._seen[0])
        self._seen = now

    @property
    def free_mb(self) -> int:
        with open(os.path.join(self._proc, "meminfo"), encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:")) // 1024
