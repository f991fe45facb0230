# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import json
import os
import types

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, *[os.pardir] * 4, "playbooks", "callback_plugins", "rollout.py")

# Loaded by its path, as Ansible does: it is in no package.
SPEC = importlib.util.spec_from_file_location("rollout_callback", PATH)
rollout = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rollout)

PLAN = {"app": "shop", "release": {"label": "2.0.0"}, "batches": [{"n": 1, "members": ["app1"]}, {"n": 2, "members": ["app2", "app3"]}]}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def state(tmp_path):
    found = rollout.Rollout(Clock())
    assert found.follow(str(tmp_path))
    found.learn_plan(PLAN)
    return found


def event(step, what, members=(), batch=None, **detail):
    return {"step": step, "event": what, "members": list(members), "batch": batch, "detail": detail}


def write(path, *lines):
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(lines))


def test_a_line_for_a_change_and_none_for_none(state):
    state.learn_event(event("drain", "started", ["app2", "app3"], 2))
    assert state.changes() == ["rollout: batch 2 of 2: app2, app3 draining"]
    assert state.changes() == []
    state.learn_progress({"sent": 12031, "failed": 0, "failures": {}})
    assert state.changes() == [], "more requests are no news"
    state.learn_event(event("drain", "finished", ["app2"], 2))
    assert state.changes() == ["rollout: batch 2 of 2: app2 drained; app3 draining; 12,031 requests, 0 failed"]
    state.learn_progress({"sent": 12100, "failed": 2, "failures": {"reset": 2, "refused": 0}})
    assert state.changes() == ["rollout: 2 more requests failed: 12,100 requests, 2 failed (2 reset)"]
    assert state.changes() == []


def test_going_back_and_failures(state):
    state.learn_event(event("gate", "failed", ["app2"], 2, reason="503\x1b[2J"))
    assert state.changes()[0] == "rollout: gate of app2 failed: 503 [2J"
    state.learn_event(event("back_drain", "started", ["app1"], 1))
    assert state.changes() == ["rollout: batch 1 of 2: app1 draining (back)"]
    state.learn_event(event("back_return", "finished", ["app1"], 1))
    assert state.changes() == ["rollout: batch 1 of 2: app1 active (back)"]


def test_line_fits_and_keeps_the_traffic(state):
    state.learn_progress({"sent": 1203441, "failed": 0})
    state.learn_event(event("drain", "started", ["app2", "app3"], 2))
    state.clock.now += 75
    text, worried = state.line(200)
    assert text == "shop 2.0.0 | 1:15 | 1,203,441 requests, 0 failed | 0/3 done | batch 2 of 2: app2, app3 draining" and not worried
    for width in (0, 1, 3, 20, 50):
        assert len(state.line(width)[0]) <= width
    assert "1,203,441" in state.line(50)[0]
    state.learn_progress({"sent": 1203441, "failed": 1})
    assert state.line(80)[1]


def test_many_members_are_counted_not_named():
    assert rollout.Rollout.names([f"app{i}" for i in range(300)]) == "app0, app1, app2, app3, app4 and 295 more"


def test_files_half_written_and_missing(state, tmp_path):
    state.look()
    assert state.changes() == []
    whole = json.dumps(event("drain", "started", ["app1"], 1))
    write(tmp_path / "events.jsonl", whole[:20])
    write(tmp_path / "progress.json", '{"sent": 1')
    state.look()
    assert state.changes() == [] and state.sent == 0
    write(tmp_path / "events.jsonl", whole[20:], "\n", "no json\n", "[1]\n")
    (tmp_path / "progress.json").write_text('{"sent": 10, "failed": "many", "failures": 3, "versions": null}')
    state.look()
    assert state.changes() == ["rollout: batch 1 of 2: app1 draining; 10 requests, 0 failed"]
    state.look()
    assert state.changes() == []


@pytest.mark.parametrize("odd", [{}, {"step": None}, {"step": 3, "event": []}, {"step": "drain", "event": "started", "members": "app1", "batch": "x"},
                                 {"step": "gate", "event": "failed", "detail": "text"}])
def test_odd_events_do_no_harm(state, odd):
    state.learn_event(odd)
    state.changes()
    state.line(80)


