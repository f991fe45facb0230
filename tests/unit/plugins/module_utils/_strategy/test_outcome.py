# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome

OK = {"changed": True, "failed": False}
BAD = {"failed": True, "msg": "unit shop.service did not start"}
SKIPPED = {"skipped": True}
OLD, NEW = {"digest": "o" * 64, "label": "1.0.0"}, {"digest": "n" * 64, "label": "2.0.0"}
MEMBERS = ["app1", "app2", "app3"]


def plan(**changes):
    return {"verb": "deploy", "app": "shop", "members": MEMBERS, "release": NEW, "going_back_to": dict.fromkeys(MEMBERS, OLD),
            "batches": [{"n": 1, "members": ["app1"]}, {"n": 2, "members": ["app2", "app3"]}],
            "hosts": {name: {"url": f"http://{name}/ready"} for name in MEMBERS}, "health": {"header": "x-release", "path": "/ready"}, **changes}


def facts(local=None, **members):
    found = {"localhost": {"__deploy_here": True, **(local or {})}}
    for name in MEMBERS:
        found[name] = {"__deploy_here": True}
    for name, (moved, back) in members.items():
        for key, result in (("__deploy_moved", moved), ("__deploy_back", back)):
            if result:
                found["localhost"].setdefault(key, {"members": {}})["members"][name] = result
    return found


def end(hostvars, the_plan=None):
    the_plan = plan() if the_plan is None else the_plan
    return _outcome.outcome(hostvars, MEMBERS, the_plan, {"verb": "deploy", "app": "shop"})


def measured(verdict, sentence):
    return {"localhost": {"__deploy_evidence": {"evidence": {"verdict": verdict, "sentence": sentence}}}, **{name: {} for name in MEMBERS}}


@pytest.mark.claim("last-sentence-of-a-deploy")
def test_all_went_well():
    hostvars = measured("clean", "0 of 12 real requests lost")
    found = end(hostvars)
    assert found["result"] == "succeeded"
    assert found["sentence"] == "Deploy of shop: 3 of 3 members were moved to 2.0.0; 0 of 12 real requests lost."


def test_losses_seen_at_the_end_fail_the_deploy():
    hostvars = measured("lost", "2 of 12 requests were lost")
    found = end(hostvars)
    assert found["result"] == "failed"
    assert "2 of 12 requests were lost" in found["sentence"]


@pytest.mark.claim("check-says-what-would-be")
@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "canary"])
def test_what_fails_under_check_is_told_as_what_would_be(strategy):
    hostvars = facts({"__deploy_why": "balancer lb1: the floor cannot be held", "__deploy_begun": 2}, app1=(OK, None))
    the_plan = plan(strategy=strategy, balancers=["lb1"], not_serving=["app1"])
    found = _outcome.outcome(hostvars, MEMBERS, the_plan, {"verb": "deploy", "app": "shop"}, True)
    assert found["sentence"] == "Deploy of shop to 2.0.0 would fail: balancer lb1: the floor cannot be held. Nothing has been changed."
    assert found["result"] == "failed"


@pytest.mark.claim("check-says-what-would-be")
def test_who_would_be_begun_anew_is_named_under_check():
    found = _outcome.outcome(measured("clean", ""), MEMBERS, plan(not_serving=["app2"]), {"verb": "deploy", "app": "shop"}, True)
    assert found["sentence"] == ("Deploy of shop would move 3 of 3 members to 2.0.0, and begin app2 anew, which does not serve; "
                                 "nothing has been changed.")


@pytest.mark.claim("check-says-what-would-be")
@pytest.mark.parametrize("dead, again, would, was", [
    (["app2"], [], "would move 3 of 3 members to 2.0.0, and begin app2 anew, which does not serve; nothing has been changed.",
     "3 of 3 members were moved to 2.0.0, and app2 was begun anew, which did not serve; 0 lost."),
    (["app1", "app2"], ["app2"], "would move 2 of 3 members to 2.0.0, and begin app1, app2 anew, which do not serve; nothing has been changed.",
     "2 of 3 members were moved to 2.0.0, and app1, app2 were begun anew, which did not serve; 0 lost."),
    (MEMBERS, MEMBERS, "would begin app1, app2, app3 anew with 2.0.0, since they do not serve; nothing has been changed.",
     "app1, app2, app3 were begun anew with 2.0.0, since they did not serve; 0 lost."),
])
def test_the_last_sentence_says_who_was_begun_anew_as_check_foretold(dead, again, would, was):
    the_plan = plan(not_serving=dead, down=again)
    hostvars = measured("clean", "0 lost")
    assert _outcome.outcome(hostvars, MEMBERS, the_plan, {"verb": "deploy", "app": "shop"}, True)["sentence"] == "Deploy of shop " + would
    assert end(hostvars, the_plan)["sentence"] == "Deploy of shop: " + was


