# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where HAProxy's members are, what they have in flight there, and how many may leave. Pure; private to the collection."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import parse_stat
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.state import Key, Server, number
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot


def pools_of(everything: t.Iterable[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pool, name in everything:
        found.setdefault(pool, []).append(name)
    return found


def find_places(everything: t.Mapping[Key, Server], members: t.Sequence[str], pools: t.Sequence[str] | None,
                had: t.Callable[[str], bool] = lambda dummy: False) -> dict[str, list[Key]]:
    """Where each member is: in every pool (or in those named), and wherever health is tracked from or to such a place.

    Tracking is followed because maintenance is: what is done to the tracked server happens to those that track it.
    Raises DowntimeError for what does not exist, naming what does.

    :param had: whether a member had a server at an earlier move; one that is nowhere any more has no place then, and does not hold up the others.
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
        if not places and not had(member):
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


def check_floor(everything: t.Mapping[Key, Server], moved: t.Collection[Key], min_active: str, restored: t.Collection[str] = ()) -> None:
    """Refuse to take out what a pool needs. What does not serve may always be taken out; servers C(restored) count as if they served."""
    for pool in dict.fromkeys(pool for pool, dummy in moved):
        inside = [server for key, server in everything.items() if key[0] == pool and not server.backup]
        floor = floor_of(min_active, len(inside))
        leaving = [server for server in inside if server.key in moved and server.serves]
        left = [server for server in inside if (server.full or server.name in restored) and server.key not in moved]
        if leaving and len(left) < floor:
            raise DowntimeError(
                f"min_active is '{min_active}', which is {floor} of the {len(inside)} members of pool {pool}, but without "
                f"{_listed(server.name for server in leaving)} only {len(left)} would serve at full weight ({_listed(server.name for server in left)}); "
                "nothing was moved")


def in_flight(look: Snapshot, everything: t.Mapping[Key, Server], places: t.Mapping[str, t.Sequence[Key]]) -> dict[str, dict[Key, int]]:
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
                counts[owner[key]][key] += number(row["scur"]) + number(row["qcur"])
    return counts
