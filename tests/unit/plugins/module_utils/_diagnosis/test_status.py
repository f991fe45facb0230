# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import status as _status

PLAN = {"app": "shop", "environment": "production", "members": ["app1", "app2"], "servers": {"app1": "app1", "app2": "app2"}}
ONE, TWO = {"label": "1.0.0", "digest": "1" * 64}, {"label": "2.0.0", "digest": "2" * 64}


def info(**states):
    return {"pools": [{"name": "shop", "members": [{"name": name, "state": state, "in_flight": 1} for name, state in states.items()]}],
            "workers": [{"pid": 7, "current": True}]}


def test_all_well():
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="active")})
    assert found["problems"] == []
    assert found["sentence"] == "shop (production): all 2 members run 1.0.0"
    assert _status.table(found)[0].split() == ["member", "release", "previous", "lb1/shop", "in", "flight"]


@pytest.mark.claim("status-mixed-releases")
def test_mixed_releases_and_members_out():
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": TWO}}, {"lb1": info(app1="active", app2="drained")})
    assert "members run different releases: 1.0.0 on app1; 2.0.0 on app2" in found["problems"]
    assert "member app2 is out of traffic (drained)" in found["problems"]


@pytest.mark.claim("status-balancers-disagree")
def test_balancers_that_disagree():
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}},
                          {"lb1": info(app1="active", app2="active"), "lb2": info(app1="active", app2="drained")})
    assert found["problems"] == ["balancers disagree on member app2: lb1/shop has it active, lb2/shop has it drained"]


@pytest.mark.claim("status-silent-hosts")
def test_who_does_not_answer_is_a_problem():
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"failed": True, "msg": "member app2 cannot be reached: no route"}},
                          {"lb1": {"failed": True, "msg": "no such socket"}})
    assert found["problems"] == ["balancer lb1: no such socket", "member app2 cannot be reached: no route"]


@pytest.mark.claim("status-old-workers")
def test_an_old_worker_is_a_problem():
    seen = info(app1="active", app2="active")
    seen["workers"].append({"pid": 6, "current": False})
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": seen})
    assert "process 6" in found["problems"][0]


def test_nothing_deployed_yet_is_no_problem():
    found = _status.build(PLAN, {"app1": {"active": None}, "app2": {"active": None}}, {"lb1": info(app1="down", app2="down")})
    assert found["problems"] == []
    assert "no release has been deployed yet" in found["sentence"]


@pytest.mark.claim("status-orphans", "status-findings-have-kinds")
def test_a_dead_holder_and_what_it_left_out():
    locks = {"lb1": {"lock": {"deploy_id": "d1", "holder": {"user": "ops", "controller": "ctl1", "pid": 7}},
                     "journal": [{"state": "drained", "members": ["app2"]}]}}
    arguments = (PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="drained")}, locks)
    found = _status.build(*arguments, lambda lock: True)
    assert "its controller has died; ansible-playbook zero.downtime.rollback -e deploy_app=shop takes it over" in found["problems"][0]
    assert found["problems"][1] == "member app2 is out of traffic (drained), left by a deploy that did not end"
    assert [entry["kind"] for entry in found["watch"]] == ["dead_lock", "orphan"]


@pytest.mark.claim("status-while-a-deploy-runs", "status-half-staged")
def test_what_a_running_deploy_has_out_is_its_own_affair():
    lock = {"deploy_id": "d1", "holder": {"user": "ops", "controller": "ctl1", "pid": 7}, "since": 1000.0}
    locks = {"lb1": {"lock": lock, "journal": [{"state": "drained", "members": ["app2"]}]}}
    arguments = (PLAN, {"app1": {"active": ONE, "leftovers": ["/srv/x"]}, "app2": {"active": TWO}}, {"lb1": info(app1="active", app2="drained")}, locks)
    running = _status.build(*arguments, now=lambda: 1060.0)
    assert running["problems"] == []
    assert "deploy d1 of ops on ctl1 (process 7)" in running["sentence"] and running["sentence"].endswith(" runs")
    somebody = _status.build(PLAN, arguments[1], {"lb1": info(app1="drained", app2="drained")}, locks, now=lambda: 1060.0)
    assert [(entry["kind"], entry["who"]) for entry in somebody["watch"]] == [("out", ["app1"])]
    late = _status.build(*arguments, now=lambda: 1000.0 + 7 * 3600)
    assert [entry["kind"] for entry in late["watch"]] == ["old_lock", "half_staged", "orphan", "mixed_releases"]
    assert "deploy_lock_break" in late["problems"][0]


