# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of HAProxy's sessions are streams, out of C(show sess). Pure; private to the collection.

A session that was upgraded (a WebSocket) has no HTTP analyser left in either direction: C(an=00h) twice, measured on 2.6.12. What lasts longer than any
request may (server-sent events, long polls, large downloads) is a stream by its age. HAProxy begins a session's age anew with each request of a
kept connection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy.state import Key
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

COMMAND = "show sess"
LINE = re.compile(r"0x[0-9a-f]+: .*? be=(\S+) srv=(\S+) .*? age=(\S+) .*? rq\[f=\w+,i=\d+,an=(\w+),.*? rp\[f=\w+,i=\d+,an=(\w+),")
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Held(t.NamedTuple):
    """What one server holds."""

    streams: int = 0
    requests: int = 0
    # Of the streams, those whose answer is whole, whatever ends them.
    upgraded: int = 0


def seconds(age: str) -> int:
    """An age as HAProxy writes it, such as C(1h5m)."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", age))


def held(look: Snapshot, keys: t.Collection[Key], longest: float) -> dict[Key, Held]:
    """What the sessions of these servers are, over all workers; the first reply of each is that to C(COMMAND).

    :param longest: seconds that a request may last.
    """
    found = {key: Held() for key in keys}
    for reply in (look.replies[0], *(replies[0] for replies in look.old.values() if replies)):
        for line in reply.splitlines():
            session = LINE.match(line)
            if not session or (key := (session[1], session[2])) not in found:
                continue
            upgraded = not int(session[4].rstrip("h"), 16) and not int(session[5].rstrip("h"), 16)
            own = found[key]
            if upgraded or seconds(session[3]) > longest:
                found[key] = own._replace(streams=own.streams + 1, upgraded=own.upgraded + upgraded)
            else:
                found[key] = own._replace(requests=own.requests + 1)
    return found
