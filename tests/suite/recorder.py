# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pytest does for the suite: it records what each test took, in seconds and in seconds of processor time, and shuffles tests where asked to.

SUITE_TESTS names the file that gets a line of JSON for each test, SUITE_CPU the account of the group that pytest runs in (tests/suite/cpu.py), and
SUITE_SHUFFLE a seed: files, and the tests of each file, then run in an order that follows from it.
"""

from __future__ import annotations

import json
import os
import random
import time
import typing as t

import cpu
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seed = os.environ.get("SUITE_SHUFFLE")
    if not seed:
        return
    draw = random.Random(seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.split("::")[0], []).append(item)
    # A file's tests stay together: they share servers, which would be started again for each of them.
    for tests in files.values():
        draw.shuffle(tests)
    order = list(files.values())
    draw.shuffle(order)
    items[:] = [item for tests in order for item in tests]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> t.Generator[None, t.Any, t.Any]:
    path = os.environ.get("SUITE_TESTS")
    if not path:
        return (yield)
    account = os.environ.get("SUITE_CPU") or None
    began, used = time.monotonic(), cpu.used(account)
    try:
        return (yield)
    finally:
        line = json.dumps({"test": item.nodeid, "seconds": round(time.monotonic() - began, 3), "cpu": round(cpu.used(account) - used, 3)})
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
