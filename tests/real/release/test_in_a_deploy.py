# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy of workers, which need no balancer: what stands in place of the service, and what is left to others."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import re
import tarfile
import typing as t

import playing
import pytest
from haproxy_stage import wait_until

HOOK = """
- name: Restart in the user's own way
  ansible.builtin.shell:
    cmd: echo "$(cat {{{{ deploy_artifact.root }}}}/current/version)" >> {trace}.{{{{ inventory_hostname }}}}
  changed_when: true
"""
# At that worker it comes with the second release, and not back from it.
HANGS = """
- name: Hang with the second release
  ansible.builtin.pause:
    seconds: 3600
  when:
    - inventory_hostname == "w2"
    - lookup("ansible.builtin.file", deploy_artifact.root ~ "/current/version") == "2"
"""
HOST = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def release(path: pathlib.Path, version: str = "1") -> str:
    """An archive that holds its version; returns its digest."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("version")
        member.size, member.mode = 2, 0o644
        tar.addfile(member, io.BytesIO(f"{version}\n".encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.claim("hook-restart", "result-for-who-comes-after")
def test_a_hook_restarts_and_the_result_is_published(tmp_path: pathlib.Path) -> None:
    hook, trace = tmp_path / "restart.yml", tmp_path / "restarted"
    hook.write_text(HOOK.format(trace=trace), encoding="utf-8")
    variables = {
        "deploy_app": "mailer", "deploy_hosts": "workers", "deploy_batches": [1], "deploy_traffic": {"driver": "none"},
        "deploy_artifact": {"src": str(tmp_path / "mailer.tar.gz"), "digest": release(tmp_path / "mailer.tar.gz"),
                            "root": str(tmp_path / "{{ inventory_hostname }}")},
        # It would leave a trace of its own.
        "deploy_service": {"command": ["touch", str(tmp_path / "service")]},
        "deploy_hooks": {"restart": str(hook)},
        "deploy_records_dir": str(tmp_path / "records"), "deploy_state_dir": str(tmp_path / "state"),
    }
    workers = {"children": {"workers": {"hosts": {"w1": {}, "w2": {}}}}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": {**HOST, **variables}, **workers}}), encoding="utf-8")
    command = playing.command("zero.downtime.deploy", inventories=[str(inventory)], variables={"deploy_release": "1"})
    played = playing.play(command, env={"ANSIBLE_SHOW_CUSTOM_STATS": "1"})
    assert played.rc == 0, played.output
    traces = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("restarted.*")}
    assert traces == {"restarted.w1": "1\n", "restarted.w2": "1\n"}
    assert not (tmp_path / "service").exists()
    (record,) = (tmp_path / "records").glob("*.json")
    told = re.search(r"CUSTOM STATS: \**\s*(.*)", played.output, re.DOTALL)
    assert told, played.output
    published = {"deploy_result": "succeeded", "deploy_record": str(record), "deploy_sentence": played.sentence}
    for name, value in published.items():
        assert f'"{name}": {json.dumps(value)}' in told[1], told[1]


class Workers:
    """Three of them, which no balancer stands before, and releases 1 and 2; C(variables) of the inventory's own."""

    def __init__(self, path: pathlib.Path, **variables: t.Any) -> None:
        self.path = path
        digests = {version: release(path / f"mailer-{version}.tar.gz", version) for version in ("1", "2")}
        everywhere = {
            "deploy_app": "mailer", "deploy_hosts": "workers", "deploy_batches": [1], "deploy_traffic": {"driver": "none"},
            "digests": digests,
            "deploy_artifact": {"src": str(path / "mailer-{{ deploy_release }}.tar.gz"), "digest": "{{ digests[deploy_release] }}",
                                "root": str(path / "{{ inventory_hostname }}")},
            "deploy_service": {"command": ["true"]},
            "deploy_records_dir": str(path / "records"), "deploy_state_dir": str(path / "state"), **variables}
        hosts = {"workers": {"hosts": dict.fromkeys(("w1", "w2", "w3"), {})}}
        self.inventory = path / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {"vars": {**HOST, **everywhere}, "children": hosts}}), encoding="utf-8")

    def command(self, verb: str, **variables: t.Any) -> list[str]:
        return playing.command(f"zero.downtime.{verb}", inventories=[str(self.inventory)], variables=variables)

    def versions(self) -> list[str]:
        return [(self.path / name / "current" / "version").read_text(encoding="utf-8").strip() for name in ("w1", "w2", "w3")]


@pytest.mark.claim("journal-on-other-hosts")
def test_a_killed_deploy_of_workers_is_known_and_goes_back(tmp_path: pathlib.Path) -> None:
    """Nothing of what moves them runs on the first worker, which keeps the journal.

    It runs the new release, the second is out with it, the third runs the old one: nobody but the journal knows where that began.
    """
    workers = Workers(tmp_path)
    first = playing.play(workers.command("deploy", deploy_release="1"))
    assert first.rc == 0 and workers.versions() == ["1", "1", "1"], first.output
    hook = tmp_path / "hang.yml"
    hook.write_text(HANGS, encoding="utf-8")
    with open(tmp_path / "killed.log", "wb") as output:
        process = playing.start(workers.command("deploy", deploy_release="2", deploy_hooks={"after_activate": str(hook)}), output)
        try:
            wait_until(lambda: workers.versions()[:2] == ["2", "2"] or process.poll() is not None, "the second worker has it", timeout=120)
            assert process.poll() is None, (tmp_path / "killed.log").read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait(30)
    back = playing.play(workers.command("rollback"))
    assert back.rc == 0 and workers.versions() == ["1", "1", "1"], back.output
    status = playing.play(workers.command("status"))
    assert status.rc == 0, status.output


# Whose turn it is, with which release, in the order in which they restart.
RESTARTS = """
- name: Note whose turn it is
  ansible.builtin.shell:
    cmd: echo "{{{{ inventory_hostname }}}} $(cat {{{{ deploy_artifact.root }}}}/current/version)" >> {trace}
  changed_when: true
"""
# With the last worker's turn the second release turns out to be bad.
CHECK = """
- name: Refuse the second release on the last worker
  ansible.builtin.assert:
    that: inventory_hostname != "w3" or lookup("ansible.builtin.file", deploy_artifact.root ~ "/current/version") != "2"
"""


def test_batches_keep_their_order_where_the_controller_answers_last(tmp_path: pathlib.Path) -> None:
    """With hooks of the members every host includes its batches, and Ansible takes them in the order in which the hosts' processes answer."""
    trace, restart, check = (tmp_path / name for name in ("trace", "restart.yml", "check.yml"))
    restart.write_text(RESTARTS.format(trace=trace), encoding="utf-8")
    check.write_text(CHECK, encoding="utf-8")
    workers = Workers(tmp_path, deploy_hooks={"restart": str(restart), "after_activate": str(check)})
    slow = {"ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "slow_controller"), "ANSIBLE_CALLBACKS_ENABLED": "slow_controller"}
    first = playing.play(workers.command("deploy", deploy_release="1"), env=slow)
    assert first.rc == 0, first.output
    back = playing.play(workers.command("deploy", deploy_release="2"), env=slow)
    assert back.rc == 2 and workers.versions() == ["1", "1", "1"], back.output
    turns = [tuple(line.split()) for line in trace.read_text(encoding="utf-8").splitlines()]
    names = ["w1", "w2", "w3"]
    assert turns == [(name, version) for version, order in (("1", names), ("2", names), ("1", names[::-1])) for name in order]
