# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role inside a user's own site playbook, with tasks before and after, hooks, and check mode."""

from __future__ import annotations

import json
import urllib.request

SITE = """
- name: Deploy the shop as part of the site
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: "{release}"
    deploy_batches: [2]
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
"""

HOOK = """
- name: Leave a trace
  ansible.builtin.lineinfile:
    path: "{trace}"
    line: "{name} {{{{ inventory_hostname }}}} {{{{ rolling_batch.n | default('-') }}}}"
    create: true
    mode: "0644"
  throttle: 1
  check_mode: false
"""


def version() -> str:
    with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=30) as answer:
        return json.load(answer)["version"]


def test_role_in_a_site_playbook(stage, tmp_path):
    site = tmp_path / "site.yml"
    site.write_text(SITE.format(release="2.0.0"), encoding="utf-8")
    played = stage.play(str(site))
    assert played.rc == 0, played.output
    assert version() == "2.0.0"


TWICE = """
- name: A deploy that works
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: "{first}"
    deploy_batches: [2]
  roles:
    - role: zero.downtime.deploy

- name: A deploy that is refused
  hosts: localhost,shop_app
  gather_facts: false
  vars:
    deploy_release: "{second}"
  roles:
    - role: zero.downtime.deploy
"""


def test_twice_in_one_playbook(stage, tmp_path):
    site = tmp_path / "site.yml"
    site.write_text(TWICE.format(first="2.0.0", second="9.9.9"), encoding="utf-8")
    played = stage.play(str(site))
    # The second one's failure is nothing that the first one's members go back for.
    assert played.rc != 0 and "was refused" in played.sentence and "9.9.9 is unknown" in played.sentence
    assert version() == "2.0.0"
    site.write_text(TWICE.format(first="1.0.0", second="1.0.0"), encoding="utf-8")
    played = stage.play(str(site))
    assert played.rc == 0, played.output
    assert "nothing was moved" in played.sentence and version() == "1.0.0"


def test_check_mode_shows_the_plan_and_changes_nothing(stage):
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", "--check", deploy_release="2.0.0")
    assert played.rc == 0, played.output
    assert "batch 1: app1" in played.output
    assert "would move 4 of 4 members to 2.0.0" in played.sentence
    assert stage.seen() == before


def test_second_run_changes_nothing(stage):
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", deploy_release="1.0.0")
    assert played.rc == 0, played.output
    assert "nothing was moved" in played.sentence
    assert stage.seen() == before


def test_hooks_run_where_and_when_they_say(stage, tmp_path):
    trace = tmp_path / "trace"
    hooks = {}
    for name in ("before_stage", "after_stage", "before_shift", "before_drain", "after_activate"):
        path = tmp_path / f"{name}.yml"
        path.write_text(HOOK.format(trace=trace, name=name), encoding="utf-8")
        hooks[name] = str(path)
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_hooks=hooks, deploy_batches=[2])
    assert played.rc == 0, played.output
    lines = [line.split() for line in trace.read_text(encoding="utf-8").splitlines()]
    of = {name: [line[1] for line in lines if line[0] == name] for name in hooks}
    assert sorted(of["before_stage"]) == sorted(of["after_stage"]) == ["app1", "app2", "app3", "app4"]
    assert of["before_shift"] == ["localhost"]
    assert of["before_drain"] == ["localhost", "localhost"]
    assert sorted(of["after_activate"]) == ["app1", "app2", "app3", "app4"]
    order = [line[0] for line in lines]
    assert order.index("before_shift") < order.index("before_drain") < order.index("after_activate")


def test_a_hook_that_fails_takes_the_deploy_back(stage, tmp_path):
    hook = tmp_path / "fails.yml"
    hook.write_text("- name: Find something wrong\n  ansible.builtin.fail:\n    msg: the cache could not be warmed\n"
                    "  when: inventory_hostname == 'app3'\n", encoding="utf-8")
    said = tmp_path / "said.yml"
    trace = tmp_path / "trace"
    said.write_text(HOOK.format(trace=trace, name="on_failure"), encoding="utf-8")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[2], deploy_hooks={"after_activate": str(hook), "on_failure": str(said)})
    assert played.rc == 2, played.output
    assert "app3: the cache could not be warmed" in played.sentence
    assert "app1, app2, app3, app4 went back; 4 of 4 members serve 1.0.0" in played.sentence
    assert trace.read_text(encoding="utf-8").startswith("on_failure localhost")
    assert version() == "1.0.0"


def test_a_release_that_never_becomes_ready_goes_back(stage):
    played = stage.play("zero.downtime.deploy", deploy_release="3.0.0-bad", deploy_health={"path": "/ready", "header": "x-release", "timeout": 8})
    assert played.rc == 2, played.output
    assert "app1 went back; 4 of 4 members serve 1.0.0" in played.sentence
    record = json.loads(max((stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    assert record["result"] == "rolled_back"
    assert record["evidence"]["probe"]["failed"] == 0
    assert record["evidence"]["balance"]["unanswered"] == 0


def test_drain_and_activate_by_hand(stage):
    assert stage.play("zero.downtime.drain", deploy_members=["app2"]).rc == 0
    status = stage.play("zero.downtime.status")
    assert status.rc == 2
    assert "member app2 is out of traffic (drained)" in status.sentence
    assert stage.play("zero.downtime.activate", deploy_members=["app2"]).rc == 0
    assert stage.play("zero.downtime.status").rc == 0
    unknown = stage.play("zero.downtime.drain", deploy_members=["app9"])
    assert unknown.rc == 2
    assert "deploy_members" in unknown.sentence and "app9" in unknown.sentence
