# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own count of connections: those that no application ever saw, and those that are open.

Private to the collection: it may change without notice.

A listener whose accept queue is full loses connections before the balancer can count them, so neither the
balance sheet nor (unless it was the unlucky one) the probe sees them. The kernel does. Its counters belong to
the whole network namespace: a difference may be another listener's, which is why they are evidence of a
question and not a verdict.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import typing as t

NETSTAT = "/proc/net/netstat"

# Our name -> the kernel's.
NAMES = {
    "listen_overflows": "ListenOverflows",
    "listen_drops": "ListenDrops",
}


def _slurp(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as handle:
        return handle.read()


def parse(text: str) -> dict[str, int | None]:
    """Our counters out of the text of /proc/net/netstat; None for one that this kernel does not have."""
    names: list[str] = []
    values: dict[str, int] = {}
    for line in text.splitlines():
        prefix, colon, rest = line.partition(":")
        if not colon or prefix != "TcpExt":
            continue
        # The file comes in pairs of lines: the names first, then the numbers.
        if not names:
            names = rest.split()
            continue
        values = {name: int(number) for name, number in zip(names, rest.split())}
        break
    return {ours: values.get(theirs) for ours, theirs in NAMES.items()}


def read(path: str = NETSTAT, slurp=_slurp) -> dict[str, int | None]:
    """The counters now. A system without the file (not Linux) gives None for each: unknown, never 0."""
    try:
        text = slurp(path)
    except OSError:
        return {ours: None for ours in NAMES}
    return parse(text)


# Of include/net/tcp_states.h: established, or on the way there. Where one end has closed, nobody waits for an answer any more, or it is complete.
OPEN = {"01", "02"}


def _remote(text: str) -> tuple[str, int]:
    """The other end of a line of /proc/net/tcp or tcp6: words of 32 bits in the order of this host's bytes, and a port."""
    address, _colon, port = text.partition(":")
    order = -1 if sys.byteorder == "little" else 1
    raw = b"".join(bytes.fromhex(address[at:at + 8])[::order] for at in range(0, len(address), 8))
    found = ipaddress.ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found), int(port, 16)


def connections(addresses: t.Iterable[tuple[str, int]], process: int | str = "self", slurp=_slurp, resolve=socket.getaddrinfo) -> int | None:
    """How many TCP connections to any of these addresses are open in the network of a process. None where the kernel or the resolver does not tell."""
    wanted = set()
    try:
        for host, port in addresses:
            for found in resolve(host, port, type=socket.SOCK_STREAM):
                wanted.add((str(ipaddress.ip_address(found[4][0].partition("%")[0])), port))
        lines = [line.split() for name in ("tcp", "tcp6") for line in slurp(f"/proc/{process}/net/{name}").splitlines()[1:]]
    except OSError:
        return None
    return sum(words[3] in OPEN and _remote(words[2]) in wanted for words in lines)


def delta(first: dict | None, last: dict | None) -> dict[str, int | None]:
    """What was added between two readings: {overflows, drops}; None where either reading lacks the number."""

    def grown(name: str) -> int | None:
        before, after = (first or {}).get(name), (last or {}).get(name)
        if before is None or after is None:
            return None
        # A counter that went back means the host was restarted: everything since then is new.
        return after - before if after >= before else after

    return {"overflows": grown("listen_overflows"), "drops": grown("listen_drops")}
