# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._strategy import blue_green as _blue_green

HOSTS = ["app1", "app2", "app3"]


def release(letter):
    return letter and {"digest": letter * 64, "label": letter}


def plan(**changes):
    return {"verb": "deploy", "release": "n", "members": HOSTS, "min_active": "50%", "side": "green", "serving_side": "blue",
            "serving_slots": dict.fromkeys(HOSTS, "blue"), "capacity": {"first": False, "most": None, "ready": []}, **changes}


def staged(serves="o", idle=None, wanted="n", keeps=""):
    return {"release": release(wanted), "active": release(idle), "previous": None, "slots": {"blue": {"active": release(serves)}},
            # What runs on one of the sides is there in any case.
            "staged": [release(letter) for letter in dict.fromkeys([*keeps, *filter(None, (serves, idle))])]}


def everybody(**known):
    return {name: staged(**known) for name in HOSTS}


@pytest.mark.claim("bg-idle-side-at-once")
def test_the_idle_side_is_one_batch_and_then_the_switch():
    found = _blue_green.lay_out(plan(), everybody(idle="p"))
    assert found["batches"] == [{"n": 1, "members": HOSTS}] and found["switch"] == {"from": "blue", "to": "green", "home": False}
    assert found["floor"] == "0" and found["release"] == release("n") and found["previous"] == release("o")
    assert found["going_back_to"] == dict.fromkeys(HOSTS, release("p"))


def test_who_has_it_already_and_is_fit_is_left_alone():
    results = {**everybody(idle="n"), "app2": staged(idle="p")}
    found = _blue_green.lay_out(plan(capacity={"first": False, "ready": ["app1", "app2"]}), results, ["app1"])
    # app1 was left out by a deploy, app2 has another release, app3 does not serve.
    assert found["batches"] == [{"n": 1, "members": HOSTS}]
    found = _blue_green.lay_out(plan(capacity={"first": False, "ready": HOSTS}), everybody(idle="n"))
    assert found["batches"] == [] and found["switch"] and found["unmoved"] == HOSTS


def test_who_may_still_be_asked_is_cleared_before_anything_changes():
    found = _blue_green.lay_out(plan(sides_agree=False), everybody(idle="p"))
    assert found["clear_first"] and found["batches"] and found["switch"] == {"from": "blue", "to": "green", "home": False}
    # With nothing to change there, the switch alone puts it right.
    assert not _blue_green.lay_out(plan(sides_agree=False, capacity={"first": False, "ready": HOSTS}), everybody(idle="n"))["clear_first"]
    assert not _blue_green.lay_out(plan(), everybody(idle="p"))["clear_first"]


def test_second_run_moves_nothing():
    found = _blue_green.lay_out(plan(), everybody(serves="n", idle="o"))
    assert found["batches"] == [] and found["switch"] is None


def test_a_rollback_goes_to_what_the_idle_side_has():
    back = plan(verb="rollback", release="previous", capacity={"first": False, "ready": HOSTS})
    found = _blue_green.lay_out(back, everybody(serves="n", idle="o", wanted=None))
    assert found["release"] == release("o") and found["batches"] == [] and found["switch"]


def test_a_rollback_without_anything_on_the_idle_side():
    with pytest.raises(DowntimeError, match="the idle side green of member app1 has run no release"):
        _blue_green.lay_out(plan(verb="rollback", release="previous"), everybody(wanted=None))


@pytest.mark.claim("bg-killed-before-the-switch")
def test_a_rollback_after_a_controller_died_before_the_switch_puts_the_idle_side_right():
    interrupted = {"verb": "deploy", "release": "n" * 64, "label": "n", "before": dict.fromkeys(HOSTS, "p" * 64)}
    results = {"app1": staged(idle="n", wanted=None, keeps="pon"), "app2": staged(idle="p", wanted=None, keeps="pon"),
               "app3": staged(idle="p", wanted=None, keeps="pon")}
    found = _blue_green.lay_out(plan(verb="rollback", release="previous"), results, [], interrupted)
    assert found["switch"] is None and found["release"] == release("p") and "app1" in found["batches"][0]["members"]


