# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which piece begins when, and what becomes of those that fail, hang or say nothing."""

from __future__ import annotations

import dataclasses

import pytest
import running
from pieces import Piece
from pieces import pytest as pytest_of
from results import Count


def piece(part: str, script: str = "echo ok it", **more) -> Piece:
    return Piece("section", part, ("sh", "-c", script), more.pop("minutes", 5), **more)


@pytest.fixture
def runner(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "RESULTS", tmp_path)

    def make(*pieces, processors=2, idle=0.0, free_mb=10_000, **more):
        monkeypatch.setattr(running.os, "cpu_count", lambda: processors)
        monkeypatch.setattr(running.cpu.Machine, "look", lambda self: setattr(self, "idle", idle))
        monkeypatch.setattr(running.cpu.Machine, "free_mb", property(lambda self: free_mb))
        return running.Runner(pieces, more.pop("seconds", {}), more.pop("isolates", True), least=more.pop("least", 0))
    return make


class Begun:
    """A piece that does not end."""

    ended = None

    def __init__(self, piece, isolated, _live, environment):
        self.piece, self.isolated, self.environment = piece, isolated, environment


def begin(one, monkeypatch):
    """Begin what can begin, without running it."""
    monkeypatch.setattr(running, "Running", Begun)
    while found := one._next():
        one._begin(found)
    return [begun.piece.part for begun in one._running]


def test_longest_first_and_what_nobody_has_timed_before_them(runner, monkeypatch):
    one = runner(piece("a"), piece("b"), piece("c"), processors=3, seconds={"section/a": 1, "section/b": 5})
    assert begin(one, monkeypatch) == ["c", "b", "a"]


def test_as_many_as_processors_while_they_are_busy(runner, monkeypatch):
    assert len(begin(runner(*map(piece, "abcd")), monkeypatch)) == 2


def test_as_many_as_asked_for_however_busy_they_are(runner, monkeypatch):
    assert len(begin(runner(*map(piece, "abcdefgh"), least=5), monkeypatch)) == 5


def test_one_more_while_they_idle_each_after_the_last_has_settled(runner, monkeypatch):
    one = runner(*map(piece, "abcdefghi"), idle=0.5)
    assert len(begin(one, monkeypatch)) == 2
    one._settled = 0.0
    assert len(begin(one, monkeypatch)) == 3
    for _turn in range(9):
        one._settled = 0.0
        begin(one, monkeypatch)
    assert len(one._running) == running.MOST * 2


def test_none_beyond_memory_but_the_first(runner, monkeypatch):
    assert len(begin(runner(*map(piece, "ab"), free_mb=100), monkeypatch)) == 1


def test_one_at_a_time_of_those_that_need_the_stage_where_nothing_is_isolated(runner, monkeypatch):
    staged = [piece(name, own=("stage",)) for name in "ab"]
    assert begin(runner(*staged, piece("c"), isolates=False, seconds={"section/a": 9, "section/b": 8, "section/c": 1}), monkeypatch) == ["a", "c"]
    assert begin(runner(*staged, piece("c")), monkeypatch) == ["a", "b"]


def test_pieces_are_run_and_counted(runner, capfd):
    one = runner(piece("good", "echo ok one; echo ok two"), piece("bad", "echo not ok it; exit 1"), piece("silent", "exit 3"), piece("quiet", "true"))
    ended = one.run()
    assert {name: found.count for name, found in ended.items()} == {
        "section/good": Count(2), "section/bad": Count(0, 1), "section/silent": Count(0, 1), "section/quiet": Count(1)}
    assert [test.name for test in ended["section/good"].tests] == ["section/good: one", "section/good: two"]
    assert "=== section/good begins" in capfd.readouterr().out


def test_pieces_of_two_cores_keep_their_reports_apart(runner, tmp_path):
    tested = tmp_path / "test_it.py"
    tested.write_text("def test_it():\n    pass\n", encoding="utf-8")
    both = [dataclasses.replace(piece(f"{core}-unit"), argv=pytest_of(str(tested), "-p", "no:cacheprovider")) for core in ("2.17", "2.21")]
    ended = runner(*both).run()
    assert {name: one.count for name, one in ended.items()} == {"section/2.17-unit": Count(passed=1), "section/2.21-unit": Count(passed=1)}
    assert all((tmp_path / f"section-{core}-unit.xml").exists() for core in ("2.17", "2.21"))


def test_a_piece_of_tests_that_nobody_counted_has_not_passed(runner, tmp_path):
    quits = tmp_path / "test_it.py"
    quits.write_text("import os\nos._exit(0)\n", encoding="utf-8")
    ended = runner(dataclasses.replace(piece("a"), argv=pytest_of(str(quits))), piece("b")).run()
    assert ended["section/a"].count == Count(failed=1)


def test_one_that_does_not_end_is_ended_with_all_that_it_started(runner, tmp_path):
    mark = tmp_path / "mark"
    one = runner(piece("hangs", f"sh -c 'trap \"touch {mark}; exit\" TERM; while :; do sleep 0.05; done' & wait", minutes=0.01))
    (found,) = one.run().values()
    assert found.count == Count(0, 1) and found.lines[-1] == "section/hangs did not end within 0.01 minutes"
    assert mark.exists()


def test_the_only_piece_is_shown_at_once_and_needs_no_room(runner, capfd):
    one = runner(piece("only", "echo ok it", own=("stage",)))
    assert one.live and one.run()["section/only"].count == Count(1)
    assert "ok it" in capfd.readouterr().out


def test_limits_are_as_much_longer_as_the_machine_is_slower(runner, monkeypatch):
    monkeypatch.delenv("SUITE_STRETCH", raising=False)
    for factor, stretch in ((0.8, "1.00"), (2.5, "2.50")):
        monkeypatch.setattr(running.cpu.Pace, "factor", property(lambda self, factor=factor: factor))
        one = runner(piece("a"))
        begin(one, monkeypatch)
        assert one._running[0].environment["SUITE_STRETCH"] == stretch


def test_limits_are_never_shorter_than_asked_for(runner, monkeypatch):
    monkeypatch.setenv("SUITE_STRETCH", "3")
    one = runner(piece("a"))
    begin(one, monkeypatch)
    assert one._running[0].environment["SUITE_STRETCH"] == "3.00"
