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


@pytest.mark.parametrize("ports, nobody", [
    ([REFUSES, REFUSES], True),
    ([REFUSES, SERVES], False),
    ([REFUSES, SILENT], False),
    ([REFUSES, None], False),
])
def test_a_first_release_is_one_where_every_member_refuses(ports: list[t.Any], nobody: bool) -> None:
    hosts = {f"app{port}{n}": {"address": "app.example", "port": port} for n, port in enumerate(ports)}
    assert _reaching.nobody_serves(hosts, connect) is nobody