@pytest.mark.claim("bg-killed-rollback")
def test_a_rollback_after_a_rollback_that_died_before_the_switch_ends_what_that_one_began():
    interrupted = {"verb": "rollback", "release": "o" * 64, "label": "o", "before": dict.fromkeys(HOSTS, "o" * 64)}
    back = plan(verb="rollback", release="previous", capacity={"first": False, "ready": ["app3"]})
    found = _blue_green.lay_out(back, everybody(serves="n", idle="o", wanted=None, keeps="no"), ["app1"], interrupted)
    assert found["release"] == release("o") and found["switch"] == {"from": "blue", "to": "green", "home": False}
    assert found["batches"] == [{"n": 1, "members": ["app1", "app2"]}]


def test_members_left_out_on_the_idle_side_are_put_right_though_nothing_is_switched():
    interrupted = {"verb": "rollback", "release": "p" * 64, "label": "p", "before": dict.fromkeys(HOSTS, "p" * 64)}
    found = _blue_green.lay_out(plan(), everybody(serves="n", idle="p", keeps="pn"), ["app1", "app2"], interrupted)
    assert found["switch"] is None and found["release"] == release("p") and found["batches"] == [{"n": 1, "members": HOSTS}]
    assert found["serving_release"] == release("n")


def test_an_idle_side_that_had_nothing_and_got_half_of_it_gets_what_serves():
    interrupted = {"verb": "deploy", "release": "n" * 64, "label": "n", "before": {}}
    results = {"app1": staged(idle="n", wanted=None), "app2": staged(idle=None, wanted=None), "app3": staged(idle=None, wanted=None)}
    found = _blue_green.lay_out(plan(verb="rollback", release="previous"), results, [], interrupted)
    assert found["switch"] is None and found["release"] == release("o") and found["batches"] == [{"n": 1, "members": HOSTS}]


@pytest.mark.claim("bg-killed-behind-the-switch")
def test_a_rollback_after_a_controller_died_behind_the_switch_switches_back():
    interrupted = {"verb": "deploy", "release": "n" * 64, "label": "n", "before": {}}
    found = _blue_green.lay_out(plan(verb="rollback", release="previous"), everybody(serves="n", idle="o", wanted=None), [], interrupted)
    assert found["switch"] and found["release"] == release("o")


def test_one_balancer_does_not_disagree_with_itself():
    laid = {**plan(balancers=["lb1"]), **_blue_green.lay_out(plan(), everybody())}
    local = {"__deploy_switched": {"shares": {"blue": 0, "green": 100}}, "__deploy_switched_back": {"shares": None}}
    found = _blue_green.outcome(local, laid, "Deploy of shop", "lost", False)
    assert found["sentence"].endswith("the switch back failed; which side serves is not known, since lb1 did not tell; status asks again."), found
    assert found["result"] == "failed"


def test_hosts_that_disagree_are_named():
    with pytest.raises(DowntimeError, match="do not agree.*app3"):
        _blue_green.lay_out(plan(), {**everybody(), "app3": staged(wanted="m")})


def test_shares():
    assert _blue_green.shares({"switch": {"from": "blue", "to": "green"}}) == {"blue": 0, "green": 100}
    assert _blue_green.shares({"switch": {"from": "blue", "to": "green"}}, back=True) == {"blue": 100, "green": 0}


SWITCHED, BACK = {"shares": {"blue": 0, "green": 100}}, {"shares": {"blue": 100, "green": 0}}


WAY = ("ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=blue_green undoes it, or ansible-playbook zero.downtime.deploy "
       "-e deploy_app=shop -e deploy_release=n -e deploy_strategy=blue_green goes on with it.")