@pytest.mark.parametrize("odd", [None, "plan", {}, {"batches": "x"}, {"batches": [None, {"members": None}]}, {"release": "2.0.0"}])
def test_odd_plans_do_no_harm(state, odd):
    state.learn_plan(odd)
    state.learn_event(event("drain", "started", ["app9"], 7))
    state.changes()


def test_a_second_run_starts_afresh(state, tmp_path):
    state.learn_progress({"sent": 5, "failed": 1})
    assert not state.follow(str(tmp_path))
    assert state.follow(str(tmp_path / "other"))
    assert state.sent == 0 and state.members == {}


class Display:
    """Takes what is displayed; lines only."""

    verbosity = 0

    def __init__(self):
        self.lines = []

    def display(self, message, **_more):
        self.lines.append(message)


class Result:
    def __init__(self, action, result, host="localhost", args=None):
        self._task = types.SimpleNamespace(resolved_action=action, action=action, args=args or {})
        self._host = types.SimpleNamespace(get_name=lambda: host)
        self._result = result


@pytest.fixture
def callback(monkeypatch):
    display = Display()
    # The thread's own look would come at any moment.
    monkeypatch.setattr(rollout, "EVERY", 60)
    found = rollout.CallbackModule(display=display)
    monkeypatch.setattr(found, "_terminal", lambda: False)
    yield found
    found.v2_playbook_on_stats(None)
    assert found.thread is None


def test_follows_only_what_is_ours(callback, tmp_path):
    callback.v2_runner_on_ok(Result("ansible.builtin.set_fact", {"run_dir": str(tmp_path)}))
    callback.v2_runner_on_ok(Result("other.downtime.plan", {"run_dir": str(tmp_path)}))
    callback.v2_runner_on_ok(Result("zero.downtime.plan", {"run_dir": None, "plan": PLAN}))
    callback.v2_runner_on_ok(Result("zero.downtime.plan", {"run_dir": str(tmp_path / "gone"), "plan": PLAN}))
    assert callback.thread is None and callback._display.lines == []


ROOT = os.path.realpath(os.path.join(HERE, *[os.pardir] * 4))


def task_at(path, parent=None, uuid="task"):
    return types.SimpleNamespace(get_path=lambda: f"{path}:7", _parent=parent, _uuid=uuid)


def block(main, rescue=(), parent=None):
    return types.SimpleNamespace(block=main, rescue=list(rescue), _parent=parent, _uuid="block")


def printed(callback, task):
    """What is left of what Ansible prints when the task fails."""
    callback._display.lines.clear()
    callback.v2_playbook_on_task_start(task, False)
    for line in ("[ERROR]: Task failed: Action failed: no such floor", 'fatal: [localhost]: FAILED! => {"msg": "no such floor"}', "[WARNING]: mind the gap"):
        callback._display.display(line)
    return list(callback._display.lines)


def test_a_failure_is_printed_once(callback):
    callback.v2_playbook_on_start(types.SimpleNamespace(_file_name=""))
    role = os.path.join(ROOT, "roles", "deploy", "tasks", "main.yml")
    result, gap = 'fatal: [localhost]: FAILED! => {"msg": "no such floor"}', "[WARNING]: mind the gap"
    # Nothing follows it that would say it again.
    assert printed(callback, task_at(role)) == [result, gap]
    # The rescue says it at the end; what runs always, behind it, says what it has to say itself.
    part = task_at(role)
    part._parent = block([part], ["tell"])
    inside = task_at(role, part._parent, uuid="in an included file")
    assert printed(callback, part) == ["fatal: [localhost]: FAILED! => what failed is said at the end", gap]
    assert printed(callback, inside) == [result, gap]
    included = task_at(role, types.SimpleNamespace(_parent=part._parent, _uuid="task"), uuid="deeper")
    assert "no such floor" not in "".join(printed(callback, included))
    # A user's own task.
    hook = task_at("/srv/hooks/before_shift.yml", part._parent)
    assert len(printed(callback, hook)) == 3 and result in callback._display.lines
    callback.v2_playbook_on_stats(None)
    assert len(printed(callback, part)) == 3


def test_with_v_nothing_is_left_out(callback):
    callback._display.verbosity = 1
    callback.v2_playbook_on_start(types.SimpleNamespace(_file_name=""))
    assert len(printed(callback, task_at(os.path.join(ROOT, "roles", "deploy", "tasks", "main.yml")))) == 3


