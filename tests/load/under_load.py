# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator, or the clients of streams, for as long as a C(with) block lasts, in a process of their own."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
import typing as t

Self = t.TypeVar("Self", bound="_Beside")
HERE = pathlib.Path(__file__).resolve().parent
LOAD, STREAMS = HERE / "load.py", HERE / "stream_clients.py"


class _Beside:
    """A program that goes on until its command ends; C(report) is what it reports, once the block has ended."""

    def __init__(self, script: pathlib.Path, directory: pathlib.Path, name: str, options: t.Sequence[str]) -> None:
        self.report: dict[str, t.Any] = {}
        self._script, self._options = script, options
        self._report, self._begun = directory / f"{name}.json", directory / f"{name}.out"
        for path in (self._report, self._begun):
            path.unlink(missing_ok=True)

    def __enter__(self: Self) -> Self:
        # It goes on until its command ends; cat ends with our end of the pipe, even if we are killed.
        self._process = subprocess.Popen(
            [sys.executable, str(self._script), "--report", str(self._report), "--output", str(self._begun), *self._options, "--", "cat"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while not self._begun.exists():
            assert self._process.poll() is None, f"{self._script.name} did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_args: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(90)
        self.report = json.loads(self._report.read_text(encoding="utf-8"))


class Load(_Beside):
    """Requests; C(report) is what load.py reports, once the block has ended, and C(requests) what became of each."""

    def __init__(self, targets: t.Sequence[str], directory: pathlib.Path, name: str = "", *options: str) -> None:
        name = f"{name}{'-' if name else ''}load"
        self._requests = directory / f"{name}.jsonl"
        self._requests.unlink(missing_ok=True)
        super().__init__(LOAD, directory, name, [*(f"--target={target}" for target in targets), "--requests", str(self._requests),
                                                 "--rate", "8", "--before", "0.3", "--after", "0.3", *options])

    @property
    def requests(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in self._requests.read_text(encoding="utf-8").splitlines()]


class Streams(_Beside):
    """Clients of streams; C(report) is what stream_clients.py reports, once the block has ended."""

    def __init__(self, target: str, directory: pathlib.Path, *options: str) -> None:
        super().__init__(STREAMS, directory, "streams", ["--target", target, *options])
