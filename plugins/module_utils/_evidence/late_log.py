# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests were open when a deploy ended and were lost later, by a log that tells when each lost one began and ended. Pure functions.

Private to the collection: it may change without notice.

How many were open in all, such a log does not tell. What was lost like that all the time is what was lost of the requests that were open at one moment of
the hour before the first move: the worst such moment is the yardstick.
"""

from __future__ import annotations

import typing as t

Row = t.Mapping[str, t.Any]
# Seconds before the first move that count as the time before.
BEFORE = 3600.0


def tells(row: Row) -> bool:
    """Whether a balancer's counters come from such a log."""
    return row.get("slow_losses_seen") is not None


def kept(readings: t.Sequence[tuple[float, Row]], began: float) -> dict[str, t.Any]:
    """What a later look compares with, by the clock of the host that writes the log.

    :param readings: when each reading was taken, by the controller's clock, and what it said; the oldest first.
    :param began: when the first move began, by the controller's clock.
    """
    first, last = readings[0][1], readings[-1][1]
    moved = max((row["read"] for taken, row in readings if taken <= began), default=first["read"])
    return {"moved": moved, "read": last["read"], "seen": last["slow_losses_seen"]}


def later(then: t.Mapping[str, t.Any], now: Row) -> tuple[list[dict[str, t.Any]], str | None]:
    """The losses of requests that were open then, less those of all the time, and why there may be more.

    :param then: what was kept.
    :param now: the log's counters by now, with C(slow_losses), the oldest first.
    """
    new = now["slow_losses_seen"] - then["seen"]
    if new < 0:
        return [], "its log was counted anew"
    losses = now["slow_losses"]
    found = []
    for kind in sorted({one["kind"] for one in losses}):
        own = [one for one in losses[max(0, len(losses) - new):] if new and one["kind"] == kind and one["began"] <= then["read"]]
        usual = _most_at_once([one for one in losses if one["kind"] == kind and then["moved"] - BEFORE <= one["began"] <= then["moved"]], then["moved"])
        found += own[usual:]
    return found, "its log had more losses than are kept one by one" if new > len(losses) else None


def _most_at_once(losses: t.Sequence[Row], until: float) -> int:
    """Of how many requests that were open at one moment, which is not later than C(until), it is known that they were lost."""
    return max((sum(other["began"] <= moment < other["ended"] for other in losses) for moment in [*(one["began"] for one in losses), until]), default=0)