def test_a_member_begun_anew_with_what_it_had_is_not_said_to_have_been_moved():
    alone = plan(going_back_to={"app2": NEW}, not_serving=["app2"], down=["app2"])
    assert end(measured("clean", "0 lost"), alone)["sentence"] == (
        "Deploy of shop: app2 was begun anew with 2.0.0, since it did not serve, and nobody else was moved; 0 lost.")
    # A restart begins everybody anew.
    whole = plan(verb="restart", not_serving=["app2"], down=["app2"])
    assert "3 of 3 members were moved to 2.0.0, and app2 was begun anew, which did not serve" in end(measured("clean", ""), whole)["sentence"]


def test_refused_before_anything_moved():
    found = end(facts({"__deploy_why": "deploy_release is missing"}), {})
    assert found["result"] == "failed"
    assert found["sentence"] == "Deploy of shop was refused: deploy_release is missing. Nothing has been changed."
    # Before anything could be resolved.
    unresolved = _outcome.outcome(facts({"__deploy_why": "deploy_release is missing"}), ["app1"], {}, {}, verb="rollback")
    assert unresolved["sentence"] == "Rollback was refused: deploy_release is missing. Nothing has been changed."


def test_everybody_went_back():
    gate = {"members": [{"name": name, "ok": True} for name in MEMBERS]}
    hostvars = facts({"__deploy_why": "app3: unit shop.service did not start", "__deploy_begun": 2, "__deploy_readmitted": MEMBERS, "__deploy_fit": gate},
                     app1=(OK, OK),
                     app2=(OK, OK),
                     app3=(BAD, OK))
    found = end(hostvars)
    assert found["result"] == "rolled_back"
    assert "app3: unit shop.service did not start" in found["sentence"]
    assert "3 of 3 members serve 1.0.0" in found["sentence"]


@pytest.mark.claim("numbers-of-the-end")
def test_the_numbers_of_a_deploy_that_went_back_are_those_of_the_end():
    gate = {"members": [{"name": name, "ok": True} for name in MEMBERS]}
    evidence = {"verdict": "degraded", "sentence": "as it was found", "at_the_end": "60 of 412 probe requests failed and 0 of 420 real requests lost"}
    local = {"__deploy_why": "The application got worse: 40 of 300.", "__deploy_begun": 1, "__deploy_readmitted": ["app1"], "__deploy_fit": gate,
             "__deploy_evidence": {"evidence": evidence}}
    found = end(facts(local, app1=(OK, OK)))
    assert found["result"] == "rolled_back" and found["sentence"].startswith("Deploy of shop to 2.0.0 failed: The application got worse: 40 of 300; ")
    assert found["sentence"].endswith("; at the end, 60 of 412 probe requests failed and 0 of 420 real requests lost."), found["sentence"]


def test_a_lost_host_is_named_and_runs_nobody_knows_what():
    hostvars = facts({"__deploy_begun": 2, "__deploy_readmitted": ["app1", "app2"]},
                     app1=(OK, OK), app2=(OK, OK))
    hostvars["app3"] = {}
    # Its own task, of a hook, was the last that it was asked.
    found = end(hostvars, plan(hooks_on_members=True))
    assert found["result"] == "failed"
    assert found["lost"] == ["app3"]
    assert "app3 cannot be reached" in found["sentence"]
    assert {row["name"]: row["release"] for row in found["members"]} == {"app1": "1.0.0", "app2": "1.0.0", "app3": None}


