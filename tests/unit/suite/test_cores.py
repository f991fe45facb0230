# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ansible-core the tests run on, on a machine with these Pythons and on one with those."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
import typing as t

import pytest

import cores
from pieces import PIECES, REPO, Piece


@pytest.fixture(scope="module")
def suite() -> types.ModuleType:
    """The program that runs the suite."""
    spec = importlib.util.spec_from_file_location("suite_program", REPO / "tests" / "bin" / "suite.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """A machine whose C(python3) has one version, and where interpreters of others lie."""
    def has(mine: str, *others: str) -> None:
        monkeypatch.setattr(cores, "mine", lambda: mine)
        monkeypatch.setattr(cores, "works", lambda interpreter: interpreter in {"/usr/bin/python" + other for other in others})
    return has


@pytest.mark.parametrize("python, core", [("3.11", "2.19"), ("3.12", "2.21"), ("3.13", "2.21"), ("3.14", "2.21"), ("3.15", "2.21"), ("4.0", "2.21")])
def test_the_newest_core_that_a_python_carries(python: str, core: str) -> None:
    assert cores.newest(python) == core


def test_a_python_that_carries_none_is_named() -> None:
    with pytest.raises(cores.LeftOut, match=r"^Python 3\.9 carries none of ansible-core 2\.17, 2\.18, 2\.19, 2\.20, 2\.21$"):
        cores.newest("3.9")


@pytest.mark.parametrize("mine, others, core, found", [
    ("3.11", [], "2.17", sys.executable),
    ("3.11", ["3.12", "3.13"], "2.19", sys.executable),
    ("3.11", ["3.12", "3.13"], "2.21", "/usr/bin/python3.13"),
    ("3.13", ["3.11", "3.12"], "2.17", "/usr/bin/python3.12"),
])
def test_an_interpreter_for_a_core(machine: t.Callable[..., None], mine: str, others: list[str], core: str, found: str) -> None:
    machine(mine, *others)
    assert cores.python_for(core) == found


def test_a_core_that_the_machine_cannot_carry_is_left_out_with_a_sentence(machine: t.Callable[..., None]) -> None:
    machine("3.11")
    with pytest.raises(cores.LeftOut, match=r"^ansible-core 2\.21 needs Python 3\.12 or 3\.13 or 3\.14, and this machine has none of them$"):
        cores.python_for("2.21")
    with pytest.raises(cores.LeftOut, match=r"^there is no ansible-core 2\.16 here; there are: 2\.17, "):
        cores.python_for("2.16")


def test_every_core_is_pinned() -> None:
    for core in cores.known():
        pins = [line for line in cores.lines(core) if line and not line.startswith("#")]
        assert [line.split("==")[0] for line in pins] == ["ansible-core", "ansible"]
        assert re.fullmatch(rf"ansible-core=={re.escape(core)}\.\d+", cores.pin(core))


@pytest.mark.claim("ansible-core-short-form")
def test_the_oldest_and_the_newest_core_run_a_short_form() -> None:
    assert [piece.core for piece in PIECES if piece.core] == [cores.known()[0]] * 3 + [cores.known()[-1]] * 3


@pytest.mark.parametrize("mine, kept, told", [
    ("3.11", [("unit", sys.executable), ("cores/2.17-unit", "/envs/2.17"), ("cores/2.21-unit", "/envs/2.21")], []),
    ("3.13", [("unit", sys.executable), ("cores/2.17-unit", "/envs/2.17")],
     ["Left out: cores/2.21-unit, since everything runs on ansible-core 2.21."]),
])
def test_pieces_get_their_interpreters(suite: types.ModuleType, monkeypatch: pytest.MonkeyPatch, mine: str, kept: list[tuple[str, str]],
                                       told: list[str]) -> None:
    monkeypatch.setattr(cores, "mine", lambda: mine)
    monkeypatch.setattr(cores, "environment", lambda core: "/envs/" + core)
    found, sentences = suite.on_their_cores([piece for piece in PIECES if piece.name in ("unit", "cores/2.17-unit", "cores/2.21-unit")])
    assert [(piece.name, piece.argv[0]) for piece in found] == kept and sentences == told
    assert all(piece.is_pytest for piece in found)


def test_a_machine_without_the_python_leaves_pieces_out_with_one_sentence(suite: types.ModuleType, machine: t.Callable[..., None]) -> None:
    machine("3.11")
    pieces = [Piece("cores", "2.21-" + part, ("python", part), 1, core="2.21") for part in ("unit", "resume")]
    assert suite.on_their_cores(pieces) == (
        [], ["Left out: ansible-core 2.21 needs Python 3.12 or 3.13 or 3.14, and this machine has none of them."])
