# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of promises: what proves one, and what is wrong with it."""

from __future__ import annotations

import pathlib

import claims
import pytest

# Put together here, so that these texts are no marks of this file.
MARK = "# claim" + ": "
PROMISES = """
nothing-is-lost:
  says: "It moves every request without losing any."
  where: README.md
all-at-once:
  says: "members leave <pool> | at *once"
  where: design
"""


class Place:
    """A repository with a document, two promises, and tests."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.write("README.md", "# Shop\n\nIt moves **every** request\nwithout `losing` any.\n")
        self.write("tests/claims.yml", PROMISES)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def prove(self) -> None:
        self.write("tests/unit/test_loss.py", "@pytest.mark.claim('nothing-is-lost')\ndef test_loss():\n    pass\n")
        self.write("extensions/molecule/leave/converge.yml", f"---\n\n{MARK}all-at-once\n- name: Leave\n")


@pytest.fixture
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(claims, "REPO", tmp_path)
    monkeypatch.setattr(claims, "PROMISES", tmp_path / "tests" / "claims.yml")
    return Place(tmp_path)


def test_nothing_is_wrong_where_every_promise_is_proven(place: Place) -> None:
    place.prove()
    assert claims.gaps() == []
    assert claims.marks() == {"nothing-is-lost": ["tests/unit/test_loss.py::test_loss"],
                              "all-at-once": ["extensions/molecule/leave/converge.yml"]}


def test_a_promise_without_a_test_is_an_error(place: Place) -> None:
    place.prove()
    (place.root / "tests" / "unit" / "test_loss.py").unlink()
    assert claims.gaps() == ["claims: no test proves nothing-is-lost: It moves every request without losing any."]


def test_a_mark_of_a_promise_that_nobody_gives_is_an_error(place: Place) -> None:
    place.prove()
    place.write("tests/chaos/points.py", f"{MARK}everything-ends\nPOINTS = []\n")
    assert claims.gaps() == [
        "claims: tests/chaos/points.py proves everything-ends, which tests/claims.yml does not have"]


@pytest.mark.parametrize("document", ["# Shop\n\nIt moves most requests without losing any.\n", None])
def test_words_that_are_gone_are_an_error(place: Place, document: str | None) -> None:
    place.prove()
    (place.root / "README.md").unlink()
    if document:
        place.write("README.md", document)
    assert claims.gaps() == ["claims: README.md does not say (any more): It moves every request without losing any."]


def test_a_name_that_is_given_twice_is_an_error(place: Place) -> None:
    place.prove()
    place.write("tests/claims.yml", PROMISES + PROMISES)
    assert claims.gaps() == [f"claims: tests/claims.yml has {name} 2 times" for name in ("nothing-is-lost", "all-at-once")]


MARKED: dict[str, tuple[str, str, dict[str, list[str]]]] = {
    "a function, a class, and a method": (
        "tests/unit/test_marks.py",
        "@pytest.mark.parametrize('n', [1])\n@pytest.mark.claim('one', 'two')\ndef test_one(n):\n    pass\n\n\n"
        "@pytest.mark.claim('three')\nclass TestThree:\n    @pytest.mark.claim('four')\n"
        "    def test_four(self):\n        pass\n",
        {"one": ["test_one"], "two": ["test_one"], "three": ["TestThree"], "four": ["test_four"]}),
    "a comment that stands for a whole file of tests": (
        "tests/real/test_all.py", f"{MARK}one\n\n\ndef test_all():\n    pass\n", {"one": [""]}),
    "a task of a playbook": (
        "tests/integration/targets/lock/tasks/main.yml", f"- name: Lock\n  # Why.\n  {MARK}one, two\n  debug:\n",
        {"one": [""], "two": [""]}),
    "a script": ("tests/bin/lint", f"#!/bin/sh\n{MARK}one\nrun generated tests/bin/generate\n", {"one": [""]}),
    "a sentence about marks": ("tests/stage/demo.py", f"TEXT = 'A test says {MARK}one of these'\n", {}),
    "what is no text": ("tests/unit/__pycache__/test_one.pyc", f"{MARK}one\n", {}),
}


@pytest.mark.parametrize("kind", MARKED)
def test_marks_are_found_where_they_stand(place: Place, kind: str) -> None:
    path, text, found = MARKED[kind]
    place.write(path, text)
    assert claims.marks() == {
        name: [f"{path}::{test}" if test else path for test in tests] for name, tests in found.items()}


def test_the_page_has_a_table_for_each_document(place: Place) -> None:
    place.prove()
    head, *rows = claims.table().split("\n## ")
    assert head.startswith("# Claims\n")
    assert [row.strip().splitlines() for row in rows] == [
        ["[README.md](../README.md)", "", "|Promise|In its words|Proven by|", "|-|-|-|",
         "|`nothing-is-lost`|It moves every request without losing any.|[test_loss](unit/test_loss.py)|"],
        ["The design, where no document says it", "", "|Promise|In its words|Proven by|", "|-|-|-|",
         r"|`all-at-once`|members leave &lt;pool&gt; \| at \*once|"
         "[extensions/molecule/leave/converge.yml](../extensions/molecule/leave/converge.yml)|"]]


def test_a_promise_without_a_test_is_seen_on_the_page(place: Place) -> None:
    assert "|It moves every request without losing any.|–|" in claims.table()
