# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By which rules requests come to a pool, and the lines that give it a second side. Private to the collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import routes as _haproxy_routes
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.config import Config, Section
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.routes import Route

SECOND_PORT = "GREEN_PORT"


def read_map(path: str) -> str | None:
    """The text of a map's file; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None


def ways_to(config: Config, pool: str, frontends: t.Collection[str], read: t.Callable[[str], str | None] = read_map) -> list[Route]:
    """The rules by which these frontends send requests to a pool."""
    return [route for name, frontend in config.frontends.items() if name in frontends
            for route in _haproxy_routes.routes(name, frontend.lines, pool, read, frontend.value("default_backend"))]


def second_side(ways: t.Sequence[Route], config: Config, pool: str, path: str, members: t.Collection[str] | None = None) -> list[str]:
    """What gives C(pool), to which C(ways) lead, a second side; C(pool) is blue from then on."""
    # One that is chosen among others must not share its variables with them.
    alone = all(route.is_default for route in ways) and not any(frontend.mentions(r"set-var\(txn\.(green|draw)") for frontend in config.frontends.values())
    word = "" if alone else re.sub(r"\W", "_", pool, flags=re.ASCII) + "_"
    green = re.sub(r"blue$", "green", pool)
    there = green != pool and green in config.pools
    green = green if there else f"{pool}_green"
    lines = [f"file {path}: {pool} 0"]
    for name in dict.fromkeys(route.frontend for route in ways):
        place = f"frontend {name}{_drawn(config.frontends[name])}"
        lines += [f"{place}: http-request set-var(txn.{word}green) str({pool}),map_str_int({path},0)",
                  f"{place}: http-request set-var(txn.{word}draw) rand(100)"]
    for route in ways:
        draw = ("{", f"var(txn.{word}draw),sub(txn.{word}green)", "-m", "int", "lt", "0", "}")
        condition = _haproxy_routes.written([(*together, draw) for together in route.conditions], written)
        lines.append(f"frontend {route.frontend}{_before(route, config)}: use_backend {green} if {condition}")
    if there:
        return lines
    return [
        *lines,
        *_second_backend(pool, config.pools.get(pool), members),
        f"deploy_traffic.pools: [{{name: {pool}, side: blue, port: …}}, {{name: {green}, side: green, port: …}}]",
        "deploy_service: {blue: {…, slot: …}, green: {…}} (blue is what runs now, with the slot that it has, current unless you named one)",
    ]


def _drawn(frontend: Section) -> str:
    """Where in a frontend the draw has to stand: haproxy makes it before all that chooses a backend, and warns where it is written behind."""
    first = next((line for line in frontend.lines if line[0] in ("redirect", "use_backend")), None)
    return f", before '{' '.join(map(written, first))}'" if first else ""


def _before(route: Route, config: Config) -> str:
    """Where in its frontend a rule has to stand: the first one that fits counts."""
    if not route.is_default:
        return f", before '{' '.join(map(written, route.line))}'"
    frontend = config.frontends.get(route.frontend)
    return ", after its last use_backend" if frontend and any(line[0] == "use_backend" for line in frontend.lines) else ""


def _second_backend(pool: str, section: Section | None, members: t.Collection[str] | None) -> list[str]:
    """The lines of a second backend: those of the first, with the ports of the members' second slots, which only the team knows.

    A server that is no member, such as one with a holding page, stays where it is.
    """
    if section is None or section.kind != "backend":
        return [f"backend {pool}_green: as backend {pool}, with the ports of the members' second slots"]
    lines = []
    for words in section.lines:
        # Numbers that may be there only once.
        if words[0] in ("id", "guid"):
            continue
        place = {"server": 2, "server-template": 3}.get(words[0])
        if place is not None and len(words) > place:
            words = list(words)
            host, colon, port = words[place].rpartition(":")
            if words[0] != "server" or members is None or words[1] in members:
                words[place] = f"{host if colon and port.isdigit() else words[place]}:{SECOND_PORT}"
            for name in ("id", "guid"):
                if name in words[place:-1]:
                    at = words.index(name, place)
                    del words[at:at + 2]
        lines.append(" ".join(map(written, words)))
    parent = section.parent.name if section.parent else ""
    origin = f" from {parent}" if parent else ""
    return [f"backend {pool}_green{origin}: {line}" for line in lines] + [f"({SECOND_PORT} is the port of each member's second slot)"]


def written(word: str) -> str:
    """A word as the configuration has it."""
    return word if word and not set(word) & set(" \t#'\"\\") else "'" + word.replace("'", "'\\''") + "'"
