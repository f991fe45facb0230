# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock and the journal on a host that is no balancer (deploy_state_hosts): each move is noted there, and is this deploy's only."""

from __future__ import annotations

import json
import pathlib
import typing as t

import layout
import pytest
from haproxy_stage import get, wait_until
from sides import version

KEEPER = {"deploy_state_hosts": "app4", "deploy_soak": 0, "deploy_batches": [2]}
HOOK = """
- name: {name}
  ansible.builtin.shell:
    cmd: "{command}"
  changed_when: true
  when: rolling_batch.n == 2
"""
HANGS = """
- name: Hang on the controller
  ansible.builtin.pause:
    seconds: 3600
  when: rolling_batch.n == 2
"""


def hook(path: pathlib.Path, name: str, command: str) -> dict[str, str]:
    path.write_text(HOOK.format(name=name, command=command), encoding="utf-8")
    return {"before_drain": str(path)}


def releases() -> list[str]:
    return [json.loads(get(f"http://127.0.0.1:{layout.port(member, 'blue')}/")[1])["version"] for member in layout.MEMBERS]


@pytest.mark.claim("journal-on-other-hosts")
def test_a_killed_deploy_is_known_and_goes_back(stage: t.Any, tmp_path: pathlib.Path) -> None:
    begun, hook_file = tmp_path / "begun", tmp_path / "hang.yml"
    hangs = hook(hook_file, "Say that it has begun", f"touch {begun}")
    hook_file.write_text(hook_file.read_text(encoding="utf-8") + HANGS, encoding="utf-8")
    with open(tmp_path / "killed.log", "wb") as output:
        process = stage.start("zero.downtime.deploy", output=output, deploy_release="2.0.0", deploy_hooks=hangs, **KEEPER)
        try:
            wait_until(lambda: begun.exists() or process.poll() is not None, "the second batch begins", timeout=120)
            assert process.poll() is None, (tmp_path / "killed.log").read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait(30)
    assert releases() == ["2.0.0", "2.0.0", "1.0.0", "1.0.0"]
    status = stage.play("zero.downtime.status", **KEEPER)
    assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
    back = stage.play("zero.downtime.rollback", **KEEPER)
    assert back.rc == 0 and releases() == ["1.0.0"] * 4 and version() == "1.0.0", back.output
    assert stage.play("zero.downtime.status", **KEEPER).rc == 0


@pytest.mark.claim("moves-noted-on-other-hosts")
def test_a_deploy_whose_lock_somebody_took_moves_nobody_any_more(stage: t.Any, tmp_path: pathlib.Path) -> None:
    state = tmp_path / "state"
    # As another controller does it: a whole file by a rename.
    taken = f"cd {state} && echo '{{\\\"deploy_id\\\": \\\"theirs\\\"}}' > new && mv new *.lock"
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_state_dir=str(state),
                        deploy_hooks=hook(tmp_path / "taken.yml", "Take the lock", taken), **KEEPER)
    assert played.rc == 2 and "state host app4: the lock " in played.sentence and " is held by deploy theirs " in played.sentence, played.output
    assert "may not move anything any more" in played.sentence
    # Nobody of the second batch was touched, and nobody of the first goes back.
    assert releases() == ["2.0.0", "2.0.0", "1.0.0", "1.0.0"]
    assert {row[17] for row in stage._rows("shop_blue") if row[1] in layout.MEMBERS} == {"UP"}
