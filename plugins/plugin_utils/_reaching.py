# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether members take connections, where no balancer can be asked. Private to the collection."""

from __future__ import annotations

import concurrent.futures
import socket
import typing as t


def refusing(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]], connect: t.Callable[..., t.Any] = socket.create_connection
) -> list[str]:
    """The members whose port refuses a connection. One that says nothing may well serve those who can reach it."""

    def refuses(host: t.Mapping[str, t.Any]) -> bool:
        if not host["port"]:
            return False
        try:
            connect((host["address"], host["port"]), timeout=2).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        return [name for name, refused in zip(hosts, pool.map(refuses, hosts.values())) if refused]


def nobody_serves(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]], connect: t.Callable[..., t.Any] = socket.create_connection
) -> bool:
    """Whether every member's port refuses a connection."""
    return bool(hosts) and len(refusing(hosts, connect)) == len(hosts)


def connects(host: t.Mapping[str, t.Any], connect: t.Callable[..., t.Any] = socket.create_connection) -> bool:
    """Whether a member's port takes a connection."""
    try:
        connect((host["address"], host["port"]), timeout=2).close()
    except OSError:
        return False
    return True