def test_from_plan_to_record(callback, tmp_path):
    callback.v2_runner_on_ok(Result("zero.downtime.plan", {"run_dir": str(tmp_path), "plan": PLAN}))
    assert callback.thread is not None
    write(tmp_path / "events.jsonl", json.dumps(event("drain", "started", ["app1"], 1)) + "\n")
    write(tmp_path / "progress.json", '{"sent": 7, "failed": 0}')
    callback.v2_runner_on_ok(Result("zero.downtime.members", {}))
    activated = {"state": "activated"}
    callback.v2_runner_on_start(Result("", {}, "app1")._host, Result("zero.downtime.release", {}, args=activated)._task)
    callback.v2_runner_on_ok(Result("zero.downtime.release", {}, "app1", activated))
    callback.v2_runner_on_unreachable(Result("zero.downtime.release", {}, "app1", activated))
    report = tmp_path / "d.html"
    report.write_text("")
    callback.v2_runner_on_ok(Result("zero.downtime.record", {"report": str(report)}))
    callback.v2_runner_on_ok(Result("zero.downtime.release", {}, "app1", activated))
    lines = callback._display.lines
    assert lines[0] == "rollout: batch 1 of 2: app1 draining; 7 requests, 0 failed"
    assert "rollout: batch 1 of 2: app1 activated; 7 requests, 0 failed" in lines
    assert "rollout: batch 1 of 2: app1 unreachable; 7 requests, 0 failed" in lines
    assert lines[-2:] == ["rollout: 7 requests, 0 failed", f"rollout: report {report}"]
    assert callback.thread is None


def test_screen_makes_room_for_every_other_line(monkeypatch):
    written = []
    monkeypatch.setattr(rollout.sys, "stdout", types.SimpleNamespace(write=written.append, flush=lambda: None))
    display = Display()
    screen = rollout.Screen(display, lambda: 80, colour=False)
    screen.show("status", False)
    display.display("other")
    display.display("prompt", newline=False)
    assert written == ["\r\x1b[Kstatus", "\r\x1b[K", "\r\x1b[Kstatus", "\r\x1b[K"]
    screen.pause(True)
    screen.show("later", False)
    screen.pause(False)
    screen.show("later", True)
    screen.close()
    assert written[4:] == ["\r\x1b[Klater", "\r\x1b[K"]
    assert display.lines == ["other", "prompt"]
    assert "display" not in display.__dict__, "the display is as it was"


def test_a_playbook_of_ours_does_not_begin_in_the_middle(monkeypatch):
    said = []
    monkeypatch.setattr(rollout.context, "CLIARGS", {"start_at_task": "Deploy"})
    callback = rollout.CallbackModule.__new__(rollout.CallbackModule)
    callback._display = types.SimpleNamespace(error=said.append, verbosity=1)
    with pytest.raises(SystemExit) as ended:
        callback.v2_playbook_on_start(types.SimpleNamespace(_file_name=os.path.join(os.path.dirname(os.path.dirname(PATH)), "deploy.yml")))
    assert ended.value.code == 2 and "--start-at-task is 'Deploy'" in said[0]
    # A site's own playbook may begin where it likes.
    callback.v2_playbook_on_start(types.SimpleNamespace(_file_name="/site/site.yml"))


@pytest.mark.claim("progress-no-colour")
@pytest.mark.parametrize("environment, redrawn, coloured", [
    ({}, True, True), ({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, None), ({"TERM": "dumb", "NO_COLOR": "1"}, False, None)])
def test_colour_and_the_redrawn_line_can_be_turned_off(monkeypatch, environment, redrawn, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(rollout.C, "ANSIBLE_NOCOLOR", False)
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    written = []
    monkeypatch.setattr(rollout.sys, "stdout", types.SimpleNamespace(write=written.append, flush=lambda: None, isatty=lambda: True))
    callback = rollout.CallbackModule(display=Display())
    callback._start()
    try:
        assert (callback.screen is not None) is redrawn
        if callback.screen:
            callback.screen.show("1 request failed", True)
            assert written[-1].endswith("1 request failed\x1b[0m" if coloured else "1 request failed")
    finally:
        callback.v2_playbook_on_stats(None)
