# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import workers
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Gone, Refused


class Script:
    """A client that expects exactly these commands, in this order; an unplanned call fails."""

    def __init__(self, *steps: tuple[list[str], t.Any], address: str = "/run/x") -> None:
        self.steps = list(steps)
        self.timeout, self.address, self.command, self.label = 1.0, address, None, f"socket {address}"

    def ask(self, commands: t.Sequence[str]) -> list[str]:
        assert self.steps, f"unplanned: {commands}"
        expected, answer = self.steps.pop(0)
        assert list(commands) == expected
        if isinstance(answer, Exception):
            raise answer
        return answer

    ask_all = ask


def proc(*lines: str) -> str:
    return "\n".join(["1 master 0 0d00h00m00s 2.6", *lines])


def balancer(runtime: Script, master: Script | None = None, **options: t.Any) -> workers.Balancer:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return workers.Balancer(runtime, master, clock=lambda: now[0], sleep=sleep, **options)  # type: ignore[arg-type]


def test_old_workers_are_asked_through_the_master():
    runtime = Script((["show info", "show stat"], ["Pid: 7", "stat"]), (["show info", "show stat"], ["Pid: 7", "stat2"]))
    listing = proc("# workers", "7 worker 0 0d00h00m05s 2.6", "# old workers", "5 worker 1 0d01h00m00s 2.6")
    master = Script((["show proc"], [listing]), (["show proc", "@!5 show stat"], [listing, "old"]),
                    (["show proc", "@!5 show stat"], Gone("Can't find the target PID matching the prefix '@!5'", [])),
                    (["show proc"], [proc("# workers", "7 worker 0 0d00h00m05s 2.6")]))
    both = balancer(runtime, master)
    look = both.look(["show stat"], ["show stat"])
    assert look.old == {5: ["old"]} and look.replies == ["stat"] and [(w.pid, w.current) for w in look.workers] == [(7, True), (5, False)]
    # It leaves: the master ends the connection, and the second list does without it.
    assert both.look(["show stat"], ["show stat"]).old == {}
    assert not runtime.steps and not master.steps


def test_in_the_middle_of_a_reload_it_looks_again():
    runtime = Script((["show info"], ["Pid: 5"]), (["show info"], ["Pid: 7"]))
    listing = proc("# workers", "7 worker 0 0d00h00m00s 2.6", "# old workers", "5 worker 1 0d01h00m00s 2.6")
    master = Script((["show proc"], Refused("nothing listens")), (["show proc"], [listing]), (["show proc"], [listing]))
    assert balancer(runtime, master).look([]).current == 7


def test_a_socket_that_is_gone_for_a_moment():
    runtime = Script((["show info"], ["Pid: 5"]), (["show info"], Refused("nothing listens")), (["show info"], ["Pid: 7"]))
    both = balancer(runtime, old_workers="ignore")
    assert [both.look([]).current, both.look([]).current] == [5, 7]
    with pytest.raises(Refused):
        balancer(Script((["show info"], Refused("nothing listens"))), old_workers="ignore").look([])


def test_after_a_failed_reload_the_only_worker_is_the_current_one():
    runtime = Script((["show info"], ["Pid: 5"]))
    master = Script((["show proc"], [proc("# workers", "# old workers", "5 worker 1 0d01h00m00s 2.6")]))
    look = balancer(runtime, master).look([])
    assert [(w.pid, w.current) for w in look.workers] == [(5, True)] and look.old == {}


def test_a_master_of_another_haproxy_is_refused():
    runtime = Script(*[(["show info"], ["Pid: 5"])] * 60)
    master = Script(*[(["show proc"], [proc("# workers", "9 worker 0 0d01h00m00s 2.6")])] * 60)
    with pytest.raises(DowntimeError, match="lists the workers 9, but worker 5 answers"):
        balancer(runtime, master).look([])


def test_a_worker_socket_named_as_master_is_refused():
    with pytest.raises(DowntimeError, match="the master's socket .* is needed"):
        balancer(Script((["show info"], ["Pid: 5"])), Script((["show proc"], ["Unknown command"]))).look([])


@pytest.mark.claim("every-reply-is-read")
def test_unexpected_reply_names_the_command():
    with pytest.raises(DowntimeError, match="haproxy refused 'set server a/b state maint': No such server."):
        balancer(Script((["set server a/b state maint", "show info"], ["No such server.\n", "Pid: 1"]))).command(["set server a/b state maint"])


