# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample application's streams, and the clients that count what becomes of them.

Each way of ending is planted, and has to be told by its name.
"""

from __future__ import annotations

import io
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import typing as t
import urllib.error
import urllib.request

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "stage"), str(TESTS / "real"), str(TESTS / "load")]

import artifacts  # noqa: E402
import haproxy_stage  # noqa: E402
import stream_clients  # noqa: E402

OLD, NEW = "1.0.0", "2.0.0"
EACH = 3


class App:
    """The sample application in a gunicorn as on the local stage, and the command that brings another release there."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.port = haproxy_stage.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        for label in (OLD, NEW):
            with tarfile.open(fileobj=io.BytesIO(artifacts.pack(label))) as tar:
                tar.extractall(place / label)

    def start(self, label: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gunicorn",
            "--daemon",
            "--pid",
            str(self.place / "pid"),
            "--chdir",
            str(self.place / label),
            "--bind",
            f"127.0.0.1:{self.port}",
            "--worker-class",
            "gthread",
            "--workers",
            "1",
            "--threads",
            "16",
            "--keep-alive",
            "90",
            "--graceful-timeout",
            "30",
            "--timeout",
            "0",
            "--worker-tmp-dir",
            "/dev/shm",
            "--no-control-socket",
            "--log-file",
            str(self.place / "log"),
            "app:application",
        ]

    def pids(self) -> str:
        """The master and its worker."""
        master = (self.place / "pid").read_text(encoding="ascii").strip()
        children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
        return f"{master} {children}".strip()

    def replace(self, number: signal.Signals) -> list[str]:
        pids = self.pids()
        ended = "; ".join(f"while kill -0 {pid} 2>/dev/null; do sleep 0.02; done" for pid in pids.split())
        whom = pids.split()[0] if number == signal.SIGTERM else pids
        return [
            "sh",
            "-c",
            f'kill -{number.name.removeprefix("SIG")} {whom}; {ended}; rm -f {self.place / "pid"}; exec "$@"',
            "sh",
            *self.start(NEW),
        ]

    def answers(self) -> bool:
        return haproxy_stage.get(self.url + "/ready")[0] == 200


@pytest.fixture
def app(tmp_path):
    found = App(tmp_path)
    subprocess.run(found.start(OLD), check=True, stdin=subprocess.DEVNULL)
    haproxy_stage.wait_until(found.answers, "the application answers", logs=tmp_path / "log")
    yield found
    haproxy_stage.wait_until(found.answers, "the application answers", logs=tmp_path / "log")
    subprocess.run(["sh", "-c", f"kill -KILL {found.pids()}"], check=True)


