# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests a change can break.

A test depends on what it imports, and what that imports; on each file of the tests that it names (a program that it starts); and, where it runs
one of the collection's playbooks or modules by name, on all of the collection but the drivers that it has nothing to do with. So a change of a
driver runs that driver's tests and those of the local stage if it is the stage's driver, a change of the core runs all, and a change of a test
runs that test.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import pathlib
import re
import subprocess
import typing as t

from pieces import REPO, Piece

COLLECTION = "ansible_collections.zero.downtime."
# Where tests look for what they import by its bare name.
ROOMS = ("tests/real", "tests/stage", "tests/conformance", "tests/chaos", "tests/suite", "tests/load", "tests/bin", "tests/real/playbooks",
         "tests/real/inventories", "tests/bench")
# The driver of the local stage, and of the containers.
STAGE_DRIVER = "haproxy"
# A change here concerns everything, or nobody knows what.
ALL = re.compile(r"^(Makefile|conftest\.py|pytest\.ini|ansible\.cfg|tests/requirements-\w+\.txt|tests/cores/|\.ci/|tests/suite/|tests/bin/(suite|isolated))")
# Nothing that a test other than lint could see, but for pages whose files and commands a test runs.
PROSE = re.compile(r"^(docs/(?!(?:tutorial|release_header|doctor)\.md)|changelogs/|README\.md|CONTRIBUTING\.md|CHANGELOG\.rst|COPYING|\.git"
                   r"|\.ansible-lint)")
PRODUCT = re.compile(r"^(plugins|roles|playbooks|meta)/")
RUNS = re.compile(r"zero\.downtime\.(?!plugins\b)\w+|ansible-playbook|run_module|inventories/local")


def drivers() -> set[str]:
    return {path.stem.removesuffix("_members") for path in (REPO / "plugins" / "modules").glob("*_members.py")}


def driver_of(path: str) -> str | None:
    """The driver that a file of the collection, or of the tests, belongs to."""
    for part in pathlib.PurePath(path).parts:
        name = part.removeprefix("test_").lstrip("_")
        for driver in drivers():
            if name == driver or name.startswith((driver + "_", driver + ".")):
                return driver
    return None


@functools.cache
def text(path: str) -> str:
    return (REPO / path).read_text(encoding="utf-8", errors="replace")


def code(path: str) -> str:
    """A file less what it says to people alone."""
    return re.sub(r"#.*", "", re.sub(r'""".*?"""', "", text(path), flags=re.DOTALL))


@functools.cache
def _named(name: str) -> tuple[str, ...]:
    """Files of the tests that are called so."""
    return tuple(str(found) for room in ROOMS if (REPO / (found := pathlib.PurePath(room) / name)).is_file())


