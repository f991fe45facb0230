# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses of each kind, planted on real servers: which line of evidence sees which, and none goes unseen by all.

The table at the end of the run (``-s`` or a failure shows it) is what the tests found, not what they expected.
"""

# claim: no-planted-loss-goes-unseen

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

from haproxy_stage import ask, get, rows_of, wait_until

# No health checks: a member that fails stays in, as it does for a moment in real life before its checks notice.
UNCHECKED = "weight 100"
TABLE: list[tuple[str, dict, dict, dict, str]] = []


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    print("\n%-44s %-34s %-34s %-12s %s" % ("planted", "probe", "balance sheet", "kernel", "verdict"))
    for name, probe, sheet, kernel, verdict in TABLE:
        print("%-44s %-34s %-34s %-12s %s" % (name, *(", ".join("%s %s" % item for item in line.items()) or "-" for line in (probe, sheet, kernel)), verdict))


def lines(name, evidence):
    """The lines that see a loss; noted for the table."""
    probe = dict(evidence["probe"]["failures"])
    sheet = {}
    if evidence["balance"]:
        own = evidence["balance"]["own_errors_during"] or 0
        sheet = {key: value for key, value in (
            ("unanswered", evidence["balance"]["unanswered"]), ("truncated", evidence["balance"]["truncated"]), ("own 5xx", own),
            ("app 5xx", evidence["balance"]["errors_during"] - own), ("incomplete", int(not evidence["balance"]["complete"]))) if value}
    kernel = {key: value for key, value in evidence["kernel"].items() if value}
    TABLE.append((name, probe, sheet, kernel, evidence["verdict"]))
    return probe, sheet, kernel


def fault(stage, kind, name="a"):
    assert get(stage.app_url(name) + "/ctl?fault=" + kind)[0] == 200


def plant(stage, run, kind):
    """Let member a fail in one way until the probe had a chance to meet it, then let it be well again."""
    # A rate is known by what came before, however slow the machine is.
    wait_until(lambda: run.progress()["sent"] >= 45, "45 requests before")
    run.step("activate", "started", ["a"])
    fault(stage, kind)
    met = run.progress()["sent"] + 45
    wait_until(lambda: run.progress()["sent"] >= met, "45 more requests")
    fault(stage, "")
    run.step("activate", "finished", ["a"])


def test_nothing_planted_nothing_found(stage, measure, pause):
    st = stage({"shop": ["a", "b"]})
    with measure(st.url + "/", st) as run:
        pause(2)
    found = run.evidence
    assert lines("nothing", found) == ({}, {}, {})
    assert found["verdict"] == "clean", found["sentence"]
    assert found["attributed"] == []
    assert found["probe"]["sent"] > 120 and found["probe"]["sent"] == found["probe"]["ok"]
    assert all(stream["sent"] for stream in found["probe"]["streams"].values())
    # Every request of the probe came by the balancer, and nothing else did.
    assert found["balance"]["received"] == found["probe"]["sent"]
    assert found["probe"]["bound"] == pytest.approx(3 / found["probe"]["sent"])
    assert 0 < found["probe"]["longest_gap_ms"] < 2000


def test_connections_that_the_balancer_closes_while_idle_are_no_losses(stage, measure, pause):
    st = stage({"shop": ["a"]}, defaults_lines=["timeout http-keep-alive 400ms"])
    with measure(st.url + "/", st, streams={"keepalive": 1}, rate=20) as run:
        pause(4)
    assert run.evidence["probe"]["reopened"] >= 3
    # Before two such closes were seen, a race with the time-out cannot be told from a loss; on loopback it is a matter of microseconds.
    assert lines("idle connections closed by the balancer", run.evidence) == ({}, {}, {})


# A master process keeps the listening socket: then the kernel still takes connections, and nobody answers them.
@pytest.mark.parametrize("master, kind", [(False, "refused"), (True, "timeout")])
def test_a_balancer_that_does_not_accept(stage, measure, pause, master, kind):
    st = stage({"shop": ["a"]}, master=master)
    with measure(st.url + "/", st) as run:
        ask(st.socket, "shutdown frontend front")
        pause(0.7)
    probe, sheet, dummy = lines("%s before the balancer counts" % kind, run.evidence)
    # Connections that were kept go on being served, and the sheet is whole: nothing but the probe saw it.
    assert set(probe) == {kind} and not sheet
    assert run.evidence["verdict"] == "unconfirmed" and not run.evidence["rollback"]


def test_member_refuses(stage, measure, pause):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED, backend_lines=["retries 0"])
    with measure(st.url + "/", st) as run:
        run.step("activate", "started", ["a"])
        st.kill("a")
        pause(0.6)
        st.start_app("a")
        run.step("activate", "finished", ["a"])
        pause(0.5)
    probe, sheet, dummy = lines("member killed, connections refused", run.evidence)
    assert probe["status_503"] and sheet["own 5xx"]
    assert run.evidence["verdict"] == "lost" and run.evidence["rollback"]
    # The member's requests in flight died with it, too: each of the probe's losses is in the sheet.
    assert run.evidence["balance"]["lost"] == run.evidence["probe"]["failed"]
    assert any(entry["step"] == "activate" and entry["member"] == "a" and entry["balancer"] == "lb1" for entry in run.evidence["attributed"])


@pytest.mark.parametrize("kind", ["silent", "reset"])
def test_member_closes_without_an_answer(stage, measure, pause, kind):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED)
    with measure(st.url + "/", st) as run:
        plant(st, run, kind)
        pause(0.3)
    probe, sheet, dummy = lines("member: %s" % kind, run.evidence)
    # Fresh clients get a 502 of the balancer, kept ones a closed connection that no class of responses counts.
    assert probe["status_502"] and probe["eof_reused"]
    assert sheet["own 5xx"] == probe["status_502"] and sheet["unanswered"] == probe["eof_reused"]
    assert run.evidence["verdict"] == "lost"


def test_truncated_answers(stage, measure, pause):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED)
    with measure(st.url + "/", st) as run:
        plant(st, run, "truncate")
        pause(0.3)
    probe, sheet, dummy = lines("member: truncated", run.evidence)
    assert set(probe) == {"truncated"} and sheet == {"truncated": probe["truncated"]}
    assert run.evidence["verdict"] == "lost"


@pytest.mark.parametrize("status", ["503", "500"])
def test_errors_of_the_application(stage, measure, pause, status):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED)
    with measure(st.url + "/", st) as run:
        plant(st, run, status)
        pause(0.3)
    probe, sheet, dummy = lines("application answers %s" % status, run.evidence)
    assert probe == {"status_" + status: probe["status_" + status]} and sheet == {"app 5xx": probe["status_" + status]}
    assert run.evidence["verdict"] == "degraded" and run.evidence["rollback"]


def test_lost_between_balancer_and_member_for_others_only(stage, measure, pause):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED)
    with measure(st.url + "/", st) as run:
        for _each in range(3):
            with socket.create_connection(("127.0.0.1", st.port)) as client:
                client.settimeout(30)
                for path in ("/", "/?fault=silent"):
                    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                    answer = client.recv(4096)
                assert answer == b""
        pause(0.3)
    probe, sheet, dummy = lines("lost for other clients only", run.evidence)
    assert not probe and sheet == {"unanswered": 3}
    assert run.evidence["verdict"] == "lost"
    assert "the probe met none of them" in run.evidence["notes"]


@pytest.mark.claim("clients-that-leave-are-no-losses")
def test_impatient_clients_are_no_losses_and_hide_none(stage, measure):
    st = stage({"shop": ["a"]}, default_server=UNCHECKED)
    app = st.app_url("a")
    with measure(st.url + "/", st) as run:
        for path in ("/held", "/held", "/?fault=silent"):
            client = socket.create_connection(("127.0.0.1", st.port))
            client.settimeout(30)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(4096)
            client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            if path == "/held":
                wait_until(lambda: json.loads(get(app + "/in_flight")[1])["held"] == 1, "the request is in flight")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                assert client.recv(4096) == b""
            client.close()
            if path == "/held":
                get(app + "/ctl?let_go=1")
                wait_until(lambda: json.loads(get(app + "/in_flight")[1])["held"] == 0, "it is over")
                get(app + "/ctl?let_go=0")
        wait_until(lambda: sum(int(row["cli_abrt"] or 0) for row in rows_of(st, 2)) == 2, "the balancer has counted both")
    dummy, sheet, dummy2 = lines("two clients reset, one request lost", run.evidence)
    assert run.evidence["balance"]["client_aborts"] == 2 and sheet == {"unanswered": 1}


def test_balancer_killed(stage, measure, pause):
    st = stage({"shop": ["a"]})
    with measure(st.url + "/", st) as run:
        for pid in (st.process.pid, st.worker_pid()):
            os.kill(pid, signal.SIGKILL)
        pause(0.7)
    probe, sheet, dummy = lines("balancer killed", run.evidence)
    assert probe["refused"] and sheet == {"incomplete": 1}
    assert run.evidence["verdict"] == "lost", "nothing is left that could contradict the probe"


def test_reload_while_a_request_is_open(stage, measure, pause):
    st = stage({"shop": ["a"]}, frontend_lines=["option idle-close-on-response"])
    with measure(st.url + "/", st) as run:
        client = socket.create_connection(("127.0.0.1", st.port))
        client.sendall(b"GET /slow?ms=4000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        pause(0.1)
        st.reload()
        run.sample("drain")
        client.settimeout(30)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        client.close()
    lines("reload, nothing lost", run.evidence)
    assert len({row["worker"] for sample in _samples(run) for row in sample["counters"]}) == 2
    assert run.evidence["balance"]["unanswered"] == 0 and run.evidence["balance"]["truncated"] == 0


def _samples(run):
    from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
    return _balance.read(str(run.run_dir))


@pytest.mark.claim("kernel-drops-are-seen")
def test_accept_queue_overflows(stage, measure, pause):
    st = stage({"shop": ["a"]})
    with measure(st.url + "/", st) as run:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            clients = []
            for _each in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(deaf.getsockname())
                clients.append(client)
            pause(0.3)
            for client in clients:
                client.close()
    probe, sheet, kernel = lines("accept queue of a listener overflows", run.evidence)
    assert not probe and not sheet and kernel["overflows"] >= 1
    assert run.evidence["verdict"] == "clean", "the counter is the whole host's, so it is a finding and no verdict"
    assert any("listen-queue overflows" in note for note in run.evidence["notes"])
