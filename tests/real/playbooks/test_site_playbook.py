# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role inside a user's own site playbook, with tasks before and after, and hooks; deploys that go back; members that a person moves."""

from __future__ import annotations

import json
import pathlib
import re
import sys
import typing as t

import playing
import pytest
from sides import version

# A deploy that works, with tasks of the user's own, the same once more, and one that is refused.
SITE = """
- name: Deploy the shop as part of the site
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: 2.0.0
    deploy_batches: [2]
    deploy_hooks: {hooks}
  pre_tasks:
    - name: A task of the user's own
      ansible.builtin.set_fact:
        site_ready: true
  roles:
    - role: zero.downtime.deploy
  post_tasks:
    - name: It knows how the deploy ended
      ansible.builtin.assert:
        that: site_ready

- name: The same once more
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: 2.0.0
  roles:
    - role: zero.downtime.deploy

- name: A deploy that is refused
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: 9.9.9
  roles:
    - role: zero.downtime.deploy
"""

# Printed, since that takes no process on each host.
HOOK = """
- name: Leave a trace
  ansible.builtin.debug:
    msg: "trace {name} {{{{ inventory_hostname }}}} {{{{ rolling_batch.n | default('-') }}}}"
"""
HOOKS = ("before_stage", "after_stage", "before_shift", "before_drain", "after_activate")


def hook(directory: pathlib.Path, name: str) -> str:
    path = directory / f"{name}.yml"
    path.write_text(HOOK.format(name=name), encoding="utf-8")
    return str(path)


# Somebody's change of haproxy.cfg while a batch is out: a server less, and a reload.
REMOVE = """
import os, re, signal, sys
sys.path[:0] = {paths}
import layout
from haproxy_stage import ask, wait_until
socket = os.path.join(layout.run_dir(), "admin.sock")
blue, server = "backend shop_blue", "    server app2 "
with open(layout.CONFIG, encoding="utf-8") as file:
    before, backend, after = file.read().partition(blue)
with open(layout.CONFIG, "w", encoding="utf-8") as file:
    file.write(before + backend + re.sub(server + ".*\\n", "", after, count=1))
worker = ask(socket, "show info").partition("Pid: ")[2].split()[0]
with open(layout.HAPROXY_PID, encoding="ascii") as file:
    os.kill(int(file.read()), signal.SIGUSR2)
wait_until(lambda: ask(socket, "show info").partition("Pid: ")[2].split()[0] != worker, "a new worker answers")
"""


def removes_app2(directory: pathlib.Path, then: str = "") -> dict[str, str]:
    """A hook that removes app2 from the balancer's configuration while its batch is out; C(then) are more tasks."""
    script, path = directory / "remove.py", directory / "remove.yml"
    rooms = [str(playing.REPO / "tests" / room) for room in ("real", "stage", "suite")]
    script.write_text(REMOVE.format(paths=rooms), encoding="utf-8")
    path.write_text(f"- name: Remove app2\n  ansible.builtin.command: {sys.executable} {script}\n  changed_when: true\n"
                    f"  when: inventory_hostname == 'app1'\n{then}", encoding="utf-8")
    return {"after_activate": str(path)}


def traced(output: str) -> list[list[str]]:
    """Which hook ran, on which host, and in which batch; in order."""
    return [found.split() for found in re.findall(r'"msg": "trace ([^"]+)"', output)]


@pytest.mark.claim("role-in-your-own-playbook", "hooks-where-and-when", "second-run-changes-nothing")
def test_the_role_in_a_site_playbook_with_hooks(stage: t.Any, tmp_path: pathlib.Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text(SITE.format(hooks=json.dumps({name: hook(tmp_path, name) for name in HOOKS})), encoding="utf-8")
    played = stage.play(str(site))
    first, again, refused = played.output.split("PLAY [")[1:]
    assert "Deploy of shop: 4 of 4 members were moved to 2.0.0" in first, first
    assert "all 4 members run 2.0.0 already, and nothing was moved" in again, again
    # Its failure is nothing that the first one's members go back for.
    assert played.rc == 2 and "was refused" in played.sentence and "9.9.9 is unknown" in played.sentence, refused
    assert version() == "2.0.0"

    lines = traced(first)
    of = {name: [line[1] for line in lines if line[0] == name] for name in HOOKS}
    assert sorted(of["before_stage"]) == sorted(of["after_stage"]) == ["app1", "app2", "app3", "app4"]
    assert of["before_shift"] == ["localhost"]
    assert of["before_drain"] == ["localhost", "localhost"]
    assert sorted(of["after_activate"]) == ["app1", "app2", "app3", "app4"]
    order = [line[0] for line in lines]
    assert order.index("before_shift") < order.index("before_drain") < order.index("after_activate")


@pytest.mark.claim("failing-hook-goes-back", "hook-on-failure")
def test_a_hook_that_fails_takes_the_deploy_back(stage: t.Any, tmp_path: pathlib.Path) -> None:
    fails = tmp_path / "fails.yml"
    fails.write_text("- name: Find something wrong\n  ansible.builtin.fail:\n    msg: the cache could not be warmed\n"
                     "  when: inventory_hostname == 'app3'\n", encoding="utf-8")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[2],
                        deploy_hooks={"after_activate": str(fails), "on_failure": hook(tmp_path, "on_failure")})
    assert played.rc == 2, played.output
    assert f"app3: the hook after_activate ({fails}) failed at its task 'Find something wrong': the cache could not be warmed" in played.sentence
    assert "app1, app2, app3, app4 went back; 4 of 4 members serve 1.0.0" in played.sentence
    assert traced(played.output) == [["on_failure", "localhost", "-"]]
    assert version() == "1.0.0"