def run(url: str, place: pathlib.Path, *options: str, command: t.Sequence[str] = ("true",)) -> dict[str, t.Any]:
    report = place / "report.json"
    done = subprocess.run(
        [
            sys.executable,
            stream_clients.__file__,
            f"--target={url}",
            f"--report={report}",
            f"--output={place / 'output'}",
            "--before=0.5",
            "--after=1",
            f"--sockets={EACH}",
            f"--events={EACH}",
            *options,
            "--",
            *command,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + (place / "output").read_text(encoding="utf-8")
    return json.loads(report.read_text(encoding="utf-8"))


def test_an_application_that_is_stopped_ends_its_streams_itself_and_still_answers_its_requests(app, tmp_path):
    answered: list[int] = []
    slow = threading.Thread(target=lambda: answered.append(haproxy_stage.get(app.url + "/slow?ms=3000")[0]))
    slow.start()
    haproxy_stage.wait_until(
        lambda: json.loads(haproxy_stage.get(app.url + "/in_flight")[1])["in_flight"] == 1, "the request is in flight"
    )
    report = run(app.url, tmp_path, f"--settle={NEW}", command=app.replace(signal.SIGTERM))
    slow.join()
    assert answered == [200]
    found = report["summary"]
    assert found["ends"] == {"closed 1001": EACH, "closed": EACH, "left 1000": EACH, "left": EACH}, found
    assert found["cut"] == found["server_messages"]["missing"] == found["server_messages"]["twice"] == 0, found
    assert found["client_messages"]["unknown"] == found["client_messages"]["owed"] == 0, found
    assert found["client_messages"]["sent"] == found["client_messages"]["counted"] > 0, found
    assert found["versions"] == {NEW: 2 * EACH}, found
    assert (
        0 < stream_clients.moved(report, NEW, report["command"]["started"])
        and stream_clients.moved(report, OLD, 0) is None
    )
    # The port had no server for a moment: what existed in it came late, and came.
    assert found["server_messages"]["late"] > 0 and found["longest_gap_ms"] > 50, found


def test_what_comes_too_late_to_be_counted_before_the_end_is_sent_once_more_on_the_next_stream(app, tmp_path):
    # A client that always has something under way.
    report = run(app.url, tmp_path, "--events=0", "--pace=0.004", f"--settle={NEW}", command=app.replace(signal.SIGTERM))
    found, messages = report["summary"], report["summary"]["client_messages"]
    assert found["ends"] == {"closed 1001": EACH, "left 1000": EACH}, found
    assert messages["again"] > 0 and messages["unknown"] == messages["owed"] == 0, messages
    assert messages["sent"] == messages["counted"], messages


def test_streams_that_are_cut_are_counted_with_what_is_not_known_of_their_messages(app, tmp_path):
    # A client that always has something under way.
    found = run(app.url, tmp_path, "--pace=0.002", f"--settle={NEW}", command=app.replace(signal.SIGKILL))["summary"]
    assert found["cut"] == 2 * EACH and found["ends"]["cut"] == 2 * EACH, found
    messages = found["client_messages"]
    assert (
        messages["unknown"] > 0
        and messages["again"] == 0
        and messages["counted"] + messages["unknown"] == messages["sent"]
    ), found
    # Whoever says what it saw last gets what was missed from the next release.
    assert (
        found["server_messages"]["missing"] == 0
        and found["server_messages"]["late"] > 0
        and found["versions"] == {NEW: 2 * EACH}
    ), found


def spoken(url: str, *frames: bytes, last: int) -> list[tuple[int, bytes]]:
    """What a WebSocket is answered beside the messages of the topic, until a frame of the kind C(last)."""
    asked = "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30) as client,
        client.makefile("rb") as reader,
    ):
        client.sendall(asked.encode())
        assert b" 101 " in reader.readline()
        while reader.readline() != b"\r\n":
            pass
        for frame in frames:
            client.sendall(frame)
        found: list[tuple[int, bytes]] = []
        while not found or found[-1][0] != last:
            kind, length = reader.read(2)
            data = reader.read(length)
            if not data.startswith(b"message "):
                found.append((kind & 0x0F, data))
        return found


# Masked with zeroes, which changes nothing.
MASK = bytes(4)


def test_a_websocket_is_answered_as_its_protocol_asks(app):
    ping, send, close = (
        bytes([0x80 | kind, 0x80 | len(data)]) + MASK + data
        for kind, data in ((9, b"hi"), (1, b"send 7"), (8, b"\x03\xe8"))
    )
    assert spoken(app.url, ping, send, close, last=8) == [(10, b"hi"), (1, b"counted 7"), (8, b"\x03\xe8")]
    # A client has to mask what it sends, and to say what is understood: else it is told 1002.
    for frame in (b"\x81\x02hi", bytes([0x81, 0x82]) + MASK + b"hi"):
        assert spoken(app.url, frame, last=8)[0][1][:2] == b"\x03\xea"
    for path, headers in (("/socket", {}), ("/events?after=soon", {}), ("/events", {"Last-Event-ID": "1"})):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(app.url + path, headers=headers), timeout=30)
        assert refused.value.code == 400 and json.load(refused.value)["error"]


def forgetful(listener: socket.socket) -> None:
    """An event stream that leaves out every tenth message and repeats every seventh."""

    def work(client: socket.socket) -> None:
        with client:
            client.recv(65536)
            client.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-interval-ms: 50\r\nx-version: 1.0.0\r\n\r\n"
            )
            try:
                for number in range(1000, 100000):
                    data = b"id: %d\ndata: x\n\n" % number * (0 if number % 10 == 5 else 2 if number % 7 == 0 else 1)
                    if data:
                        client.sendall(b"%x\r\n%s\r\n" % (len(data), data))
                    time.sleep(0.01)
            except OSError:
                return

    while True:
        try:
            client, _address = listener.accept()
        except OSError:
            return
        threading.Thread(target=work, args=(client,), daemon=True).start()


def test_a_message_that_never_comes_is_missing_and_one_that_comes_twice_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=forgetful, args=(listener,), daemon=True).start()
        found = run(
            f"http://127.0.0.1:{listener.getsockname()[1]}",
            tmp_path,
            "--sockets=0",
            "--after=1",
            command=["sleep", "0.5"],
        )["summary"]
    assert found["server_messages"]["missing"] > 0 and found["server_messages"]["twice"] > 0 and found["cut"] == 0, (
        found
    )


def test_a_client_that_gets_no_stream_says_why(tmp_path):
    port = haproxy_stage.free_port()
    done = subprocess.run(
        [
            sys.executable,
            stream_clients.__file__,
            f"--target=http://127.0.0.1:{port}",
            f"--report={tmp_path}/report",
            "--timeout=1",
            "--",
            "true",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "not every client got a message within 1.0 s" in done.stderr
