# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams on members that are taken out of a real nginx, whose old workers hold those of all members."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from haproxy_stage import free_port
from held_streams import Holding, streams

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

WEBSOCKETS = ["location ~ ^/(websocket|events)$ { proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
              "proxy_set_header Connection $http_connection; proxy_read_timeout 1h; proxy_buffering off; }"]
# Seconds that a connection may be silent for.
SILENT = 4
SILENCE = [f"client_header_timeout {SILENT}s;"]


@pytest.fixture
def held(stage, move):
    """A balancer with two members that hold streams, two on each."""
    # They listen before nginx does, which asks nobody for a while who has refused it.
    members = {name: Holding(free_port()) for name in ("app1", "app2")}
    balancer = stage({"shop": list(members)}, start_apps=False, server_lines=WEBSOCKETS, http_lines=SILENCE,
                     servers={"shop": {name: f"127.0.0.1:{member.port}" for name, member in members.items()}})
    with streams(balancer.port, "websocket", "websocket", "events", "events") as open_streams:
        yield balancer, list(members.values()), open_streams
    for member in members.values():
        member.stop()


def row(result):
    return next(member for member in result["members"] if member["name"] == "app1")


def test_a_member_is_drained_when_its_own_streams_are_left_and_those_of_others_live_on(held, move):
    balancer, (app1, app2), open_streams = held
    mine, others = len(app1.held), len(app2.held)
    assert mine and others
    left = move(balancer, ["app1"], "drained", streams="leave", slowest_request=1, timeout=60)
    assert (row(left)["streams"], row(left)["state"], row(left)["in_flight"], row(left)["cut"]) == (mine, "drained", mine, 0)
    with pytest.raises(DowntimeError, match="after 1 s not drained: nginx's workers from before the change"):
        move(balancer, ["app1"], "drained", streams="end", slowest_request=0.5, timeout=1)
    app1.end()
    gone = move(balancer, ["app1"], "drained", streams="end", slowest_request=1, timeout=60)
    assert (row(gone)["in_flight"], row(gone)["drained_by"], gone["changed"]) == (0, "sessions", False)
    # An old worker lives on with them, which without the option holds up every drain.
    assert sum(stream.ended() for stream in open_streams) == mine and len(app2.held) == others
    with pytest.raises(DowntimeError, match="after 1 s not drained"):
        move(balancer, ["app1"], "drained", slowest_request=0.5, timeout=1)


def test_streams_that_are_to_be_cut_are_left_to_their_members_stop_and_counted_so(held, move):
    balancer, (app1, _app2), open_streams = held
    mine = len(app1.held)
    cut = move(balancer, ["app1"], "drained", streams="cut", slowest_request=1, timeout=60)
    assert (row(cut)["cut"], row(cut)["streams"], row(cut)["state"]) == (0, mine, "drained")
    assert not any(stream.ended() for stream in open_streams), "nginx closes no connection by itself"


def test_a_limit_that_could_not_tell_them_apart_is_refused_before_anything_moves(held, move):
    balancer, _members, _streams = held
    with pytest.raises(DowntimeError, match="timeout is 5, slowest_request is 4 and nginx's client_header_timeout 4 s; with streams other than wait a "
                                            "timeout above 8 is accepted"):
        move(balancer, ["app1"], "drained", streams="leave", slowest_request=4, timeout=5)
    assert balancer.down() == set()


class Ahead:
    """A client that opens a connection ahead of need, and asks on it C(after) seconds later, when it is told to."""

    def __init__(self, port: int, path: str, after: float) -> None:
        self.path, self.after = path, after
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.told = ""
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        time.sleep(self.after)
        try:
            self.socket.sendall(f"GET {self.path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n".encode())
            with self.socket.makefile("rb") as answer:
                self.told = answer.readline().decode().strip()
        except OSError as error:
            self.told = repr(error)

    def answer(self) -> str:
        self.thread.join(30)
        self.socket.close()
        return self.told


@pytest.mark.claim("nginx-silent-connections-are-waited-for")
@pytest.mark.parametrize("streams_are", ["leave", "cut"])
def test_a_first_request_of_a_connection_from_before_a_drain_is_answered_before_its_members_may_stop(stage, move, streams_are):
    """Each old worker knows only who served in its time. One that knows app2 and app3 alone has nobody else when both leave."""
    members = {name: Holding(free_port()) for name in ("app1", "app2", "app3")}
    balancer = stage({"shop": list(members)}, start_apps=False, workers=1, server_lines=WEBSOCKETS, http_lines=SILENCE,
                     servers={"shop": {name: f"127.0.0.1:{member.port}" for name, member in members.items()}})
    with contextlib.ExitStack() as ends:
        for member in members.values():
            ends.callback(member.stop)
        move(balancer, ["app1"], "drained", timeout=20)
        # A stream keeps the worker alive that knows app2 and app3 alone, and it holds what was opened ahead of need, too.
        ends.enter_context(streams(balancer.port, "websocket"))
        clients = [Ahead(balancer.port, path, SILENT - 1.5) for path in ("/", "/slow")]
        move(balancer, ["app1"], "active", timeout=20)
        left = move(balancer, ["app2", "app3"], "drained", streams=streams_are, slowest_request=1.2, timeout=20)
        members["app2"].stop()
        members["app3"].stop()
        assert [client.answer() for client in clients] == ["HTTP/1.1 200 OK"] * 2
        assert sum(member["streams"] for member in left["members"]) == 1, left["members"]
