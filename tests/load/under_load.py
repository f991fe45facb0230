# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator for as long as a C(with) block lasts, in a process of its own."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
import typing as t

LOAD = pathlib.Path(__file__).resolve().with_name("load.py")


class Load:
    """C(report) is what load.py reports, once the block has ended; C(requests) what became of each request."""

    def __init__(self, targets: t.Sequence[str], directory: pathlib.Path, name: str = "", *options: str) -> None:
        self.report: dict[str, t.Any] = {}
        self._targets, self._options = targets, options
        self._report, self._begun, self._requests = (
            directory / f"{name}{'-' if name else ''}load.{ending}" for ending in ("json", "out", "jsonl"))
        for path in (self._report, self._begun, self._requests):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "Load":
        # It sends until its command ends; cat ends with our end of the pipe, even if we are killed.
        self._process = subprocess.Popen(
            [sys.executable, str(LOAD), *(f"--target={target}" for target in self._targets),
             "--report", str(self._report), "--output", str(self._begun), "--requests", str(self._requests),
             "--rate", "8", "--before", "0.3", "--after", "0.3", *self._options, "--", "cat"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while not self._begun.exists():
            assert self._process.poll() is None, "the load generator did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_args: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(90)
        self.report = json.loads(self._report.read_text(encoding="utf-8"))

    @property
    def requests(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in self._requests.read_text(encoding="utf-8").splitlines()]
