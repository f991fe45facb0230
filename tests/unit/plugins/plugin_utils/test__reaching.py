# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import typing as t

import pytest

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
    assert _reaching.nobody_serves(hosts, connect) is (ports == [REFUSES, REFUSES])
