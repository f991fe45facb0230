# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy's servers are doing, out of its own tables, and the rules about it. Pure; private to the collection."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_client import parse_servers_state, parse_stat
from ansible_collections.zero.downtime.plugins.module_utils._haproxy_workers import Look
from ansible_collections.zero.downtime.plugins.module_utils._members import floor_of

Key = t.Tuple[str, str]  # pool and server

# Bits of srv_admin_state: set by hand (or in the configuration), inherited from a tracked server, or by name resolution.
FORCED_MAINT, INHERITED_MAINT, FORCED_DRAIN, INHERITED_DRAIN, RESOLUTION_MAINT = 0x01, 0x02, 0x08, 0x10, 0x20
MAINT = FORCED_MAINT | INHERITED_MAINT | RESOLUTION_MAINT | 0x04 | 0x40
DRAIN = FORCED_DRAIN | INHERITED_DRAIN
# Bits of srv_check_state and srv_agent_state. Maintenance pauses a check that stays enabled.
CHECK_CONFIGURED, CHECK_ENABLED = 0x02, 0x04
CHECK_PASSED = 3
# srv_op_state: starting is slow start.
STARTING, RUNNING = 1, 2


def _number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else 0


@dataclasses.dataclass(frozen=True)
class Server:
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
            admin=_number(row["srv_admin_state"]), op=_number(row["srv_op_state"]), check_result=_number(row["srv_check_result"]),
            checked=bool(_number(row["srv_check_state"]) & CHECK_ENABLED), agent=_number(row["srv_agent_state"]),
            weight=_number(row["srv_uweight"]), initial_weight=_number(row["srv_iweight"]),
            throttle=_number(throttle.rstrip("%")) if throttle else 100, backup=stat.get("bck") == "1", cookie=stat.get("cookie") or "",
            tracked=stat.get("tracked") or "", scur=_number(stat["scur"]), qcur=_number(stat["qcur"]))
    return found


def pools_of(everything: t.Iterable[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pool, name in everything:
        found.setdefault(pool, []).append(name)
    return found


def find_places(everything: t.Mapping[Key, Server], members: t.Sequence[str], pools: t.Sequence[str] | None) -> dict[str, list[Key]]:
    """Where each member is: in every pool (or in those named), and wherever health is tracked from or to such a place.

    Tracking is followed because maintenance is: what is done to the tracked server happens to those that track it.
    Raises DowntimeError for what does not exist, naming what does.
    """
    known = pools_of(everything)
    duplicates = sorted(name for name, count in collections.Counter(members).items() if count > 1)
    if duplicates:
        raise DowntimeError(f"members names {', '.join(duplicates)} more than once; each member is accepted once")
    for pool in pools or ():
        if pool not in known:
            raise DowntimeError(f"pool '{pool}' is not a backend with servers of this haproxy; it has {_listed(known)}")
    wanted = list(pools) if pools else list(known)
    found: dict[str, list[Key]] = {}
    for member in members:
        places = [(pool, member) for pool in wanted if (pool, member) in everything]
        if not places:
            inside = "; ".join(f"{pool}: {_listed(known[pool])}" for pool in wanted)
            raise DowntimeError(f"member '{member}' is not a server of {'these pools' if pools else 'any pool'}; known are {inside or 'no servers at all'}")
        found[member] = places
    followers: dict[str, list[Key]] = {}
    for key, server in everything.items():
        if server.tracked:
            followers.setdefault(server.tracked, []).append(key)
    taken = {key: member for member, places in found.items() for key in places}
    for member, places in found.items():
        for key in places:  # grows while it is read
            pool, slash, name = everything[key].tracked.partition("/")
            leader = (pool, name) if slash else None
            for other in ([leader] if leader else []) + followers.get("/".join(key), []):
                if other in everything and other not in taken:
                    taken[other] = member
                    places.append(other)
    return found


def _listed(names: t.Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"


def check_floor(everything: t.Mapping[Key, Server], moved: t.Collection[Key], min_active: str) -> None:
    """Refuse to take out what a pool needs. What does not serve may always be taken out."""
    for pool in dict.fromkeys(pool for pool, dummy in moved):
        inside = [server for key, server in everything.items() if key[0] == pool and not server.backup]
        floor = floor_of(min_active, len(inside))
        leaving = [server for server in inside if server.key in moved and server.serves]
        left = [server for server in inside if server.full and server.key not in moved]
        if leaving and len(left) < floor:
            raise DowntimeError(
                f"min_active is '{min_active}', which is {floor} of the {len(inside)} members of pool {pool}, but without "
                f"{_listed(server.name for server in leaving)} only {len(left)} would serve at full weight ({_listed(server.name for server in left)}); "
                "nothing was moved")


def in_flight(look: Look, everything: t.Mapping[Key, Server], places: t.Mapping[str, t.Sequence[Key]]) -> dict[str, dict[Key, int]]:
    """Open and queued requests of each place, over all workers.

    An old worker may have known the same server by another name: there, a row that the newest worker does not know counts for the
    member that has its address.
    """
    owner = {key: member for member, keys in places.items() for key in keys}
    by_address: dict[str, Key] = {}
    for key in owner:
        if ":" in everything[key].address:  # all UNIX sockets are told as "unix"
            by_address.setdefault(everything[key].address, key)
    counts = {member: {key: everything[key].in_flight for key in keys} for member, keys in places.items()}
    for replies in look.old.values():
        for row in parse_stat(replies[0]) if replies else ():
            key = (row["pxname"], row["svname"])
            if key not in owner and key not in everything:
                key = by_address.get(row.get("addr") or "", key)
            if key in owner:
                counts[owner[key]][key] += _number(row["scur"]) + _number(row["qcur"])
    return counts


def read_servers(stat_reply: t.Sequence[str], state_reply: t.Sequence[str], only: t.Collection[Key] | None = None) -> dict[Key, Server]:
    """The servers in the replies to C(show stat) and C(show servers state), or C(only) these."""
    rows = [row for reply in stat_reply for row in parse_stat(reply, only)]
    return servers(rows, [row for reply in state_reply for row in parse_servers_state(reply, only)])
