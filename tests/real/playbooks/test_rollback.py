# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback by somebody in a hurry, who names neither strategy nor release: it finds out by itself what was left, and
brings serving back."""

from __future__ import annotations

import re
import sys
import typing as t

import playing
import pytest
from haproxy_stage import ask, wait_until
from held import events
from sides import BLUE_GREEN, URL, Side, traffic, version
from under_load import Streams

sys.path.insert(0, str(playing.REPO / "tests" / "stage"))

import layout  # noqa: E402  pylint: disable=wrong-import-position
import stage as stage_code  # noqa: E402  pylint: disable=wrong-import-position

CANARY = {"deploy_strategy": "canary", "deploy_canary": {
    "steps": [50, 100], "step_time": 3, "interval": 1, "warm_up": 0, "deadline": 300, "latency": "none"}}
# The default strategy is rolling, and these members' first release is theirs alone.
PLAIN = {"deploy_soak": 0, "deploy_evidence_rate": 20}
COMMAND = "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=blue_green"


def rollback(side: Side, *args: str, **variables: t.Any) -> playing.Played:
    return side.stage.play("zero.downtime.rollback", *args, **{**PLAIN, **variables})


def killed(side: Side, green: str, **variables: t.Any) -> None:
    """A deploy to green whose controller dies once green has that share of the requests."""
    log = side.path / "killed.log"
    with open(log, "wb") as output:
        options = {**BLUE_GREEN, "deploy_release": "2.0.0", **variables}
        process = side.stage.start("zero.downtime.deploy", output=output, **options)
        try:
            wait_until(lambda: side.shares()[0] == green or process.poll() is not None, f"green has {green} %",
                       timeout=120)
            assert process.poll() is None, log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait(30)


def killed_and_ended(side: Side, verb: str, begun: t.Callable[[], bool], **variables: t.Any) -> playing.Played:
    """C(verb) dies at C(begun), and the same command once more ends it."""
    log = side.path / "killed.log"
    with open(log, "wb") as output:
        process = side.stage.start(f"zero.downtime.{verb}", output=output, **variables)
        try:
            wait_until(lambda: begun() or process.poll() is not None, f"{verb} is where it is to die", timeout=120)
            assert process.poll() is None, log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait(30)
    played = side.stage.play(f"zero.downtime.{verb}", **variables)
    assert played.rc == 0, played.output
    return played


def ended_behind_its_switch(side: Side, verb: str, there: str, left: str, begun: t.Callable[[], bool], **variables: t.Any) -> None:
    """C(verb) dies behind its switch to the side C(there), at C(begun), and the same command once more ends it."""
    played = killed_and_ended(side, verb, begun, **variables)
    assert f" serves already, on {there}: the {verb} to " in played.sentence, played.output
    assert f"had not ended, and is ended now; {left} keeps " in played.sentence, played.sentence
    # Nobody knows here what was answered since the switch, and it was not nothing.
    assert "has answered no request" not in played.sentence, played.sentence
    assert side.stage.play("zero.downtime.status").rc == 0


def out(side: Side, slot: str) -> bool:
    """Whether the first member is out of traffic on that side."""
    rows = ask(side.stage.socket(), f"show servers state shop_{slot}")
    return bool(re.search(rf"^\d+ shop_{slot} \d+ app1 \S+ \d+ [1-9]", rows, re.MULTILINE))


def die(side: Side, slot: str, *members: str) -> None:
    """Let these members' processes die, and the balancer see it."""
    stage_code.end(lambda: [process for member in members for process in layout.member_processes(member, slot)],
                   kindly=False)
    wait_until(lambda: {row[1] for row in side.stage._rows(f"shop_{slot}") if row[17].startswith("DOWN")} >= set(members),
               "the balancer has them down")


@pytest.mark.claim("rollback-knows-the-strategy")
def test_after_a_switch_whose_deploy_was_killed_and_whose_release_died(side):
    killed(side, "100", deploy_soak=300)
    die(side, "green", *layout.MEMBERS)
    # Somebody who insists on another strategy is told which one it was, and what to run.
    refused = rollback(side, deploy_strategy="rolling")
    assert refused.rc == 2 and "deploy_strategy is 'rolling'" in refused.sentence, refused.output
    assert "by blue_green" in refused.sentence and COMMAND in refused.sentence, refused.sentence
    back = rollback(side)
    assert back.rc == 0 and "1.0.0 serves on blue (4 of 4 members)" in back.sentence, back.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"


