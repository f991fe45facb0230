# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands and says how long they took."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import typing as t

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / "build"
OUTPUT = BUILD / "bench"
FORKS = 20


class Finding(Exception):
    """A comparison that could not be made, in one sentence."""


def environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GUNICORN_"))}
    # Everything at its default but the forks; the same for all that are compared.
    env.update(ANSIBLE_CONFIG=str(REPO / "ansible.cfg"), ANSIBLE_FORKS=str(FORKS), ANSIBLE_NOCOLOR="1", PYTHONDONTWRITEBYTECODE="1")
    return env


def playbook(inventory: str, name: str, **variables: t.Any) -> list[str]:
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, name]
    return command + (["-e", json.dumps(variables)] if variables else [])


def run(name: str, command: list[str], timeout: float = 1800, **more: str) -> dict[str, float]:
    """Seconds and CPU seconds of a command that has to end well; its output goes to build/bench/NAME.log."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with open(path, "wb") as log:
        done = subprocess.run(command, cwd=REPO, env={**environment(), **more}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=timeout, check=False)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Finding(f"{name} ended with code {done.returncode}; see {path.relative_to(REPO)}")
    return {"seconds": round(seconds, 3), "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)}


def under_load(name: str, url: str, rate: float, command: list[str]) -> dict[str, t.Any]:
    """The same with the second witness's load around it; returns its report."""
    report = OUTPUT / f"{name}.json"
    spent = run(name + "-load", [sys.executable, str(REPO / "tests" / "load" / "load.py"), "--target", url, "--report", str(report),
                                 "--output", str(OUTPUT / f"{name}.log"), "--rate", str(rate), "--", *command])
    found = json.loads(report.read_text(encoding="utf-8"))
    found["seconds"] = round(found["command"]["finished"] - found["command"]["started"], 3)
    found["cpu"] = spent["cpu"]
    return found


def other_python(path: pathlib.Path) -> str:
    """A program at C(path) that is this Python, and by its name another: a link would lose the virtual environment."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def median(values: t.Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def length(spans: t.Iterable[tuple[float, float]]) -> float:
    """Seconds that at least one of the spans covers."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