def test_a_lost_host_is_not_named_again_with_each_way_in_which_it_could_not_be_reached():
    away = {"failed": True, "unreachable_host": True, "msg": "member app3 cannot be reached: timed out"}
    said = ["member app3 cannot be reached: no banner.", "member app1 did not start"]
    found = end(facts({"__deploy_begun": 2, "__deploy_readmitted": ["app2"], "__deploy_problems": said}, app1=(OK, BAD), app2=(OK, OK), app3=(away, away)))
    assert found["lost"] == ["app3"]
    assert "no banner" not in found["sentence"]
    assert "app3 cannot be reached and may run either release" in found["sentence"]
    assert "member app1 did not start" in found["sentence"]


def test_who_fails_to_go_back_is_not_readmitted():
    hostvars = facts({"__deploy_begun": 1}, app1=(OK, BAD))
    assert _outcome.fit(plan(), ["app1"], hostvars) == []
    assert _outcome.gates_back(plan(), ["app1"], hostvars) == []
    assert "app1 stays out of traffic" in end(hostvars)["sentence"]


def test_a_batch_that_was_only_taken_out_comes_back_as_it_was():
    hostvars = facts({"__deploy_begun": 1, "__deploy_fit": {"members": [{"name": "app1", "ok": True}]}})
    assert _outcome.fit(plan(), ["app1"], hostvars) == ["app1"]
    assert _outcome.back_members(plan(), ["app1"], hostvars) == []
    assert _outcome.gates_back(plan(), ["app1"], hostvars)[0]["digest"] == OLD["digest"]


def test_a_first_deploy_has_nothing_to_go_back_to():
    first = plan(going_back_to=dict.fromkeys(MEMBERS))
    hostvars = facts({"__deploy_begun": 2, "__deploy_readmitted": ["app1"]},
                     app1=(OK, None), app2=(BAD, None), app3=(BAD, None))
    assert _outcome.back_members(first, MEMBERS, hostvars) == []
    found = end(hostvars, first)
    assert found["result"] == "failed"
    assert "app1 kept 2.0.0" in found["sentence"]


@pytest.mark.parametrize("moved, back, expected", [
    (None, None, "old"), (SKIPPED, None, "old"), (OK, None, "new"), (BAD, None, "unknown"), (OK, OK, "old"), (OK, BAD, "unknown"), (OK, SKIPPED, "new"),
])
def test_only_a_report_tells_what_runs(moved, back, expected):
    assert _outcome.place(facts(app1=(moved, back))["localhost"], "app1") == expected


@pytest.mark.claim("lost-host-others-go-back")
def test_going_back_begins_with_the_last_batch_and_takes_one_member_at_a_time_while_somebody_is_lost():
    hostvars = facts({"__deploy_begun": 2}, app1=(OK, None), app2=(OK, None), app3=(OK, None))
    assert [batch["members"] for batch in _outcome.batches_back(plan(), "localhost", hostvars)] == [["app2", "app3"], ["app1"]]
    assert [batch["n"] for batch in _outcome.batches_back(plan(), "app1", hostvars)] == [1]
    hostvars = facts({"__deploy_begun": 2}, app1=(OK, None), app2=(OK, None), app3=({**BAD, "unreachable_host": True}, None))
    assert [batch["members"] for batch in _outcome.batches_back(plan(), "localhost", hostvars)] == [["app2"], ["app3"], ["app1"]]
    hostvars["localhost"]["__deploy_begun"] = 1
    assert [batch["members"] for batch in _outcome.batches_back(plan(), "localhost", hostvars)] == [["app1"]]


def test_whoever_an_interrupted_deploy_left_goes_back_too_when_their_batch_never_began():
    the_plan = plan(unsettled=["app1", "app3"], balancers=["lb1"], hooks={"restart": None})
    the_plan["hosts"] = {name: {"root": "/srv", "slot": "current", "service": {"unit": "shop"}, "running": None} for name in MEMBERS}
    hostvars = facts({"__deploy_begun": 1}, app1=(OK, None))
    assert [batch["members"] for batch in _outcome.batches_back(the_plan, "localhost", hostvars)] == [["app3"], ["app1"]]
    out = {"members": [{"name": "app3", "state": "drained"}]}
    found = _outcome.slots_back(the_plan, ["app3"], out, hostvars)
    # Nobody knows at which step it was left, so what it runs is started anew.
    assert [(entry["name"], entry["release"], entry["restart"]) for entry in found] == [("app3", OLD["digest"], True)]
    # A swap that failed has proven what runs, so nothing is started anew.
    hostvars["localhost"]["__deploy_moved"]["members"]["app3"] = {"failed": True, "msg": "it did not take over", "kept": True}
    assert [entry["restart"] for entry in _outcome.slots_back(the_plan, ["app3"], out, hostvars)] == [False]
    del hostvars["localhost"]["__deploy_moved"]["members"]["app3"]
    assert "app1, app3 stay out of traffic" in _outcome.outcome(hostvars, MEMBERS, the_plan, {"verb": "deploy", "app": "shop"})["sentence"]


