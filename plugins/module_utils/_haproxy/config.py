# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads haproxy.cfg, never writes it: what the sockets do not tell. Private to the collection."""

from __future__ import annotations

import os
import re
import shlex
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import routes as _haproxy_routes

SECTIONS = frozenset("""global defaults frontend backend listen peers resolvers userlist mailers program cache ring http-errors fcgi-app
log-forward log-profile crt-store traces acme""".split())
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# A split: the share of green from a map, a draw, and whether the draw is below the share.
SHARE = re.compile(r"str\(([^)]+)\),map_str_int\(([^,)]+)(?:,(-?\d+))?\)")
DRAW = re.compile(r"(?:^rand|,mod)\(100\)$")
BELOW = re.compile(r"\{ var\(([^)]+)\),sub\(([^)]+)\) -m int lt 0 \}")


def seconds(text: str, unit: str = "ms") -> float | None:
    """HAProxy's times: C(5s), C(100ms), a bare number is milliseconds."""
    found = re.fullmatch(r"(\d+)(us|ms|s|m|h|d)?", text)
    return int(found.group(1)) * UNITS[found.group(2) or unit] if found else None


def _words(line: str) -> list[str]:
    if not any(mark in line for mark in "'\"\\"):
        return line.split("#", 1)[0].split()  # shlex takes its time, and a configuration may have thousands of servers
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split("#", 1)[0].split()


# Named tuples come into being several times as fast as data classes, and a module that moves traffic makes them anew in each call.
class Section(t.NamedTuple):
    kind: str
    name: str
    lines: list[list[str]]
    parent: Section | None = None

    def all(self, *words: str) -> list[list[str]]:
        """Lines that begin with C(words): its own, or else those it inherits from its defaults."""
        found = [line for line in self.lines if tuple(line[:len(words)]) == words]
        return found if found or self.parent is None else self.parent.all(*words)

    def value(self, *words: str) -> str | None:
        found = self.all(*words)
        return found[-1][len(words)] if found and len(found[-1]) > len(words) else None

    def option(self, name: str) -> bool:
        for line in reversed(self.lines):
            if line[:2] == ["option", name]:
                return True
            if line[:3] == ["no", "option", name]:
                return False
        return self.parent.option(name) if self.parent else False

    def timeout(self, name: str) -> float | None:
        text = self.value("timeout", name)
        return seconds(text) if text else None

    @property
    def mode(self) -> str:
        return self.value("mode") or "tcp"

    @property
    def default_server(self) -> list[str]:
        own = [word for line in self.lines if line[0] == "default-server" for word in line[1:]]
        return (self.parent.default_server if self.parent else []) + own

    @property
    def servers(self) -> dict[str, list[str]]:
        """Words after each server's address, those of default-server first."""
        found: dict[str, list[str]] = {}
        shared = self.default_server
        for line in self.lines:
            if line[0] == "server" and len(line) >= 3:
                found[line[1]] = shared + line[3:]
            elif line[0] == "server-template" and len(line) >= 4:
                low, dummy, high = line[2].rpartition("-")
                if (low or "1").isdigit() and high.isdigit():
                    for number in range(int(low or 1), int(high) + 1):
                        found[f"{line[1]}{number}"] = shared + line[4:]
        return found

    def mentions(self, pattern: str) -> bool:
        return any(re.search(pattern, " ".join(line)) for line in self.lines)


def word_after(words: t.Sequence[str], name: str) -> str | None:
    """The last value of a server's setting, such as C(inter)."""
    found = [words[n + 1] for n, word in enumerate(words[:-1]) if word == name]
    return found[-1] if found else None


def flag(words: t.Sequence[str], name: str) -> bool:
    """Whether a server's switch such as C(check) is on; the last of C(check) and C(no-check) wins."""
    for word in reversed(words):
        if word in (name, "no-" + name):
            return word == name
    return False


