# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.action import split
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout

BLUE, GREEN = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}
TRAFFIC = {"balancers": "lbs", "socket": "/run/x", "pools": [{"name": "b", "side": "blue"}, {"name": "g", "side": "green"}]}
REFUSED = {"failed": True, "msg": "haproxy refused it", "shares": BLUE}
LOST = {"failed": True, "unreachable_host": True, "msg": "balancer lb2 cannot be reached: no route"}


def has(shares: dict[str, int], **more: t.Any) -> dict[str, t.Any]:
    return {"changed": True, "shares": shares, "found": BLUE, "waited": 0.1, "diff": {"before": {}, "after": {}}, "counters": [{"requests": 1}],
            "notes": [], **more}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """C(run({host: result}, option=…)): the action with a task's arguments; the modules' arguments are in C(run.given)."""
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    given: dict[str, t.Any] = {}

    notes: list[dict[str, t.Any]] = []

    def call(results: dict[str, dict[str, t.Any]], check_mode: bool = False, note: dict[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
        def run_on(action: t.Any, hosts: list[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], task_vars: t.Any, what: str,
                   on_result: t.Callable[[str, dict[str, t.Any]], None] = lambda host, result: None, timeout: float = 0) -> dict[str, dict[str, t.Any]]:
            if module == "zero.downtime.lock":
                notes.extend({"host": host, **args_for(host)} for host in hosts)
                return {host: note or {"journal": []} for host in hosts}
            assert module == "zero.downtime.haproxy_split" and what == "balancer" and timeout > 20
            given.update({host: args_for(host) for host in hosts})
            for host in hosts:
                on_result(host, results[host])
            return {host: dict(results[host]) for host in hosts}

        monkeypatch.setattr(_fanout, "run_on", run_on)
        action = split.ActionModule.__new__(split.ActionModule)
        action._task = types.SimpleNamespace(args={"driver": "haproxy", "traffic": TRAFFIC, **args}, check_mode=check_mode)
        action._play_context = types.SimpleNamespace(timeout=10)
        return action.run(task_vars={"hostvars": {}, "groups": {"lbs": list(results)}})

    call.given = given  # type: ignore[attr-defined]
    call.notes = notes  # type: ignore[attr-defined]
    return call


@pytest.mark.claim("split-reads-and-sets-everywhere")
def test_all_balancers_at_once_with_the_fence(run: t.Any, tmp_path: t.Any) -> None:
    result = run({"lb1": has(GREEN), "lb2": has(GREEN)}, shares={"green": "100"}, app="shop", deploy_id="d1", intent={"verb": "deploy"},
                 lock={"hosts": ["lb1", "lb2"], "path": "/state/x.lock"}, run_dir=str(tmp_path), min_active="2")
    assert result["shares"] == GREEN and result["changed"] and result["problems"] == [] and not result.get("failed")
    assert run.notes == []
    for given in run.given.values():
        assert given["lock"] == "/state/x.lock" and "memory" not in given
        assert given["shares"] == GREEN and given["app"] == "shop" and given["deploy_id"] == "d1" and given["min_active"] == "2"
        assert given["sides"] == {"blue": ["b"], "green": ["g"]} and given["intent"] == {"verb": "deploy"} and "run_dir" not in given
    assert [(event["step"], event["event"]) for event in _events.read(str(tmp_path))] == [("switch", "started"), ("switch", "finished")]
    assert (tmp_path / "counters.jsonl").read_text().count("\n") == 2


ELSEWHERE = {"hosts": ["keeper"], "path": "/state/x.lock", "directory": "/state", "name": "x", "key": "k1"}


@pytest.mark.claim("moves-noted-on-other-hosts")
def test_where_another_host_keeps_the_lock_it_is_noted_there_before_and_after(run: t.Any) -> None:
    asked = {"shares": GREEN, "deploy_id": "d1", "intent": {"verb": "deploy"}, "lock": ELSEWHERE}
    result = run({"lb1": has(GREEN, noted={"shares_before": BLUE, "worker": 7}), "lb2": has(GREEN)}, **asked)
    assert result["shares"] == GREEN and result["problems"] == []
    before, after = run.notes
    where = {"host": "keeper", "state": "noted", "directory": "/state", "name": "x", "deploy_id": "d1", "key": "k1"}
    assert before == {**where, "entry": {"shares": GREEN, "intent": {"verb": "deploy"}}}
    assert after == {**where, "entry": {"shares": GREEN, "done": True, "by_host": {"lb1": {"shares_before": BLUE, "worker": 7}}}}
    for given in run.given.values():
        assert given["memory"] == {"out": {}, "theirs": {}, "moved": []} and "lock" not in given
    # What is only asked, or only planned, is no move.
    run({"lb1": has(BLUE)}, lock=ELSEWHERE, deploy_id="d1")
    run({"lb1": has(BLUE)}, check_mode=True, **asked)
    assert len(run.notes) == 2
    # One that failed is not done, and what its balancers have noted is.
    run({"lb1": has(GREEN, noted={"worker": 7}), "lb2": REFUSED}, on_failure="report", **asked)
    assert run.notes[-1]["entry"] == {"by_host": {"lb1": {"worker": 7}}}


def test_where_it_cannot_be_noted_nothing_is_moved(run: t.Any) -> None:
    asked = {"shares": GREEN, "deploy_id": "d1", "lock": ELSEWHERE, "on_failure": "report"}
    full = run({"lb1": has(GREEN), "lb2": has(GREEN)}, note={"failed": True, "msg": "the journal cannot be written: no space left on device"}, **asked)
    assert full["problems"] == ["state host keeper: the journal cannot be written: no space left on device"] and run.given == {}
    assert full["msg"] == full["problems"][0] and full["shares"] is None and not full["changed"]
    taken = run({"lb1": has(GREEN)}, note={"failed": True, "msg": "the lock is held by d2", "lock_taken": "the lock is held by d2"}, **asked)
    assert taken["lock_taken"] == "the lock is held by d2" and run.given == {}


@pytest.mark.claim("split-failure-says-who-has-what")
@pytest.mark.parametrize("second, words", [
    (REFUSED, "balancer lb2: haproxy refused it; now lb1 has blue 0, green 100, lb2 has blue 100, green 0"),
    (LOST, "balancer lb2 cannot be reached: no route; now lb1 has blue 0, green 100, lb2 has shares that nobody knows"),
])
def test_when_one_fails_it_is_said_who_has_what(run: t.Any, second: dict[str, t.Any], words: str, tmp_path: t.Any) -> None:
    results = {"lb1": has(GREEN), "lb2": second}
    failed = run(results, shares=GREEN, run_dir=str(tmp_path))
    assert failed["failed"] and failed["msg"] == words and failed["shares"] is None and failed["changed"]
    assert failed["balancers"]["lb1"]["shares"] == GREEN and failed["balancers"]["lb2"].get("shares") == second.get("shares")
    assert _events.read(str(tmp_path))[-1]["event"] == "failed"
    reported = run(results, shares=GREEN, on_failure="report")
    assert reported["failed"] is False and len(reported["problems"]) == 1 and "lb2" in reported["problems"][0]


def test_reading_is_no_step_and_names_what_differs(run: t.Any, tmp_path: t.Any) -> None:
    result = run({"lb1": has(GREEN, changed=False), "lb2": has(BLUE, changed=False, notes=["a file differs"])}, run_dir=str(tmp_path))
    assert result["shares"] is None and not result["changed"] and result["warnings"] == ["balancer lb2: a file differs"]
    assert "shares" not in run.given["lb1"] and list(tmp_path.iterdir()) == []


def test_check_mode_writes_nothing(run: t.Any, tmp_path: t.Any) -> None:
    assert run({"lb1": has(GREEN)}, check_mode=True, shares=GREEN, run_dir=str(tmp_path))["changed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args, words", [
    ({"shares": {"blue": 1}}, "which adds up to 1"),
    ({"driver": "none", "traffic": {}}, "driver is 'none', which cannot split traffic between sides; elbv2, haproxy, nginx, rfc2136 can"),
    ({"sharse": {}}, "did you mean shares?"),
])
def test_bad_input_asks_nobody(run: t.Any, args: dict[str, t.Any], words: str) -> None:
    result = run({"lb1": {}}, **args)
    assert result["failed"] and words in result["msg"] and run.given == {}


def test_a_deploys_sentence_names_the_users_variable(run: t.Any) -> None:
    refused = {"failed": True, "msg": "only 1 serve, and 2 have to (min_active is '2')", "shares": BLUE}
    lock = {"hosts": ["lb1"], "path": "/state/x.lock"}
    assert "(deploy_min_active is '2')" in run({"lb1": refused}, shares=GREEN, lock=lock)["msg"]
    # Who calls the module has set the module's option.
    assert "(min_active is '2')" in run({"lb1": refused}, shares=GREEN)["msg"]
