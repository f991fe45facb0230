# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own count of connections that no application ever saw.

Private to the collection: it may change without notice.

A listener whose accept queue is full loses connections before the balancer can count them, so neither the
balance sheet nor (unless it was the unlucky one) the probe sees them. The kernel does. Its counters belong to
the whole network namespace: a difference may be another listener's, which is why they are evidence of a
question and not a verdict.
"""

from __future__ import annotations

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


def delta(first: dict | None, last: dict | None) -> dict[str, int | None]:
    """What was added between two readings: {overflows, drops}; None where either reading lacks the number."""

    def grown(name: str) -> int | None:
        before, after = (first or {}).get(name), (last or {}).get(name)
        if before is None or after is None:
            return None
        # A counter that went back means the host was restarted: everything since then is new.
        return after - before if after >= before else after

    return {"overflows": grown("listen_overflows"), "drops": grown("listen_drops")}