def test_who_could_not_be_taken_out_on_every_balancer_keeps_what_it_runs():
    the_plan = plan(balancers=["lb1", "lb2"], hooks={"restart": None})
    the_plan["hosts"] = {name: {"root": "/srv", "slot": "current", "service": {"unit": "shop"}, "running": None} for name in MEMBERS}
    out = {"members": [{"name": "app2", "state": "drained"}, {"name": "app3", "state": "drained"}, {"name": "app2", "state": "drained"},
                       {"name": "app3", "state": "draining"}]}
    hostvars = facts({"__deploy_begun": 2}, app2=(OK, None), app3=(BAD, None))
    assert _outcome.slots_back(the_plan, ["app2", "app3"], out, hostvars) == [
        {"name": "app2", "root": "/srv", "slot": "current", "service": {"unit": "shop"}, "release": OLD["digest"], "restart": False}]
    # One balancer that said nothing is no proof either.
    assert _outcome.slots_back(the_plan, ["app2"], {"members": [{"name": "app2", "state": "drained"}]}, hostvars) == []


def test_a_release_that_did_not_send_the_header_before_goes_back_by_its_readiness_alone():
    host = {"root": "/srv", "slot": "current", "url": "http://x/ready", "running": {"url": "http://x/ready", "header": "x-release"}}
    the_plan = plan(balancers=["lb1"], hooks={}, hosts=dict.fromkeys(MEMBERS, host), headers={"sent": ["app1"], "lacking": ["app2"]})
    out = {"members": [{"name": name, "state": "drained"} for name in MEMBERS]}
    hostvars = facts({"__deploy_begun": 2}, app1=(BAD, None), app2=(BAD, None), app3=(BAD, None))
    assert {entry["name"]: entry["running"]["proof"] for entry in _outcome.slots_of(the_plan, MEMBERS)} == {"app1": "seen", "app2": "needed", "app3": "needed"}
    back = {entry["name"]: entry["running"]["proof"] for entry in _outcome.slots_back(the_plan, MEMBERS, out, hostvars)}
    assert back == {"app1": "needed", "app2": "optional", "app3": "optional"}
    gone_back = facts({"__deploy_begun": 2}, app1=(BAD, OK), app2=(BAD, OK), app3=(OK, None))
    assert {entry["name"]: entry["proof"] for entry in _outcome.gates_back(the_plan, MEMBERS, gone_back)} == {
        "app1": "needed", "app2": "optional", "app3": "needed"}
    # What a rollback goes to may be from before the header, and a restart changes nothing about it.
    for verb, expected in (("rollback", ["optional"] * 3), ("restart", ["seen", "optional", "needed"])):
        assert [entry["running"]["proof"] for entry in _outcome.slots_of({**the_plan, "verb": verb}, MEMBERS)] == expected


@pytest.mark.parametrize("changes", [{}, {"strategy": "blue_green", "serving_release": OLD, "switch": {"from": "blue", "to": "green", "home": False}}])
@pytest.mark.claim("lock-taken-is-said")
def test_whose_lock_was_taken_says_so_and_nothing_of_members_that_he_no_longer_knows(changes):
    taken = "the lock /run/shop.lock is held by deploy b of ann on c1 (process 7), so deploy a may not move anything any more"
    gate = {"members": [{"name": "app1", "ok": False}]}
    known = {"__deploy_begun": 2, "__deploy_fit": gate, "__deploy_problems": ["app1 is not ready"], "__deploy_lock_taken": taken}
    for why, begins in ((f"balancer lb1: {taken}", f"balancer lb1: {taken}; its lock"),
                        ("app1: it did not start", f"app1: it did not start; {taken}; its lock")):
        hostvars = facts({**known, "__deploy_why": why}, app1=(OK, None), app2=(BAD, None))
        found = end(hostvars, plan(**changes))
        assert found["result"] == "failed" and found["sentence"] == (
            f"Deploy of shop to 2.0.0 failed: {begins} was taken from it, so what serves now is not known here; "
            "ansible-playbook zero.downtime.status -e deploy_app=shop tells.")
        assert {(row["release"], row["state"]) for row in found["members"]} == {(None, "unknown")}
        # Nobody is asked, and nothing is started anew, on members that are somebody else's by now.
        assert _outcome.batches_back(plan(), "localhost", hostvars) == []


