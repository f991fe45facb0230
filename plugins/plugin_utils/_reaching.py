# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether members take connections, where no balancer can be asked. Private to the collection."""

from __future__ import annotations

import concurrent.futures
import socket
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan


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


def capacity(
    driver: str, hosts: t.Mapping[str, t.Any], down: t.Collection[str], min_active: str
) -> dict[str, t.Any]:
    """What a plan goes by: whoever does not refuse (C(down) do) counts as one that serves. Where all of them refuse,
    this is the first release, or all of them have died.
    """
    found = _plan.capacity({driver: [{"full": name not in down} for name in hosts]}, min_active)
    return {**found, "first": bool(hosts) and len(down) == len(hosts), "down": list(down)}


def serving(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    down: t.Collection[str],
    away: t.Collection[str],
    connect: t.Callable[..., t.Any] = socket.create_connection,
) -> list[str]:
    """Who serves: whoever does not refuse, and of those that Ansible cannot reach (C(away)) whoever takes a
    connection.
    """

    def serves(name: str, host: t.Mapping[str, t.Any]) -> bool:
        return bool(host["port"]) and connects(host, connect) if name in away else name not in down

    return [name for name, host in hosts.items() if serves(name, host)]


def connects(host: t.Mapping[str, t.Any], connect: t.Callable[..., t.Any] = socket.create_connection) -> bool:
    """Whether a member's port takes a connection."""
    try:
        connect((host["address"], host["port"]), timeout=2).close()
    except OSError:
        return False
    return True
