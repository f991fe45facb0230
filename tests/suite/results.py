# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a piece of the suite: counts, why tests failed, what each test took."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import re
import typing as t
from xml.etree import ElementTree

# So many letters of reasons are among the last words, each reason so long at most.
LAST_WORDS, REASON = 900, 220
# Our own scripts say one of these for each thing that they tried.
VERDICT = re.compile(r"^(?P<verdict>ok|not ok|skipped) (?P<name>\S.*)$|^(?P<scenario>\S+) +(?P<end>passed|FAILED) +\d+ s$")
# What decorates the lines of others: colours, and the frame that molecule draws.
DECORATION = re.compile(r"\x1b\[[0-9;]*m|^ *│ ?")
# A failed test as pytest shows it: its name, the line that failed, and then why. Our scripts and Ansible need one line for all.
FAILED_TEST = re.compile(r"^_{3,} (?P<name>.+?) _{3,}$")
SOURCE = re.compile(r"^> +(?P<source>\S.*)$")
WHY = re.compile(r"^E +(?P<why>\S.*)$")
# What an assertion begins with whose message begins with a new line: a whole output, whose end says most.
EMPTY_WHY = "AssertionError:"
ALONE = re.compile(r"^(?:not ok .*|failed: .*|suite: .*|\[ERROR\]: .*|\S+ did not end within .*| *\"assertion\": .*)$")


class Count(t.NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:  # type: ignore[override]
        return Count(*(one + two for one, two in zip(self, other)))


class Test(t.NamedTuple):
    """One test, and what it took."""

    name: str
    seconds: float
    cpu: float


@dataclasses.dataclass
class Ended:
    """A piece that is over."""

    count: Count
    seconds: float = 0.0
    cpu: float = 0.0
    lines: list[str] = dataclasses.field(default_factory=list)
    tests: list[Test] = dataclasses.field(default_factory=list)


def verdict(line: str) -> tuple[str, Count] | None:
    """The name and the count of what a script has tried, where the line is its verdict."""
    found = VERDICT.match(line)
    if not found:
        return None
    said = found["verdict"] or found["end"]
    return found["name"] or found["scenario"], Count(said in ("ok", "passed"), said in ("not ok", "FAILED"), said == "skipped")


def from_lines(lines: t.Iterable[str]) -> Count:
    return sum((found[1] for line in lines if (found := verdict(line))), Count())


def from_report(path: str) -> Count:
    """The count of pytest's own report."""
    if not os.path.exists(path):
        return Count()
    count = Count()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped"))
        failed = failures + errors
        count += Count(max(tests - failed - skipped, 0), failed, skipped)
    return count


def recorded(path: str) -> list[Test]:
    """What tests/suite/recorder.py wrote."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [_test(line) for line in file]


def _test(line: str) -> Test:
    found = json.loads(line)
    return Test(found["test"], found["seconds"], found["cpu"])


def reasons(lines: list[str]) -> list[str]:
    """Why a piece failed, a line for each failed test; its last line where nothing looks like a reason."""
    clean = [DECORATION.sub("", DECORATION.sub("", line)).rstrip() for line in lines]
    begins = [at for at, line in enumerate(clean) if FAILED_TEST.match(line)]
    tests = [reason for at, end in zip(begins, [*begins[1:], len(clean)]) if (reason := _of_a_test(clean[at:end]))]
    others = [line.strip() for line in clean if ALONE.match(line)]
    found = tests + others or [line for line in lines if line.strip()][-1:]
    return [line if len(line) <= REASON else line[:REASON - 1] + "…" for line in dict.fromkeys(found)]


def _of_a_test(shown: list[str]) -> str | None:
    """The reason of the failed test that pytest shows so."""
    test = FAILED_TEST.match(shown[0])
    why = [found["why"] for line in shown if (found := WHY.match(line))]
    if not test or not why:
        return None
    if why[0] != EMPTY_WHY:
        return "%s: %s" % (test["name"], why[0])
    sources = [found["source"] for line in shown if (found := SOURCE.match(line))]
    return "%s: %s; last said: %s" % (test["name"], _shortened(sources[-1]) if sources else EMPTY_WHY, why[-1])


def _shortened(source: str) -> str:
    return source if len(source) <= REASON // 2 else source[:REASON // 2 - 1] + "…"


def kept(name: str, lines: list[str], directory: pathlib.Path) -> pathlib.Path:
    """The file that has the whole output of a piece, written here."""
    path = directory / (name.replace("/", "-") + ".log")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def last_words(failed: list[tuple[str, list[str]]]) -> list[str]:
    """Reasons of the pieces that failed, the first of each before the second of any, as many as may stand there."""
    left = LAST_WORDS
    chosen: dict[str, list[str]] = {name: [] for name, _lines in failed}
    for turn in itertools.zip_longest(*(reasons(lines) for _name, lines in failed)):
        for name, reason in zip(chosen, turn):
            if reason is not None and (left := left - len(name) - len(reason) - 3) >= 0:
                chosen[name].append("%s: %s" % (name, reason))
    return [line for lines in chosen.values() for line in lines]