def test_who_was_absent_from_the_start_is_said_and_fails_nothing():
    found = end(measured("clean", "0 of 12 real requests lost"), plan(absent=["app3"], going_back_to={"app1": OLD, "app2": OLD}))
    assert found["result"] == "succeeded"
    assert "2 of 3 members were moved to 2.0.0; app3 could not be reached, serves nobody, and runs what it ran" in found["sentence"]
    assert {"name": "app3", "release": None, "state": "absent"} in found["members"]


def test_whom_a_person_took_out_meanwhile_is_said_and_fails_nothing():
    hostvars = measured("clean", "0 of 12 real requests lost")
    hostvars["localhost"].update(__deploy_theirs=["app1"], __deploy_returned={"theirs": ["app3"]})
    found = end(hostvars)
    assert found["result"] == "succeeded"
    assert "app1, app3 stay out of traffic: somebody else took them out meanwhile" in found["sentence"]
    assert {row["name"]: row["state"] for row in found["members"]} == {"app1": "drained", "app2": "active", "app3": "drained"}


def test_whose_server_was_removed_meanwhile_is_said_and_is_not_said_to_be_out():
    hostvars = measured("clean", "0 of 12 real requests lost")
    hostvars["localhost"].update(__deploy_gone={"app1": ["lb1", "lb2"]}, __deploy_returned={"gone": {"app3": ["lb1"]}})
    two = plan(balancers=["lb1", "lb2"])
    found = end(hostvars, two)
    assert found["result"] == "succeeded"
    assert "app1 has no server on lb1, lb2 any more, since somebody removed it meanwhile, and gets no requests there" in found["sentence"]
    assert "app3 has no server on lb1 any more" in found["sentence"]
    assert {row["name"]: row["state"] for row in found["members"]} == {"app1": "removed", "app2": "active", "app3": "active"}
    failed = end(facts({"__deploy_begun": 1, "__deploy_why": "requests were lost", "__deploy_gone": {"app1": ["lb1", "lb2"]}}, app1=(OK, None)), two)
    assert "stays out of traffic" not in failed["sentence"] and "app1 kept 2.0.0; app1 has no server on lb1, lb2 any more" in failed["sentence"]
    assert failed["members"][0]["state"] == "removed"


@pytest.mark.parametrize("said, expected", [
    ({"a": "no space left"}, "a: no space left"),
    ({"a": "no space left.", "b": "no space left."}, "a, b: no space left"),
    ({"a": "member a is away"}, "member a is away"),
    ({"app1": "app10 is away."}, "app1: app10 is away"),
    ({"a": "it failed, its last lines: one\ntwo\nthree"}, "a: it failed, its last lines: one …"),
    ({"a": "x", "b": "y"}, "a: x; b: y"),
    ({"a": "x", "b": "y", "c": "z"}, "a: x (and likewise on b, c)"),
    ({"localhost": "refused", "a": ""}, "refused"),
])
def test_the_same_words_are_said_once(said, expected):
    assert _outcome.together(said) == expected


def test_members_that_take_no_part_in_the_play_are_not_lost_when_a_step_of_the_controller_fails():
    """A hook that runs once, or a shadow, fails on the controller alone: the idle side's members go back into their pool like all others."""
    hostvars = facts({"__deploy_begun": 2, "__deploy_why": "the basket is empty"}, app1=(OK, OK), app2=(OK, OK), app3=(OK, OK))
    for name in MEMBERS:
        hostvars[name] = {}
    the_plan = plan(hooks_on_members=False, balancers=["lb1"])
    assert [batch["members"] for batch in _outcome.batches_back(the_plan, "localhost", hostvars)] == [["app2", "app3"], ["app1"]]
    assert _outcome.fit(the_plan, MEMBERS, hostvars) == MEMBERS
    assert [check["name"] for check in _outcome.gates_back(the_plan, MEMBERS, hostvars)] == MEMBERS


