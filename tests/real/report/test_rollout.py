# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback under a real ansible-playbook: in a pipe, on a terminal (tmux), and in a play that is none of ours.

The collection here is a stand-in with the real name: its plan and members only write the files that the real ones write.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import uuid

import pytest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

ACTION = '''
import json, os, time
from ansible.plugins.action import ActionBase

def put(run_dir, name, value):
    beside = os.path.join(run_dir, name + ".new")
    with open(beside, "w") as file:
        json.dump(value, file)
    os.rename(beside, os.path.join(run_dir, name))

def event(run_dir, **values):
    with open(os.path.join(run_dir, "events.jsonl"), "a") as file:
        file.write(json.dumps(dict(values, time=time.time())) + "\\n")

class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        args = self._task.args
        run_dir = args["run_dir"]
        if self._task.action.endswith("plan"):
            result["run_dir"] = run_dir
            result["plan"] = {"app": "shop", "release": {"label": "2.0.0"}, "batches": [{"n": 1, "members": ["app1"]}, {"n": 2, "members": ["app2"]}]}
            return result
        members, batch, step = args["members"], args["batch"], args["step"]
        event(run_dir, step=step, event="started", members=members, batch=batch)
        end = time.time() + float(args.get("takes", 0))
        put(run_dir, "progress.json", {"sent": 1234 * batch, "failed": args.get("failed", 0), "failures": {"reset": args.get("failed", 0)}})
        while time.time() < end:
            time.sleep(0.1)
        event(run_dir, step=step, event="finished", members=members, batch=batch)
        return result
'''

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - zero.downtime.plan:
        run_dir: "{{ run_dir }}"
    - zero.downtime.members: {run_dir: "{{ run_dir }}", step: drain, members: [app1], batch: 1, takes: 1.5}
    - zero.downtime.members: {run_dir: "{{ run_dir }}", step: return, members: [app1], batch: 1}
    - ansible.builtin.debug: {msg: "between the batches"}
    - zero.downtime.members: {run_dir: "{{ run_dir }}", step: drain, members: [app2], batch: 2, failed: 3, takes: "{{ takes | default(0.2) }}"}
"""

OTHER = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {run_dir: /tmp}
    - ansible.builtin.debug: {msg: hello}
"""


@pytest.fixture
def place(tmp_path):
    root = tmp_path / "collections" / "ansible_collections" / "zero" / "downtime"
    for folder in ("plugins/action", "plugins/modules", "playbooks/callback_plugins", "meta"):
        (root / folder).mkdir(parents=True)
    (root / "meta" / "runtime.yml").write_text("requires_ansible: '>=2.17.0'\n")
    (root / "galaxy.yml").write_text("namespace: zero\nname: downtime\nversion: 0.0.1\nreadme: README.md\nauthors: [x]\n")
    for name in ("plan", "members"):
        (root / "plugins" / "action" / f"{name}.py").write_text(ACTION)
    (root / "playbooks" / "deploy.yml").write_text(PLAYBOOK)
    (root / "playbooks" / "other.yml").write_text(OTHER)
    shutil.copy(os.path.join(REPO, "playbooks", "callback_plugins", "rollout.py"), root / "playbooks" / "callback_plugins")
    (tmp_path / "run").mkdir()
    return tmp_path


def environment(place, **more):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "NO_COLOR"))}
    env.update(ANSIBLE_COLLECTIONS_PATH=str(place / "collections"), ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
               HOME=str(place), LC_ALL="C.UTF-8", ANSIBLE_DEPRECATION_WARNINGS="false")
    env.update(more)
    return env


def command(place, playbook, *more):
    return [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), f"zero.downtime.{playbook}", "-e", f"run_dir={place}/run", *more]


@pytest.mark.claim("progress-in-a-pipe")
def test_plain_lines_in_a_pipe(place):
    done = subprocess.run(command(place, "deploy"), cwd=place, env=environment(place, TERM="xterm"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("rollout: ")]
    assert lines[0].startswith("rollout: batch 1 of 2: app1 draining")
    assert "rollout: batch 2 of 2: app2 draining; 2,468 requests, 3 failed (3 reset)" in "\n".join(lines) or "app2 drained" in lines[-1]
    assert "rollout: 3 more requests failed: 2,468 requests, 3 failed (3 reset)" in lines
    assert any("app1 active; 1,234 requests, 0 failed" in line for line in lines)
    assert len(lines) == len(set(lines)), "a line is for a change"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout)
    assert "Traceback" not in done.stderr and "callback" not in done.stderr.lower()


def test_silent_in_a_play_that_is_not_ours(place):
    done = subprocess.run(command(place, "other"), cwd=place, env=environment(place), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rollout" not in done.stdout + done.stderr


@pytest.mark.claim("progress-on-a-terminal")
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux stands in for a person's terminal")
def test_one_redrawn_line_on_a_terminal(place):
    server = f"rollout-{uuid.uuid4().hex}"
    line = " ".join(f"'{part}'" for part in command(place, "deploy", "-e", "takes=3"))
    shell = f"{line}; echo finished=$?; sleep 30"
    tmux = ["tmux", "-L", server, "-f", "/dev/null"]
    env = environment(place)
    subprocess.run(tmux + ["new-session", "-d", "-x", "120", "-y", "50", shell], cwd=place, env=env, check=True)
    try:
        seen, screen = set(), ""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "finished=" not in screen:
            screen = subprocess.run(tmux + ["capture-pane", "-p"], env=env, capture_output=True, text=True, check=True).stdout
            live = [text for text in screen.splitlines() if text.startswith("shop 2.0.0 |")]
            assert len(live) <= 1, screen
            seen.update(live)
            time.sleep(0.1)
        assert "finished=0" in screen, screen
        assert any("1,234 requests, 0 failed" in text and "batch 1 of 2: app1 draining" in text for text in seen), seen
        assert any("2,468 requests, 3 failed (3 reset)" in text and "1/2 done" in text and "app2 draining" in text for text in seen), seen
        # It is gone in the end, and what others printed is whole.
        assert not any(text.startswith("shop 2.0.0 |") for text in screen.splitlines()), screen
        assert '"msg": "between the batches"' in screen
        for text in screen.splitlines():
            assert "requests" not in text, screen
            if text.startswith("TASK"):
                assert re.fullmatch(r"TASK \[[^]]+\] \**", text), screen
    finally:
        subprocess.run(tmux + ["kill-server"], env=env, check=False)
