# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A name in DNS that stands for one of two sides: what each side is there, and which of them the name is now. Private
to the collection."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.client import Client, Records, Server, parse_server

Values = t.Dict[str, t.Tuple[str, ...]]

KINDS = ("A", "AAAA", "CNAME")
# Beside a CNAME nothing else may stand, but for what signs a zone.
BESIDE_CNAME = ("CNAME", "RRSIG", "NSEC")


def values_of(entries: t.Sequence[str], option: str) -> Values:
    """A side's records by type: addresses, or one name. Raises DowntimeError for a mixture of both."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        try:
            address = ipaddress.ip_address(entry.strip())
        except ValueError:
            found.setdefault("CNAME", []).append(entry.strip().rstrip(".").lower() + ".")
        else:
            found.setdefault("A" if address.version == 4 else "AAAA", []).append(str(address))
    if not found or ("CNAME" in found and (len(found) > 1 or len(found["CNAME"]) > 1)):
        raise DowntimeError(
            f"{option} is {list(entries)!r}; IPv4 and IPv6 addresses, or one name (for a CNAME), are accepted"
        )
    return {kind: tuple(sorted(set(values))) for kind, values in found.items()}


def told(values: t.Mapping[str, t.Sequence[str]]) -> str:
    """Records for a sentence."""
    return ", ".join(f"{kind} {value}" for kind in values for value in values[kind]) or "nothing"


def check_sides(sides: t.Mapping[str, Values], option: str) -> None:
    """Refuse sides that nobody could tell apart, or that one update could not exchange for each other."""
    common = {value for values in sides["blue"].values() for value in values} & {
        value for values in sides["green"].values() for value in values
    }
    if common:
        raise DowntimeError(
            f"{option} has {', '.join(sorted(common))} for both sides; each side needs records of its own"
        )


@dataclasses.dataclass(frozen=True)
class Look:
    """What a server says of the name.

    :param records: as they are.
    :param shares: of both sides; those of blue where there are no records at all.
    :param absent: whether there are none.
    """

    records: Records
    shares: dict[str, int]
    absent: bool


class Place:
    """The name, by the options of the driver's modules.

    :param client: None for one of the options.
    """

    def __init__(self, params: t.Mapping[str, t.Any], client: Client | None = None) -> None:
        self.client = client or client_of(params)
        self.name = self.client.below(params["name"])
        self.label = self.client.shown(self.name)
        self.sides = {side: values_of(params[side], side) for side in SIDES}
        check_sides(self.sides, "blue and green")
        if "CNAME" in {kind for values in self.sides.values() for kind in values} and self.name == self.client.zone:
            raise DowntimeError(
                f"name is '{params['name']}', the zone itself, which has other records, so it cannot be a CNAME; "
                "addresses are accepted"
            )
        self.ttl = params["ttl"]
        self._params = params
        self._servers: list[Server] | None = None

    @property
    def kinds(self) -> list[str]:
        """The types of records that the sides have."""
        return [kind for kind in KINDS if any(kind in values for values in self.sides.values())]

    def servers(self) -> list[Server]:
        """The authoritative servers that have to answer, without the primary, which is asked first anyway."""
        if self._servers is None:
            given = self._params["servers"]
            self._servers = [parse_server(text, "servers") for text in given] if given else self.client.name_servers()
        return self._servers

    def resolvers(self) -> list[Server]:
        return [parse_server(text, "resolvers") for text in self._params["resolvers"]]

    def look(self, server: Server | None = None, resolver: bool = False) -> Look:
        """What a server says; the primary where none is named. Raises DowntimeError for records that are of neither
        side, or in the way."""
        if server is None:
            self._nothing_in_the_way()
        options: dict[str, t.Any] = {"recurse": resolver, "signed": server is None}
        records = self.client.records(self.name, self.kinds, server, **options)
        values = {kind: tuple(value.lower() for value in found) for kind, found in records.values.items()}
        return Look(Records(values, records.ttl), self._shares(values, server), not values)

    def _nothing_in_the_way(self) -> None:
        """Refuse records of another type, beside which the sides' own could not stand."""
        if "CNAME" not in self.kinds or len(self.kinds) > 1:
            if found := self.client.records(self.name, ("CNAME",)).values:
                if "CNAME" not in self.kinds:
                    raise DowntimeError(
                        f"{self.label} is a {told(found)}, and the sides are addresses; it can only be moved without "
                        "that record"
                    )
        if "CNAME" in self.kinds:
            answer = self.client.ask(self.name, "ANY", stream=True)
            types = {
                self.client.dns.rdatatype.to_text(rrset.rdtype) for rrset in answer.answer if rrset.name == self.name
            }
            if others := sorted(types - {*BESIDE_CNAME, *self.kinds}):
                raise DowntimeError(
                    f"{self.label} has records of the type {', '.join(others)}, and a side is a CNAME, which stands "
                    "alone; a name without other "
                    "records is accepted, or addresses"
                )

    def _shares(self, values: Values, server: Server | None) -> dict[str, int]:
        counts = dict.fromkeys(SIDES, 0)
        for kind, found in values.items():
            for value in found:
                side = next((side for side in SIDES if value in self.sides[side].get(kind, ())), None)
                if side is None:
                    who = self.label + (f" on {server.label}" if server else "")
                    raise DowntimeError(
                        f"{who} has {kind} {value}, which is of neither side; blue is {told(self.sides['blue'])}, "
                        "green is "
                        f"{told(self.sides['green'])}"
                    )
                counts[side] += 1
        total = sum(counts.values())
        if not total or not counts["green"]:
            return {"blue": 100, "green": 0}
        if not counts["blue"]:
            return {"blue": 0, "green": 100}
        # Whatever the numbers are, neither side has all.
        green = min(99, max(1, round(100 * counts["green"] / total)))
        return {"blue": 100 - green, "green": green}

    def late(self, side: str, ttl: int | None = None) -> dict[str, tuple[str, bool]]:
        """The servers that do not say C(side) yet, with what each says instead, and whether it gave no answer at all.

        :param ttl: what they have to say of the time to live as well; resolvers count it down.
        """
        found: dict[str, tuple[str, bool]] = {}
        for server, resolver in [*((one, False) for one in self.servers()), *((one, True) for one in self.resolvers())]:
            try:
                look = self.look(server, resolver)
            except NoAnswer as error:
                found[server.label] = (str(error), True)
            except DowntimeError as error:
                found[server.label] = (str(error), False)
            else:
                if look.records.values != self.sides[side]:
                    found[server.label] = (f"{server.label} answers {told(look.records.values)}", False)
                elif ttl is not None and not resolver and look.records.ttl != ttl:
                    found[server.label] = (f"{server.label} answers with the time to live {look.records.ttl}", False)
        return found


def client_of(params: t.Mapping[str, t.Any]) -> Client:
    """A client by the options of the driver's modules."""
    if params["query_timeout"] <= 0:
        raise DowntimeError(f"query_timeout is {params['query_timeout']:g}; seconds above 0 are accepted")
    return Client(
        params["zone"],
        parse_server(params["server"], "server"),
        (params["key_name"], params["key_secret"], params["key_algorithm"]),
        params["query_timeout"],
    )
