# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._strategy import idle as _idle

NOW = 1_000_000.0
HOSTS = ["app1", "app2"]
OLD = {"digest": "o" * 64, "label": "1.0.0"}
NEW = {"digest": "n" * 64, "label": "2.0.0"}


def plan(keep=600, idle_for=60, verb="retire", holds=0):
    sides = {side: {"pools": ["shop_" + side], "hosts": {name: {"root": "/srv", "slot": side, "server": name, "service": {"unit": side}} for name in HOSTS}}
             for side in ("blue", "green")}
    return {"deploy_id": "me", "verb": verb, "lock": {"key": "me"}, "sides": sides,
            "retire": {"keep": keep, "idle_for": idle_for, "at_end": False, "holds": holds}}


def balancer(green=100, kept=None, idle_s=100.0, in_flight=0, state="active", requests=7):
    split = {"blue": 100 - green, "green": green, "kept": {"blue": 100 - green, "green": green} if kept is None else kept}
    return {"split": split, "pools": [
        {"name": "shop_blue", "requests": requests, "idle_s": idle_s, "members": [{"name": name, "state": state, "in_flight": in_flight} for name in HOSTS]},
        {"name": "shop_green", "requests": 99, "idle_s": 0.0, "members": [{"name": name, "state": "active", "in_flight": 3} for name in HOSTS]}]}


def host(settled="activated", old=True):
    return {"slots": {"blue": {"active": OLD if old is True else old, "settled": settled}, "green": {"active": NEW, "settled": "activated"}}}


def keeper(age=1000.0, shares=None, lock=None, journal=(), clock=5.0):
    """A state host, whose clock is not this one's."""
    return {"now": clock + age, "shares": {"shares": shares or {"blue": 0, "green": 100}, "since": clock, "deploy_id": "d0"} if age is not None else None,
            "lock": lock, "journal": list(journal)} if age is not None else {"now": clock, "shares": None, "lock": lock, "journal": list(journal)}


def look(the_plan=None, lb1=None, lb2=None, state=None, hosts=None):
    return _idle.look(the_plan or plan(), hosts or dict.fromkeys(HOSTS, host()), {"lb1": lb1 or balancer(), "lb2": lb2 or balancer()},
                      {"lb1": state or keeper(), "lb2": keeper(1001.0)}, NOW)


@pytest.mark.claim("bg-retire-only-when-due")
def test_its_time_has_come():
    found = look()
    assert found["due"] and found["why"] == [] and found["side"] == "blue" and found["serving"] == "green" and found["release"] == OLD
    assert found["state"] == "warm" and found["since"] == NOW - 1000 and found["requests"] == 14 and found["in_flight"] == 0
    assert found["sentence"] == "blue is idle and has 1.0.0, warm, since 1970-01-12 13:30:00 UTC; it may be stopped now"
    assert found["shares"] == {"blue": 0, "green": 100}


@pytest.mark.claim("bg-retire-says-when")
def test_it_is_kept_for_a_while_and_says_until_when():
    found = look(plan(keep=3600))
    assert not found["due"] and found["why"] == [] and found["wait"] == 2600 and found["when"] == NOW + 2600
    assert found["sentence"].endswith("it may be stopped from 1970-01-12 14:30:00 UTC on, if nobody asks it until then")


def test_the_last_request_counts_whichever_balancer_it_came_from():
    found = look(lb2=balancer(idle_s=50.0))
    assert not found["due"] and found["wait"] == 10 and found["why"] == []


@pytest.mark.claim("bg-retire-conditions", "bg-retire-unknown-keeps-warm")
@pytest.mark.parametrize("changes, words", [
    ({"the_plan": plan(keep=None)}, "deploy_keep_previous is not set"),
    ({"lb1": balancer(in_flight=1)}, "blue has 2 requests in flight"),
    ({"lb1": balancer(in_flight=None)}, "what blue still answers cannot be counted"),
    ({"lb1": {**balancer(), "pools": [{**balancer()["pools"][0], "uncountable": "this user may not see it",
                                       "members": [{"name": "app1", "state": "active", "in_flight": None}]}]}},
     "what blue still answers cannot be counted: this user may not see it$"),
    ({"lb1": balancer(idle_s=None)}, "no balancer can tell when blue got its last request"),
    ({"lb1": balancer(green=95)}, "balancer lb1 sends 5 % of the requests to blue"),
    ({"lb2": balancer(kept={"blue": 100, "green": 0})}, "balancer lb2 would send 100 % of the requests to blue after a reload"),
    ({"lb1": {**balancer(), "split": None}}, "balancer lb1 cannot tell which side serves"),
    ({"lb1": {"failed": True, "msg": "it is on fire"}}, "balancer lb1: it is on fire"),
    ({"state": {"failed": True, "msg": "the disk is gone"}}, "state host lb1: the disk is gone"),
    ({"state": keeper(lock={"deploy_id": "d9", "holder": {"verb": "deploy"}})}, "deploy d9 of an unknown user .* has the lock"),
    ({"state": keeper(journal=[{"deploy_id": "d8", "state": "drained"}])}, "a deploy before did not end"),
])
def test_what_is_in_the_way_is_named(changes, words):
    found = look(**changes)
    assert not found["due"] and found["when"] is None
    assert any(re.match(words, text) for text in found["why"]), found["why"]


