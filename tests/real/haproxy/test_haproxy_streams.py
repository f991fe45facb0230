# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams on members that are taken out of a real HAProxy: told from requests, left to their application, or closed."""

from __future__ import annotations

import http.client
import re
import threading
import time

import pytest
from haproxy_stage import DEFAULT_SERVER, ask, rows_of
from held_streams import Holding, streams
from limits import wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


@pytest.fixture
def held(stage):
    """A balancer with one member that holds streams, and one that serves meanwhile."""
    balancer = stage({"shop": ["app1", "app2"]}, start_apps=False, defaults_lines=["timeout tunnel 1h", "timeout server 1h", "timeout client 1h"])
    members = [Holding(balancer.ports[name]) for name in ("app1", "app2")]
    yield balancer, members[0]
    for member in members:
        member.stop()


def only_app1(balancer, move):
    """Traffic goes to app1 alone, so that every stream is its own, once both have passed their checks: they listen since HAProxy has begun."""
    wait_until(lambda: [server["status"] for server in rows_of(balancer, 4)] == ["UP", "UP"], "both serve")
    move(balancer, ["app2"], "down")


def row(result):
    return next(member for member in result["members"] if member["name"] == "app1")


def test_streams_alone_are_left_to_their_application_and_waited_for_when_they_were_told(held, move):
    balancer, app1 = held
    only_app1(balancer, move)
    with streams(balancer.port, "websocket", "events") as open_streams:
        # A stream that is no upgrade is one by its age.
        left = move(balancer, ["app1"], "drained", streams="leave", slowest_request=1, timeout=60)
        assert (row(left)["streams"], row(left)["state"], row(left)["in_flight"], row(left)["cut"]) == (2, "drained", 2, 0)
        assert not any(stream.ended() for stream in open_streams)
        with pytest.raises(DowntimeError, match=r"after 1 s not drained: shop/app1 \(2 in flight\); nothing was cut"):
            move(balancer, ["app1"], "drained", streams="end", timeout=1)
        app1.end()
        gone = move(balancer, ["app1"], "drained", streams="end", timeout=60)
        assert (row(gone)["in_flight"], row(gone)["drained_by"], gone["changed"]) == (0, "sessions", False)
        assert all(stream.ended() for stream in open_streams)


def test_a_request_is_no_stream_before_its_time(held, move):
    balancer, app1 = held
    only_app1(balancer, move)
    with streams(balancer.port, "websocket", "events"):
        with pytest.raises(DowntimeError, match=r"shop/app1 \(2 in flight\)"):
            move(balancer, ["app1"], "drained", streams="leave", slowest_request=3600, timeout=2)


def test_streams_are_cut_when_nothing_else_is_left_and_counted(held, move):
    balancer, app1 = held
    only_app1(balancer, move)
    with streams(balancer.port, "websocket", "websocket") as open_streams:
        began = time.monotonic()
        cut = move(balancer, ["app1"], "drained", streams="cut", slowest_request=1, timeout=600)
        assert (row(cut)["cut"], row(cut)["streams"], row(cut)["state"], row(cut)["in_flight"]) == (2, 0, "drained", 0)
        # Not at the limit.
        assert time.monotonic() - began < 300
        assert all(stream.ended() for stream in open_streams)


def test_without_the_option_a_stream_holds_the_drain(held, move):
    """The naive way: what a client likes to keep open is waited for until the limit."""
    balancer, app1 = held
    only_app1(balancer, move)
    with streams(balancer.port, "websocket"):
        with pytest.raises(DowntimeError, match="after 2 s not drained"):
            move(balancer, ["app1"], "drained", timeout=2)


def test_streams_of_a_worker_from_before_a_reload_count(held, move):
    balancer, app1 = held
    only_app1(balancer, move)
    with streams(balancer.port, "websocket") as open_streams:
        balancer.reload()
        left = move(balancer, ["app1"], "drained", streams="leave", slowest_request=1, timeout=60)
        assert row(left)["streams"] == 1
        threading.Timer(0.5, app1.end).start()
        move(balancer, ["app1"], "drained", streams="end", timeout=60)
        assert open_streams[0].ended()


def test_a_drain_that_failed_cuts_nothing_when_its_member_comes_back(stage, move):
    """HAProxy closes the sessions of a server that is marked down, where it is told to."""
    balancer = stage({"shop": ["app1", "app2"]}, start_apps=False, default_server=DEFAULT_SERVER + " on-marked-down shutdown-sessions",
                     defaults_lines=["timeout tunnel 1h", "timeout server 1h", "timeout client 1h"])
    members = [Holding(balancer.ports[name]) for name in ("app1", "app2")]
    try:
        only_app1(balancer, move)
        with streams(balancer.port, "websocket", "events") as open_streams:
            with pytest.raises(DowntimeError, match="after 1 s not drained"):
                move(balancer, ["app1"], "drained", timeout=1)
            assert row(move(balancer, ["app1"], "active"))["state"] == "active"
            assert not any(stream.ended() for stream in open_streams)
    finally:
        for member in members:
            member.stop()


@pytest.mark.claim("streams-of-tcp-are-not-told")
@pytest.mark.parametrize("streams_are", ["leave", "end", "cut"])
def test_in_mode_tcp_nothing_is_taken_for_a_stream_since_a_kept_connection_looks_like_one(stage, move, info, streams_are):
    """In mode tcp a session is as old as its connection, whatever request is on it."""
    balancer = stage({"shop": ["app1", "app2"]}, frontend_lines=["mode tcp"], backend_lines=["mode tcp"])
    assert [pool["mode"] for pool in info(balancer)["pools"]] == ["tcp"]
    client = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=20)
    client.request("GET", "/health")
    client.getresponse().read()
    # Older than what slowest_request says below; HAProxy tells ages in whole seconds.
    wait_until(lambda: re.search(r" fe=\S+ .*\bage=([2-9]|\d\d+)s", ask(balancer.socket, "show sess")), "the kept connection is old")
    client.request("GET", "/slow?ms=1500")
    sentence = f"streams is '{streams_are}', but the pool shop is in mode tcp, in which haproxy does not tell streams from requests; wait is accepted"
    with pytest.raises(DowntimeError, match=sentence):
        move(balancer, ["app1", "app2"], "drained", streams=streams_are, slowest_request=1, timeout=60)
    assert client.getresponse().status == 200
    assert [server["status"] for server in rows_of(balancer, 4)] == ["UP", "UP"]
    client.close()
    assert row(move(balancer, ["app1"], "drained", timeout=60))["state"] == "drained"
