# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy's servers are doing, out of its own tables. Pure; private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import parse_servers_state, parse_stat

Key = t.Tuple[str, str]  # pool and server

# Bits of srv_admin_state: set by hand (or in the configuration), inherited from a tracked server, or by name resolution.
FORCED_MAINT, INHERITED_MAINT, FORCED_DRAIN, INHERITED_DRAIN, RESOLUTION_MAINT = 0x01, 0x02, 0x08, 0x10, 0x20
MAINT = FORCED_MAINT | INHERITED_MAINT | RESOLUTION_MAINT | 0x04 | 0x40
DRAIN = FORCED_DRAIN | INHERITED_DRAIN
# Bits of srv_check_state and srv_agent_state. Maintenance pauses a check that stays enabled.
CHECK_CONFIGURED, CHECK_ENABLED = 0x02, 0x04
CHECK_PASSED = 3
# The mode in which HAProxy knows requests.
HTTP = "http"
# srv_op_state: starting is slow start.
STARTING, RUNNING = 1, 2


def number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else 0


class Server(t.NamedTuple):
    """One server of one backend, as the newest worker sees it."""

    pool: str
    name: str
    iid: str
    address: str
    status: str
    check: str
    admin: int
    op: int
    check_result: int
    checked: bool
    agent: int
    weight: int
    initial_weight: int
    throttle: int
    backup: bool
    cookie: str
    tracked: str
    scur: int
    qcur: int
    idle: int  # connections that are kept open for later requests
    mode: str

    @property
    def key(self) -> Key:
        return self.pool, self.name

    @property
    def label(self) -> str:
        return f"{self.pool}/{self.name}"

    @property
    def maint(self) -> bool:
        return bool(self.admin & MAINT)

    @property
    def in_flight(self) -> int:
        return self.scur + self.qcur

    @property
    def serves(self) -> bool:
        """Gets new requests, if only some."""
        return not self.admin & (MAINT | DRAIN) and self.op in (STARTING, RUNNING) and self.weight > 0 and self.status.split(" ")[0] in ("UP", "no")

    @property
    def full(self) -> bool:
        """Serves at full weight: no check is failing and slow start is over."""
        return self.serves and self.op == RUNNING and self.status in ("UP", "no check") and self.throttle == 100 and not self.backup

    @property
    def known(self) -> bool:
        """Whether its health is known: right after a start or a reload HAProxy calls a server UP that it has not checked yet."""
        return not self.checked or not self.check.startswith("INI")

    def state(self, in_flight: int | None) -> str:
        if self.maint:
            return "draining" if in_flight else "drained"
        if self.admin & DRAIN or self.status.startswith(("DRAIN", "NOLB")):
            return "draining"
        return "active" if self.status.startswith("UP") or self.status == "no check" else "down"


def servers(stat_rows: t.Iterable[dict[str, str]], state_rows: t.Iterable[dict[str, str]]) -> dict[Key, Server]:
    """All servers of C(show stat) and C(show servers state), joined."""
    stats = {(row["pxname"], row["svname"]): row for row in stat_rows}
    found: dict[Key, Server] = {}
    for row in state_rows:
        key = (row["be_name"], row["srv_name"])
        stat = stats.get(key)
        if stat is None:
            continue  # deleted between the two answers
        throttle = stat.get("throttle") or ""
        found[key] = Server(
            pool=key[0], name=key[1], iid=row["be_id"], address=stat.get("addr") or f"{row['srv_addr']}:{row['srv_port']}", status=stat["status"],
            check=" ".join(part for part in (stat.get("check_status", "").lstrip("* "), stat.get("check_code", "")) if part),
            admin=number(row["srv_admin_state"]), op=number(row["srv_op_state"]), check_result=number(row["srv_check_result"]),
            checked=bool(number(row["srv_check_state"]) & CHECK_ENABLED), agent=number(row["srv_agent_state"]),
            weight=number(row["srv_uweight"]), initial_weight=number(row["srv_iweight"]),
            throttle=number(throttle.rstrip("%")) if throttle else 100, backup=stat.get("bck") == "1", cookie=stat.get("cookie") or "",
            tracked=stat.get("tracked") or "", scur=number(stat["scur"]), qcur=number(stat["qcur"]), idle=number(stat.get("srv_icur")),
            mode=stat.get("mode") or HTTP)
    return found


def read_servers(stat_reply: t.Sequence[str], state_reply: t.Sequence[str], only: t.Collection[Key] | None = None) -> dict[Key, Server]:
    """The servers in the replies to C(show stat) and C(show servers state), or C(only) these."""
    rows = [row for reply in stat_reply for row in parse_stat(reply, only)]
    return servers(rows, [row for reply in state_reply for row in parse_servers_state(reply, only)])