# A member that is in no batch yet dies, and the balancer sees it.
KILL = """
import os, sys
sys.path[:0] = {paths}
import layout, stage
from haproxy_stage import ask, wait_until
stage.end(lambda: layout.member_processes("app4", "blue"), kindly=False)
socket = os.path.join(layout.run_dir(), "admin.sock")
wait_until(lambda: any(row.startswith("shop_blue,app4,") and ",DOWN," in row for row in ask(socket, "show stat").splitlines()), "app4 is down")
"""


@pytest.mark.claim("failed-deploy-asks-who-serves")
def test_a_member_that_dies_while_a_deploy_fails_is_not_said_to_serve(stage: t.Any, tmp_path: pathlib.Path) -> None:
    script, dies = tmp_path / "kill.py", tmp_path / "kill.yml"
    script.write_text(KILL.format(paths=[str(playing.REPO / "tests" / room) for room in ("real", "stage", "suite")]), encoding="utf-8")
    dies.write_text(f"- name: Kill app4\n  ansible.builtin.command: {sys.executable} {script}\n  changed_when: true\n"
                    "- name: Find something wrong\n  ansible.builtin.fail:\n    msg: the cache could not be warmed\n", encoding="utf-8")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[1], deploy_hooks={"after_activate": str(dies)})
    begins = "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_strategy=rolling -e deploy_release=1.0.0 begins it anew"
    assert played.rc == 2, played.output
    said = f"app1 went back; 3 of 4 members serve 1.0.0; app4 does not serve, and nobody took it out; {begins}"
    assert said in played.sentence, played.sentence
    record = json.loads(max((stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    assert {row["name"]: row["state"] for row in record["members"]} == {"app1": "active", "app2": "active", "app3": "active", "app4": "down"}
    status = stage.play("zero.downtime.status")
    assert begins in status.sentence, status.output
    assert stage.play("zero.downtime.deploy", deploy_release="1.0.0", deploy_strategy="rolling").rc == 0


@pytest.mark.claim("never-ready-goes-back")
def test_a_release_that_never_becomes_ready_goes_back(stage: t.Any) -> None:
    played = stage.play("zero.downtime.deploy", deploy_release="3.0.0-bad", deploy_health={"path": "/ready", "header": "x-release", "timeout": 8})
    assert played.rc == 2, played.output
    assert "app1 went back; 4 of 4 members serve 1.0.0" in played.sentence
    record = json.loads(max((stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    assert record["result"] == "rolled_back"
    assert record["evidence"]["probe"]["failed"] == 0
    balance = record["evidence"]["balance"]
    assert balance["unanswered"] == 0
    # The sheet's window lies in the record's, and no step of the deploy is outside of it.
    assert record["started"] <= balance["began"] < record["steps"][1]["started"] and balance["ended"] <= record["finished"], (record["started"], balance)
    assert record["steps"][0]["name"] == "plan" and abs(record["steps"][0]["started"] - record["started"]) < 0.01


@pytest.mark.claim("removed-server-is-named")
def test_a_server_that_somebody_removes_while_it_is_out_is_named_and_the_others_go_on(stage: t.Any, tmp_path: pathlib.Path) -> None:
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[2, 1], deploy_hooks=removes_app2(tmp_path))
    assert played.rc == 0 and "app2 has no server on lb1 any more, since somebody removed it meanwhile" in played.sentence, played.output
    assert "stays out" not in played.sentence
    record = json.loads(max((stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    assert {row["name"]: row["state"] for row in record["members"]} == {"app1": "active", "app2": "removed", "app3": "active", "app4": "active"}
    status = stage.play("zero.downtime.status")
    assert status.rc == 2 and status.sentence.startswith("member app2 is no server of lb1/shop_blue, so nobody sends it requests there"), status.output
    # The next one is told what is there.
    refused = stage.play("zero.downtime.deploy", deploy_release="1.0.0")
    assert refused.rc == 2 and "pool shop_blue on balancer lb1 has no server app2 for member app2; it has app1, app3, app4" in refused.sentence


def test_a_server_that_somebody_removes_before_the_deploy_goes_back_holds_nobody_up(stage: t.Any, tmp_path: pathlib.Path) -> None:
    fails = "- name: Find something wrong\n  ansible.builtin.fail:\n    msg: the cache is cold\n  when: inventory_hostname == 'app3'\n"
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[2, 1], deploy_hooks=removes_app2(tmp_path, fails))
    assert played.rc == 2 and "the cache is cold; app2 kept 2.0.0; app2 has no server on lb1 any more" in played.sentence, played.output
    # app2 has the release all the same: what ends that is printed.
    assert "3 of 4 members serve 1.0.0; " in played.sentence and "stays out" not in played.sentence, played.sentence
    assert "zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=rolling undoes it, or " in played.sentence, played.sentence
    status = stage.play("zero.downtime.status")
    assert status.rc == 2 and "out of traffic" not in status.sentence and "app2 is no server of lb1/shop_blue" in status.sentence


@pytest.mark.claim("drain-and-activate-by-hand", "status-exit-codes")
def test_drain_and_activate_by_hand(stage: t.Any) -> None:
    assert stage.play("zero.downtime.drain", deploy_members=["app2"]).rc == 0
    status = stage.play("zero.downtime.status")
    assert status.rc == 2
    assert "member app2 is out of traffic (drained)" in status.sentence
    assert stage.play("zero.downtime.activate", deploy_members=["app2"]).rc == 0
    assert stage.play("zero.downtime.status").rc == 0
    unknown = stage.play("zero.downtime.drain", deploy_members=["app9"])
    assert unknown.rc == 2
    assert "deploy_members" in unknown.sentence and "app9" in unknown.sentence
