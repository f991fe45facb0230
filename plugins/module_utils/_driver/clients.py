# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who asks a member directly, where no balancer counts: open connections, by the kernel's tables, and requests, by the
access log. Private to the collection.

Both are needed. A request on a fresh connection leaves no trace in the kernel once it is over, and a client with a pool
asks nothing for a while and keeps its connection.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import socket
import struct
import time
import typing as t

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
# States of a socket, as the kernel's tables have them: established, not yet accepted, listening.
OPEN, LISTENING = ("01", "03"), "0A"
# Of a log that is longer, only its end is read: nobody asks for what was hours ago.
TAIL = 8 << 20
# The common log format, and the combined one, which begins like it.
LINE = re.compile(
    rb'(\S+) \S+ \S+ \[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "(?:\S+ ([^\s?"]*))?'
)
MONTHS = {
    name.encode(): number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
# So many clients are named.
NAMED = 10

Connection = t.Tuple[str, int, str, str]


def argument_spec() -> dict[str, t.Any]:
    """The options of the module C(clients)."""
    return {
        "members": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str", "required": True},
                "port": {"type": "int", "required": True},
                "access_log": {"type": "path"},
            },
        },
        "ignored": {"type": "list", "elements": "str", "default": []},
    }


def run(
    params: t.Mapping[str, t.Any],
    check_mode: bool,
    now: t.Callable[[], float] = time.time,
    tables: t.Sequence[str] = TABLES,
) -> dict[str, t.Any]:
    """What the module C(clients) returns; nothing is changed."""
    connections = [connection for table in tables for connection in sockets(table)]
    return {"members": [_member(member, connections, params["ignored"], now()) for member in params["members"]]}


def pools(
    sides: t.Mapping[str, t.Mapping[str, t.Any]], answers: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """What the hosts of all members say, as a balancer would say it of its pools: one for each side, by the name of the
    side's first pool.

    :param sides: the plan's.
    :param answers: of each member, what this module returned, with the side as the name of each entry.
    """
    return [_pool(side, found, answers) for side, found in sides.items()]


def _pool(side: str, found: t.Mapping[str, t.Any], answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    told = {
        name: next((entry for entry in answers[name].get("members") or () if entry["name"] == side), None)
        for name in found["hosts"]
        if name in answers
    }
    unknown = [
        f"{name}: {answers[name].get('msg') or 'no answer'}" if entry is None else f"{name}: {entry['unknown']}"
        for name, entry in told.items()
        if entry is None or entry["unknown"]
    ]
    known = [entry for entry in told.values() if entry]
    clients: dict[str, int] = {}
    recent: dict[str, float] = {}
    for entry in known:
        for address, number in entry["clients"].items():
            clients[address] = clients.get(address, 0) + number
        for address, ago in entry["recent"].items():
            recent[address] = min(ago, recent.get(address, ago))
    idle = [entry["idle_s"] for entry in known]
    return {
        "name": found["pools"][0],
        "clients": clients,
        "recent": recent,
        "uncountable": "; ".join(unknown) or None,
        "requests": sum(entry["requests"] or 0 for entry in known),
        "idle_s": None if unknown or not idle or None in idle else min(t.cast("list[float]", idle)),
        "members": [
            {
                "name": found["hosts"][name]["server"],
                "state": "active" if entry and entry["listens"] else "down",
                "in_flight": entry["open"] if entry else None,
            }
            for name, entry in told.items()
        ],
    }


def sockets(table: str) -> list[Connection]:
    """The kernel's sockets: local address and port, the other end's address, state. None where the kernel has no such
    table."""
    try:
        with open(table, encoding="ascii") as lines:
            rows = [line.split() for line in lines][1:]
    except FileNotFoundError:
        return []
    return [(_address(row[1]), int(row[1].rpartition(":")[2], 16), _address(row[2]), row[3]) for row in rows]


def _address(text: str) -> str:
    """An address as the kernel's tables have it: words of four bytes in the machine's own order. One of IPv4 within
    IPv6 is that of IPv4."""
    words = text.rpartition(":")[0]
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    found = ipaddress.ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found)


def _member(
    member: t.Mapping[str, t.Any], connections: t.Sequence[Connection], ignored: t.Sequence[str], now: float
) -> dict[str, t.Any]:
    own = _resolved(member["address"])
    here = [one for one in connections if one[1] == member["port"]]
    held: dict[str, int] = {}
    for address, _port, other, state in here:
        if state in OPEN and address in own:
            held[other] = held.get(other, 0) + 1
    listens = any(
        state == LISTENING and (address in own or ipaddress.ip_address(address).is_unspecified)
        for address, _port, _other, state in here
    )
    return {
        "name": member["name"],
        "listens": listens,
        "open": sum(held.values()),
        "clients": dict(sorted(held.items())[:NAMED]),
        **_of_log(member.get("access_log"), ignored, now),
    }


def _resolved(address: str) -> set[str]:
    """The addresses of a name; an address is its own."""
    try:
        return {
            str(ipaddress.ip_address(str(found[4][0]).partition("%")[0])) for found in socket.getaddrinfo(address, None)
        }
    except socket.gaierror:
        return set()


def _of_log(path: str | None, ignored: t.Sequence[str], now: float) -> dict[str, t.Any]:
    """What a log tells: how many requests there were, how long ago the last one was, and whose they were.

    A line tells whole seconds, so one is taken off. A log that was begun anew may have its requests in the file beside
    it.
    """
    nothing = {"requests": None, "idle_s": None, "recent": {}}
    if not path:
        return {**nothing, "unknown": "access_log is not set in deploy_traffic.pools"}
    try:
        size, since = os.path.getsize(path), os.path.getmtime(path)
        lines = [*(_tail(path + ".1") if os.path.exists(path + ".1") else ()), *_tail(path)]
    except OSError as error:
        return {**nothing, "unknown": f"the access log {path} cannot be read: {(error.strerror or str(error)).lower()}"}
    parsed = [found for found in map(LINE.match, lines) if found]
    if not parsed and size:
        return {**nothing, "unknown": f"the access log {path} has no line in the common or the combined format"}
    asked = [found for found in parsed if not _is_ignored(found[11], ignored)]
    # Where nobody has asked, nobody has since the log begins.
    last = _moment(asked[-1]) if asked else _moment(parsed[0]) if parsed else since
    recent: dict[str, float] = {}
    for found in asked:
        recent[found[1].decode(errors="replace")] = round(max(0.0, now - _moment(found) - 1), 3)
    newest = sorted(recent.items(), key=lambda entry: entry[1])[:NAMED]
    return {
        "requests": len(asked),
        "idle_s": round(max(0.0, now - last - 1), 3),
        "recent": dict(newest),
        "unknown": None,
    }


def _is_ignored(path: bytes | None, ignored: t.Sequence[str]) -> bool:
    return path is not None and path.decode(errors="replace") in ignored


def _tail(path: str) -> list[bytes]:
    with open(path, "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
        return log.read().splitlines()


def _moment(found: t.Any) -> float:
    """Seconds since 1970 of a line."""
    dummy, day, month, year, hour, minute, second, sign, hours, minutes = (found[number] for number in range(1, 11))
    away = (int(hours) * 60 + int(minutes)) * (-1 if sign == b"-" else 1)
    zone = datetime.timezone(datetime.timedelta(minutes=away))
    return datetime.datetime(
        int(year), MONTHS.get(month, 1), int(day), int(hour), int(minute), int(second), tzinfo=zone
    ).timestamp()


IN_PROCESS = argument_spec, run
