# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _excluded_balancers

RUN = {"verb": "deploy", "app": "shop", "said": {"deploy_release": "2.0.0"}}
BALANCERS = ["lb1", "lb2", "lb3"]
SILENT = {"failed": True, "silent": True, "msg": "socket is '/run/x', where nothing listens"}


@pytest.fixture
def port() -> int:
    """A port where nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_names_with_and_without_a_port() -> None:
    assert _excluded_balancers.named([], BALANCERS, "members") == {}
    assert _excluded_balancers.named(["lb2", "lb3:8443"], BALANCERS, "balancers") == {"lb2": None, "lb3": 8443}


@pytest.mark.parametrize("entries, runs_on, words", [
    (["lb9"], "balancers", "deploy_without is 'lb9', which is no balancer of this application; lb1, lb2, lb3 are"),
    (["lb1:0"], "balancers", "a port from 1 to 65535 is accepted"),
    (["lb1", "lb2", "lb3:80"], "balancers", "leaves no balancer"),
    (["app1"], "members", "this driver has no balancers"),
])
def test_what_cannot_be_left_out(entries: list[str], runs_on: str, words: str) -> None:
    with pytest.raises(DowntimeError, match=words):
        _excluded_balancers.named(entries, BALANCERS, runs_on)


@pytest.mark.parametrize("url, connect_to, port", [
    ("https://shop.example/", None, 443), ("http://shop.example/", None, 80), ("https://shop.example:8443/x", None, 8443),
    ("https://shop.example/", "10.0.0.1:8080", 8080), (None, None, None),
])
def test_where_clients_come_in(url: str | None, connect_to: str | None, port: int | None) -> None:
    assert _excluded_balancers.port_of(url, connect_to) == port


@pytest.mark.parametrize("answer", [SILENT, {"failed": True, "unreachable_host": True, "msg": "balancer lb2 cannot be reached"}, None])
def test_silence_and_a_refused_connection_are_the_proof(answer: dict[str, object] | None, port: int) -> None:
    _excluded_balancers.prove("lb2", answer, "127.0.0.1", port, RUN)


def test_an_unanswered_connection_is_a_proof_too() -> None:
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        raise socket.timeout

    _excluded_balancers.prove("lb2", SILENT, "192.0.2.1", 443, RUN, connect)


def test_one_that_may_serve_is_not_left_out(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(DowntimeError, match=f"127.0.0.1:{taken} takes connections, so it may serve"):
            _excluded_balancers.prove("lb2", SILENT, "127.0.0.1", taken, RUN)
    for answer, words in (({"changed": False}, "its balancer answers"),
                          ({"failed": True, "msg": "user ops may not open it"}, "not proven dead: user ops may not open it"),
                          ({"failed": True, "silent": False, "msg": "pool 'x' is no backend"}, "not proven dead")):
        with pytest.raises(DowntimeError, match=words):
            _excluded_balancers.prove("lb2", answer, "127.0.0.1", port, RUN)
    with pytest.raises(DowntimeError, match="name its port, as in ansible-playbook zero.downtime.deploy .*-e deploy_without=lb2:443$"):
        _excluded_balancers.prove("lb2", SILENT, "127.0.0.1", None, RUN)
    with pytest.raises(DowntimeError, match="whose address nowhere.invalid is not known here"):
        _excluded_balancers.prove("lb2", SILENT, "nowhere.invalid", 443, RUN)


def test_only_who_has_others_is_told_to_go_on_without_one() -> None:
    assert _excluded_balancers.hint("lb2", SILENT, BALANCERS, RUN) == (
        "; if it is known to be dead, ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0 "
        "-e deploy_without=lb2 goes on without it")
    assert _excluded_balancers.hint("lb2", SILENT, ["lb2"], RUN) == ""
    assert _excluded_balancers.hint("lb2", {"failed": True, "msg": "may not open"}, BALANCERS, RUN) == ""
