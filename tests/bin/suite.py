# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""suite.py [SECTION…]: runs the sections of the tests (all without a name) and counts what passed and what failed.

Three sections run at the same time: they wait for servers more than they compute. Those that need the local stage get one each (see
tests/bin/isolated), or, where that is not possible, run one after another. What a section prints is shown when it ends, or at once when it is
the only one. The end of what a failed one printed is shown once more before the numbers, where nobody has to search for it; and why each test
failed, in a few words, after them, since somebody may get to see the last lines only.

The last line is always "N passed, N failed", and the exit code is 0 only if something passed and nothing failed.
A section goes on when an earlier one failed; one that does not end in time, or ends badly without saying what failed,
counts as one failure.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t
from xml.etree import ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stage"))

import layout  # noqa: E402  pylint: disable=wrong-import-position

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
RESULTS = os.path.join(REPO, "build", "results")
PYTHON = sys.executable
AT_ONCE = 3
# So many of a failed section's last lines are shown again.
TAIL = 40
# So many letters of reasons are among the last words, each reason so long at most.
LAST_WORDS, REASON = 900, 220
# One section prints at a time.
TURN = threading.Lock()
CHILDREN: list[subprocess.Popen] = []
# Somebody ended this run: what has not begun does not begin.
ENDING = threading.Event()


def _pytest(*paths: str) -> list[str]:
    return [PYTHON, "-m", "pytest", "-q", "--durations=15", *paths]


def _playbooks(*names: str) -> list[str]:
    return _pytest(*(f"tests/real/playbooks/test_{name}.py" for name in names))


def _others(room: str, *names: str) -> list[str]:
    """The options that leave out what other sections run."""
    return [f"--ignore=tests/real/{room}/test_{name}.py" for name in names]


class Section(t.NamedTuple):
    name: str
    argv: list[str]
    minutes: int
    own: tuple[str, ...] = ()  # what it keeps for itself in build/, where it needs the local stage

    @property
    def stage(self) -> bool:
        return bool(self.own)


OWN = ("stage", "artifacts", "records")
# The demo's records are for people, and nothing else writes beside them.
DEMO_OWN = ("stage", "artifacts")


STRATEGIES = ("adoption", "blue_green", "canary", "shadow")
FAULTS = ("controller_faults", "lock", "losses", "lost_balancer", "lost_host")

# The longest first, so that the short ones fill what is left.
SECTIONS = [
    Section("molecule", ["tests/bin/molecule"], 85),
    Section("strategies", _playbooks(*STRATEGIES), 40, OWN),
    Section("faults", _playbooks(*FAULTS), 40, OWN),
    Section("real", _pytest("tests/real", "--ignore=tests/real/playbooks", "--ignore=tests/real/stage"), 45),
    Section("playbooks", _pytest("tests/real/playbooks", "tests/real/stage", *_others("playbooks", *STRATEGIES, *FAULTS)), 40, OWN),
    Section("integration", [PYTHON, "tests/bin/integration.py"], 40, OWN),
    Section("conformance", _pytest("tests/conformance"), 30),
    Section("sanity", ["tests/bin/sanity"], 30),
    Section("demo", [PYTHON, "tests/stage/demo.py", "--short"], 30, DEMO_OWN),
    Section("chaos", [PYTHON, "tests/chaos/sweep.py", "--short"], 30, OWN),
    Section("lint", ["tests/bin/lint"], 25),
    Section("unit", _pytest("tests/unit"), 20),
]

# Our own scripts say one of these for each thing that they tried.
LINE = re.compile(r"^(?P<verdict>ok|not ok|skipped) \S|^\S+ +(?P<scenario>passed|FAILED) +\d+ s$")

# What decorates the lines of others: colours, and the frame that molecule draws.
DECORATION = re.compile(r"\x1b\[[0-9;]*m|^ *│ ?")
# A failed test as pytest shows it: its name, and then the first line of why. Our scripts and Ansible need one line for both.
FAILED_TEST = re.compile(r"^_{3,} (?P<name>.+?) _{3,}$")
WHY = re.compile(r"^E +(?P<why>\S.*)$")
ALONE = re.compile(r"^(?:not ok .*|failed: .*|suite: .*|\[ERROR\]: .*|\S+ did not end within .*)$")