@pytest.mark.claim("rollback-after-a-dead-canary")
def test_after_a_canary_whose_controller_died(side):
    killed(side, "50", **CANARY)
    seen = side.stage.play("zero.downtime.status")
    assert seen.rc == 2 and "ansible-playbook zero.downtime.rollback -e deploy_app=shop" in seen.sentence, seen.output
    back = rollback(side)
    assert back.rc == 0 and "every request goes to blue again, which serves 1.0.0" in back.sentence, back.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"
    assert side.stage.play("zero.downtime.status").rc == 0


@pytest.mark.claim("second-rollback-undoes-nothing")
def test_after_a_switch_that_ended_well_and_after_that_rollback(side):
    there = side.play("deploy", deploy_release="2.0.0", deploy_evidence_rate=2)
    assert there.rc == 0 and "; what serves now has answered " in there.sentence, there.output
    back = rollback(side)
    assert back.rc == 0 and "1.0.0 serves on blue (4 of 4 members); green keeps 2.0.0 warm" in back.sentence, back.output
    again = rollback(side)
    assert again.rc == 0 and "1.0.0 serves already, on blue, and nothing was moved" in again.sentence, again.output
    assert COMMAND + " -e deploy_release=2.0.0 would undo that" in again.sentence, again.sentence
    assert side.shares() == ("0", "0") and version() == "1.0.0"

    # What it went back to dies, all of it: its release is brought to the other side.
    die(side, "blue", *layout.MEMBERS)
    alive = rollback(side)
    assert alive.rc == 0 and "1.0.0 serves on green (4 of 4 members)" in alive.sentence, alive.output
    assert side.shares() == ("100", "100") and version() == "1.0.0"


@pytest.mark.claim("check-counts-who-comes-back", "doctor-with-a-dead-member", "status-begins-the-dead-anew")
def test_members_that_died_are_begun_anew_by_a_rolling_rollback_and_by_the_same_deploy(side):
    rolling = {"deploy_batches": [2]}
    assert side.stage.play("zero.downtime.deploy", deploy_release="2.0.0", **PLAIN, **rolling).rc == 0
    die(side, "blue", "app2")
    before = side.stage.seen()
    begins = "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_strategy=rolling -e deploy_release=2.0.0"
    status = side.stage.play("zero.downtime.status")
    assert status.rc == 2 and status.sentence == f"member app2 is out of traffic (down), and nobody took it out; {begins} begins it anew", status.output
    doctor = side.stage.play("zero.downtime.doctor")
    assert doctor.rc == 0 and doctor.sentence == "ready for rolling, blue_green, canary", doctor.output
    told = [line for line in doctor.output.splitlines() if line.startswith("⚠")]
    assert told == ["⚠ health, app2: does not serve now (127.0.0.1:8102 refused the connection); a deploy, rollback or restart on its side begins it anew"]
    assert f"\n    {begins.replace(' -e deploy_app=shop', '')}  # begins it anew\n    ansible app2 -m ansible.builtin.command -a " in doctor.output
    assert "✓ leftovers: beside app2, which does not serve, no member is out of traffic, and nothing is half done" in doctor.output, doctor.output
    tight = {"deploy_release": "1.0.0", "deploy_min_active": 3, "deploy_batches": [2]}
    floor = side.stage.play("zero.downtime.doctor", deploy_min_active=3)
    assert floor.rc == 0, floor.output
    assert "⚠ floor: pool shop_blue on lb1: 3 of 4 serve, and 3 have to (deploy_min_active 3); a deploy begins app2 anew first" in floor.output
    foretold = side.stage.play("zero.downtime.deploy", "--check", **PLAIN, **tight)
    assert foretold.rc == 0 and side.stage.seen() == before, foretold.output
    assert "  batch 1: app2 (app2 does not serve now, and is begun anew): " in foretold.output, foretold.output
    assert foretold.sentence == ("Deploy of shop would move 4 of 4 members to 1.0.0, and begin app2 anew, which does not serve; "
                                 "nothing has been changed."), foretold.output
    again = side.stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_strategy="rolling", **PLAIN, **rolling)
    assert again.rc == 0 and "app2 was begun anew with 2.0.0, since it did not serve, and nobody else was moved" in again.sentence, again.output
    die(side, "blue", *layout.MEMBERS)
    doctor = side.stage.play("zero.downtime.doctor")
    assert doctor.rc == 0 and "no member serves yet" not in doctor.output, doctor.output
    assert "⚠ floor: no member serves now, so there is no floor to keep; a deploy begins app1, app2, app3, app4 anew first\n" in doctor.output
    back = rollback(side, deploy_release="2.0.0")
    assert back.rc == 0 and "app1, app2, app3, app4 were begun anew with 2.0.0, since they did not serve" in back.sentence, back.output
    assert version() == "2.0.0" and side.stage.play("zero.downtime.status").rc == 0