@pytest.mark.claim("without-is-remembered")
def test_a_balancer_that_was_left_out_is_named_until_it_agrees():
    plan = {**PLAN, "balancers": ["lb1", "lb2"]}
    releases = {"app1": {"active": ONE}, "app2": {"active": ONE}}
    locks = {"lb1": {"lock": None, "journal": [], "without": {"lb2": {"deploy_id": "d1", "time": 1.0}, "lb9": {"deploy_id": "d0", "time": 1.0}}},
             "lb2": {"failed": True, "unreachable_host": True, "msg": "state host lb2 cannot be reached"}}
    well = info(app1="active", app2="active")
    gone = _status.build(plan, releases, {"lb1": well, "lb2": {"failed": True, "unreachable_host": True, "msg": "balancer lb2 cannot be reached: no"}}, locks)
    assert gone["problems"] == ["balancer lb2 cannot be reached: no; deploy d1 went on without it"]
    assert gone["without"] == ["lb2"]
    locks["lb2"] = {"lock": None, "journal": []}
    other = _status.build(plan, releases, {"lb1": well, "lb2": info(app1="active", app2="drained")}, locks)
    assert other["problems"][-1] == "balancer lb2 has app2 in another state than the others; deploy d1 went on without it"
    back = _status.build(plan, releases, {"lb1": well, "lb2": well}, locks)
    assert back["problems"] == [] and back["without"] == []


def test_a_side_that_cannot_be_told_is_a_problem():
    plan = {**PLAN, "balancers": ["lb1"], "side_problem": "balancer lb1 sends 5 % of the requests to green"}
    found = _status.build(plan, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="active")})
    assert found["problems"] == ["balancer lb1 sends 5 % of the requests to green"]
    assert found["watch"] == [{"kind": "sides", "who": ["lb1"], "text": "balancer lb1 sends 5 % of the requests to green"}]


def test_one_balancer_with_two_pools_does_not_disagree_with_itself():
    seen = info(app1="active", app2="active")
    seen["pools"].append({"name": "shop_tls", "members": [{"name": "app1", "state": "active", "in_flight": 0},
                                                          {"name": "app2", "state": "drained", "in_flight": 0}]})
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": seen})
    assert found["problems"] == ["pools disagree on member app2: lb1/shop has it active, lb1/shop_tls has it drained"]


@pytest.mark.claim("status-names-a-member-without-a-server")
def test_a_member_that_no_pool_has_or_one_balancer_lacks_is_named():
    releases = {"app1": {"active": ONE}, "app2": {"active": None}}
    nowhere = _status.build(PLAN, releases, {"lb1": info(app1="active"), "lb2": info(app1="active")})
    assert [(entry["kind"], entry["who"]) for entry in nowhere["watch"]] == [("missing", ["app2"])]
    assert nowhere["sentence"].startswith("member app2 is no server of lb1/shop, lb2/shop, so nobody sends it requests there; a deploy is refused until")
    one = _status.build({**PLAN, "servers": {"app1": "app1", "app2": "s2"}}, releases, {"lb1": info(app1="active", s2="active"), "lb2": info(app1="active")})
    assert one["problems"] == ["member app2 is no server of lb2/shop, so nobody sends it requests there; a deploy is refused until there is a server s2, "
                               "or app2 is not in the inventory any more"]


def test_what_a_balancer_without_a_line_for_a_member_says_is_no_state():
    """nginx' driver writes the lines itself: a member that has none is missing once it has a release, and no balancer has it in another state."""
    gone, there = info(app1="active", app2="down"), info(app1="active", app2="active")
    gone["pools"][0]["members"][1]["status"] = "absent"
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": gone, "lb2": there})
    assert found["problems"] == ["member app2 has no line in lb1/shop, so nobody sends it requests there; ansible-playbook "
                                 "zero.downtime.activate -e deploy_app=shop -e deploy_members=app2 writes one"]
    assert _status.build(PLAN, {"app1": {"active": None}, "app2": {"active": None}}, {"lb1": gone})["problems"] == []


