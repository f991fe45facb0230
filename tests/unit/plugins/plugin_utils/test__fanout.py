# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time
import types
import typing as t

import pytest

from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.common.collections import ImmutableDict
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """C(run_on) with real processes, whose hosts do what C(work) does."""

    def call(work: t.Callable[[str], dict[str, t.Any]], hosts: list[str], forks: int = 5, **options: t.Any) -> dict[str, t.Any]:
        monkeypatch.setattr(context, "CLIARGS", ImmutableDict(forks=forks))
        monkeypatch.setattr(_fanout, "_run", lambda action, host, *rest: work(host))
        return _fanout.run_on(types.SimpleNamespace(), hosts, "some.module", lambda host: {}, {}, **options)  # type: ignore[arg-type]

    return call


def living(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    end = time.monotonic() + 60
    while living(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not living(pid)


def hang(where: pathlib.Path) -> None:
    """As a hung ssh: a process of the child's own, which it waits for."""
    with subprocess.Popen(["sleep", "600"]) as process:
        (where / "new").write_text(str(process.pid), encoding="utf-8")
        (where / "new").rename(where / "pid")
        process.wait()


def begun(where: pathlib.Path) -> int:
    """The process that a host's work wrote down when it began."""
    end = time.monotonic() + 60
    while not (where / "pid").exists():
        assert time.monotonic() < end, "the host's work never began"
        time.sleep(0.01)
    return int((where / "pid").read_text(encoding="utf-8"))


@pytest.mark.claim("hung-host-is-named")
def test_a_host_that_hangs_is_named_and_its_processes_are_killed(run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    def work(host: str) -> dict[str, t.Any]:
        if host == "lb2":
            hang(tmp_path)
        return {"changed": False, "host": host}

    began = time.monotonic()
    told: list[str] = []
    results = run_on(work, ["lb1", "lb2", "lb3"], timeout=1.0, on_result=lambda host, result: told.append(host))
    assert 1.0 <= time.monotonic() - began < 300
    assert [results[name].get("host") for name in ("lb1", "lb3")] == ["lb1", "lb3"]
    assert results["lb2"]["msg"] == "balancer lb2 cannot be reached: it gave no answer within 1 s"
    assert results["lb2"]["failed"] and results["lb2"]["unreachable_host"] and results["lb2"]["timed_out"]
    assert sorted(told) == ["lb1", "lb2", "lb3"] and told[-1] == "lb2"
    assert gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


@pytest.mark.claim("members-leave-on-every-balancer-at-once")
def test_hosts_are_worked_on_at_the_same_time(run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    def work(host: str) -> dict[str, t.Any]:
        (tmp_path / host).touch()
        end = time.monotonic() + 30
        # One after the other, the first would wait for the second in vain.
        while not (both := len(list(tmp_path.iterdir())) == 2) and time.monotonic() < end:
            time.sleep(0.01)
        return {"both": both}

    assert run_on(work, ["lb1", "lb2"], timeout=60.0) == {"lb1": {"both": True}, "lb2": {"both": True}}


def test_no_more_hosts_at_a_time_than_forks(run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    hosts = [f"app{number}" for number in range(7)]
    after = dict(zip(hosts, hosts[1:]))
    (tmp_path / "begun").mkdir()
    (tmp_path / "at work").mkdir()

    def work(host: str) -> dict[str, t.Any]:
        (tmp_path / "at work" / host).touch()
        (tmp_path / "begun" / host).touch()
        seen = len(list((tmp_path / "at work").iterdir()))
        end = time.monotonic() + 60
        # Each has the next one beside it, however slow the machine is.
        while host in after and not (tmp_path / "begun" / after[host]).exists() and time.monotonic() < end:
            time.sleep(0.01)
        (tmp_path / "at work" / host).unlink()
        return {"seen": seen}

    results = run_on(work, hosts, forks=2, timeout=120.0)
    assert list(results) == hosts
    assert max(result["seen"] for result in results.values()) == 2


def test_the_time_of_a_host_begins_with_its_own_turn(run_on: t.Callable[..., dict[str, t.Any]]) -> None:
    def work(host: str) -> dict[str, t.Any]:
        time.sleep(0.8)
        return {"changed": False}

    # All together take longer than one may, and one takes a fifth of what it may.
    results = run_on(work, [f"lb{number}" for number in range(1, 7)], forks=1, timeout=4.0)
    assert not any(result.get("failed") for result in results.values())


# What a host may take, in seconds.
HAS = 4.0


@pytest.mark.claim("standing-controller")
def test_a_machine_that_stands_still_does_not_make_its_hosts_silent(run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    def work(host: str) -> dict[str, t.Any]:
        (tmp_path / "new").write_text(str(os.getpid()), encoding="utf-8")
        (tmp_path / "new").rename(tmp_path / "pid")
        while not (tmp_path / "on").exists():
            time.sleep(0.02)
        return {"changed": False}

    controller = os.fork()
    if not controller:
        try:
            results = run_on(work, ["lb1"], timeout=HAS)
            (tmp_path / "result").write_text(str(results["lb1"].get("msg")), encoding="utf-8")
        finally:
            os._exit(0)
    stopped = (controller, begun(tmp_path))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    # It stands still for longer than its host has: for as long as another run takes to give up one that hangs.
    (tmp_path / "other").mkdir()
    assert run_on(lambda host: hang(tmp_path / "other") or {}, ["lb2"], timeout=HAS)["lb2"]["timed_out"]
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "on").touch()
    os.waitpid(controller, 0)
    assert (tmp_path / "result").read_text(encoding="utf-8") == "None"


@pytest.mark.claim("ended-controller-ends-its-children")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_this_process_ends_its_children(run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path, number: int) -> None:
    pid = os.fork()
    if not pid:
        for one in (signal.SIGTERM, signal.SIGINT):
            # Whatever else runs in this process of tests.
            signal.signal(one, signal.SIG_DFL)
        try:
            run_on(lambda host: hang(tmp_path) or {}, ["lb1"], timeout=60.0)
        finally:
            os._exit(0)
    work = begun(tmp_path)
    os.kill(pid, number)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
    assert gone(work)


@pytest.mark.claim("ended-controller-ends-its-children")
def test_who_ends_this_process_ends_a_child_that_has_only_just_begun(
    run_on: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = _fanout._Child.__init__

    def is_late(child: t.Any, *args: t.Any) -> None:
        """The host's work runs, and the signal comes, before this process notes that there is such a child."""
        begun(tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        begin(child, *args)

    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        monkeypatch.setattr(_fanout._Child, "__init__", is_late)
        try:
            run_on(lambda host: hang(tmp_path) or {}, ["lb1"], timeout=60.0)
        finally:
            os._exit(0)
    work = begun(tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    # Within its own limit a host whose controller is gone would end by itself.
    assert gone(work)


class Ssh:
    """The options of an ssh connection."""

    transport = "ssh"

    def __init__(self, **options: str) -> None:
        self.options = options

    def get_option(self, name: str) -> str | None:
        return self.options.get(name)

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value


@pytest.mark.claim("silent-ssh-host-is-lost")
@pytest.mark.parametrize("silence, interval, count", [(30, 6, 4), (10, 2, 4), (5, 1, 4), (2, 1, 1), ("60", 12, 4)])
def test_ssh_finds_out_that_a_host_is_silent(silence, interval, count):
    connection = Ssh(ssh_extra_args="-4")
    _fanout._keep_alive(connection, silence)
    assert connection.options["ssh_extra_args"] == f"-4 -o ServerAliveInterval={interval} -o ServerAliveCountMax={count}"
    assert interval * (count + 1) <= int(silence)


def test_who_has_set_that_up_is_left_alone():
    connection = Ssh(ssh_common_args="-o serverAliveInterval=60")
    _fanout._keep_alive(connection, 30)
    assert connection.options == {"ssh_common_args": "-o serverAliveInterval=60"}
    local = Ssh()
    local.transport = "local"
    _fanout._keep_alive(local, 30)
    assert not local.options


def test_a_silence_that_is_none():
    with pytest.raises(AnsibleError, match="deploy_host_timeout is 0; whole seconds from 2 on"):
        _fanout._keep_alive(Ssh(), 0)
