# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""suite.py [SECTION…]: runs the sections of the tests (all without a name) and counts what passed and what failed.

The last line is always "N passed, N failed", and the exit code is 0 only if something passed and nothing failed.
A section goes on when an earlier one failed; one that does not end in time, or ends badly without saying what failed,
counts as one failure.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from xml.etree import ElementTree

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
RESULTS = os.path.join(REPO, "build", "results")
PYTHON = sys.executable


def _pytest(*paths: str) -> list[str]:
    return [PYTHON, "-m", "pytest", "-q", *paths]


class Section(t.NamedTuple):
    name: str
    argv: list[str]
    minutes: int


SECTIONS = [
    Section("unit", _pytest("tests/unit"), 10),
    Section("lint", ["tests/bin/lint"], 10),
    Section("sanity", ["tests/bin/sanity"], 20),
    Section("conformance", _pytest("tests/conformance"), 20),
    Section("real", _pytest("tests/real"), 30),
    Section("integration", [PYTHON, "tests/bin/integration.py"], 30),
    Section("chaos", [PYTHON, "tests/chaos/sweep.py", "--short"], 10),
    Section("demo", [PYTHON, "tests/stage/demo.py"], 10),
    Section("molecule", ["tests/bin/molecule"], 60),
]

# Our own scripts say one of these for each thing that they tried.
LINE = re.compile(r"^(?P<verdict>ok|not ok|skipped) \S|^\S+ +(?P<scenario>passed|FAILED) +\d+ s$")


class Count(t.NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:  # type: ignore[override]
        return Count(*(one + two for one, two in zip(self, other)))


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


def _run(section: Section) -> Count:
    os.makedirs(RESULTS, exist_ok=True)
    report = os.path.join(RESULTS, section.name + ".xml")
    if os.path.exists(report):
        os.unlink(report)
    is_pytest = "pytest" in section.argv
    argv = section.argv + (["--junitxml", report] if is_pytest else [])
    lines: list[str] = []
    child = subprocess.Popen(argv, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True, text=True, errors="replace")
    # Reading ends when the last writer has gone: a section that hangs is ended from the side.
    signal.alarm(section.minutes * 60)
    late = False
    try:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
        child.wait()
    except TimeoutError:
        late = True
        print("%s did not end within %d minutes" % (section.name, section.minutes))
    finally:
        signal.alarm(0)
        _end(child)
    count = _from_report(report) if is_pytest else _from_lines(lines)
    if not is_pytest and count == Count():
        count = Count(passed=1) if child.returncode == 0 else Count()
    if (late or child.returncode) and not count.failed:
        count += Count(failed=1)
    return count


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


def _too_late(*_args: t.Any) -> None:
    raise TimeoutError


def main(wanted: list[str]) -> int:
    known = [section.name for section in SECTIONS]
    if unknown := sorted(set(wanted) - set(known)):
        sys.stderr.write("suite: there is no section %s; there are: %s\n" % (", ".join(unknown), ", ".join(known)))
        return 2
    signal.signal(signal.SIGALRM, _too_late)
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    total = Count()
    summary = []
    for section in SECTIONS:
        if wanted and section.name not in wanted:
            continue
        print("=== %s" % section.name, flush=True)
        began = time.monotonic()
        if section.name == "molecule" and os.geteuid():
            print("skipped molecule: its containers need root")
            count = Count(skipped=1)
        else:
            count = _run(section)
        total += count
        summary.append("%-12s %5d passed %4d failed %4d skipped %6.0f s" % (section.name, *count, time.monotonic() - began))
    print("\n" + "\n".join(summary))
    print("%d passed, %d failed" % total[:2])
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