@pytest.mark.claim("status-begins-the-dead-anew")
def test_a_member_that_nobody_took_out_and_that_does_not_serve_has_a_command_that_begins_it_anew():
    releases = {"app1": {"active": ONE}, "app2": {"active": ONE}}
    found = _status.build(PLAN, releases, {"lb1": info(app1="active", app2="down"), "lb2": info(app1="active", app2="down")})
    command = "ansible-playbook zero.downtime.deploy -e deploy_app=shop {}-e deploy_release=" + ONE["label"]
    assert found["watch"] == [{"kind": "dead", "who": ["app2"], "text": "member app2 is out of traffic (down), and nobody took it out; "
                               + command.format("") + " begins it anew"}]
    # Of two sides, it is the one that serves.
    sided = _status.build({**PLAN, "sides": SIDES}, releases, {"lb1": info(app1="active", app2="down")})
    assert command.format("-e deploy_strategy=rolling ") in sided["sentence"]
    # One that somebody took out on one of them is out, and one that only one of them has down is theirs to agree on.
    mixed = _status.build(PLAN, releases, {"lb1": info(app1="active", app2="down"), "lb2": info(app1="down", app2="drained")})
    assert [entry["kind"] for entry in mixed["watch"]] == ["disagree", "out"]


@pytest.mark.claim("status-begins-the-dead-anew")
def test_members_that_died_together_are_one_sentence_and_that_nobody_serves_is_said():
    command = "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release="
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="down", app2="down")})
    assert found["watch"] == [{"kind": "dead", "who": ["app1", "app2"], "text": (
        f"no member serves: members app1 and app2 are out of traffic (down), and nobody took them out; {command}1.0.0 begins them anew")}]
    plan = {**PLAN, "members": ["app1", "app2", "app3"], "servers": {name: name for name in ("app1", "app2", "app3")}}
    releases = {"app1": {"active": ONE}, "app2": {"active": TWO}, "app3": {"active": ONE}}
    partly = _status.build(plan, releases, {"lb1": info(app1="down", app2="active", app3="down")})
    assert partly["problems"][0] == f"members app1 and app3 are out of traffic (down), and nobody took them out; {command}1.0.0 begins them anew"
    # Each release has a command of its own.
    mixed = _status.build(PLAN, releases, {"lb1": info(app1="down", app2="down")})
    assert [entry["who"] for entry in mixed["watch"] if entry["kind"] == "dead"] == [["app1"], ["app2"]]
    assert mixed["sentence"].startswith("no member serves: member app1 is out of traffic (down)") and mixed["sentence"].count("no member serves") == 1
    held = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="drained", app2="drained")})
    assert held["sentence"] == "no member serves: member app1 is out of traffic (drained); member app2 is out of traffic (drained)"


def test_whoever_has_the_lock_is_called_by_what_it_does():
    lock = {"deploy_id": "d1", "holder": {"user": "ops", "controller": "ctl1", "pid": 7, "verb": "restart"}}
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="active")},
                          {"lb1": {"lock": lock, "journal": []}}, lambda lock: True)
    assert found["sentence"].startswith("restart d1 of ops on ctl1 (process 7), since "), found["sentence"]


