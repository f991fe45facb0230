# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe as a process: what it calls each failure, when it ends, what it costs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest

from haproxy_stage import free_port, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-release: abc\r\nContent-Length: 20\r\n\r\n{\"version\": \"1.0.0\"}"


@contextlib.contextmanager
def server(reply, context=None):
    """A server that hands each connection to ``reply(connection)`` once a request's header has come."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.settimeout(0.05)
    done = threading.Event()

    def one(connection):
        with connection:
            connection.settimeout(5)
            try:
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                data = b""
                while b"\r\n\r\n" not in data:
                    part = connection.recv(4096)
                    if not part:
                        return
                    data += part
                reply(connection)
            except OSError:
                return

    def serve():
        while not done.is_set():
            try:
                connection, dummy = listener.accept()
            except socket.timeout:
                continue
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        thread.join()
        listener.close()


def rst(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hold(connection):
    """Answer nothing until the other one leaves."""
    while connection.recv(4096):
        continue


def say(data, then=lambda connection: None):
    def reply(connection):
        connection.sendall(data)
        time.sleep(0.05)
        then(connection)
    return reply


@pytest.mark.claim("probe-failures-by-kind")
@pytest.mark.parametrize("kind, reply", [
    (None, say(OK)),
    (None, say(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)),
    (None, say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n")),
    (None, say(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")),
    (None, say(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")),
    ("reset", rst),
    ("eof_fresh", say(b"")),
    ("truncated", say(OK[:-5])),
    ("truncated", say(OK[:30])),
    ("truncated", say(OK[:-5], rst)),
    ("truncated", say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")),
    ("malformed", say(b"SSH-2.0-OpenSSH_9.2\r\n")),
    ("malformed", say(b"HTTP/1.1 banana\r\n\r\n")),
    ("timeout", hold),
    ("timeout", say(OK[:-5], hold)),
    ("status_404", say(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")),
    ("status_503", say(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")),
])
def test_what_a_failure_is_called(kind, reply):
    with server(reply) as port:
        outcome = _probe.once({"url": "http://127.0.0.1:%d/" % port, "timeout": 0.5 if kind == "timeout" else 4})
    assert outcome.kind == kind, outcome


def test_refused_and_unknown_name():
    assert _probe.once({"url": "http://127.0.0.1:%d/" % free_port()}).kind == "refused"
    assert _probe.once({"url": "http://no.such.host.invalid/"}).kind == "dns"


@pytest.mark.claim("probe-connects-elsewhere")
def test_connect_to_goes_elsewhere_with_the_urls_name():
    with server(say(OK)) as port:
        outcome = _probe.once({"url": "http://shop.example/x", "connect_to": "127.0.0.1:%d" % port})
    assert (outcome.kind, outcome.version, outcome.release) == (None, "1.0.0", "abc")


def test_a_release_header_names_the_version_where_no_body_does():
    with server(say(b"HTTP/1.1 200 OK\r\nx-release: abc\r\nContent-Length: 2\r\n\r\nhi")) as port:
        assert _probe.once({"url": "http://127.0.0.1:%d/" % port}).version == "abc"


def test_https_is_verified_unless_told_otherwise(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    with server(say(OK), context) as port:
        there = {"connect_to": "127.0.0.1:%d" % port, "timeout": 3}
        assert _probe.once({"url": "https://shop.example/", **there}).kind == "tls"
        assert _probe.once({"url": "https://shop.example/", "ca_path": certificate.path, **there}).kind is None
        assert _probe.once({"url": "https://other.example/", "ca_path": certificate.path, **there}).kind == "tls"
        assert _probe.once({"url": "https://other.example/", "validate_certs": False, **there}).kind is None


def test_https_streams_through_a_real_balancer(stage, measure, pause, certificate):
    port = free_port()
    st = stage({"shop": ["a"]}, frontend_lines=["bind 127.0.0.1:%d ssl crt %s" % (port, certificate.both)])
    with measure("https://shop.example/", st, connect_to="127.0.0.1:%d" % port, ca_path=certificate.path, rate=40) as run:
        pause(2)
    assert run.evidence["probe"]["failures"] == {}
    assert all(one["sent"] for one in run.evidence["probe"]["streams"].values())
    assert run.evidence["balance"]["received"] == run.evidence["probe"]["sent"]
    assert run.evidence["probe"]["protocols"] == {"HTTP/1.1": run.evidence["probe"]["sent"]}


def start(tmp_path, **config):
    config = {"url": "http://127.0.0.1:9/", "rate": 20, "run_dir": str(tmp_path), "max_run": 30, **config}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return subprocess.Popen([sys.executable, _probe.__file__, str(tmp_path / "config.json")], stderr=subprocess.PIPE, start_new_session=True)


def progress(run_dir):
    return json.loads((run_dir / "progress.json").read_text(encoding="utf-8"))


def account(tmp_path):
    return json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))


@pytest.mark.claim("probe-ends-with-its-parent")
def test_it_ends_with_its_parent(tmp_path):
    with server(hold) as port, subprocess.Popen(["sleep", "30"]) as parent:
        watch = {"pid": parent.pid, "start_time": _probe.start_time_of(parent.pid)}
        probe = start(tmp_path, url="http://127.0.0.1:%d/" % port, watch=watch)
        wait_until((tmp_path / "progress.json").exists, "it runs")
        # Ctrl-C in a terminal must not end it before the account is asked for.
        interrupted = time.time()
        probe.send_signal(signal.SIGINT)
        wait_until(lambda: progress(tmp_path)["time"] > interrupted, "it goes on")
        assert probe.poll() is None
        parent.kill()
        assert probe.wait(30) == 0
        probe.stderr.close()
    found = account(tmp_path)
    assert found["ended"] == "controller_died" and found["unfinished"] > 0


def test_another_process_with_the_parents_number_is_not_the_parent(tmp_path):
    probe = start(tmp_path, watch={"pid": os.getpid(), "start_time": "1"})
    assert probe.wait(30) == 0
    probe.stderr.close()
    assert account(tmp_path)["ended"] == "controller_died"


def test_the_hard_limit_ends_it(tmp_path):
    probe = start(tmp_path, max_run=1)
    assert probe.wait(30) == 0
    probe.stderr.close()
    assert account(tmp_path)["ended"] == "max_run"


def test_a_config_that_cannot_work_is_one_sentence(tmp_path):
    probe = start(tmp_path, url="ftp://x/")
    dummy, text = probe.communicate(timeout=30)
    assert probe.returncode == 2
    assert text.decode().strip() == "url is not usable: the scheme is 'ftp', and http and https are accepted."


@pytest.mark.claim("probe-first-deploy")
def test_before_the_first_member_is_admitted_nothing_counts_on_a_first_deploy(measure, pause):
    port = free_port()
    with measure("http://127.0.0.1:%d/" % port, expect_serving=False, rate=40) as run:
        pause(0.5)
        with subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "..", "loopback_app.py"), "--port", str(port)]) as app:
            wait_until(lambda: run.progress().get("ok", 0) > 20, "answers")
            assert run.progress()["failed"] == 0 and run.progress()["uncounted"]["failures"]["refused"] > 5
            app.kill()
            app.wait()
            early = run.progress()["uncounted"]["sent"]
            wait_until(lambda: run.progress()["uncounted"]["sent"] > early + 5, "failures before a member is admitted")
            assert run.progress()["failed"] == 0
            run.step("return", "finished", members=["a"])
            wait_until(lambda: run.progress()["failed"] > 5, "failures that count")


def test_it_says_what_it_costs(stage, measure):
    """How much that may be, `make bench` tells, on a machine with nothing else to do."""
    st = stage({"shop": ["a", "b"]})
    with measure(st.url + "/", st, rate=100) as run:
        wait_until(lambda: run.progress().get("ok", 0) > 200, "answers")
    assert 0 < run.evidence["probe"]["cpu_share"] < 1


def test_ansible_killed_ends_the_probe(tmp_path, stage):
    st = stage({"shop": ["a"]})
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (tmp_path / "play.yml").write_text("""
- hosts: localhost
  gather_facts: false
  tasks:
    - zero.downtime.evidence: {state: started, url: "%s/", run_dir: "%s"}
    - ansible.builtin.command: sleep 20
""" % (st.url, run_dir), encoding="utf-8")
    (tmp_path / "inventory").write_text("localhost ansible_connection=local ansible_python_interpreter=%s\n" % sys.executable, encoding="utf-8")
    repo = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    with subprocess.Popen([os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", str(tmp_path / "inventory"), str(tmp_path / "play.yml")],
                          cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as play:
        try:
            wait_until(lambda: (run_dir / "probe-process.json").exists() and (run_dir / "progress.json").exists(), "the probe runs", 30)
            probe = json.loads((run_dir / "probe-process.json").read_text(encoding="utf-8"))
            assert _probe.start_time_of(probe["pid"]) == probe["start_time"]
            wait_until(lambda: progress(run_dir)["sent"] > 20, "the probe probes")
        finally:
            play.send_signal(signal.SIGKILL)
        wait_until(lambda: _probe.start_time_of(probe["pid"]) is None, "the probe ends")
        os.killpg(play.pid, signal.SIGKILL)     # its worker goes on with the sleep
    assert json.loads((run_dir / "probe.json").read_text(encoding="utf-8"))["ended"] == "controller_died"
