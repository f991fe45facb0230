# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A witness has to see: each kind of failure is planted, and the load generator must name it."""

from __future__ import annotations

import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import typing as t

import pytest

LOAD = pathlib.Path(__file__).resolve().parents[2] / "load" / "load.py"
BODY = b'{"version": "1.0.0", "member": "app1"}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def misbehave(kind: str, client: socket.socket, number: int) -> bool:
    """Answer one request of a connection in the way planted; False ends the connection."""
    if kind in ("eof_reused", "reset_reused") and number:
        if kind == "reset_reused":
            reset(client)
        return False
    if kind in ("eof", "reset"):
        if kind == "reset":
            reset(client)
        return False
    if kind == "truncated":
        client.sendall(GOOD[:-5])
        return False
    if kind == "timeout":
        threading.Event().wait(10)
        return False
    answers = {
        "status_503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        "bad_body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "no_length": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    }
    client.sendall(answers.get(kind, GOOD))
    if kind == "idle_close":
        return False
    return kind in ("good", "eof_reused", "reset_reused")


def serve(listener: socket.socket, kind: str) -> None:
    def work(client: socket.socket) -> None:
        with client:
            number = 0
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    try:
                        more = client.recv(65536)
                    except OSError:
                        return
                    if not more:
                        return
                    data += more
                head, _sep, data = data.partition(b"\r\n\r\n")
                wanted = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                while len(data) < wanted:
                    data += client.recv(65536)
                data = data[wanted:]
                if not misbehave(kind, client, number):
                    return
                number += 1

    while True:
        try:
            client, _address = listener.accept()
        except OSError:
            return
        threading.Thread(target=work, args=(client,), daemon=True).start()


@pytest.fixture
def measure(tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., dict[str, t.Any]]]:
    listener = socket.create_server(("127.0.0.1", 0))

    def run(kind: str, *options: str, command: t.Sequence[str] = ("sleep", "1")) -> dict[str, t.Any]:
        port = listener.getsockname()[1]
        if kind == "refused":
            listener.close()
        else:
            threading.Thread(target=serve, args=(listener, kind), daemon=True).start()
        report = tmp_path / "report.json"
        done = subprocess.run(
            [sys.executable, str(LOAD), f"--target=http://127.0.0.1:{port}", f"--report={report}", "--before=0.2", "--after=0.2",
             f"--timeout={1 if kind == 'timeout' else 20}", "--slow-body=0.02", "--rate=20",
             *options, "--", *command], capture_output=True, text=True, timeout=30, check=False)
        return {**json.loads(report.read_text(encoding="utf-8")), "rc": done.returncode, "said": done.stdout}

    yield run
    listener.close()


def test_a_good_server_loses_nothing(measure):
    report = measure("good")
    assert (report["failed"], report["failures"], report["rc"]) == (0, {}, 0)
    assert report["sent"] > 40
    assert set(report["streams"]) == {"fresh", "keepalive", "post"}
    assert report["versions"]["1.0.0"]["count"] == report["sent"]


@pytest.mark.parametrize("kind", ["refused", "reset", "eof", "truncated", "timeout", "status_503", "bad_body", "no_length"])
def test_each_failure_is_counted_by_its_kind(measure, kind):
    report = measure(kind)
    assert report["failures"] == {kind: report["sent"]}
    assert report["losses"][0]["kind"] == kind


@pytest.mark.parametrize("kind", ["eof_reused", "reset_reused"])
def test_a_connection_lost_between_two_requests_is_a_kind_of_its_own(measure, kind):
    report = measure(kind)
    assert set(report["failures"]) == {kind}
    assert report["streams"]["fresh"]["failed"] == report["streams"]["post"]["failed"] == 0
    assert report["streams"]["keepalive"]["failed"] == report["failures"][kind] > 0


def test_a_connection_closed_while_idle_is_no_failure_for_who_minds_it(measure):
    report = measure("idle_close", "--mind-idle-close")
    assert report["failures"] == {} and report["idle_closes"] > 5


def test_a_close_that_meets_a_request_is_repeated_and_counted_by_who_minds_it(measure):
    report = measure("eof_reused", "--mind-idle-close")
    assert report["failures"] == {} and report["idle_closes"] == 0 and report["repeats"] > 0


def test_a_close_before_the_first_request_is_no_idle_close(measure):
    report = measure("eof", "--mind-idle-close")
    assert report["failures"] == {"eof": report["sent"]} and report["repeats"] == 0


@pytest.mark.parametrize(("expect", "rc"), [("success", 1), ("failure", 0), ("any", 0)])
def test_the_commands_end_is_judged_as_asked(measure, expect, rc):
    report = measure("good", "--expect", expect, command=["sh", "-c", "exit 3"])
    assert (report["command"]["rc"], report["rc"]) == (3, rc)


def test_a_held_request_ends_when_the_command_says_so(measure, tmp_path):
    report = measure("good", "--holds=2", "--hold-until=go", "--hold-more=0.3", f"--output={tmp_path}/output",
                     command=["sh", "-c", "sleep 0.5; echo go; sleep 0.5"])
    assert [hold["ok"] for hold in report["holds"]] == [True, True]
    for hold in report["holds"]:
        assert 0.7 < hold["finished"] - report["command"]["started"] < 8
    assert report["failed"] == 0


def test_each_request_is_noted_for_who_asks(measure, tmp_path):
    report = measure("good", f"--requests={tmp_path}/requests")
    noted = [json.loads(line) for line in (tmp_path / "requests").read_text(encoding="utf-8").splitlines()]
    assert len(noted) == report["sent"] and all(one["ok"] and one["version"] == "1.0.0" for one in noted)
    assert all(report["started"] <= one["time"] <= one["time"] + one["seconds"] <= report["finished"] + 0.01 for one in noted)
