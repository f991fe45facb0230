# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether members take connections, where no balancer can be asked. Private to the collection."""

from __future__ import annotations

import socket
import typing as t


def nobody_serves(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]], connect: t.Callable[..., t.Any] = socket.create_connection
) -> bool:
    """Whether every member's port refuses a connection. One that says nothing may well serve those who can reach it."""
    for host in hosts.values():
        if not host["port"]:
            return False
        try:
            connect((host["address"], host["port"]), timeout=2).close()
            return False
        except ConnectionRefusedError:
            continue
        except OSError:
            return False
    return True


def connects(host: t.Mapping[str, t.Any], connect: t.Callable[..., t.Any] = socket.create_connection) -> bool:
    """Whether a member's port takes a connection."""
    try:
        connect((host["address"], host["port"]), timeout=2).close()
    except OSError:
        return False
    return True
