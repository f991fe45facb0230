# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of two balancers is dead before a deploy, or hangs. (In the middle of one: test_two_balancers.)"""

from __future__ import annotations

import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import pair as pairs  # noqa: E402
from cases import Case, try_all  # noqa: E402

SERVING = "2 0"


@pytest.fixture
def pair(stage):
    found = pairs.Pair(stage)
    try:
        yield found
    finally:
        found.stop()


def refused(stage, pair, directory, words):
    """Each C(deploy_without) is refused with these words, and nothing has been changed."""
    cases = {without: Case({**pair.variables, "deploy_without": [name for name in without.split(",") if name]}, said, "restart.yml")
             for without, said in words.items()}
    for without, told in try_all(stage, directory, cases, "-i", str(pair.inventory)).items():
        assert told.failed and all(said in told.sentence for said in words[without]), told.sentence


@pytest.mark.claim("without-a-dead-balancer")
def test_one_that_is_dead_is_left_out_only_when_asked_for_and_proven(stage, pair, tmp_path):
    refused(stage, pair, tmp_path, {
        f"lb2:{pairs.PORT}": ["deploy_without names lb2, but its balancer answers"],
        "lb3": ["deploy_without is 'lb3', which is no balancer of this application; lb1, lb2 are"],
        "lb1,lb2:81": ["which leaves no balancer"],
    })
    pair.kill()
    refused(stage, pair, tmp_path, {
        "": ["lb2", "where nothing listens", "-e deploy_without=lb2 goes on without it"],
        # The port of the public address is lb1's on this machine, and lb1 serves.
        "lb2": ["127.0.0.1:8080 takes connections, so it may serve"],
    })
    assert pair.state_files("lb1") == []

    gone_on = pair.play("zero.downtime.restart", deploy_without=f"lb2:{pairs.PORT}", deploy_batches=[2])
    assert gone_on.rc == 0, gone_on.output
    assert "lb2 does not serve, and the deploy goes on without it" in gone_on.output
    assert pair.states("lb1") == [SERVING] * 4
    assert pair.state_files("lb1") == ["local-shop.without"]
    status = pair.play("zero.downtime.status")
    assert status.rc == 2 and "went on without it" in status.sentence, status.output

    pair.start()
    back = pair.play("zero.downtime.status")
    assert back.rc == 0, back.output
    # Whatever comes next is a deploy on both again.
    assert pair.play("zero.downtime.deploy", deploy_release="1.0.0").rc == 0
    assert pair.state_files("lb1") == [] == pair.state_files("lb2")


@pytest.mark.claim("dead-balancer-stops-before-moves")
def test_a_balancer_that_hangs_is_named_in_time(stage, pair):
    before = stage.seen()
    (pair.dir / "lb2" / "hang").touch()
    began = time.monotonic()
    played = pair.play("zero.downtime.restart", "--timeout", "3")
    assert played.rc == 2, played.output
    assert ("balancer lb2 cannot be reached: it gave no answer within 10 s; if it is known to be dead, "
            f"ansible-playbook -i inventories/local -i {pair.inventory} zero.downtime.restart -e deploy_app=shop "
            "-e deploy_without=lb2 goes on") in played.sentence
    # What it says, and no more than Ansible itself takes on a slow machine.
    assert time.monotonic() - began < 200
    assert stage.seen() == before