def test_one_that_a_hook_lost_before_there_was_a_plan_is_named():
    hostvars = facts({})
    hostvars["app2"] = {}
    resolved = {"verb": "deploy", "app": "shop", "hooks": {"before_stage": None, "after_stage": "/hooks/warm.yml"}}
    assert "app2 cannot be reached" in _outcome.outcome(hostvars, MEMBERS, {}, resolved)["sentence"]
    assert "app2" not in _outcome.outcome(hostvars, MEMBERS, {}, {**resolved, "hooks": {}})["sentence"]


def test_a_failure_of_a_hook_names_hook_file_and_task():
    hooks = {"smoke": {"file": "/site/smoke.yml", "tasks": ["Ask the shop", "ansible.builtin.uri"]},
             "contract": {"file": "/site/pact.yml", "tasks": ["Verify"]}}
    hostvars = facts({"__deploy_begun": 0, "__deploy_why": "the basket is empty", "__deploy_failed_task": "Ask the shop"})
    sentence = end(hostvars, plan(hook_tasks=hooks))["sentence"]
    assert "failed: the hook smoke (/site/smoke.yml) failed at its task 'Ask the shop': the basket is empty; " in sentence
    hostvars["localhost"]["__deploy_failed_task"] = "Back into traffic, batch 1"
    assert "failed: the basket is empty; " in end(hostvars, plan(hook_tasks=hooks))["sentence"]


@pytest.mark.claim("first-deploy-beside-what-serves")
def test_a_first_deploy_that_fails_says_of_the_others_what_the_balancers_said():
    """Nothing of ours ran there before, and two of the three members serve all the same."""
    hostvars = facts({"__deploy_begun": 1, "__deploy_why": "app1: it does not become ready"}, app1=(BAD, None))
    first = plan(going_back_to=dict.fromkeys(MEMBERS), capacity={"first": False, "serving": ["app2", "app3"]})
    found = end(hostvars, first)
    assert {row["name"]: row["state"] for row in found["members"]} == {"app1": "drained", "app2": "active", "app3": "active"}
    assert "2 of 3 members serve what ran there before" in found["sentence"] and "app1 stays out of traffic" in found["sentence"], found["sentence"]


def test_what_going_back_had_to_cut_is_told():
    hostvars = facts({"__deploy_begun": 1, "__deploy_readmitted": ["app1"], "__deploy_cut": 2}, app1=(OK, OK))
    assert "app1 went back; 2 connections were cut on the way back" in end(hostvars)["sentence"]


LIVE = {"pools": ["shop"], "balancers": ["lb1"], "servers": {name: name for name in MEMBERS}, "strategy": "rolling"}
BACK_IN = {"__deploy_begun": 1, "__deploy_readmitted": ["app1"], "__deploy_why": "app1 did not become ready"}


def seen(*balancers, **states):
    """What each balancer said of the members at the end; who is not named is active."""
    pool = {**dict.fromkeys(MEMBERS, "active"), **states}
    return {"__deploy_evidence": {"seen": {balancer: {"shop": pool} for balancer in balancers or ("lb1",)}}}


def states_of(found):
    return {row["name"]: row["state"] for row in found["members"]}


@pytest.mark.claim("failed-deploy-asks-who-serves")
def test_a_member_that_died_during_a_failed_deploy_is_not_said_to_serve():
    found = end(facts({**BACK_IN, **seen(app3="down")}, app1=(OK, OK)), plan(**LIVE))
    assert found["result"] == "rolled_back" and states_of(found) == {"app1": "active", "app2": "active", "app3": "down"}
    assert found["sentence"] == (
        "Deploy of shop to 2.0.0 failed: app1 did not become ready; app1 went back; 2 of 3 members serve 1.0.0; app3 does not serve, and nobody took it out; "
        "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=1.0.0 begins it anew.")


