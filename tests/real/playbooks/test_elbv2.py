# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys by target groups of Elastic Load Balancing: its API with the real one's delays and refusals, and real
requests that follow it."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import typing as t

import layout
import playing
import pytest
from elbv2_runs import SECRET, Elb, target
from foreign import Runs, releases
from haproxy_load import Load
from haproxy_stage import get, wait_until

import run as stage_for_people

# A load that leaves the machine to the deploy.
LIGHT: dict[str, t.Any] = {"keepalive": 2, "fresh": 1, "posts": 2, "pause": 0.04}


@pytest.fixture
def elb(stage: t.Any) -> t.Iterator[Elb]:
    with Elb() as found:
        yield found


@pytest.fixture
def rolls(elb: Elb, tmp_path: pathlib.Path) -> t.Iterator[Runs]:
    found = elb.runs(tmp_path, "blue")
    yield found
    assert found.leaks() == []


@pytest.fixture
def switches(elb: Elb, tmp_path: pathlib.Path) -> t.Iterator[Runs]:
    found = elb.runs(tmp_path, "blue", "green", deploy_strategy="blue_green")
    yield found
    assert found.leaks() == []


def test_a_deploy_takes_members_out_of_their_target_group_one_batch_after_the_other(rolls: Runs, elb: Elb) -> None:
    with Load(elb.port, **LIGHT) as load:
        # An API that refuses to be asked so often is asked again.
        elb.api.throttle(4)
        deployed = rolls.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0")
        assert deployed.rc == 0 and releases() == ["2.0.0"] * 4 and elb.version() == "2.0.0", deployed.output
        # One call for each batch and direction, whatever the number of members.
        assert elb.moves() == ["DeregisterTargets", "RegisterTargets"] * 2
    assert load.failures == []
    status = rolls.play("zero.downtime.status")
    assert status.rc == 0 and "target group shop-blue in eu-west-1" in status.output, status.output
    # In its own words: it is no balancer, and localhost is nothing that anybody asked for.
    assert not re.search("balancer (localhost|target)|localhost:", deployed.sentence + status.sentence)


@pytest.mark.nightly
def test_a_killed_deploy_is_known_and_goes_back_and_nothing_is_left_to_do(rolls: Runs, elb: Elb) -> None:
    third = target(layout.MEMBERS[2], "blue")
    with Load(elb.port, **LIGHT) as load:
        rolls.kill(
            "zero.downtime.deploy",
            lambda: elb.states("shop-blue").get(third) == "draining",
            "the second batch drains",
            deploy_release="2.0.0",
        )
        status = rolls.play("zero.downtime.status")
        assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
        back = rolls.play("zero.downtime.rollback")
        assert back.rc == 0 and releases() == ["1.0.0"] * 4 and elb.version() == "1.0.0", back.output
    assert load.failures == [] and list(elb.states("shop-blue").values()) == ["healthy"] * 4
    elb.api.calls.clear()
    again = rolls.play("zero.downtime.deploy", "--check", "--diff", deploy_release="1.0.0")
    assert again.rc == 0 and "nothing moves" in again.output and elb.moves() == [], again.output


@pytest.mark.claim("elbv2-stage-for-people")
def test_the_stage_for_people_carries_a_switch_and_the_way_back(stage: t.Any, tmp_path: pathlib.Path) -> None:
    script = [sys.executable, str(playing.REPO / "tests" / "aws" / "run.py")]
    runs = Runs(
        [playing.LOCAL, str(playing.REPO / "tests" / "aws" / "inventory")],
        SECRET,
        tmp_path,
        deploy_strategy="blue_green",
    )
    url = f"http://127.0.0.1:{stage_for_people.PORT}/"
    subprocess.run([*script, "up"], check=True, timeout=120)
    try:
        wait_until(lambda: get(url)[0] == 200, "the load balancer answers")
        with Load(stage_for_people.PORT, **LIGHT) as load:
            deployed = runs.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0")
            assert deployed.rc == 0 and json.loads(get(url)[1])["version"] == "2.0.0", deployed.output
            back = runs.play("zero.downtime.rollback")
            assert back.rc == 0 and json.loads(get(url)[1])["version"] == "1.0.0", back.output
        assert load.failures == [] and load.versions.keys() == {"1.0.0", "2.0.0"}
    finally:
        subprocess.run([*script, "down"], check=True, timeout=120)
    assert runs.leaks() == []


def test_a_canary_that_fails_more_often_is_withdrawn(switches: Runs, elb: Elb) -> None:
    canary = {"steps": [50, 100], "step_time": 10, "interval": 1, "warm_up": 0, "latency": "none"}
    bad = switches.play(
        "zero.downtime.deploy",
        deploy_release="4.0.0-errors",
        deploy_strategy="canary",
        deploy_canary=canary,
        deploy_evidence_rate=40,
    )
    assert bad.rc == 2 and elb.version() == "1.0.0" and "The canary fails more often" in bad.sentence, bad.output
    assert elb.weights(elb.listener_arn) == {"shop-blue": 100, "shop-green": 0}


def test_credentials_that_expire_half_way_leave_a_deploy_that_goes_back_with_new_ones(rolls: Runs, elb: Elb) -> None:
    # They expire right behind the first move: its members drain, and nobody may bring them back.
    elb.api.before("DeregisterTargets", elb.api.expire)
    with Load(elb.port, **LIGHT) as load:
        expired = rolls.play("zero.downtime.deploy", deploy_release="2.0.0")
        assert expired.rc == 2 and "the credentials have expired (ExpiredToken)" in expired.sentence, expired.output
        assert "Traceback" not in expired.output and "were deregistered in shop-blue before that" in expired.sentence
        elb.api.renew()
        back = rolls.play("zero.downtime.rollback")
        assert back.rc == 0 and releases() == ["1.0.0"] * 4, back.output
    assert load.failures == [] and list(elb.states("shop-blue").values()) == ["healthy"] * 4


@pytest.mark.claim("elbv2-drain-limit")
def test_what_cannot_work_is_refused_before_anything_moves(rolls: Runs, elb: Elb) -> None:
    short = rolls.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_drain_timeout=1)
    assert short.rc == 2 and "deploy_drain_timeout is 1" in short.sentence and elb.moves() == [], short.output