@functools.cache
def direct(path: str) -> frozenset[str]:
    """Files of this repository that a Python file imports or names."""
    found: set[str] = set()
    beside = pathlib.PurePath(path).parent

    def module(dotted: str) -> None:
        if dotted.startswith(COLLECTION):
            stem = dotted.removeprefix(COLLECTION).replace(".", "/")
            found.update(name for name in (stem + ".py", stem + "/__init__.py") if (REPO / name).is_file())
        elif "." not in dotted:
            local = str(beside / (dotted + ".py"))
            found.update([local] if (REPO / local).is_file() else _named(dotted + ".py"))

    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module(node.module)
            for alias in node.names:
                module(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for word in re.findall(r"[\w./-]+\.(?:py|yml|j2|in|sh)\b", node.value)[:20]:
                local = str(beside / word)
                found.update([local] if (REPO / local).is_file() else _named(pathlib.PurePath(word).name))
            found.update(word for word in re.findall(r"\bdocs/\w+\.md\b", node.value) if (REPO / word).is_file())
    if path.startswith("tests/"):
        for parent in pathlib.PurePath(path).parents:
            conftest = str(parent / "conftest.py")
            if conftest != path and (REPO / conftest).is_file() and str(parent) != ".":
                found.add(conftest)
    return frozenset(found - {path})


@functools.cache
def needs(path: str) -> frozenset[str]:
    """All that a test depends on inside the repository, itself included."""
    seen: set[str] = set()
    left = [path]
    while left:
        one = left.pop()
        if one not in seen:
            seen.add(one)
            if one.endswith(".py"):
                left += direct(one)
    return frozenset(seen)


def runs_product(path: str) -> bool:
    """Whether the test runs the collection by name, so that no import tells what it uses."""
    return any(one.startswith(("tests/", "extensions/")) and RUNS.search(text(one)) for one in needs(path))


def its_drivers(path: str) -> set[str]:
    """The drivers that a test which runs the collection has to do with."""
    own = driver_of(path)
    words = "\n".join(code(one) for one in needs(path) if one.startswith("tests/"))
    named = {driver for driver in drivers() if re.search(rf"\b{driver}\b", words)} if not own else {own}
    return named | ({STAGE_DRIVER} if "inventories/local" in words or "stage_code" in words else set())


def concerned(path: str, changed: t.Collection[str]) -> bool:
    """Whether one of the changed files can break this test."""
    if needs(path) & set(changed):
        return True
    product = [one for one in changed if PRODUCT.match(one)]
    if not product or not runs_product(path):
        return False
    mine = its_drivers(path)
    return any(driver_of(one) is None or driver_of(one) in mine for one in product)


def changed_since(revision: str) -> list[str]:
    """Files that differ from the revision, in commits or not yet in one."""
    def git(*words: str) -> list[str]:
        return subprocess.run(["git", *words], cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")[:-1]
    return sorted(set(git("diff", "--name-only", "-z", revision)) | set(git("ls-files", "--others", "--exclude-standard", "-z")))


def _test_files(paths: t.Iterable[str], ignored: t.Collection[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        whole = REPO / path
        files = [whole] if whole.is_file() else sorted(whole.rglob("test_*.py"))
        found += [str(one.relative_to(REPO)) for one in files]
    return [one for one in dict.fromkeys(found) if one not in ignored]


def chosen_piece(piece: Piece, changed: t.Sequence[str]) -> Piece | None:
    """The piece, less the files of it that no change can break; None where nothing is left of it."""
    if any(ALL.match(one) for one in changed):
        return piece
    if piece.section == "lint":
        return piece
    real = [one for one in changed if not PROSE.match(one)]
    if not real:
        return None
    if piece.section == "sanity":
        return piece if any(one.endswith((".py", ".yml")) for one in real) else None
    if not piece.is_pytest:
        return piece if any(script_concerned(piece, one) for one in real) else None
    ignored = {word.removeprefix("--ignore=") for word in piece.argv if word.startswith("--ignore=")}
    files = [path for path in _test_files(piece.paths, ignored) if concerned(path, real)]
    if not files:
        return None
    argv = [word for word in piece.argv if word not in piece.paths]
    return dataclasses.replace(piece, argv=(*argv[:4], *files, *argv[4:]))


def script_concerned(piece: Piece, path: str) -> bool:
    """Whether a change of that file can break what a program of ours tests."""
    if PRODUCT.match(path):
        driver = driver_of(path)
        return driver is None or driver == STAGE_DRIVER or driver in " ".join(piece.argv)
    homes = {"integration": ("tests/integration/", "tests/bin/integration", "tests/stage/", "tests/real/", "tests/conformance/", "inventories/local"),
             "molecule": ("extensions/molecule/", "tests/image/", "tests/bin/molecule", "tests/load/", "tests/stage/"),
             "chaos": ("tests/chaos/", "tests/stage/", "tests/load/", "inventories/local"),
             "demo": ("tests/stage/", "tests/load/", "inventories/local")}
    return path.startswith(homes.get(piece.section, ("tests/",)))


def since(revision: str, pieces: t.Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """What to run after the changes since a revision, and sentences that say what is left out."""
    changed = changed_since(revision)
    kept = [(piece, chosen_piece(piece, changed)) for piece in pieces]
    told = ["%d files differ from %s." % (len(changed), revision)]
    for piece, left in kept:
        if left is None:
            told.append("Left out: %s." % piece.name)
        elif left is not piece:
            whole, part = (_test_files(one.paths, ()) for one in (piece, left))
            if gone := sorted(set(whole) - set(part)):
                told.append("Left out of %s: %s." % (piece.name, ", ".join(gone)))
    return [left for _piece, left in kept if left is not None], told