@pytest.mark.parametrize("local, why, result, sentence", [
    ({"__deploy_switched": SWITCHED}, None, "succeeded", "Deploy of shop: n serves on green (3 of 3 members); blue keeps o warm."),
    ({}, "smoke failed", "rolled_back", "Deploy of shop to n failed: smoke failed; no request had been switched; blue serves o."),
    ({"__deploy_switched": SWITCHED, "__deploy_switched_back": BACK}, "2 requests were lost", "rolled_back",
     "Deploy of shop to n failed: 2 requests were lost; every request was switched back to blue; blue serves o."),
    ({"__deploy_switched": SWITCHED, "__deploy_switched_back": {"shares": None}, "__deploy_problems": ["balancer lb2 cannot be reached"]}, "lost", "failed",
     "Deploy of shop to n failed: lost; the switch back failed; balancer lb2 cannot be reached; the balancers disagree which side serves; status names them."),
    ({"__deploy_switched": SWITCHED, "__deploy_stay": True}, "one vantage lost 1", "failed",
     "Deploy of shop to n failed: one vantage lost 1; nothing was switched back; green serves n; " + WAY),
    ({"__deploy_switched": {"shares": {"blue": 60, "green": 40}}, "__deploy_switched_back": {"shares": {"blue": 60, "green": 40}},
      "__deploy_problems": ["balancer lb1 refused it"]}, "lost", "failed",
     "Deploy of shop to n failed: lost; the switch back failed; balancer lb1 refused it; green still gets 40 % of the requests; " + WAY),
])
def test_how_it_ended(local, why, result, sentence):
    laid = {**plan(app="shop"), **_blue_green.lay_out(plan(), everybody(idle="p"))}
    found = _blue_green.outcome(local, laid, "Deploy of shop", why, False)
    assert (found["result"], found["sentence"]) == (result, sentence)
    serves = "n" if "green serves" in sentence or "on green" in sentence else "o"
    assert {row["release"] for row in found["members"]} == {serves}


@pytest.mark.claim("failed-deploy-asks-who-serves")
@pytest.mark.parametrize("down, sentence", [
    (["app2"], "blue serves o; app2 does not serve, and nobody took it out; ansible-playbook zero.downtime.deploy -e deploy_app=shop "
               "-e deploy_strategy=rolling -e deploy_release=o begins it anew."),
    (HOSTS, "blue has o, and no member serves there; app1, app2, app3 do not serve, and nobody took them out; ansible-playbook zero.downtime.deploy "
            "-e deploy_app=shop -e deploy_strategy=rolling -e deploy_release=o begins them anew."),
])
def test_members_that_died_on_the_side_that_serves_are_named_when_a_deploy_fails(down, sentence):
    sides = {side: {"pools": [f"shop_{side}"], "hosts": {name: {"server": f"s-{name}"} for name in HOSTS}} for side in ("blue", "green")}
    known = plan(app="shop", balancers=["lb1"], sides=sides)
    laid = {**known, **_blue_green.lay_out(known, everybody(idle="p"))}
    pools = {"shop_blue": {f"s-{name}": "down" if name in down else "active" for name in HOSTS}, "shop_green": {f"s-{name}": "down" for name in HOSTS}}
    local = {"__deploy_switched": SWITCHED, "__deploy_switched_back": {"shares": {"blue": 100, "green": 0}}, "__deploy_evidence": {"seen": {"lb1": pools}}}
    found = _blue_green.outcome(local, laid, "Deploy of shop", "2 requests were lost", False)
    assert found["result"] == "rolled_back" and found["sentence"].endswith(sentence), found["sentence"]
    assert {row["name"] for row in found["members"] if row["state"] == "down"} == set(down)


@pytest.mark.parametrize("why, result, sentence", [
    (None, "succeeded", "Deploy of shop: every request goes to blue again, which serves o."),
    ("the application got worse", "rolled_back", "Deploy of shop to o failed: the application got worse; every request goes to blue again; blue serves o."),
])
def test_bringing_requests_back_to_what_serves_is_never_undone(why, result, sentence):
    known = plan(sides_agree=False)
    laid = {**known, **_blue_green.lay_out(known, everybody(idle="bad", wanted="o"))}
    assert laid["switch"] == {"from": "green", "to": "blue", "home": True} and laid["batches"] == []
    found = _blue_green.outcome({"__deploy_switched": {"shares": {"blue": 100, "green": 0}}}, laid, "Deploy of shop", why, False)
    assert (found["result"], found["sentence"]) == (result, sentence)
    assert {row["release"] for row in found["members"]} == {"o"}


