# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The upstream files that the driver nginx keeps: what is in them, and the same with members out or in. Pure; private to the collection.

One file a pool, C(<pool>.upstream.conf), with one C(upstream) of the pool's name and one C(server) a line. Only C(weight=) and C(down) of a
line are ever changed, and lines are added; everything else in the file is its owner's and stays as it is. A member is known by the name
that stands as a comment behind its line.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

SUFFIX = ".upstream.conf"
POOL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
HEADER = """\
# Kept by zero.downtime: one server a line, with the member's name behind it. Members that are out have the word down.
"""
OPENING = re.compile(r"\s*upstream\s+(?P<name>[^\s{;#]+)\s*\{\s*(#.*)?")
CLOSING = re.compile(r"\s*\}\s*(#.*)?")
SERVER = re.compile(r"(?P<indent>\s*)server\s+(?P<address>[^\s;#{}]+)(?P<words>(\s+[^\s;#{}]+)*)\s*;(?P<rest>\s*(#\s*(?P<name>[^\s,;]+)?.*)?)")
# A word that begins a directive of its own, such as keepalive or least_conn.
OTHER = re.compile(r"\s*(?!server\b)[a-z_]+(\s+[^;{}#]+)?;\s*(#.*)?")
ACCEPTED = "one upstream block, in it one server, or one other directive, a line"


@dataclasses.dataclass(frozen=True)
class Server:
    """One line with a server."""

    pool: str
    name: str
    address: str
    words: tuple[str, ...]
    line: int
    indent: str = "    "
    rest: str = ""

    @property
    def down(self) -> bool:
        return "down" in self.words

    @property
    def backup(self) -> bool:
        return "backup" in self.words

    @property
    def weight(self) -> int:
        found = [word[len("weight="):] for word in self.words if word.startswith("weight=")]
        return int(found[-1]) if found and found[-1].isdigit() else 1

    def text(self) -> str:
        return f"{self.indent}server {' '.join((self.address, *self.words))};{self.rest}"

    def changed(self, down: bool, weight: int | None = None) -> Server:
        words = [word for word in self.words if word != "down" and not (weight is not None and word.startswith("weight="))]
        if weight is not None:
            words.insert(0, f"weight={weight}")
        return dataclasses.replace(self, words=tuple(words + ["down"] * down))


def host_port(address: str) -> tuple[str, int] | None:
    """Where a server answers; None for a UNIX socket. Without a port it is 80."""
    if address.startswith("unix:"):
        return None
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", address)
    return (found.group(1).strip("[]"), int(found.group(2) or 80)) if found else None


def joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """One pool's file.

    :param members: the addresses of members that are known otherwise, by name. One without a line here has never been in this pool.
    """

    pool: str
    path: str
    lines: tuple[str, ...]
    servers: tuple[Server, ...]
    members: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    exists: bool = True

    @property
    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    @property
    def by_name(self) -> dict[str, Server]:
        return {server.name: server for server in self.servers}

    @property
    def names(self) -> list[str]:
        """All members of the pool: those that have a line, and those that have none yet."""
        return [*self.by_name, *(name for name in self.members if name not in self.by_name)]

    def serving(self) -> list[str]:
        return [server.name for server in self.servers if not server.down and not server.backup]

    def address(self, name: str) -> str:
        server = self.by_name.get(name)
        return server.address if server else self.members[name]

    def out(self, names: t.Collection[str]) -> Upstream:
        """The same with C(names) down. One without a line is out already."""
        return self._with({server.name: server.changed(True) for server in self.servers if server.name in names and not server.down})

    def into(self, names: t.Collection[str], weight: int | None = None) -> Upstream:
        """The same with C(names) serving; one without a line gets one."""
        changed = self._with({server.name: server.changed(False, weight) for server in self.servers if server.name in names
                              and (server.down or (weight is not None and server.weight != weight))})
        missing = [name for name in names if name not in self.by_name]
        if not missing:
            return changed
        words = () if weight is None else (f"weight={weight}",)
        fresh = [Server(self.pool, name, self.members[name], words, 0, rest=f" # {name}").text() for name in missing]
        lines = list(changed.lines)
        end = max(number for number, line in enumerate(lines) if CLOSING.fullmatch(line))
        return parse(self.pool, self.path, "\n".join(lines[:end] + fresh + lines[end:]), self.members)

    def _with(self, servers: t.Mapping[str, Server]) -> Upstream:
        lines = list(self.lines)
        for server in servers.values():
            lines[server.line] = server.text()
        return dataclasses.replace(self, lines=tuple(lines), servers=tuple(servers.get(server.name, server) for server in self.servers))


