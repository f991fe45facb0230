# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers that the tests of this room share."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [
    str(HERE.parent),
    str(HERE.parents[1] / "inventories"),
    *(str(HERE.parents[2] / room) for room in ("conformance", "load", "stage")),
]

from bind_stage import BindStage  # noqa: E402
from zone_name import Zone  # noqa: E402


@pytest.fixture(scope="session")
def servers() -> t.Iterator[BindStage]:
    with BindStage() as stage:
        yield stage


@pytest.fixture
def zone(servers: BindStage) -> t.Iterator[Zone]:
    found = Zone(servers)
    for server in servers.serve:
        if server not in servers.processes:
            servers.start(server)
    found.begin()
    yield found
