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

import playing
import pytest

HOOK = """
- name: Restart in the user's own way
  ansible.builtin.shell:
    cmd: echo "$(cat {{{{ deploy_artifact.root }}}}/current/version)" >> {trace}.{{{{ inventory_hostname }}}}
  changed_when: true
"""
HOST = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def release(path: pathlib.Path) -> str:
    """An archive that holds its version; returns its digest."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("version")
        member.size, member.mode = 2, 0o644
        tar.addfile(member, io.BytesIO(b"1\n"))
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