def fresh(pool: str, path: str, members: t.Mapping[str, str]) -> Upstream:
    """A pool's first file, in which nobody serves yet."""
    found = parse(pool, path, f"{HEADER}upstream {pool} {{\n}}\n", members)
    return dataclasses.replace(found, exists=False)


def parse(pool: str, path: str, text: str, members: t.Mapping[str, str] | None = None) -> Upstream:
    """The file of one pool. Raises DowntimeError for one that is not of the form that can be changed line by line."""
    members = dict(members or {})
    lines = text.splitlines()
    found: list[tuple[Server, str]] = []
    inside = closed = False
    for number, line in enumerate(lines):
        if not line.strip() or line.strip().startswith("#"):
            continue
        opening = OPENING.fullmatch(line)
        if opening and not inside and not closed:
            if opening.group("name") != pool:
                raise DowntimeError(f"{path} line {number + 1} has the upstream '{opening.group('name')}'; the upstream {pool} is accepted there")
            inside = True
            continue
        hit = SERVER.fullmatch(line) if inside else None
        if hit:
            found.append((Server(pool, "", hit.group("address"), tuple((hit.group("words") or "").split()), number, hit.group("indent"),
                                 hit.group("rest")), hit.group("name") or ""))
        elif inside and CLOSING.fullmatch(line):
            inside, closed = False, True
        elif not inside or not OTHER.fullmatch(line):
            raise DowntimeError(f"{path} line {number + 1} is '{line.strip()[:80]}'; {ACCEPTED}, is accepted there")
    if not closed:
        raise DowntimeError(f"{path} has no whole upstream {pool}; {ACCEPTED}, is accepted")
    servers = tuple(dataclasses.replace(server, name=_name(server, comment, members)) for server, comment in found)
    result = Upstream(pool, path, tuple(lines), servers, members)
    _check(result)
    return result


def _name(server: Server, comment: str, members: t.Mapping[str, str]) -> str:
    """Who a line's server is: the name behind it, or the member that is known by its address, or its address without the port."""
    if comment and (comment in members or not members):
        return comment
    place = host_port(server.address)
    by_address = [name for name, address in members.items() if host_port(address) == place and place]
    if by_address:
        return by_address[0]
    if place and place[0] in members:
        return place[0]
    return comment or (place[0] if place else server.address)


def _check(upstream: Upstream) -> None:
    seen: dict[str, Server] = {}
    for server in upstream.servers:
        if server.name in seen:
            raise DowntimeError(f"{upstream.path} has two servers {server.name} (lines {seen[server.name].line + 1} and {server.line + 1}); "
                                "a name of its own as a comment behind each line, such as '# app1', is accepted")
        seen[server.name] = server
    strangers = [server for server in upstream.servers if upstream.members and server.name not in upstream.members]
    absent = [name for name in upstream.members if name not in seen]
    if strangers and absent:
        # One of them may well be the other, and adding it would send it requests while it counts as out.
        raise DowntimeError(
            f"{upstream.path} has {', '.join(server.address for server in strangers)}, which is no known member, and lacks "
            f"{', '.join(f'{name} ({upstream.members[name]})' for name in absent)}; where they are the same, write the member's name behind the line, "
            f"such as 'server {strangers[0].address}; # {absent[0]}'")
