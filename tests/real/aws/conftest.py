# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One AWS stage for all tests of this room: three members on blue, which has all requests, and two on green."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = (
    [str(HERE)] + [str(TESTS / room) for room in ("real", "aws")] + [str(TESTS.parent / "build" / "collections")]
)

import members_stage  # noqa: E402  pylint: disable=wrong-import-position
from limits import wait_until  # noqa: E402  pylint: disable=wrong-import-position

POOLS = {"shop-blue": ["app1", "app2", "app3"], "shop-green": ["new1", "new2"]}


@pytest.fixture(scope="session")
def whole_stage() -> t.Iterator[members_stage.MembersStage]:
    with members_stage.MembersStage(POOLS, delay=1) as found:
        yield found


@pytest.fixture
def stage(whole_stage: members_stage.MembersStage) -> t.Iterator[members_stage.MembersStage]:
    """Everything is healthy, and the API refuses nothing."""
    aws = whole_stage.aws
    aws.api.reset()
    yield whole_stage
    aws.api.reset()
    for pool, names in POOLS.items():
        for name in names:
            if whole_stage.apps[name].poll() is not None:
                whole_stage.start_app(name)
        aws.register(pool, *(whole_stage.target(name) for name in names))
    weights = {"shop-blue": 100, "shop-green": 0}
    if aws.weights(whole_stage.listener_arn) != weights:
        aws.client.modify_listener(ListenerArn=whole_stage.listener_arn, DefaultActions=[aws.forward(weights)])
    wait_until(whole_stage.settled, "every target is healthy again")
