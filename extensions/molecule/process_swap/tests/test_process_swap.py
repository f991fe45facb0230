# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way to swap a process: nothing lost over two swaps, a bad release and a restart; only a held socket without a second unit pauses, and says so."""

from __future__ import annotations

import re

import pytest


def test_no_request_was_lost(stage):
    assert stage.load["failed"] == 0, stage.load["losses"]
    # Both processes accept: until the bad one is found not to be ready, it answers what it happens to get.
    assert stage.load["sent"] > 100 and {"1.0.0", "2.0.0"} <= set(stage.load["versions"]) <= {"1.0.0", "2.0.0", "3.0.0-bad"}
    assert stage.load["streams"].keys() >= {"fresh", "keepalive", "post"}


def told(stage, environment):
    return [(record["result"], record["evidence"]["probe"]["failed"]) for record in stage.records if record["environment"] == environment]


def test_each_deploy_says_the_same(stage):
    # The first release, 2.0.0, the bad one, the rollback and the restart.
    assert told(stage, "molecule") == [("succeeded", 0), ("succeeded", 0), ("rolled_back", 0), ("succeeded", 0), ("succeeded", 0)]
    # The first release, 2.0.0 and the rollback.
    assert told(stage, "slots") == [("succeeded", 0)] * 3


def test_the_bad_release_never_took_over(stage):
    text = " ".join(stage.output.split())
    # On the host with the sockets the second unit was asked, on the other one the port.
    assert re.search(r"release 3\.0\.0-bad \(\w+\) did not take over: http://127\.0\.0\.1:9001/ready \(deploy_service\.ready_url\) answered 'status 503", text)
    assert re.search(r"release 3\.0\.0-bad \(\w+\) did not take over: after 8 s the new release has not answered through the port", text)
    assert len(re.findall(r"release 2\.0\.0 \(\w+\) goes on serving", text)) >= 2


@pytest.mark.claim("swap-without-overlap-tells-the-pause")
def test_a_held_socket_alone_costs_a_pause_and_tells_it(stage):
    found = re.search(r"swap\.service was restarted behind its held socket, with no errors, (\d+) ms pause", " ".join(stage.output.split()))
    assert found and int(found[1]) > 50


def test_the_second_unit_ran_during_swaps_only(stage):
    assert (stage.results / "units").read_text(encoding="utf-8").split() == ["active", "inactive"]


def test_the_idle_slot_keeps_its_release(stage):
    assert "1.0.0 serves on blue (1 of 1 members); green keeps 2.0.0 warm" in " ".join(stage.output.split())