@pytest.mark.claim("status-names-a-deleted-file")
def test_a_deleted_file_is_named_with_the_lines_that_bring_it_back(tmp_path):
    seen = info(app1="active", app2="active")
    seen["findings"] = [{"level": "warning", "setting": "missing file", "text": "/etc/haproxy/split.map is gone", "lines": [f"k{n} 0" for n in range(62)]},
                        {"level": "warning", "setting": "retries", "text": "whatever", "lines": []}]
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": seen})
    assert [entry["kind"] for entry in found["watch"]] == ["missing_file"]
    # What can be pasted is a command.
    seen["findings"][0].update(file="/etc/haproxy/split.map", lines=["shop 0", "api 5"])
    plain = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": seen})
    # Ansible prints sentences as JSON, where a double quote could not be pasted.
    assert json.dumps(plain["sentence"]) == f'"{plain["sentence"]}"'
    seen["findings"][0].update(lines=["shop 0", "it's 5"])
    short = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": seen})
    command = short["sentence"].partition("; ")[2].removesuffix(" writes them")
    words = shlex.split(command)
    assert words[:4] == ["ansible", "lb1", "-m", "ansible.builtin.shell"]
    where = tmp_path / "split.map"
    subprocess.run(words[-1].replace("/etc/haproxy/split.map", str(where)), shell=True, check=True)
    assert where.read_text(encoding="utf-8") == "shop 0\nit's 5\n"
    silent = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}},
                           {"lb1": {"failed": True, "msg": "/x/shop.split.conf was deleted", "missing_file": "/x/shop.split.conf"}})
    assert [(entry["kind"], entry["text"]) for entry in silent["watch"]] == [("missing_file", "balancer lb1: /x/shop.split.conf was deleted")]
    assert found["sentence"].startswith("balancer lb1: /etc/haproxy/split.map is gone: k0 0 | k1 0") and found["sentence"].endswith("k59 0 and 2 more")


SIDES = {"green": {"pools": ["shop_green"], "hosts": {"app1": {"server": "s1"}, "app2": {"server": "s2"}}}}


def idle(**states):
    return {"pools": [{"name": "shop_green", "members": [{"name": name, "state": state} for name, state in states.items()]}]}


@pytest.mark.claim("status-names-an-idle-side-that-is-out")
def test_an_idle_side_that_is_out_is_named_with_what_brings_it_back():
    status = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="active")})
    _status.add_idle(status, {**PLAN, "sides": SIDES}, {"lb1": idle(s1="drained", s2="active"), "lb2": idle(s1="drained", s2="drained")}, "green")
    assert status["watch"][-1]["kind"] == "idle_out" and status["watch"][-1]["who"] == ["app1", "app2"]
    assert status["sentence"] == status["problems"][-1]
    assert "zero.downtime.activate -e deploy_app=shop -e deploy_side=green -e deploy_members=app1,app2 brings them back" in status["sentence"]


def test_a_member_that_the_idle_side_has_no_server_for_is_named_also_where_nothing_runs_there():
    status = {"watch": [], "problems": [], "running": [], "sentence": "all well", "without": []}
    _status.add_idle(status, {**PLAN, "sides": SIDES}, {"lb1": idle(s1="down")}, "green", runs=False)
    assert [(entry["kind"], entry["who"]) for entry in status["watch"]] == [("missing", ["app2"])] and "a server s2" in status["sentence"]


def test_an_idle_side_that_is_whole_or_in_a_deploys_hands_is_no_problem():
    for running, states in (([], {"s1": "active", "s2": "down"}), (["deploy d1"], {"s1": "drained", "s2": "drained"})):
        status = {"watch": [], "problems": [], "running": running, "sentence": "all well"}
        _status.add_idle(status, {**PLAN, "sides": SIDES}, {"lb1": idle(**states)}, "green")
        assert status["problems"] == [] and status["sentence"] == "all well"


def test_what_was_left_unfinished_is_told_with_the_commands_that_end_it():
    intent = {"verb": "deploy", "strategy": "canary", "release": "n" * 64, "label": "2.0.0", "serving": "blue", "side": "green"}
    journal = [{"deploy_id": "d1", "state": "drained", "members": ["app2"], "intent": intent}]
    found = _status.build(PLAN, {"app1": {"active": ONE}, "app2": {"active": ONE}}, {"lb1": info(app1="active", app2="drained")},
                          {"lb1": {"lock": None, "journal": journal}, "lb2": {"lock": None, "journal": []}})
    command = "ansible-playbook zero.downtime.{0} -e deploy_app=shop -e "
    assert found["problems"] == [
        "member app2 is out of traffic (drained), left by a deploy that did not end; "
        + command.format("rollback") + "deploy_strategy=blue_green undoes it, or "
        + command.format("deploy") + "deploy_release=2.0.0 -e deploy_strategy=canary goes on with it"]
