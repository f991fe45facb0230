# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSockets and event streams through a deploy on the local stage, beside ordinary requests.

Their clients reconnect and say what they have seen last, and the application ends its streams itself when it is
stopped. So with `deploy_streams: ask` no message is lost, and what a deploy costs that does not ask can be counted.
"""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from haproxy_stage import ask, wait_until
from sides import BLUE_GREEN, URL, traffic
from stream_clients import moved
from under_load import Load, Streams

import layout

OLD, NEW = "1.0.0", "2.0.0"
EACH = 6
CLIENTS = 2 * EACH
# What lasts longer is a stream: the slowest request of the load, a POST, takes a quarter of a second.
TRAFFIC = traffic(slowest_request=2)
# No drain may come near it: a deploy that waited for it would not end before its test does.
FAR = 3600


class Deploy(t.NamedTuple):
    """A deploy of the new release under streams and requests: how it ended, and what became of both."""

    played: t.Any
    load: dict[str, t.Any]
    report: dict[str, t.Any]
    record: dict[str, t.Any]

    @property
    def streams(self) -> dict[str, t.Any]:
        return self.report["summary"]

    @property
    def lost(self) -> list[int]:
        """Messages of the server that never came, and of the clients that nobody knows of."""
        return [self.streams["server_messages"]["missing"], self.streams["client_messages"]["unknown"]]


def deploy(side, *options: str, stays: str = NEW, **variables: t.Any) -> Deploy:
    """C(stays) is the release on which every client is in the end."""
    each = ["--sockets", str(EACH), "--events", str(EACH), "--settle", stays]
    with Load([URL], side.path) as load, Streams(URL, side.path, *each, *options) as streams:
        played = side.stage.play("zero.downtime.deploy", deploy_release=NEW, deploy_traffic=TRAFFIC, **variables)
    assert played.rc == 0, played.output
    return Deploy(played, load.report, streams.report, side.record())


def asked_for_nothing_to_be_lost(found: Deploy) -> None:
    assert found.load["failed"] == 0, found.load["failures"]
    assert found.streams["cut"] == 0 and found.lost == [0, 0], found.streams
    # Whatever was sent is counted, unless its client was still waiting for its next stream when all was over.
    messages = found.streams["client_messages"]
    assert 0 < messages["counted"] and messages["sent"] == messages["counted"] + messages["owed"], messages
    # Nobody stayed, and each was told so: a close frame with 1001, or the end of the answer.
    ends = found.streams["ends"]
    assert found.streams["versions"] == {NEW: CLIENTS} and ends["closed 1001"] >= EACH <= ends["closed"], found.streams
    assert set(ends) == {"closed 1001", "closed", "left 1000", "left"}, ends
    assert moved(found.report, NEW, found.report["command"]["started"]) > 0
    balance = found.record["evidence"]["balance"]
    assert found.record["result"] == "succeeded" and (balance["cut"], balance["unanswered"]) == (0, 0), balance
    # The deploy has counted what its clients saw.
    assert balance["streams_asked"] == ends["closed 1001"] + ends["closed"], (balance, ends)
    assert "no request was lost" in found.played.sentence, found.played.sentence


@pytest.mark.claim("asked-streams-lose-no-message")
def test_a_roll_that_asks_loses_no_message_of_a_stream_and_waits_for_no_limit(side):
    found = deploy(side, deploy_streams="ask", deploy_drain_timeout=FAR)
    asked_for_nothing_to_be_lost(found)
    assert all(layout.member_processes(member, "blue") for member in layout.MEMBERS)


@pytest.mark.claim("naive-roll-loses-messages")
def test_the_naive_roll_cuts_streams_at_the_limit_and_their_messages_are_lost(side):
    """What the same stage does by default: streams are waited for like requests, until the limit."""
    # A client that mostly has something under way.
    found = deploy(side, "--pace", "0.01", deploy_drain_timeout=4, deploy_drain_timeout_action="cut")
    assert found.streams["cut"] >= CLIENTS and found.streams["client_messages"]["unknown"] > 0, found.streams
    assert set(found.streams["versions"]) == {NEW}, found.streams


@pytest.mark.claim("cut-streams-are-counted")
def test_a_roll_that_cuts_counts_what_it_cut(side):
    found = deploy(side, deploy_streams="cut", deploy_drain_timeout=FAR)
    assert found.streams["cut"] >= CLIENTS and found.streams["versions"] == {NEW: CLIENTS}, found.streams
    assert found.record["evidence"]["balance"]["cut"] == found.streams["cut"], found.record["evidence"]["balance"]
    assert found.load["failed"] == 0 and f"{found.streams['cut']} more cut on purpose" in found.played.sentence


@pytest.mark.claim("asked-streams-lose-no-message")
def test_a_switch_that_asks_ends_the_streams_of_the_old_side_and_leaves_it_warm(side):
    found = deploy(side, **{**BLUE_GREEN, "deploy_streams": "ask", "deploy_drain_timeout": FAR})
    asked_for_nothing_to_be_lost(found)
    steps = [step["name"] for step in found.record["steps"]]
    # Nobody is asked to leave a side before the other one has proven itself.
    assert steps.index("switch") < len(steps) - 1 - steps[::-1].index("verify") < steps.index("streams"), steps
    assert "blue keeps 1.0.0 warm" in found.played.sentence, found.played.sentence
    assert all(layout.member_processes(member, "blue") for member in layout.MEMBERS)


def test_a_switch_leaves_streams_where_they_are_by_default(side):
    """They last for as long as their clients like, and the old side with them."""
    found = deploy(side, stays=OLD, **BLUE_GREEN)
    assert found.streams["versions"] == {OLD: CLIENTS} and found.streams["cut"] == 0 and found.lost == [0, 0], found.streams


@pytest.mark.claim("hook-end-streams")
def test_a_hook_that_ends_streams_is_told_how_many_are_left_on_which_members(side):
    told, hook = side.path / "told", side.path / "end_streams.yml"
    service = f"{layout.REPO}/tests/stage/service"
    tasks = [{"name": "Tell the application", "loop": "{{ streams_left | dict2items }}", "changed_when": True,
              "ansible.builtin.shell": f"{service} stop {{{{ item.key }}}} blue && echo {{{{ item.key }}}} {{{{ item.value }}}} >> {told}"}]
    hook.write_text(json.dumps(tasks), encoding="utf-8")
    # With a hook of the members' own, every batch is theirs, too; this one is still the controller's.
    after = side.path / "after_activate.yml"
    after.write_text(json.dumps([{"name": "Say it", "ansible.builtin.debug": {"msg": "activated"}}]), encoding="utf-8")
    found = deploy(side, deploy_streams="ask", deploy_drain_timeout=FAR, deploy_hooks={"end_streams": str(hook), "after_activate": str(after)})
    asked_for_nothing_to_be_lost(found)
    lines = [line.split() for line in told.read_text(encoding="utf-8").splitlines()]
    assert {name for name, _count in lines} <= set(layout.MEMBERS) and sum(int(count) for _name, count in lines) >= CLIENTS
    assert found.record["evidence"]["balance"]["streams_asked"] == sum(int(count) for _name, count in lines)


def test_streams_that_do_not_end_when_they_are_asked_take_the_deploy_back_at_the_limit(side):
    hook = side.path / "end_streams.yml"
    hook.write_text("- name: Tell nobody\n  ansible.builtin.debug:\n    msg: nothing\n", encoding="utf-8")
    with Streams(URL, side.path, "--sockets", "4", "--events", "0") as streams:
        played = side.stage.play("zero.downtime.deploy", deploy_release=NEW, deploy_traffic=TRAFFIC, deploy_streams="ask", deploy_drain_timeout=3,
                                 deploy_batches=[4], deploy_min_active=0, deploy_hooks={"end_streams": str(hook)})
    assert played.rc == 2 and "after 3 s not drained" in played.sentence and "4 of 4 members serve" in played.sentence, played.sentence
    assert streams.report["summary"]["versions"] == {OLD: 4}, streams.report["summary"]
    assert side.record()["result"] == "rolled_back"


@pytest.mark.claim("killed-before-its-streams-ended")
@pytest.mark.parametrize("soak", [0, 20], ids=["while streams end", "before anybody was asked"])
def test_who_ends_a_deploy_that_was_killed_behind_its_switch_ends_the_streams(side, soak):
    options = {**BLUE_GREEN, "deploy_streams": "ask", "deploy_drain_timeout": FAR, "deploy_traffic": TRAFFIC, "deploy_release": NEW, "deploy_soak": soak}
    with Streams(URL, side.path, "--sockets", str(EACH), "--events", str(EACH)) as streams:
        process = side.stage.start("zero.downtime.deploy", **options)
        out = r"^\d+ shop_blue \d+ app1 \S+ \d+ [1-9]"
        wait_until(lambda: side.shares()[0] == "100" and (soak or re.search(out, ask(side.stage.socket(), "show servers state shop_blue"), re.MULTILINE)),
                   "the switch is made, and without a soak blue is out", timeout=60)
        process.kill()
        process.wait(10)
        told = side.stage.play("zero.downtime.status")
        assert told.rc == 2 and f" -e deploy_release={NEW} -e deploy_strategy=blue_green -e deploy_streams=ask goes on with it" in told.sentence, told.output
        played = side.stage.play("zero.downtime.deploy", **options)
    assert played.rc == 0 and "2.0.0 serves already, on green: the deploy to 2.0.0 (" in played.sentence, played.output
    assert streams.report["summary"]["versions"] == {NEW: CLIENTS} and streams.report["summary"]["cut"] == 0, streams.report["summary"]
    assert not re.search(out, ask(side.stage.socket(), "show servers state shop_blue"), re.MULTILINE), "blue is warm"


def test_a_hook_that_fails_behind_a_switch_is_told_and_takes_nothing_back(side):
    hook = side.path / "end_streams.yml"
    hook.write_text(json.dumps([{"name": "Tell nobody", "ansible.builtin.command": "/bin/false", "changed_when": False}]), encoding="utf-8")
    with Streams(URL, side.path, "--sockets", "2", "--events", "0"):
        played = side.play("deploy", deploy_release=NEW, deploy_traffic=TRAFFIC, deploy_streams="ask", deploy_drain_timeout=FAR,
                           deploy_hooks={"end_streams": str(hook)})
    assert played.rc == 0 and "2.0.0 serves on green (4 of 4 members); blue keeps 1.0.0 warm" in played.sentence, played.output
    assert f"Not every stream was ended: the hook end_streams ({hook}) failed at its task 'Tell nobody': " in played.sentence, played.sentence
    assert side.shares() == ("100", "100")
    record = side.record()
    assert not [step["name"] for step in record["steps"] if step["name"].startswith("back_")] and record["result"] == "succeeded"
    assert not re.search(r"^\d+ shop_blue \d+ app\d \S+ \d+ [1-9]", ask(side.stage.socket(), "show servers state shop_blue"), re.MULTILINE), "blue is warm"
