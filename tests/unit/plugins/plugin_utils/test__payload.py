# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that goes through a real connection of Ansible's: only what Ansible would pack around it is left out."""

from __future__ import annotations

import os
import pathlib
import sys
import types
import typing as t

import pytest
from older_cores import built_module

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugin_loaders
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.template import Templar
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder
from ansible_collections.zero.downtime.plugins.plugin_utils import _payload

SECRET = "planted-secret"
# A process that has ended: nobody has started at that tick.
STARTED = "1"
MODULE = """\
import json, subprocess
done = subprocess.run({argv!r}, capture_output=True, text=True)
print(json.dumps(dict(failed=done.returncode != 0, stdout=done.stdout, stderr=done.stderr)))
"""


class Action(ActionBase):
    # Those of the task, by which an older ansible-core tells what has been decided about a connection.
    variables: dict[str, t.Any] = {}

    def _configure_module(self, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> tuple[t.Any, ...]:
        assert module_name == "zero.downtime.some"
        data = MODULE.format(argv=module_args["argv"]).encode()
        return built_module(data, f"#!{sys.executable}", "/some.py")

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        raise NotImplementedError


@pytest.fixture
def remote(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where hosts keep what is temporary. The run is a new one, whose controller has a name."""
    here = tmp_path / "controller" / "ansible-local-1"
    here.mkdir(parents=True)
    monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(here))
    monkeypatch.setattr(_payload, "_begun", {})
    monkeypatch.setattr(_lock_holder, "machine", lambda here=_lock_holder.machine(): {**here, "machine_id": "m"})
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


@pytest.fixture
def action(remote: pathlib.Path) -> t.Callable[..., Action]:
    def make(**variables: t.Any) -> Action:
        context, loader = PlayContext(), DataLoader()
        task = Task.load({"action": "ansible.builtin.command"}, loader=loader)
        connection = connection_loader.get("local", context, new_stdin=None)
        connection.set_options(var_options=variables)
        connection._shell.set_options(var_options={"ansible_remote_tmp": str(remote)})
        # ansible-core 2.17 and 2.18 want to be told where plugins are found.
        made = Action(task, connection, context, loader, Templar(loader=loader), plugin_loaders)
        made.variables = variables
        return made

    return make


def run(action: Action, *argv: str) -> dict[str, t.Any]:
    return _payload.execute(action, "zero.downtime.some", {"argv": list(argv)}, dict(action.variables))


@pytest.mark.claim("module-file-gone-before-it-begins")
@pytest.mark.parametrize("pipelining, directories", [({}, 0), ({"ansible_pipelining": True}, 0), ({"ansible_pipelining": False}, 1)])
def test_what_a_module_was_told_is_in_no_file_while_it_runs(action: t.Callable[..., Action], remote: pathlib.Path, pipelining: dict[str, bool],
                                                            directories: int) -> None:
    assert run(action(**pipelining), "find", str(remote), "-type", "f")["stdout"] == ""
    assert len(run(action(**pipelining), "find", str(remote), "-mindepth", "1")["stdout_lines"]) == directories
    assert not list(remote.iterdir())


@pytest.mark.parametrize("pipelining", [True, False])
def test_nothing_is_left_of_a_module_that_fails(action: t.Callable[..., Action], remote: pathlib.Path, pipelining: bool) -> None:
    assert run(action(ansible_pipelining=pipelining), "false", SECRET)["failed"]
    assert not list(remote.iterdir())
    one = action(ansible_pipelining=pipelining)
    # What no module has, and what breaks in the middle.
    one._parse_returned_data = lambda *dummy: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        run(one, "true", SECRET)
    assert not list(remote.iterdir())


def test_who_wants_to_look_at_modules_may_keep_them(action: t.Callable[..., Action], remote: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(C, "DEFAULT_KEEP_REMOTE_FILES", True)
    assert not run(action(), "true")["failed"]
    assert len(list(remote.glob("*/AnsiballZ_some.py"))) == 1


def test_a_host_that_is_lost_is_not_asked_again(action: t.Callable[..., Action]) -> None:
    one, asked = action(ansible_pipelining=False), []

    def lose(*dummy: t.Any, **options: t.Any) -> dict[str, t.Any]:
        one._make_tmp_path()
        one._low_level_execute_command = lambda *args, **rest: asked.append(args)  # type: ignore[method-assign, assignment, func-returns-value]
        raise AnsibleConnectionFailure("gone")

    one._execute_module = lose  # type: ignore[method-assign]
    with pytest.raises(AnsibleConnectionFailure):
        run(one, "true")
    assert not asked


@pytest.mark.claim("requiretty")
@pytest.mark.parametrize("pipelining, calls", [({}, 2), ({"ansible_pipelining": True}, 1)])
def test_where_sudo_wants_a_terminal_a_module_comes_as_a_file(action: t.Callable[..., Action], pipelining: dict[str, bool], calls: int) -> None:
    one, seen = action(**pipelining), []

    def refuse(*dummy: t.Any, **options: t.Any) -> dict[str, t.Any]:
        seen.append(one._is_pipelining_enabled("new"))
        return {"failed": True, "module_stderr": "sudo: sorry, you must have a tty to run sudo\n"} if seen[-1] else {"rc": 0}

    one._execute_module = refuse  # type: ignore[method-assign]
    # Whoever has decided himself hears what sudo says.
    assert bool(run(one, "true").get("failed")) is (calls == 1)
    assert seen == [True, False][:calls]


def others(mark: str) -> dict[str, str]:
    """Directories on a host that are nobody's to remove, by why."""
    machine, pid, started, made = mark.split("-")
    elsewhere = ".".join(["0123456789", *machine.split(".")[1:]])
    return {
        "the run that looks": f"zero-downtime-tmp-{mark}-0123456789ab",
        "another one that lives": f"zero-downtime-tmp-{machine}-{os.getpid()}-{_payload._probe.start_time_of(os.getpid())}-{made}-0123456789ab",
        "a dead one of another controller": f"zero-downtime-tmp-{elsewhere}-{pid}-{STARTED}-{made}-0123456789ab",
        "one without a start": f"zero-downtime-tmp-{machine}-{pid}--{made}-0123456789ab",
        "another program": "zero-downtime-tmp-notes", "Ansible": "ansible-tmp-1.5-2-3",
    }


@pytest.mark.claim("dead-runs-cleared")
@pytest.mark.parametrize("pipelining", [True, False])
def test_the_next_run_removes_what_a_dead_one_left_on_a_host_and_nothing_else(action: t.Callable[..., Action], remote: pathlib.Path, pipelining: bool) -> None:
    mark = _payload.begin()
    machine, pid, started, made = mark.split("-")
    left = remote / f"zero-downtime-tmp-{machine}-{pid}-{STARTED}-{made}-0123456789ab"
    left.mkdir()
    (left / "artifact").write_text(SECRET, encoding="utf-8")
    kept = set(others(mark).values())
    for name in kept:
        (remote / name).mkdir()
    assert not run(action(ansible_pipelining=pipelining), "true")["failed"]
    assert {path.name for path in remote.iterdir()} == kept
    # Hosts are asked once a run.
    left.mkdir()
    assert not run(action(ansible_pipelining=pipelining), "true")["failed"]
    assert left.exists()


def test_the_next_run_removes_what_a_dead_one_left_on_the_controller(remote: pathlib.Path) -> None:
    parent = pathlib.Path(C.DEFAULT_LOCAL_TMP).parent
    mark = _payload.begin()
    machine, pid, started, made = mark.split("-")
    assert [path.name for path in pathlib.Path(C.DEFAULT_LOCAL_TMP).iterdir()] == [f"zero-downtime-run-{mark}"]
    for name, file in (("ansible-local-2", f"zero-downtime-run-{machine}-{pid}-{STARTED}-{made}"), ("ansible-local-3", f"zero-downtime-run-{mark}"),
                       ("ansible-local-4", "tmp1234"), ("mine", f"zero-downtime-run-{machine}-{pid}-{STARTED}-{made}")):
        (parent / name).mkdir()
        (parent / name / file).touch()
        (parent / name / "tmp5678").write_text(SECRET, encoding="utf-8")
    _payload._clear_here(str(parent))
    assert {path.name for path in parent.iterdir()} == {"ansible-local-1", "ansible-local-3", "ansible-local-4", "mine"}


def test_a_run_signs_once(remote: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _payload.begin()
    # Another task's worker.
    monkeypatch.setattr(_payload, "_begun", {})
    monkeypatch.setattr(_payload, "time", types.SimpleNamespace(time=lambda: 0.0))
    assert _payload.begin() != first
    assert len(os.listdir(C.DEFAULT_LOCAL_TMP)) == 1