class Split(t.NamedTuple):
    """The topology that splits requests between two pools by a number in a map: green's share.

    :param default: what counts for green when the map does not have the key.
    :param pools: by side, the pools that the frontends send requests to.
    :param sticky: whether the draw is made of something the client brings, so that it stays on its side.
    """

    map: str
    key: str
    pools: t.Mapping[str, t.Sequence[str]]
    default: int = 0
    frontends: t.Sequence[str] = ()
    sticky: bool = False


class Config(t.NamedTuple):
    files: list[str]
    sections: list[Section]
    modified: float = 0.0

    def section(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    @property
    def pools(self) -> dict[str, Section]:
        return {section.name: section for section in self.sections if section.kind in ("backend", "listen")}

    @property
    def frontends(self) -> dict[str, Section]:
        return {section.name: section for section in self.sections if section.kind in ("frontend", "listen")}

    @property
    def globals(self) -> Section:
        return Section("global", "", [line for section in self.section("global") for line in section.lines])

    @property
    def sticky(self) -> frozenset[str]:
        """Pools that send a client back to the server it had before."""
        return frozenset(name for name, pool in self.pools.items()
                         if pool.all("cookie") or pool.all("stick", "on") or pool.all("stick", "match") or pool.all("appsession"))

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """Servers whose sessions are closed when they are marked down, which maintenance does."""
        return frozenset((name, server) for name, pool in self.pools.items() for server, words in pool.servers.items()
                         if word_after(words, "on-marked-down") == "shutdown-sessions")

    @property
    def counted_together(self) -> frozenset[tuple[str, str]]:
        """What all workers count in one place, from HAProxy 3.3 on, by proxy and the name of its row in C(show stat).

        Shared memory holds the counters of whatever has a name of its own. The mark C(P) of C(show stat typed) does not tell: every counter of
        HAProxy 3.3 has it, whether it is shared or not.
        """
        if not self.globals.all("shm-stats-file"):
            return frozenset()
        found = set()
        for section in self.sections:
            rows = {"frontend": ("FRONTEND",), "backend": ("BACKEND",), "listen": ("FRONTEND", "BACKEND")}.get(section.kind, ())
            # Defaults cannot give a name that is one's own.
            if any(line[0] == "guid" for line in section.lines):
                found |= {(section.name, row) for row in rows}
            found |= {(section.name, server) for server, words in section.servers.items() if rows and word_after(words, "guid")}
        return frozenset(found)

    @property
    def lingers(self) -> bool:
        return any(frontend.option("idle-close-on-response") for frontend in self.frontends.values())

    @property
    def splits(self) -> list[Split]:
        """One for each map and key, since several frontends may go by the same number."""
        found: dict[tuple[str, str], Split] = {}
        for name, frontend in self.frontends.items():
            for one in _splits_of(name, frontend):
                known = found.get((one.map, one.key))
                found[one.map, one.key] = one if known is None else known._replace(
                    frontends=_both(known.frontends, one.frontends), sticky=known.sticky or one.sticky,
                    pools={side: _both(pools, one.pools[side]) for side, pools in known.pools.items()})
        return list(found.values())

    @property
    def pure_stats(self) -> frozenset[str]:
        """Frontends that only show statistics or metrics."""
        found = set()
        for name, section in self.frontends.items():
            leads = section.mentions(r"^(default_backend|use_backend)\b") or bool(section.servers)
            shows = section.mentions(r"^stats (uri|enable)\b") or section.mentions(r"use-service prometheus-exporter")
            if shows and not leads:
                found.add(name)
        return frozenset(found)


def _both(first: t.Sequence[str], second: t.Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _splits_of(name: str, frontend: Section) -> list[Split]:
    """The splits of one frontend: a share from a map, a draw out of 100, and a backend for draws below the share."""
    shares: dict[str, tuple[str, str, int]] = {}  # map, key and default
    draws: dict[str, str] = {}
    chosen: list[tuple[str, list[_haproxy_routes.Together]]] = []
    below: dict[_haproxy_routes.Literal, _haproxy_routes.Literal] = {}  # conditions with a name of their own
    for line in frontend.lines:
        setting = re.fullmatch(r"set-var\(([^,)]+)\)", line[1]) if line[0] == "http-request" and len(line) > 2 else None
        if setting and (share := SHARE.fullmatch(line[2])):
            shares[setting.group(1)] = share.group(2), share.group(1), int(share.group(3) or 0)
        elif setting and DRAW.search(line[2]):
            draws[setting.group(1)] = line[2]
        elif line[0] == "acl" and len(line) > 2 and BELOW.fullmatch("{ " + " ".join(line[2:]) + " }"):
            below[line[1],] = ("{", *line[2:], "}")
        elif line[0] == "use_backend" and len(line) > 1:
            chosen.append((line[1], [tuple(below.get(literal, literal) for literal in together) for together in _haproxy_routes.conditions_of(line[2:])]))
    found = []
    for index, (green, conditions) in enumerate(chosen):
        draw, rest = _drawn(conditions)
        if not draw or draw.group(1) not in draws or draw.group(2) not in shares:
            continue
        # The other side is where the same requests go when the draw is not below the share.
        blue = next((pool for later in chosen[index + 1:] if (pool := _other(rest, *later))), None) or frontend.value("default_backend")
        file, key, default = shares[draw.group(2)]
        found.append(Split(file, key, {"blue": [blue] if blue else [], "green": [green]}, default, [name], not draws[draw.group(1)].startswith("rand(")))
    return found


def _drawn(conditions: t.Sequence[_haproxy_routes.Together]) -> tuple[re.Match[str] | None, list[_haproxy_routes.Together]]:
    """The draw that each of these conditions has in it, and what is left of them; None where one has no such draw, or another one."""
    draws, rest = [], []
    for together in conditions:
        found = [(literal, draw) for literal in together if (draw := BELOW.fullmatch(" ".join(literal)))]
        draws += found[:1]
        rest.append(tuple(literal for literal in together if literal not in [one for one, dummy in found[:1]]))
    same = len(draws) == len(conditions) and len({literal for literal, dummy in draws}) == 1
    return (draws[0][1] if same else None), rest


def _other(rest: t.Sequence[_haproxy_routes.Together], pool: str, conditions: t.Sequence[_haproxy_routes.Together]) -> str | None:
    """The pool that a later rule sends the requests of C(rest) to, if it is for the same ones."""
    looked_up = _haproxy_routes.named_by(pool, rest)
    if looked_up:
        pool, rest = looked_up
    elif tuple(rest) == ((),):
        return None
    return pool if _haproxy_routes.equal(rest, conditions) else None


def parse(text: str, sections: list[Section] | None = None) -> list[Section]:
    """The sections of one file; C(sections) are those of the files before it."""
    sections = [] if sections is None else sections
    defaults = {section.name: section for section in sections if section.kind == "defaults" and section.name}
    last_defaults = next((section for section in reversed(sections) if section.kind == "defaults"), None)
    current: Section | None = None
    for raw in text.splitlines():
        words = _words(raw)
        if not words:
            continue
        if words[0] in SECTIONS:
            source = words[words.index("from") + 1] if "from" in words[:-1] else None
            name = words[1] if len(words) > 1 and words[1] != "from" else ""
            parent = None
            if words[0] in ("frontend", "backend", "listen"):
                parent = defaults.get(source) if source else last_defaults
            elif words[0] == "defaults" and source:
                parent = defaults.get(source)
            current = Section(words[0], name, [], parent)
            sections.append(current)
            if words[0] == "defaults":
                last_defaults = current
                if name:
                    defaults[name] = current
        elif current is not None:
            current.lines.append(words)
    return sections


def read(paths: t.Sequence[str]) -> Config:
    """Read the files, or the C(.cfg) files of a directory, in haproxy's order. Raises OSError for what cannot be read."""
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            files += [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".cfg") and not name.startswith(".")]
        else:
            files.append(path)
    sections: list[Section] = []
    modified = 0.0
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as handle:
            parse(handle.read(), sections)
            modified = max(modified, os.fstat(handle.fileno()).st_mtime)
    return Config(files, sections, modified)
