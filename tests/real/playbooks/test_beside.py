# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do beside a running deploy: a reload of the balancer, and a person who takes a member out."""

from __future__ import annotations

import json

from haproxy_stage import ask

SERVING, OUT = "2 0", "0 1"


def states(stage) -> list[str]:
    """What the balancer says of each member: operational and administrative state."""
    return [" ".join(line.split()[5:7]) for line in ask(stage.socket(), "show servers state shop_blue").splitlines()[2:] if line.strip()]


def record(stage) -> dict:
    records = stage.dir.parent / "records"
    return json.loads(max(records.glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))


def test_a_reload_in_the_middle_of_a_batch_is_noticed_and_named(stage, tmp_path):
    """The hook reloads as systemctl does, and goes on when the new worker answers: in it, everybody serves."""
    hook = tmp_path / "reload.yml"
    hook.write_text(
        "- name: Reload the balancer while the second batch is out\n"
        "  ansible.builtin.shell: |\n"
        "    pid() { echo 'show info' | socat - UNIX-CONNECT:{{ rolling_plan.traffic.socket }} | sed -n 's/^Pid: //p'; }\n"
        "    before=$(pid)\n"
        f"    kill -USR2 $(cat {stage.dir}/pids/haproxy.pid)\n"
        "    for try in $(seq 200); do now=$(pid); [ -n \"$now\" ] && [ \"$now\" != \"$before\" ] && exit 0; sleep 0.05; done\n"
        "    exit 1\n"
        "  when: inventory_hostname == 'app2'\n", encoding="utf-8")
    played = stage.play("zero.downtime.restart", deploy_hooks={"after_activate": str(hook)}, deploy_batches=[1])
    assert played.rc == 0, played.output
    assert "haproxy was reloaded or started anew while app2 was out" in played.output
    assert states(stage) == [SERVING] * 4
    told = [note["detail"]["text"] for note in record(stage)["notes"]]
    assert len([text for text in told if "app2 got requests since" in text]) == 1


def test_a_member_that_a_person_takes_out_meanwhile_gets_the_release_and_stays_out(stage, tmp_path):
    hook = tmp_path / "maint.yml"
    hook.write_text(
        "- name: Take the last member out, as an operator does\n"
        "  ansible.builtin.shell: echo 'set server shop_blue/app4 state maint' | socat - UNIX-CONNECT:{{ rolling_plan.traffic.socket }}\n"
        "  when: rolling_batch.n == 2\n", encoding="utf-8")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_hooks={"before_drain": str(hook)}, deploy_batches=[1])
    assert played.rc == 0, played.output
    assert "app4 was taken out of traffic by somebody else" in played.output
    assert states(stage) == [SERVING] * 3 + [OUT]
    status = stage.play("zero.downtime.status", status_file=str(tmp_path / "status.json"))
    assert status.rc == 2, status.output
    found = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert [(entry["kind"], entry["who"]) for entry in found["watch"]] == [("out", ["app4"])]
    assert {row["release"] for row in found["members"]} == {"2.0.0"}
    assert stage.play("zero.downtime.status", status_fail=False).rc == 0
