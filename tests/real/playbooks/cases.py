# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many deploys that come to no move, in one run of ansible-playbook: what each of them said.

Each case is a task of its own with the case's variables as the task's: they count for nobody else, and nothing is
left of them.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import time
import typing as t

import playing

# What a case asks for unless it says otherwise.
ASKED = {"deploy_release": "2.0.0"}
# Of the role: how a deploy ended, told in one sentence.
OUTCOME = "hostvars['localhost'].__deploy_outcome.sentence"
# Who has the lock of C(locked).
HOLDER = "deploy d1 of ops on elsewhere (process 7)"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is asked for, and the words with which it is answered.

    Without C(role), the plan alone is asked: it comes first, and refuses most.
    """

    variables: dict[str, t.Any]
    words: list[str]
    role: str = ""

    def task(self) -> dict[str, t.Any]:
        if self.role:
            return {"ansible.builtin.include_role": {"name": "zero.downtime.deploy", "tasks_from": self.role}}
        return {"zero.downtime.plan": {"state": "resolved", "verb": "deploy"}}


@dataclasses.dataclass(frozen=True)
class Told:
    """How a case ended."""

    failed: bool
    sentence: str
    # What was printed meanwhile.
    output: str


def note(name: str, failed: bool, sentence: str) -> dict[str, t.Any]:
    ended = {"failed": failed, "sentence": "{{ %s }}" % sentence}
    # The name is data: it may be any text.
    more = "{{ cases_told | default({}) | combine({cases_name: cases_ended}) }}"
    return {"name": "Note how it ended", "ansible.builtin.set_fact": {"cases_told": more},
            "vars": {"cases_name": name, "cases_ended": ended}, "run_once": True}


def tasks_of(name: str, case: Case) -> list[dict[str, t.Any]]:
    return [
        {"name": "Begin a case", "ansible.builtin.debug": {"msg": f"case {name}"}, "run_once": True},
        {"name": "Try it", "block": [{"name": "Ask for it", **case.task(), "vars": {**ASKED, **case.variables}},
                                     note(name, False, OUTCOME if case.role else "'the plan was made'")],
         "rescue": [note(name, True, "ansible_failed_result.msg")]},
        # The controller is rescued; the members, for which a task failed that ran once for all, are not.
        {"ansible.builtin.meta": "clear_host_errors"},
    ]


def play_of(tasks: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return {"name": "Cases", "hosts": "localhost,shop_app", "gather_facts": False, "tasks": tasks}


def playbook(cases: t.Mapping[str, Case], told: pathlib.Path) -> str:
    """The text of the playbook; C(told) is where its last task writes how each case ended.

    A play for each case: a host that failed is no longer among those that a play says it has, whatever becomes of it.
    """
    # Under --check, too: it is the only thing that this playbook is for.
    copied = {"content": "{{ cases_told | to_json }}", "dest": str(told), "mode": "0600"}
    end = {"name": "Write down how each one ended", "ansible.builtin.copy": copied, "run_once": True, "check_mode": False,
           "diff": False}
    return json.dumps([*(play_of(tasks_of(name, case)) for name, case in cases.items()), play_of([end])], indent=1)


def try_all(stage: t.Any, directory: pathlib.Path, cases: t.Mapping[str, Case], *args: str) -> dict[str, Told]:
    """Run all of them, one after the other, and see that nothing has been changed by any."""
    book, told = directory / "cases.yml", directory / "told.json"
    book.write_text(playbook(cases, told), encoding="utf-8")
    before = stage.seen()
    played: playing.Played = stage.play(str(book), *args)
    assert played.rc == 0 and told.exists(), played.output
    assert "Traceback" not in played.output, played.output
    assert stage.seen() == before
    ended = json.loads(told.read_text(encoding="utf-8"))
    assert set(ended) == set(cases), played.output
    # After the n-th beginning comes what the n-th case printed.
    outputs = re.split(r'"msg": "case ', played.output)[1:]
    return {name: Told(output=output, **ended[name]) for name, output in zip(cases, outputs)}


def locked(directory: pathlib.Path) -> dict[str, t.Any]:
    """The variables of a deploy whose lock, in a place of its own, somebody on another controller holds."""
    state = directory / "state"
    state.mkdir()
    holder = {"controller": "elsewhere", "pid": 7, "user": "ops"}
    lock = {"deploy_id": "d1", "holder": holder, "since": time.time()}
    (state / "local-shop.lock").write_text(json.dumps(lock), encoding="utf-8")
    return {"deploy_state_dir": str(state)}