BACK = {"verb": "rollback", "release": "previous", "app": "shop"}
DEAD = {"first": True, "most": None, "ready": HOSTS, "down": HOSTS}
KILLED = {"verb": "deploy", "release": "n" * 64, "label": "n", "before": {}, "serving": "blue", "side": "green"}


def test_a_rollback_to_a_side_that_died_brings_its_release_to_the_other_one():
    # The killed deploy had not switched, and what served then does not serve any more.
    found = _blue_green.lay_out(plan(**BACK, capacity=DEAD), everybody(serves="o", idle="n"), (), KILLED)
    assert found["release"] == release("o") and found["batches"] == [{"n": 1, "members": HOSTS}]
    assert found["switch"] == {"from": "blue", "to": "green", "home": False} and found["dead"] == HOSTS
    # As long as it serves, nothing is switched.
    assert _blue_green.lay_out(plan(**BACK), everybody(serves="o", idle="n"), (), KILLED)["switch"] is None


@pytest.mark.claim("bg-killed-is-remembered", "bg-killed-rollback-is-remembered")
@pytest.mark.parametrize("verb", ["deploy", "rollback"])
@pytest.mark.parametrize("out", [[], ["app1", "app2"]])
def test_who_ends_what_was_killed_behind_its_switch_knows_what_it_came_from(verb, out):
    """Also where streams were being ended on the side left behind, whose members are out."""
    killed = {**KILLED, "verb": verb, "strategy": "blue_green", "deploy_id": "d1"}
    here = plan(**(BACK if verb == "rollback" else {}), side="blue", serving_side="green", serving_slots=dict.fromkeys(HOSTS, "green"),
                capacity={"first": False, "most": None, "ready": [name for name in HOSTS if name not in out]})
    results = {name: {"release": release("n"), "active": release("o"), "previous": None, "slots": {"green": {"active": release("n")}},
                      "staged": [release("o"), release("n")]} for name in HOSTS}
    laid = {**here, **_blue_green.lay_out(here, results, out, killed)}
    assert laid["switch"] is None and (laid["batches"][0]["members"] if laid["batches"] else []) == out
    # What moves is the idle side's own release, and what this is about is the one that serves.
    assert (laid["release"], laid["intended"]) == (release("o" if out else "n"), release("n"))
    assert (laid["ended"]["verb"], laid["ended"]["release"], laid["ended"]["origin"]) == (verb, release("n"), release("o"))
    title = f"{verb.capitalize()} of shop"
    assert _blue_green.outcome({}, laid, title, None, False)["sentence"] == (
        f"{title}: n serves already, on green: the {verb} to n (d1) had not ended, and is ended now; blue keeps o warm.")
    assert "would be ended by this; nothing has been changed." in _blue_green.outcome({}, laid, title, None, True)["sentence"]
    assert "Deploy of shop to n failed: why;" in _blue_green.outcome({}, laid, "Deploy of shop", "why", False)["sentence"]


def test_a_rolling_deploy_that_was_killed_and_is_found_in_place_left_nothing_on_the_idle_side():
    killed = {**KILLED, "side": "blue", "strategy": "rolling", "deploy_id": "d1", "before": dict.fromkeys(HOSTS, "o" * 64)}
    laid = {**plan(), **_blue_green.lay_out(plan(), everybody(serves="n", idle="p"), [], killed)}
    assert laid["batches"] == [] and (laid["ended"]["strategy"], laid["ended"]["origin"]["digest"]) == ("rolling", "o" * 64)
    assert _blue_green.outcome({}, laid, "Deploy of shop", None, False)["sentence"] == (
        "Deploy of shop: n serves already, on blue: the deploy to n (d1) had not ended, and is ended now.")


def test_an_idle_side_of_two_releases_refuses_nothing_to_a_deploy_that_is_in_place():
    killed = {**KILLED, "strategy": "blue_green", "release": "x" * 64, "before": {**dict.fromkeys(HOSTS, "p" * 64), "app1": "q" * 64}}
    found = _blue_green.lay_out(plan(), everybody(serves="n", idle="x", keeps="pq"), [], killed)
    assert found["batches"] == [] and found["switch"] is None and found["ended"] is None


