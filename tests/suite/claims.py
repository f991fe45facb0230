# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the project promises, and the test that proves it: tests/claims.md, from tests/claims.yml and from marks in the tests.

tests/claims.yml names each promise, the words in which it is given, and the document that gives it ("design" for what no document for users says).
A test that proves one is marked: C(@pytest.mark.claim("name")) in Python, C(# claim: name) above a task, a scenario or a point elsewhere.
A promise without a test, a mark of a promise that nobody gives, words that do not stand in their document any more, and a name that is
given twice are errors.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import html
import os
import pathlib
import re
import typing as t

import yaml

REPO = pathlib.Path(__file__).resolve().parents[2]
PROMISES = REPO / "tests" / "claims.yml"
ROOMS = ("tests/unit", "tests/real", "tests/conformance", "tests/integration", "tests/chaos", "tests/stage", "tests/bench", "tests/bin",
         "extensions/molecule")
DESIGN = "design"
NAME = re.compile(r"^(?P<name>[\w.-]+):", re.MULTILINE)
MARK = re.compile(r"# claim: (?P<names>[\w.-]+(?:, *[\w.-]+)*) *$", re.MULTILINE)
HEAD = """# Claims

Written by `make docs` from `tests/claims.yml` and the marks in the tests: what this project promises, where it says so, and the test that proves it.
"""


@dataclasses.dataclass(frozen=True)
class Promise:
    name: str
    words: str
    where: str


def _plain(text: str) -> str:
    """Words alone: no line ends, no marks of emphasis and code."""
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text)).strip()


def promises() -> list[Promise]:
    return [Promise(name, one["says"], one["where"]) for name, one in yaml.safe_load(PROMISES.read_text(encoding="utf-8")).items()]


def _names(decorator: ast.expr) -> list[str]:
    if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "claim":
        return [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]
    return []


def _in_python(path: pathlib.Path) -> t.Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = str(path.relative_to(REPO))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for decorator in node.decorator_list:
                for claim in _names(decorator):
                    yield claim, f"{name}::{node.name}"


def marks() -> dict[str, list[str]]:
    """For each name of a promise the tests that are marked with it."""
    found: dict[str, list[str]] = {}
    for room in ROOMS:
        for path in sorted((REPO / room).rglob("*")):
            if not path.is_file() or "__pycache__" in path.parts or path.suffix in (".pyc", ".gz"):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            pairs = list(_in_python(path)) if path.suffix == ".py" and path.name.startswith("test_") else []
            pairs += [(name.strip(), str(path.relative_to(REPO))) for match in MARK.finditer(text) for name in match["names"].split(",")]
            for name, test in pairs:
                found.setdefault(name, []).append(test)
    return found


def _unsaid(promise: Promise) -> bool:
    if promise.where == DESIGN:
        return False
    document = REPO / promise.where
    return not document.is_file() or _plain(promise.words) not in _plain(document.read_text(encoding="utf-8"))


def gaps() -> list[str]:
    """What is wrong with the table, a sentence each."""
    marked = marks()
    known = promises()
    names = {one.name for one in known}
    given = collections.Counter(NAME.findall(PROMISES.read_text(encoding="utf-8")))
    wrong = [f"claims: tests/claims.yml has {name} {times} times" for name, times in given.items() if times > 1]
    wrong += [f"claims: no test proves {one.name}: {one.words}" for one in known if one.name not in marked]
    wrong += [f"claims: {', '.join(tests)} proves {name}, which tests/claims.yml does not have"
              for name, tests in sorted(marked.items()) if name not in names]
    wrong += [f"claims: {one.where} does not say (any more): {one.words}" for one in known if _unsaid(one)]
    return wrong


def _cell(text: str) -> str:
    """Text as a cell of a table shows it."""
    return re.sub(r"[|*]", r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def _link(test: str) -> str:
    """The test's own name, which leads to its file: a path of five directories for each row would hide the promises."""
    path, _colons, function = test.partition("::")
    return f"[{function or path}]({os.path.relpath(path, PROMISES.parent.name)})"


def _heading(where: str) -> str:
    return "The design, where no document says it" if where == DESIGN else f"[{where}](../{where})"


def table() -> str:
    """The page: a table for each document, in the order of tests/claims.yml."""
    marked = marks()
    lines = [HEAD]
    by_document: dict[str, list[Promise]] = {}
    for one in promises():
        by_document.setdefault(one.where, []).append(one)
    for where, said in by_document.items():
        lines += [f"## {_heading(where)}", "", "|Promise|In its words|Proven by|", "|-|-|-|"]
        for one in said:
            tests = "<br>".join(_link(test) for test in sorted(set(marked.get(one.name, [])))) or "–"
            lines.append(f"|`{one.name}`|{_cell(one.words)}|{tests}|")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