@pytest.mark.claim("failed-deploy-asks-who-serves")
def test_where_a_member_kept_the_release_and_others_died_the_way_out_is_that_of_the_unfinished_deploy():
    why = "balancer lb1: deploy_min_active is '2'; only 1 would serve; nothing was moved"
    local = {"__deploy_begun": 1, "__deploy_readmitted": ["app1"], "__deploy_why": "app1 did not become ready", "__deploy_problems": [why]}
    found = end(facts({**local, **seen(app2="down", app3="down")}, app1=(OK, SKIPPED)), plan(**LIVE))
    assert found["result"] == "failed" and states_of(found) == {"app1": "active", "app2": "down", "app3": "down"}
    assert found["sentence"].endswith(
        "1 of 3 members serve 2.0.0; app2, app3 do not serve, and nobody took them out; ansible-playbook zero.downtime.rollback -e deploy_app=shop "
        "-e deploy_strategy=rolling undoes it, or ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0 "
        "-e deploy_strategy=rolling goes on with it."), found["sentence"]


def test_whom_somebody_took_out_during_a_failed_deploy_is_no_dead_member():
    found = end(facts({**BACK_IN, **seen(app2="drained")}, app1=(OK, OK)), plan(**LIVE))
    assert states_of(found)["app2"] == "drained"
    assert found["sentence"].endswith("2 of 3 members serve 1.0.0; app2 is out of traffic: somebody else took it out meanwhile."), found["sentence"]


def test_a_member_that_one_of_two_balancers_has_is_named_with_the_other():
    evidence = {"seen": {"lb1": {"shop": dict.fromkeys(MEMBERS, "active")}, "lb2": {"shop": {**dict.fromkeys(MEMBERS, "active"), "app3": "down"}}}}
    found = end(facts({**BACK_IN, "__deploy_evidence": evidence}, app1=(OK, OK)), plan(**{**LIVE, "balancers": ["lb1", "lb2"]}))
    assert states_of(found)["app3"] == "active"
    assert found["sentence"].endswith("3 of 3 members serve 1.0.0; app3 does not serve on lb2/shop."), found["sentence"]


@pytest.mark.claim("failed-deploy-asks-who-serves")
def test_a_balancer_that_does_not_tell_leaves_it_unknown_who_serves():
    found = end(facts({**BACK_IN, "__deploy_evidence": {"seen": {"lb1": None}}}, app1=(OK, OK)), plan(**LIVE))
    assert set(states_of(found).values()) == {"unknown"} and {row["release"] for row in found["members"]} == {"1.0.0"}
    assert found["sentence"].endswith(
        "3 of 3 members run 1.0.0; who of them serves is not known, since lb1 did not tell; "
        "ansible-playbook zero.downtime.status -e deploy_app=shop asks again."), found["sentence"]
    one = {**seen("lb1")["__deploy_evidence"]["seen"], "lb2": None}
    found = end(facts({**BACK_IN, "__deploy_evidence": {"seen": one}}, app1=(OK, OK)), plan(**{**LIVE, "balancers": ["lb1", "lb2"]}))
    assert set(states_of(found).values()) == {"active"}
    assert found["sentence"].endswith("3 of 3 members serve 1.0.0; who serves on lb2 is not known, since it did not tell."), found["sentence"]


def test_a_deploy_that_lost_requests_since_a_member_died_names_it():
    hostvars = measured("lost", "2 of 12 requests were lost")
    hostvars["localhost"]["__deploy_evidence"].update(seen(app2="down")["__deploy_evidence"])
    found = end(hostvars, plan(**LIVE))
    assert found["result"] == "failed" and states_of(found)["app2"] == "down"
    assert found["sentence"].endswith(
        "is in place, but 2 of 12 requests were lost; app2 does not serve, and nobody took it out; "
        "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0 begins it anew."), found["sentence"]


def test_when_everybody_is_dead_no_member_serves():
    found = end(facts({**BACK_IN, **seen(app1="down", app2="down", app3="down")}, app1=(OK, OK)), plan(**LIVE))
    assert "; no member serves; app1, app2, app3 do not serve, and nobody took them out; " in found["sentence"], found["sentence"]


@pytest.mark.parametrize("begun, way", [(1, True), (0, False)])
def test_a_rollback_is_a_way_out_only_of_what_this_deploy_has_begun(begun, way):
    """Before its first batch there is nothing of it to undo: a rollback would undo the deploy before."""
    away = {**BAD, "unreachable_host": True, "msg": "member app1 cannot be reached: no route"}
    found = end(facts({"__deploy_begun": begun, **seen()}, app1=(away, away)), plan(**LIVE))
    assert found["lost"] == ["app1"] and ("zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=rolling undoes it" in found["sentence"]) is way