@pytest.mark.claim("bg-killed-rollback")
def test_what_puts_the_idle_side_right_and_dies_is_ended_by_the_same():
    """Its release is what serves: another rollback would otherwise bring users what the idle side had."""
    results = everybody(serves="o", idle="n", wanted=None, keeps="pon")
    before = dict.fromkeys(HOSTS, "p" * 64)
    first = _blue_green.lay_out(plan(**BACK), results, [], {**KILLED, "before": before})
    assert (first["release"], first["intended"], first["ended"], first["switch"]) == (release("p"), release("o"), None, None)
    killed = {**KILLED, "verb": "rollback", "strategy": "blue_green", "release": first["intended"]["digest"], "label": "o", "before": before}
    # Half of it is done.
    results["app1"] = {**results["app1"], "active": release("p")}
    ready = {"first": False, "most": None, "ready": HOSTS}
    again = _blue_green.lay_out(plan(**BACK, capacity=ready), results, [], killed)
    assert again["switch"] is None and again["ended"] is None and again["release"] == release("p")
    assert again["batches"] == [{"n": 1, "members": ["app2", "app3"]}]


@pytest.mark.claim("dead-side-is-left")
def test_a_release_that_serves_already_and_died_is_not_called_served():
    found = _blue_green.lay_out(plan(capacity=DEAD), everybody(serves="n", idle="o"))
    assert found["switch"] and found["batches"] and found["release"] == release("n")
    some = {**DEAD, "first": False, "down": ["app2"]}
    with pytest.raises(DowntimeError, match="n serves already, on blue, but app2 does not serve there; ansible-playbook zero.downtime.restart "
                                            "-e deploy_app=shop begins it anew"):
        _blue_green.lay_out(plan(app="shop", capacity=some), everybody(serves="n", idle="o"))
    # A person's, or one that cannot be reached, is no reason.
    assert _blue_green.lay_out(plan(capacity=some, held=["app2"]), everybody(serves="n", idle="o"))["switch"] is None


def test_a_rollback_goes_to_what_served_before_the_last_deploy():
    last = {"verb": "deploy", "strategy": "canary", "deploy_id": "d0", "release": release("n"), "origin": release("o"), "time": 1.0}
    # A failed deploy has put something else on the idle side meanwhile.
    found = _blue_green.lay_out(plan(**BACK, last=last), everybody(serves="n", idle="x", keeps="o"))
    assert found["release"] == release("o") and found["batches"]
    assert _blue_green.lay_out(plan(**BACK), everybody(serves="n", idle="x", keeps="o"))["release"] == release("x")


def test_a_second_rollback_without_a_strategy_does_not_undo_the_first():
    last = {"verb": "rollback", "strategy": "blue_green", "deploy_id": "d0", "release": release("o"), "origin": release("n"), "time": 1.0}
    ready = {"first": False, "most": None, "ready": HOSTS}
    found = _blue_green.lay_out(plan(**BACK, last=last, capacity=ready), everybody(serves="o", idle="n"))
    assert found["switch"] is None and found["batches"] == []
    # Who names the strategy has it switched, and so has who names the other side.
    for said in ({"deploy_strategy": "blue_green"}, {"deploy_side": "green"}):
        found = _blue_green.lay_out(plan(**BACK, last=last, capacity=ready, said=said), everybody(serves="o", idle="n"))
        assert found["switch"] == {"from": "blue", "to": "green", "home": False}, said
    # What it went back to has died.
    found = _blue_green.lay_out(plan(**BACK, last=last, capacity=DEAD), everybody(serves="o", idle="n"))
    assert found["release"] == release("o") and found["switch"]["to"] == "green"


@pytest.mark.claim("requests-to-one-side")
def test_requests_on_both_sides_go_where_a_person_says():
    ready = {"first": False, "most": None, "ready": HOSTS}
    found = _blue_green.lay_out(plan(**BACK, sides_agree=False, capacity=ready, said={"deploy_side": "blue"}), everybody(serves="o", idle="n"))
    assert found["switch"] == {"from": "green", "to": "blue", "home": True}
