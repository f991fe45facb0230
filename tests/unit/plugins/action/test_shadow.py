# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.action import shadow
from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout

TARGETS = {name: {"live": {"app1": "192.0.2.1:1"}, "idle": {"app1": "192.0.2.1:2"}} for name in ("lb1", "lb2")}
SAME = {"requests": 10, "compared": 10, "planned": 10, "late": 0, "fields": []}
DIFFERS = {**SAME, "fields": [{"field": "body.price", "raw": 4, "noise": 0, "how": "changed", "path": "/item"}]}
QUIET = {"failed": True, "nothing_logged": True, "msg": "log is '/l', which has no line of a request"}


def plan(driver: str = "haproxy", **given: t.Any) -> dict[str, t.Any]:
    checked = _shadow.check(_spec.check(given, _shadow.OPTIONS), _drivers.load(driver), "blue_green")
    return {"absent": [], "held": [], "run_dir": None, "shadow": {**checked, "targets": TARGETS, "backends": ["b"], "release_header": None}}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    monkeypatch.setattr(shadow.ActionBase, "run", lambda self, tmp=None, task_vars=None: {})

    def call(results: dict[str, dict[str, t.Any]], check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        def run_on(action: t.Any, hosts: list[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], task_vars: t.Any,
                   timeout: float) -> dict[str, dict[str, t.Any]]:
            assert module == "zero.downtime.replay" and timeout > 30 and all(args_for(host)["candidate"] == "192.0.2.1:2" for host in hosts)
            return {host: dict(results[host]) for host in hosts}

        monkeypatch.setattr(_fanout, "run_on", run_on)
        action = shadow.ActionModule.__new__(shadow.ActionModule)
        action._task = types.SimpleNamespace(args=args, check_mode=check_mode)
        action._play_context = types.SimpleNamespace(timeout=10)
        return action.run(task_vars={})

    return call


def test_all_balancers_count_as_one_and_the_report_is_kept(run: t.Any, tmp_path: t.Any) -> None:
    result = run({"lb1": SAME, "lb2": SAME}, plan={**plan(log="/l"), "run_dir": str(tmp_path)})
    assert result["shadow"]["requests"] == 20 and result["shadow"]["verdict"] == "same" and not result.get("failed") and result["changed"] is False
    assert json.loads((tmp_path / "shadow.json").read_text())["compared"] == 20
    assert [(event["step"], event["event"]) for event in _events.read(str(tmp_path))] == [("shadow", "started"), ("shadow", "finished")]


@pytest.mark.claim("replay-report-only")
def test_a_difference_fails_or_is_only_reported(run: t.Any, tmp_path: t.Any) -> None:
    results = {"lb1": SAME, "lb2": DIFFERS}
    failed = run(results, plan={**plan(log="/l"), "run_dir": str(tmp_path)})
    assert failed["failed"] and failed["msg"] == "shadow: the new release answers otherwise: body.price (changed in 4 of 20, first at /item)"
    assert _events.read(str(tmp_path))[-1]["event"] == "failed" and json.loads((tmp_path / "shadow.json").read_text())["verdict"] == "different"
    reported = run(results, plan=plan(log="/l", report_only=True))
    assert not reported.get("failed") and "body.price" in reported["warnings"][0] and reported["shadow"]["verdict"] == "different"
    assert not run(results, plan=plan(log="/l", max_differences=1)).get("failed")


@pytest.mark.claim("replay-nothing-compared")
def test_nothing_compared_is_no_success(run: t.Any) -> None:
    nothing = {**SAME, "compared": 0}
    assert run({"lb1": nothing, "lb2": nothing}, plan=plan(log="/l"))["failed"]


@pytest.mark.parametrize("second, words", [(QUIET, None), ({"failed": True, "msg": "no route"}, "balancer lb2: no route")])
def test_a_quiet_balancer_is_left_out_and_another_failure_counts(run: t.Any, second: dict[str, t.Any], words: str | None) -> None:
    result = run({"lb1": SAME, "lb2": second}, plan=plan(log="/l"))
    assert result.get("msg") == words and bool(result.get("failed")) is bool(words)


def test_without_a_shadow_and_in_check_mode_nobody_is_asked(run: t.Any) -> None:
    assert run({}, plan={**plan(log="/l"), "shadow": None}) == {"changed": False, "shadow": None}
    assert run({}, check_mode=True, plan=plan(log="/l")) == {"changed": False, "shadow": None}


@pytest.mark.claim("mirror-verdict")
def test_what_a_mirror_counted_is_judged(run: t.Any) -> None:
    assert run({}, plan=plan("nginx"), mirrored={"statuses": {"200": 5}})["shadow"]["verdict"] == "same"
    failed = run({}, plan=plan("nginx"), mirrored={"statuses": {"200": 5, "500": 5}})
    assert failed["failed"] and "answered 5 of 10 copies with an error (5 times 500)" in failed["msg"]
    assert "mirrored has no statuses; the result of zero.downtime.mirror" in run({}, plan=plan("nginx"))["msg"]


@pytest.mark.parametrize("args, words", [({}, "plan is missing"), ({"plan": {"shadow": None}}, "plan has no absent"), ({"plann": {}}, "did you mean plan?")])
def test_bad_input(run: t.Any, args: dict[str, t.Any], words: str) -> None:
    result = run({}, **args)
    assert result["failed"] and words in result["msg"]
