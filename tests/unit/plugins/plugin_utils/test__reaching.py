# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling
from ansible_collections.zero.downtime.plugins.plugin_utils import _reaching

REFUSES, SILENT, SERVES = 1, 2, 3


def connect(address: tuple[str, int], timeout: float) -> socket.socket:
    if address[1] == REFUSES:
        raise ConnectionRefusedError
    if address[1] == SILENT:
        raise socket.timeout
    return socket.socket()


@pytest.mark.parametrize("ports, down", [
    ([REFUSES, REFUSES], 2),
    ([REFUSES, SERVES], 1),
    ([REFUSES, SILENT], 1),
    ([REFUSES, None], 1),
    ([], 0),
])
def test_where_no_balancer_can_be_asked_members_that_refuse_are_down(ports: list[t.Any], down: int) -> None:
    hosts = {f"app{port}{n}": {"address": "app.example", "port": port} for n, port in enumerate(ports)}
    assert _reaching.refusing(hosts, connect) == [name for name, host in hosts.items() if host["port"] == REFUSES]
    assert len(_reaching.refusing(hosts, connect)) == down


@pytest.mark.claim("batches-as-serial")
def test_where_no_balancer_can_be_asked_whoever_does_not_refuse_serves() -> None:
    ports = [SERVES, REFUSES, SILENT, SERVES, SILENT, None]
    hosts = {f"app{n}": {"address": "app.example", "port": port} for n, port in enumerate(ports)}
    # The last three cannot be reached by Ansible: of these, whoever takes a connection.
    found = _reaching.capacity("healthcheck", hosts, ["app1"], "50%")
    assert (found["first"], found["most"], found["down"]) == (False, 2, ["app1"])
    assert found["tightest"] == "healthcheck: 5 of 6 serve, and 3 have to"
    assert _reaching.serving(hosts, found["down"], ["app3", "app4", "app5"], connect) == ["app0", "app2", "app3"]
    assert _reaching.capacity("healthcheck", hosts, list(hosts), "50%")["first"]
    # Whoever serves is taken out within the floor, and whoever does not comes first.
    here = {name: host for name, host in hosts.items() if name not in ("app4", "app5")}
    release = {"release": {"digest": "n" * 64}, "active": {"digest": "o" * 64}}
    plan = {"verb": "deploy", "release": "2.0.0", "members": list(here), "batch_sizes": ["100%"], "min_active": "50%"}
    capacity = _reaching.capacity("healthcheck", here, ["app1"], "50%")
    capacity["serving"] = _reaching.serving(here, capacity["down"], [], connect)
    batches = _rolling.lay_out({**plan, "capacity": capacity}, dict.fromkeys(here, release))["batches"]
    assert [batch["members"] for batch in batches] == [["app1"], ["app0", "app2"], ["app3"]]
