# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a team does with the lines that doctor prints for haproxy.cfg: each goes to its place, and only the ports of
the second slots are filled in.
"""

from __future__ import annotations

import pathlib
import re
import typing as t


def apply(config: pathlib.Path, lines: t.Iterable[str], port: t.Callable[[str], int]) -> dict[str, str]:
    """Write them to haproxy.cfg and the map's file; those of deploy_* variables are returned, by the variable's
    name.
    """
    rules = config.read_text(encoding="utf-8").splitlines()
    others: dict[str, str] = {}
    backends: dict[str, list[str]] = {}
    for line in lines:
        place, dummy, content = line.partition(": ")
        kind, dummy, rest = place.partition(" ")
        if kind == "file":
            pathlib.Path(rest).write_text(content + "\n", encoding="utf-8")
        elif kind == "frontend":
            name, dummy, where = rest.partition(", ")
            rules.insert(_at(rules, name, where), "    " + content)
        elif kind == "backend":
            server = re.match(r"server (\S+) ", content)
            backends.setdefault(rest, []).append(
                content.replace("GREEN_PORT", str(port(server[1]))) if server and "GREEN_PORT" in content else content
            )
        elif kind.startswith("deploy_"):
            others[kind] = content
        else:
            assert line == "(GREEN_PORT is the port of each member's second slot)", line
    for name, contents in backends.items():
        rules += [f"backend {name}", *("    " + content for content in contents)]
    config.write_text("\n".join(rules) + "\n", encoding="utf-8")
    return others


def _at(rules: list[str], frontend: str, where: str) -> int:
    """The index of the line before which a rule of this frontend goes."""
    start = rules.index(f"frontend {frontend}") + 1
    end = next((index for index in range(start, len(rules)) if not rules[index].startswith(" ")), len(rules))
    if where.startswith("before '"):
        return next(index for index in range(start, end) if rules[index].strip() == where[len("before '") : -1])
    if where:
        assert where == "after its last use_backend", where
        return max(index for index in range(start, end) if rules[index].strip().startswith("use_backend")) + 1
    return next(
        index for index in range(start, end) if rules[index].strip().startswith(("use_backend", "default_backend"))
    )