@pytest.mark.claim("bg-killed-is-remembered")
@pytest.mark.parametrize("strategy", ["blue_green", "canary"])
def test_a_deploy_that_was_killed_behind_its_switch_and_ended_is_undone_by_one_switch(side, strategy):
    options = {**(CANARY if strategy == "canary" else BLUE_GREEN), "deploy_release": "1.0.0", "deploy_soak": 10, "deploy_evidence_rate": 20}
    # What it came from is no first release of its side, and a rolling rollback would not find it.
    assert side.stage.play("zero.downtime.deploy", deploy_release="2.0.0", **PLAIN).rc == 0
    ended_behind_its_switch(side, "deploy", "green", "blue", lambda: side.shares() == ("100", "100"), **options)
    back = rollback(side)
    assert back.rc == 0 and "2.0.0 serves on blue (4 of 4 members); green keeps 1.0.0 warm" in back.sentence, back.output
    assert side.shares() == ("0", "0") and version() == "2.0.0"


@pytest.mark.claim("bg-killed-is-remembered", "bg-killed-rollback-is-remembered")
def test_a_deploy_and_its_rollback_that_were_killed_while_streams_ended_are_what_they_were_to_be(side):
    """The side left behind is out of traffic then, and who ends the deploy or rollback brings it back."""
    assert side.stage.play("zero.downtime.deploy", deploy_release="2.0.0", **PLAIN).rc == 0
    options = {**BLUE_GREEN, "deploy_streams": "ask", "deploy_drain_timeout": 3600, "deploy_traffic": traffic(slowest_request=2)}
    with Streams(URL, side.path, "--sockets", "4", "--events", "4"):
        ended_behind_its_switch(side, "deploy", "green", "blue", lambda: out(side, "blue"), **options, deploy_release="1.0.0")
        assert version() == "1.0.0" and not out(side, "blue")
        ended_behind_its_switch(side, "rollback", "blue", "green", lambda: out(side, "green"), **options)
        assert version() == "2.0.0" and not out(side, "green")
    again = rollback(side)
    assert again.rc == 0 and "2.0.0 serves already, on blue, and nothing was moved" in again.sentence, again.output
    assert COMMAND + " -e deploy_release=1.0.0 would undo that" in again.sentence, again.sentence
    assert side.shares() == ("0", "0") and version() == "2.0.0"


def test_a_rolling_deploy_and_its_rollback_that_were_killed_behind_their_last_batch_are_what_they_were_to_be(side):
    variables = {"deploy_soak": 10, "deploy_evidence_rate": 20, "deploy_batches": [2]}

    def ended_behind_its_batch(verb: str, **more: t.Any) -> playing.Played:
        records = side.path / verb

        def is_behind() -> bool:
            return ("return", "finished", 2) in [(event["step"], event["event"], event.get("batch")) for event in events(records)]

        return killed_and_ended(side, verb, is_behind, **variables, **more, deploy_records_dir=str(records))

    ended = ended_behind_its_batch("deploy", deploy_release="2.0.0")
    assert "4 of 4 members were moved to 2.0.0" in ended.sentence, ended.sentence
    ended = ended_behind_its_batch("rollback")
    assert "4 of 4 members were moved to 1.0.0" in ended.sentence and version() == "1.0.0", ended.sentence
    again = rollback(side)
    assert again.rc == 2 and "1.0.0 serves already: it was gone back to from 2.0.0, and nothing ran there before it" in again.sentence, again.output
    assert version() == "1.0.0" and side.stage.play("zero.downtime.status").rc == 0


def test_requests_on_both_sides_that_no_journal_knows_of_go_where_a_person_says(side):
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    ask(side.stage.socket(), f"set map {side.split} shop 30")
    refused = rollback(side)
    command = "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=blue_green -e deploy_side=blue"
    assert refused.rc == 2 and f"{command} brings all of them to blue" in refused.sentence, refused.output
    back = rollback(side, deploy_strategy="blue_green", deploy_side="blue")
    assert back.rc == 0 and "every request goes to blue again, which serves 1.0.0" in back.sentence, back.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"
