# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.action import mirror
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout

TRAFFIC = {"balancers": "lbs", "upstreams_dir": "/z", "pools": [{"name": "b", "side": "blue"}, {"name": "g", "side": "green"}]}


def done(**more: t.Any) -> dict[str, t.Any]:
    return {"changed": True, "share": 10, "statuses": {}, "waited": 0.1, "diff": {"before": {}, "after": {}}, **more}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """C(run({host: result}, option=…)): the action with a task's arguments; the modules' arguments are in C(run.given)."""
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    given: dict[str, t.Any] = {}

    def call(results: dict[str, dict[str, t.Any]], **args: t.Any) -> dict[str, t.Any]:
        def run_on(action: t.Any, hosts: list[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], task_vars: t.Any, what: str,
                   on_result: t.Callable[[str, dict[str, t.Any]], None], timeout: float) -> dict[str, dict[str, t.Any]]:
            assert module == "zero.downtime.nginx_mirror" and what == "balancer"
            given.update({host: args_for(host) for host in hosts})
            return {host: dict(results[host]) for host in hosts}

        monkeypatch.setattr(_fanout, "run_on", run_on)
        action = mirror.ActionModule.__new__(mirror.ActionModule)
        action._task = types.SimpleNamespace(args={"driver": "nginx", "traffic": TRAFFIC, "to": "green", "share": 10, **args}, check_mode=False)
        action._play_context = types.SimpleNamespace(timeout=10)
        return action.run(task_vars={"hostvars": {}, "groups": {"lbs": list(results)}})

    call.given = given  # type: ignore[attr-defined]
    return call


def test_all_balancers_at_once_with_the_fence(run: t.Any, tmp_path: t.Any) -> None:
    result = run({"lb1": done(), "lb2": done()}, deploy_id="d1", lock={"hosts": ["lb1", "lb2"], "path": "/state/x.lock"}, run_dir=str(tmp_path), lasts=90)
    assert result["changed"] and result["problems"] == [] and not result.get("failed")
    for given in run.given.values():
        assert given["lock"] == "/state/x.lock"
        assert given["mirrors"] == {"b": "g"} and given["share"] == 10 and given["lasts"] == 90 and given["upstreams_dir"] == "/z" and "run_dir" not in given
    assert [(event["step"], event["event"]) for event in _events.read(str(tmp_path))] == [("mirror", "started"), ("mirror", "finished")]


def test_answers_are_counted_over_all_balancers(run: t.Any) -> None:
    result = run({"lb1": done(statuses={"200": 3}), "lb2": done(statuses={"200": 4, "500": 1})}, share=0)
    assert result["statuses"] == {"200": 7, "500": 1} and result["requests"] == 8


def test_one_that_fails_is_named(run: t.Any) -> None:
    failed = run({"lb1": done(), "lb2": {"failed": True, "msg": "nginx refuses it"}})
    assert failed["failed"] and failed["msg"] == "balancer lb2: nginx refuses it"
    assert run({"lb1": {"failed": True, "msg": "no"}}, on_failure="report")["failed"] is False


@pytest.mark.parametrize("args, words", [
    ({"driver": "none", "traffic": {}}, "driver is 'none', which cannot copy requests to a side; nginx can"),
    ({"to": "red"}, "to is 'red'; accepted are blue, green"),
    ({"traffic": {**TRAFFIC, "pools": [{"name": "b"}]}}, "pools has 0 of side green and 0 of the other one"),
    ({"shares": 5}, "did you mean share?"),
])
def test_bad_input_asks_nobody(run: t.Any, args: dict[str, t.Any], words: str) -> None:
    result = run({"lb1": {}}, **args)
    assert result["failed"] and words in result["msg"] and run.given == {}