def test_cut_finds_the_sessions_of_old_workers():
    sessions = ("0x55d0: proto=tcpv4 src=127.0.0.1:1 fe=front be=shop srv=app1 ts=00 age=1s\n"
                "0x55d1: proto=tcpv4 src=127.0.0.1:1 fe=front be=shop srv=app2 ts=00 age=1s\n"
                "0x55d2: proto=unix_stream as=0 fe=GLOBAL be=<NONE> srv=<none> ts=00")
    runtime = Script((["shutdown sessions server shop/app1", "show info"], ["", "Pid: 7"]))
    master = Script((["@!5 show sess"], [sessions]), (["@!5 shutdown session 0x55d0"], [""]), (["@!6 show sess"], Gone("", [])))
    balancer(runtime, master).cut([("shop", "app1")], [5, 6])
    assert not runtime.steps and not master.steps


def test_a_command_for_an_old_worker_goes_through_the_master():
    master = Script((["@!5 set map m k 1"], [""]), (["@!6 set map m k 1"], Gone("", [])))
    for pid in (5, 6):
        assert balancer(Script(), master).command_old(pid, "set map m k 1") == ""
    assert not master.steps


def process(root: pathlib.Path, pid: int, parent: int, name: str = "haproxy", argv: str = "haproxy -W -f /etc/haproxy.cfg", state: str = "S") -> None:
    directory = root / str(pid)
    directory.mkdir()
    (directory / "stat").write_text(f"{pid} ({name}) {state} {parent} 1 1 0")
    (directory / "cmdline").write_text(argv.replace(" ", "\0") + "\0")


def test_old_workers_by_process_with_a_master(tmp_path):
    process(tmp_path, 10, 1)
    process(tmp_path, 11, 10)
    process(tmp_path, 12, 10)
    process(tmp_path, 13, 10, state="Z")
    process(tmp_path, 20, 1)
    process(tmp_path, 21, 20)
    process(tmp_path, 30, 10, name="sh")
    assert workers.Processes(str(tmp_path)).old_workers(12) == [11]
    assert workers.Processes(str(tmp_path)).old_workers(21) == []


def test_old_workers_by_process_without_a_master(tmp_path):
    process(tmp_path, 10, 1, argv="haproxy -D -f /a.cfg -sf 9")
    process(tmp_path, 9, 1, argv="haproxy -D -f /a.cfg")
    process(tmp_path, 8, 1, argv="haproxy -D -f /b.cfg")
    assert workers.Processes(str(tmp_path)).old_workers(10) == [9]


def test_a_worker_that_is_no_process_here(tmp_path):
    process(tmp_path, 10, 1, name="postgres")
    for pid in (10, 11):
        runtime = Script((["show info"], [f"Pid: {pid}"]))
        with pytest.raises(DowntimeError, match="is not a process that can be seen here.*name master_socket"):
            balancer(runtime, processes=workers.Processes(str(tmp_path))).look([])
    runtime = Script((["show info"], ["Pid: 10\nUptime_sec: 5"]))
    assert balancer(runtime, old_workers="ignore", processes=workers.Processes(str(tmp_path))).look([]).unreadable == []


def test_a_remote_socket_never_matches_a_local_process(tmp_path):
    process(tmp_path, 10, 1)
    with pytest.raises(DowntimeError, match="is not a process that can be seen here"):
        balancer(Script((["show info"], ["Pid: 10"]), address="lb1.example:9999"), processes=workers.Processes(str(tmp_path))).look([])


def test_master_socket_of_a_command_line():
    assert workers.master_socket("haproxy -Ws -S /run/master.sock,mode,600 -f /a".split()) == "/run/master.sock"
    assert workers.master_socket("haproxy -f /a".split()) is None


@pytest.mark.parametrize("line, files", [
    ("haproxy -f /a.cfg", ["/a.cfg"]),
    ("haproxy -Ws -f /a.cfg -f /b -p /run/pid -S /run/master.sock", ["/a.cfg", "/b"]),
    ("haproxy -W -S x -- /a.cfg /b.cfg", ["/a.cfg", "/b.cfg"]),
    ("haproxy -sf 1 2 3 -x /run/sock", []),
])
def test_config_files(line, files):
    assert workers.config_files(line.split()) == files