class Count(t.NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:  # type: ignore[override]
        return Count(*(one + two for one, two in zip(self, other)))


class Ended(t.NamedTuple):
    """A section that is over."""

    count: Count
    seconds: float
    lines: list[str]


def _from_report(path: str) -> Count:
    if not os.path.exists(path):
        return Count()
    count = Count()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped"))
        failed = failures + errors
        count += Count(max(tests - failed - skipped, 0), failed, skipped)
    return count


def _from_lines(lines: list[str]) -> Count:
    count = Count()
    for line in lines:
        found = LINE.match(line)
        if found:
            verdict = found["verdict"] or found["scenario"]
            count += Count(verdict in ("ok", "passed"), verdict in ("not ok", "FAILED"), verdict == "skipped")
    return count


def reasons(lines: list[str]) -> list[str]:
    """Why a section failed, a line for each failed test; its last line where nothing looks like a reason."""
    tests: list[str] = []
    others: list[str] = []
    name = None
    for line in (DECORATION.sub("", DECORATION.sub("", raw)).rstrip() for raw in lines):
        if test := FAILED_TEST.match(line):
            name = test["name"]
        elif (why := WHY.match(line)) and name:
            tests.append("%s: %s" % (name, why["why"]))
            name = None
        elif ALONE.match(line):
            others.append(line)
    found = tests + others or [line for line in lines if line.strip()][-1:]
    return [line if len(line) <= REASON else line[:REASON - 1] + "…" for line in dict.fromkeys(found)]


def last_words(failed: list[tuple[str, list[str]]]) -> list[str]:
    """Reasons of the sections that failed, the first of each before the second of any, as many as may stand there."""
    left = LAST_WORDS
    chosen: dict[str, list[str]] = {name: [] for name, _lines in failed}
    for turn in itertools.zip_longest(*(reasons(lines) for _name, lines in failed)):
        for name, reason in zip(chosen, turn):
            if reason is not None and (left := left - len(name) - len(reason) - 3) >= 0:
                chosen[name].append("%s: %s" % (name, reason))
    return [line for lines in chosen.values() for line in lines]


def _run(section: Section, live: bool, isolated: bool) -> tuple[Count, list[str]]:
    """What it counted, and what it printed."""
    os.makedirs(RESULTS, exist_ok=True)
    report = os.path.join(RESULTS, section.name + ".xml")
    if os.path.exists(report):
        os.unlink(report)
    is_pytest = "pytest" in section.argv
    argv = section.argv + (["--junitxml", report] if is_pytest else [])
    if isolated:
        argv = ["tests/bin/isolated", section.name, " ".join(section.own), *argv]
    lines: list[str] = []
    child = subprocess.Popen(argv, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True, text=True, errors="replace")
    CHILDREN.append(child)
    late = threading.Event()
    # Reading ends when the last writer has gone: a section that hangs is ended from the side.
    timer = threading.Timer(section.minutes * 60, lambda: (late.set(), _end(child)))
    timer.daemon = True
    timer.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.rstrip("\n"))
            if live:
                print(line, end="", flush=True)
        child.wait()
    finally:
        timer.cancel()
        _end(child)
    if late.is_set():
        lines.append("%s did not end within %d minutes" % (section.name, section.minutes))
    if not live:
        with TURN:
            print("\n=== %s\n%s" % (section.name, "\n".join(lines)), flush=True)
    elif late.is_set():
        print(lines[-1], flush=True)
    count = _from_report(report) if is_pytest else _from_lines(lines)
    if not is_pytest and count == Count():
        count = Count(passed=1) if child.returncode == 0 else Count()
    if (late.is_set() or child.returncode) and not count.failed:
        count += Count(failed=1)
    return count, lines


def _end(child: subprocess.Popen) -> None:
    """Kindly first: several sections have servers to stop."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class Work:
    """The sections that are left, for workers that each take the next one that can run."""

    def __init__(self, sections: list[Section]) -> None:
        self.live = len(sections) == 1
        # A single section has the machine, and its stage is where people look for it.
        self._isolates = not self.live and layout.isolates()
        self._left = list(sections)
        self._stage_taken = False
        self._changed = threading.Condition()
        self.found: dict[str, Ended] = {}

    def _next(self) -> Section | None:
        with self._changed:
            while self._left and not ENDING.is_set():
                for section in self._left:
                    if section.stage and not self._isolates and self._stage_taken:
                        continue
                    self._left.remove(section)
                    self._stage_taken = self._stage_taken or section.stage
                    return section
                self._changed.wait()
            return None

    def _done(self, section: Section, ended: Ended) -> None:
        with self._changed:
            self.found[section.name] = ended
            if section.stage:
                self._stage_taken = False
            self._changed.notify_all()

    def run(self) -> None:
        """A worker: until nothing is left."""
        while section := self._next():
            with TURN:
                print("=== %s%s" % (section.name, "" if self.live else " begins"), flush=True)
            began = time.monotonic()
            count, lines = Count(failed=1), []
            try:
                if section.name == "molecule" and os.geteuid():
                    print("skipped molecule: its containers need root")
                    count = Count(skipped=1)
                else:
                    count, lines = _run(section, self.live, section.stage and self._isolates)
            finally:
                self._done(section, Ended(count, time.monotonic() - began, lines))


def _stop(*_args: t.Any) -> None:
    ENDING.set()
    for child in CHILDREN:
        _end(child)
    os._exit(143)


def main(wanted: list[str]) -> int:
    known = [section.name for section in SECTIONS]
    if unknown := sorted(set(wanted) - set(known)):
        sys.stderr.write("suite: there is no section %s; there are: %s\n" % (", ".join(unknown), ", ".join(known)))
        return 2
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    chosen = [section for section in SECTIONS if not wanted or section.name in wanted]
    work = Work(chosen)
    workers = [threading.Thread(target=work.run) for _number in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results = [(section.name, work.found[section.name]) for section in chosen]
    for name, ended in results:
        if ended.count.failed and not work.live:
            print("\n=== %s failed; it ended with\n%s" % (name, "\n".join(ended.lines[-TAIL:])))
    print()
    for name, ended in results:
        print("%-12s %5d passed %4d failed %4d skipped %6.0f s" % (name, *ended.count, ended.seconds))
    total = sum((ended.count for _name, ended in results), Count())
    for line in last_words([(name, ended.lines) for name, ended in results if ended.count.failed]):
        print(line)
    print("%d passed, %d failed" % total[:2])
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
