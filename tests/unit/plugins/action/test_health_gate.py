# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.action import health_gate
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout

MEMBERS = [{"name": "app1", "url": "http://app1.example:8000/ready"}]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """The action with a task's arguments, and without Ansible around it."""
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})

    def call(check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        action = health_gate.ActionModule.__new__(health_gate.ActionModule)
        action._task = types.SimpleNamespace(args=args, check_mode=check_mode)
        return action.run(task_vars={"hostvars": {"lb1": {}}})

    return call


def test_from_the_controller_it_runs_in_this_process(run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, t.Any]] = []
    monkeypatch.setattr(_health, "run", lambda params: seen.append(params) or {"changed": False, "members": []})
    monkeypatch.setattr(_fanout, "run_on", lambda *args, **kwargs: pytest.fail("a host was asked"))
    assert run(members=MEMBERS, passes="5") == {"changed": False, "members": []}
    assert seen[0]["passes"] == 5
    assert seen[0]["timeout"] == 60


@pytest.mark.claim("health-from")
def test_from_a_host_the_module_is_sent_there(run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[t.Any] = []

    def run_on(action: t.Any, hosts: list[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], task_vars: t.Any, **more: t.Any) -> t.Any:
        seen.extend([hosts, module, args_for("lb1")])
        return {"lb1": {"changed": False, "members": ["told"], "problems": []}}

    monkeypatch.setattr(_fanout, "run_on", run_on)
    monkeypatch.setattr(_health, "run", lambda params: pytest.fail("the controller asked"))
    assert run(members=MEMBERS, run_dir="/nowhere", check_mode=True, **{"from": "lb1"})["members"] == ["told"]
    assert seen[:2] == [["lb1"], "zero.downtime.health_gate"]
    assert seen[2]["members"] == [{"name": "app1", "url": "http://app1.example:8000/ready", "digest": None, "proof": "needed"}]
    assert not {"body", "run_dir", "step", "batch"} & set(seen[2])


@pytest.mark.parametrize("args, words", [
    ({}, "members is missing"),
    ({"members": MEMBERS, "passes": 0}, "passes is 0"),
    ({"members": MEMBERS, "passes": "many"}, "passes is 'many'"),
    ({"members": MEMBERS, "body": "("}, "not a regular expression"),
    ({"members": [{"name": "app1"}]}, "members[0].url is missing"),
    ({"members": MEMBERS, "form": "lb1"}, "did you mean from?"),
    ({"members": MEMBERS, "from": "lb9"}, "from is 'lb9'; accepted: controller, or the name of a host in the inventory"),
])
def test_bad_input_is_one_sentence(run: t.Callable[..., dict[str, t.Any]], args: dict[str, t.Any], words: str) -> None:
    result = run(**args)
    assert result["failed"] is True
    assert words in result["msg"]


@pytest.mark.parametrize("problems, event", [([], "finished"), (["app1 last answered 503"], "failed")])
def test_beginning_and_end_are_noted(run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path,
                                     problems: list[str], event: str) -> None:
    told = {"changed": False, "members": [], "waited": 1.5, "problems": problems, **({"failed": True, "msg": problems[0]} if problems else {})}
    monkeypatch.setattr(_health, "run", lambda params: dict(told))
    run(members=MEMBERS, run_dir=str(tmp_path), batch=2)
    noted = _events.read(str(tmp_path))
    assert [(line["step"], line["event"], line["members"], line["batch"]) for line in noted] == [("gate", "started", ["app1"], 2), ("gate", event, ["app1"], 2)]
    assert noted[1]["detail"]["waited"] == 1.5
    run(members=MEMBERS, run_dir=str(tmp_path), check_mode=True)
    assert len(_events.read(str(tmp_path))) == 2


def test_a_host_that_cannot_be_reached_is_reported_too(run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"failed": True, "unreachable_host": True, "msg": "host lb1 cannot be reached: no route"}
    monkeypatch.setattr(_fanout, "run_on", lambda *args, **kwargs: {"lb1": dict(lost)})
    assert run(members=MEMBERS, **{"from": "lb1"})["failed"] is True
    result = run(members=MEMBERS, on_failure="report", **{"from": "lb1"})
    assert result["failed"] is False
    assert result["problems"] == ["host lb1 cannot be reached: no route"]