def test_a_side_that_gets_requests_is_not_called_idle():
    assert look(lb1=balancer(green=60))["sentence"].startswith("blue has 1.0.0, warm, and gets some of the requests"), look(lb1=balancer(green=60))["sentence"]
    assert look()["sentence"].startswith("blue is idle and has 1.0.0, warm")


def test_one_that_died_while_it_stopped_the_side_is_not_in_the_way():
    found = look(state=keeper(lock={"deploy_id": "d9", "holder": {"verb": "retire"}}))
    assert found["due"] and found["left"] and not look()["left"] and not look(state=keeper(lock={"deploy_id": "me", "holder": {"verb": "retire"}}))["left"]


def test_the_journal_of_a_deploy_that_is_at_its_end_is_its_own():
    assert look(plan(verb="deploy"), state=keeper(lock={"deploy_id": "me"}, journal=[{"deploy_id": "d8", "state": "drained"}, {"deploy_id": "me"}]))["due"]


def test_a_switch_that_nobody_wrote_down_counts_from_now():
    other = {"blue": 100, "green": 0}
    found = _idle.look(plan(), dict.fromkeys(HOSTS, host()), {"lb1": balancer()}, {"lb1": keeper(shares=other)}, NOW)
    assert found["begin"] and not found["due"] and found["since"] is None and found["wait"] == 600
    assert "since when is not known, so its time counts from the first run of ansible-playbook zero.downtime.retire" in found["sentence"]
    # Where nothing is kept, it does not matter.
    at_once = _idle.look(plan(keep=0), dict.fromkeys(HOSTS, host()), {"lb1": balancer()}, {"lb1": keeper(age=None)}, NOW)
    assert at_once["due"] and not at_once["begin"]


def test_a_side_that_others_may_still_know_is_not_stopped_where_nobody_knows_since_when_they_are_told():
    def found(state, holds=300):
        return _idle.look(plan(keep=0, holds=holds), dict.fromkeys(HOSTS, host()), {"lb1": balancer()}, {"lb1": state}, NOW)

    unknown = found(keeper(age=None))
    assert not unknown["due"] and not unknown["begin"] and unknown["why"] == ["since when others are told that green serves is not known"]
    assert found(keeper())["due"] and found(keeper(age=None), 0)["due"]


@pytest.mark.claim("bg-status-tells-the-idle-side")
@pytest.mark.parametrize("settled, state, expected", [
    ("stopped", "down", "stopped"), ("activated", "down", "down"), ("stopped", "active", "warm"), ("activated", "drained", "warm")])
def test_warm_or_stopped(settled, state, expected):
    found = look(lb1=balancer(state=state), lb2=balancer(state=state), hosts=dict.fromkeys(HOSTS, host(settled)))
    assert found["state"] == expected
    assert ("a rollback starts it" in found["sentence"]) is (expected == "stopped")


def test_half_of_it_is_stopped():
    half = balancer()
    half["pools"][0]["members"][0]["state"] = "down"
    found = look(lb1=half, lb2=half, hosts={"app1": host("stopped"), "app2": host()})
    assert found["state"] == "warm on 1 of 2 members" and found["due"]


def test_a_side_without_a_release():
    found = look(hosts=dict.fromkeys(HOSTS, host(old=None)))
    assert found["state"] == "empty" and not found["due"] and found["sentence"] == "blue is idle and has no release"


def test_the_places_of_its_members():
    assert _idle.slots(plan(), "blue")[0] == {"name": "app1", "root": "/srv", "slot": "blue", "service": {"unit": "blue"}}


@pytest.mark.parametrize("idle, stopped, problem, words", [
    ({"side": "blue", "state": "warm", "due": True}, {"changed": True}, "", "; blue was stopped, and a rollback starts it again."),
    ({"side": "blue", "state": "stopped"}, {"skipped": True}, "", "; blue is stopped already."),
    ({"side": "blue", "state": "warm", "why": ["blue has 1 request in flight"]}, {"skipped": True}, "",
     "; blue was not stopped: blue has 1 request in flight."),
    ({"side": "blue", "state": "warm", "why": [], "idle_s": 3.0}, {"skipped": True}, "",
     "; blue was not stopped: it got a request 3 s ago, so it would have been too early."),
    ({"side": "blue", "state": "warm", "due": True}, {"failed": True}, "app1: systemctl failed.",
     "; blue was not stopped on every member: app1: systemctl failed."),
    ({"side": "blue", "state": "warm", "due": True}, {"changed": True}, "3 requests came to blue", "; blue was stopped, but 3 requests came to blue."),
    ({}, {"skipped": True}, "lb1 is gone", "; the idle side was not stopped: lb1 is gone."),
    ({"side": "blue", "state": "empty"}, {"skipped": True}, "", "."),
])
def test_what_became_of_it_is_told_and_is_no_failure(idle, stopped, problem, words):
    found = _idle.retired({"result": "succeeded", "sentence": "Deploy of shop: 2.0.0 serves."}, idle, stopped, problem)
    assert found == {"result": "succeeded", "sentence": "Deploy of shop: 2.0.0 serves" + words}
