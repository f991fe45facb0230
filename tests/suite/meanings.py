# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of C(deploy_traffic) mean, driver by driver: as the driver's own modules document them, or as the driver's argument spec says it.

An option of the same name is the same thing in both, so it is described once. What only C(deploy_traffic) has is described in the argument spec.
"""

from __future__ import annotations

import ast
import pathlib
import re
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = ("members", "split", "info", "mirror")
# What modules call otherwise than the variables that their options come from.
VARIABLES = {"timeout": "deploy_drain_timeout", "timeout_action": "deploy_drain_timeout_action", "min_active": "deploy_min_active",
             "app": "deploy_app", "members": "deploy_members", "state": "deploy_members", "streams": "deploy_streams"}


def _documentation(path: pathlib.Path) -> dict[str, t.Any]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            return yaml.safe_load(ast.literal_eval(node.value))
    raise SystemExit(f"{path} has no DOCUMENTATION")


def documented(driver: str) -> dict[str, t.Any]:
    """The options of the driver's modules, with what they take from fragments."""
    found: dict[str, t.Any] = {}
    for kind in KINDS:
        path = ROOT / "plugins" / "modules" / f"{driver}_{kind}.py"
        if path.is_file():
            for name, option in options_of(path).items():
                found.setdefault(name, option)
    return found


def options_of(path: pathlib.Path) -> dict[str, t.Any]:
    """The options that a module's file documents, with what it takes from the collection's fragments."""
    own = _documentation(path)
    found: dict[str, t.Any] = {}
    for name in own.get("extends_documentation_fragment") or ():
        if name.startswith("zero.downtime."):
            found.update(_documentation(ROOT / "plugins" / "doc_fragments" / f"{name.rpartition('.')[2]}.py").get("options") or {})
    return {**found, **(own.get("options") or {})}


def _as_written(text: str, known: t.Collection[str]) -> str:
    """O(name) of a module as the user writes it in his variables."""
    def variable(match: re.Match[str]) -> str:
        # What stands before a colon names another plugin, or that there is none.
        name, dummy, value = match[1].rpartition(":")[2].partition("=")
        top = name.split(".")[0]
        written = f"deploy_traffic.{name}" if top in known else name if top.startswith("deploy_") else VARIABLES[name]
        return f"V({written}: {value})" if value else f"V({written})"
    return re.sub(r"\bR?V\(([^)]*)\)", r"V(\1)", re.sub(r"\bO\(([^)]*)\)", variable, text))


def of_traffic(name: str, spec: t.Mapping[str, t.Any], prefix: str = "deploy_traffic.") -> t.Iterator[tuple[str, t.Mapping[str, t.Any], str]]:
    """Each option of C(deploy_traffic) for the driver C(name): as the user writes it, its spec, and what it means."""
    yield from _described(spec, documented(name), spec, prefix)


def _described(spec: t.Mapping[str, t.Any], docs: t.Mapping[str, t.Any], known: t.Collection[str],
               prefix: str) -> t.Iterator[tuple[str, t.Mapping[str, t.Any], str]]:
    for name, option in spec.items():
        doc = docs.get(name) or {}
        text = option.get("description") or doc.get("description")
        if not text:
            raise SystemExit(f"{prefix}{name} has no meaning: neither the driver's modules nor its argument spec describe it")
        yield prefix + name, option, _as_written(text if isinstance(text, str) else " ".join(text), known)
        if option.get("options"):
            inside = f"{prefix}{name}[]." if option.get("type") == "list" else f"{prefix}{name}."
            yield from _described(option["options"], doc.get("suboptions") or {}, known, inside)
