# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe over HTTP/2, on a real HAProxy and a real nginx: what a reload costs, what is a loss, when it is spoken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import nginx_stage
from haproxy_stage import free_port, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe


def control(stage, what):
    assert get(stage.app_url("a") + "/ctl?" + what)[0] == 200


def there(port, certificate, **more):
    return {"connect_to": "127.0.0.1:%d" % port, "ca_path": certificate.path, "timeout": 60, **more}


@pytest.fixture
def balancer(stage, certificate):
    """A HAProxy whose frontend speaks HTTP/2, and how to get there."""
    port = free_port()

    def begin(*lines, **more):
        return stage(
            {"shop": ["a"]},
            frontend_lines=["bind 127.0.0.1:%d ssl crt %s alpn h2,http/1.1" % (port, certificate.both), *lines],
            **more,
        )

    return begin, there(port, certificate)


def more_open(run, count):
    """Wait until so many more requests wait for their answers."""
    before = run.progress()["open"]
    wait_until(lambda: run.progress()["open"] >= before + count, "%d more requests are open" % count)


def answered(run, count):
    before = run.progress()["ok"]
    wait_until(lambda: run.progress()["ok"] >= before + count, "%d more answers" % count)


def over_http2(run):
    """The probe's account, of which all that was answered was so over HTTP/2, on each kind of connection."""
    probe = run.evidence["probe"]
    assert all(one["sent"] for one in probe["streams"].values()) and set(probe["protocols"]) == {"HTTP/2"}
    return probe


@pytest.mark.claim("probe-http2-reload")
def test_a_reload_loses_nothing_and_renews_the_connections(balancer, measure):
    begin, way = balancer
    st = begin()
    control(st, "let_go=1")
    with measure("https://shop.example/held", st, **way) as run:
        for dummy in range(2):
            old = st.worker_pid()
            # In flight before the reload, on connections that then get a GOAWAY, and behind it, in the new worker.
            control(st, "let_go=0")
            more_open(run, 10)
            st.reload()
            more_open(run, 10)
            control(st, "let_go=1")
            wait_until(lambda pid=old: not os.path.exists("/proc/%d" % pid), "the old worker has nobody left")
            answered(run, 10)
    probe = over_http2(run)
    assert probe["failures"] == {}, probe["losses"]


@pytest.mark.claim("probe-http2-died-with-a-member")
def test_what_members_lose_is_counted_as_over_http_1(balancer, measure):
    begin, way = balancer
    # Without health checks: a member that fails stays in, as in real life until its checks notice.
    st = begin(default_server="weight 100", backend_lines=["retries 0"])
    control(st, "let_go=1")
    with measure("https://shop.example/held", st, **way) as run:
        control(st, "let_go=0")
        more_open(run, 10)
        st.kill("a")
        wait_until(lambda: run.progress()["failed"] >= 20, "requests in flight and new ones were lost")
        st.start_app("a")
        control(st, "let_go=1")
        answered(run, 10)
    probe, sheet = over_http2(run), run.evidence["balance"]
    # To some the balancer answers in the member's place; of the others, which the member had, it says that they may be
    # asked again. Of a few the sheet cannot tell whether they were lost, as its note says.
    refused, answered_5xx = probe["failures"].pop("stream_refused"), sum(probe["failures"].values())
    assert set(probe["failures"]) <= {"status_502", "status_503"}
    assert sheet["received"] == probe["sent"] and sheet["own_errors_during"] == answered_5xx, (sheet, probe["failures"])
    assert 0 < sheet["unanswered"] <= refused and run.evidence["verdict"] == "lost", (sheet, refused)
    assert probe["streams"]["fresh"]["failed"] and probe["streams"]["keepalive"]["failed"]

    with measure("https://shop.example/", st, **way) as run:
        control(st, "fault=truncate")
        wait_until(lambda: run.progress()["failed"] >= 10, "truncated answers")
        control(st, "fault=")
        answered(run, 10)
    probe, sheet = over_http2(run), run.evidence["balance"]
    # HAProxy 2.6 ends such an answer as if it were whole; another may give it up.
    assert set(probe["failures"]) <= {"truncated", "stream_reset"} and run.evidence["verdict"] == "lost"
    assert sum(probe["failures"].values()) == sheet["truncated"] > 0, (sheet, probe["failures"])
    assert probe["streams"]["fresh"]["failed"] and probe["streams"]["keepalive"]["failed"]
    # Each cost itself alone: no other request on its connection was cut, or asked again.
    assert (probe["repeated"], sheet["client_aborts"]) == (0, 0)


@pytest.mark.skipif(nginx_stage.NGINX is None, reason="nginx is not installed")
def test_nginx_renews_connections_after_some_requests_and_at_a_reload(measure, certificate):
    port, plain = free_port(), free_port()
    lines = [
        "listen 127.0.0.1:%d ssl http2;" % port,
        "listen 127.0.0.1:%d ssl;" % plain,
        "ssl_certificate %s;" % certificate.path,
        "ssl_certificate_key %s;" % certificate.key,
        "keepalive_requests 5;",
    ]
    with nginx_stage.NginxStage({"shop": ["a"]}, server_lines=lines) as st:
        control(st, "let_go=1")
        with measure("https://shop.example/held", None, **there(port, certificate)) as run:
            control(st, "let_go=0")
            more_open(run, 10)
            st.reload()
            more_open(run, 10)
            control(st, "let_go=1")
            answered(run, 60)
        probe = over_http2(run)
        assert probe["failures"] == {}, probe["losses"]
        # A server that ends the handshake, where HAProxy goes on without a choice.
        refused = _probe.once({"url": "https://shop.example/", **there(plain, certificate, http2="true")})
        assert refused.kind == "no_http2", refused


@pytest.mark.claim("probe-http2-where-chosen")
def test_without_a_choice_or_the_library_it_is_http_1(balancer, certificate, tmp_path):
    begin, way = balancer
    plain, old = free_port(), free_port()
    begin(
        "bind 127.0.0.1:%d ssl crt %s" % (plain, certificate.both),
        "bind 127.0.0.1:%d ssl crt %s alpn http/1.1" % (old, certificate.both),
    )

    def spoken(**config):
        outcome = _probe.once({"url": "https://shop.example/", **way, **config})
        return outcome.kind or outcome.protocol

    assert [spoken(http2=choice) for choice in _probe.HTTP2] == ["HTTP/2", "HTTP/2", "HTTP/1.1"]
    for port in (plain, old):
        there_now = {"connect_to": "127.0.0.1:%d" % port}
        assert [spoken(http2=choice, **there_now) for choice in _probe.HTTP2] == ["HTTP/1.1", "no_http2", "HTTP/1.1"]

    (tmp_path / "hpack.py").write_text("raise ImportError('not here')", encoding="utf-8")
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"url": "https://shop.example/", "run_dir": str(tmp_path), "max_run": 60, **way}), encoding="utf-8"
    )
    with subprocess.Popen(
        [sys.executable, _probe.__file__, str(config)], env={**os.environ, "PYTHONPATH": str(tmp_path)}
    ) as probe:
        progress = tmp_path / "progress.json"
        wait_until(lambda: json.loads(progress.read_text(encoding="utf-8"))["ok"] > 3, "answers")
        probe.send_signal(signal.SIGTERM)
    account = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert (account["failures"], set(account["protocols"])) == ({}, {"HTTP/1.1"})
