# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import pathlib
import sys
import time
import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _in_process

MODULES = pathlib.Path(__file__).parents[4] / "plugins" / "modules"


def in_process() -> list[str]:
    return [path.stem for path in sorted(MODULES.glob("*.py")) if _in_process.opted_in(f"zero.downtime.{path.stem}")]


def action(check_mode: bool = False, environment: t.Any = None) -> t.Any:
    return types.SimpleNamespace(_task=types.SimpleNamespace(check_mode=check_mode, environment=environment),
                                 _templar=types.SimpleNamespace(template=lambda text: text.replace("{{ ansible_playbook_python }}", sys.executable)))


@pytest.mark.claim("in-process-where-local")
@pytest.mark.parametrize("transport, become, python, environment, here", [
    ("local", None, None, None, True),
    ("local", None, sys.executable, [], True),
    ("local", None, "{{ ansible_playbook_python }}", [{}], True),
    ("ssh", None, sys.executable, None, False),
    ("local", "sudo", sys.executable, None, False),
    ("local", None, "/opt/python/bin/python3", None, False),
    ("local", None, sys.executable, [{"LANG": "C"}], False),
])
def test_only_what_would_run_as_this_process_runs_in_it(transport: str, become: str | None, python: str | None, environment: t.Any, here: bool) -> None:
    variables = {"ansible_python_interpreter": python} if python else {}
    assert _in_process.is_here(action(environment=environment), types.SimpleNamespace(transport=transport, become=become), variables) is here


def test_a_module_that_has_opted_in_returns_what_its_function_does(tmp_path: pathlib.Path) -> None:
    options = {"state": "acquired", "directory": str(tmp_path), "name": "shop-test", "deploy_id": "one", "holder": {"user": "me"}}
    lock = tmp_path / "shop-test.lock"
    assert _in_process.run(action(check_mode=True), "zero.downtime.lock", options) == {
        "changed": True, "lock": None, "journal": [], "without": {}, "shares": None, "last": None, "now": pytest.approx(time.time(), abs=60), "path": str(lock)}
    taken = _in_process.run(action(), "zero.downtime.lock", options)
    assert taken and taken["changed"] and taken["acquired"] and lock.exists()


def test_what_is_refused_is_a_failed_result() -> None:
    assert _in_process.run(action(), "zero.downtime.lock", {"state": "taken"}) == {
        "failed": True, "silent": False, "msg": "state is 'taken'; accepted are acquired, released, noted, observed, examined"}
    nobody = _in_process.run(action(), "zero.downtime.haproxy_info", {"socket": "/nowhere/admin.sock"})
    assert nobody and nobody["failed"] and nobody["silent"] and "/nowhere/admin.sock" in nobody["msg"]


@pytest.mark.parametrize("name", ["zero.downtime.healthcheck_members", "zero.downtime.release", "other.collection.proxy_split"])
def test_other_modules_run_as_modules(name: str) -> None:
    assert _in_process.run(action(), name, {}) is None


def test_the_balancers_modules_and_the_lock_have_opted_in() -> None:
    assert in_process() == [
        "clients", "elbv2_info", "elbv2_lock", "elbv2_members", "elbv2_split", "haproxy_info", "haproxy_members", "haproxy_split", "lock",
        "nginx_info", "nginx_members", "nginx_mirror", "nginx_split", "none_members", "rfc2136_info", "rfc2136_lock",
        "rfc2136_split"]


@pytest.mark.parametrize("name", in_process())
def test_the_module_itself_calls_the_same_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    argument_spec, function = _in_process.opted_in(f"zero.downtime.{name}") or pytest.fail(name)
    module = importlib.import_module(f"ansible_collections.zero.downtime.plugins.modules.{name}")
    called: list[t.Any] = []
    monkeypatch.setattr(module, "run", lambda spec, what: called.append((set(spec), what)))
    module.main()
    assert called == [(set(argument_spec()), function)]


def test_a_secret_is_masked_in_what_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
        return {"said": [f"it is {params['word']}"], "check": check_mode}

    monkeypatch.setattr(_in_process, "opted_in", lambda name: (lambda: {"word": {"type": "str", "no_log": True}}, echo))
    assert _in_process.run(action(), "zero.downtime.echo", {"word": "s3cret-word"}) == {"changed": False, "said": ["it is ********"], "check": False}
