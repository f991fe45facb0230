# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock in a document that is written only if it is as it was read."""

from __future__ import annotations

import copy
import threading
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import document as _document
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken, Unreadable

ME = {"controller": "here", "pid": 7, "verb": "deploy"}


class Kept:
    """A document in memory, as a platform has it."""

    place = "the document of the shop"

    def __init__(self, content: t.Any = None) -> None:
        self.content, self.version = content, 0
        self.between: list[t.Callable[[], None]] = []
        self._only = threading.Lock()

    def read(self) -> tuple[t.Any, int]:
        with self._only:
            return copy.deepcopy(self.content), self.version

    def write(self, content: t.Any, version: int) -> None:
        if self.between:
            self.between.pop()()
        with self._only:
            if version != self.version:
                raise _document.Changed
            self.content, self.version = copy.deepcopy(content), version + 1


def ask(document: Kept, state: str, deploy_id: str | None = "one", check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    options = {"state": state, "directory": "/", "name": "production-shop", "deploy_id": deploy_id, "key": deploy_id, **given}
    params = _spec.check({name: value for name, value in options.items() if value is not None}, _lock.argument_spec())
    return _document.run(document, params, check, clock=lambda: 1000.0)


def test_it_is_taken_once_and_says_who_has_it() -> None:
    kept = Kept()
    assert ask(kept, "acquired", holder=ME)["changed"]
    again = ask(kept, "acquired", holder=ME)
    assert again["acquired"] and not again["changed"] and not kept.content["lock"]["key"] == "two" and kept.version == 1
    other = ask(kept, "acquired", "two", holder={**ME, "pid": 8})
    assert not other["acquired"] and not other["changed"] and other["holder"]["holder"] == ME and other["holder"]["age"] == 0
    assert ask(kept, "observed")["lock"]["deploy_id"] == "one"


@pytest.mark.parametrize("given", [{"over": "one"}, {"force": True}])
def test_a_dead_holders_lock_is_taken_over_with_its_journal(given: dict[str, t.Any]) -> None:
    kept = Kept()
    ask(kept, "acquired", holder=ME)
    ask(kept, "noted", entry={"state": "drained", "members": ["app1"], "intent": {"verb": "deploy"}})
    got = ask(kept, "acquired", "two", holder=ME, **given)
    assert got["acquired"] and got["taken_over"]["deploy_id"] == "one" and _lock.out_of(got["journal"]) == ["app1"]
    with pytest.raises(Taken, match="the lock the document of the shop is held by deploy two"):
        ask(kept, "noted", entry={"state": "drained", "members": ["app2"]})
    assert ask(kept, "released")["changed"] is False


def test_of_many_that_begin_at_once_one_has_it() -> None:
    kept, got = Kept(), {}
    threads = [threading.Thread(target=lambda name=f"d{n}": got.update({name: ask(kept, "acquired", name, holder=ME)["acquired"]}))
               for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got.values()) == [False] * 11 + [True]
    assert got[kept.content["lock"]["deploy_id"]]


def test_a_lost_race_is_run_again_with_what_is_there_now() -> None:
    kept = Kept()
    ask(kept, "acquired", holder=ME)
    kept.between.append(lambda: kept.content["journal"].append({"deploy_id": "one", "members": ["app9"]}) or setattr(kept, "version", 9))
    ask(kept, "noted", entry={"state": "drained", "members": ["app1"]})
    assert [entry["members"] for entry in kept.content["journal"]] == [["app9"], ["app1"]]
    kept.between.extend([lambda: setattr(kept, "version", kept.version + 1)] * 100)
    with pytest.raises(DowntimeError, match="the document of the shop changes again and again"):
        ask(kept, "noted", entry={"state": "drained", "members": ["app1"]})


def test_what_outlives_a_deploy_stays_and_the_journal_ends_with_a_clean_one() -> None:
    kept = Kept()
    ask(kept, "acquired", holder=ME, without=["lb2", "lb3"])
    ask(kept, "noted", entry={"state": "drained", "members": ["app1"]})
    assert ask(kept, "released", clean=True, joined=["lb3"], shares={"blue": 0, "green": 100}, last={"verb": "deploy"})["changed"]
    found = ask(kept, "observed", None)
    assert found["lock"] is None and found["journal"] == [] and list(found["without"]) == ["lb2"]
    assert found["shares"] == {"shares": {"blue": 0, "green": 100}, "since": 1000.0, "deploy_id": "one"}
    assert found["last"] == {"verb": "deploy", "time": 1000.0}


def test_check_mode_and_questions_write_nothing() -> None:
    kept = Kept()
    assert ask(kept, "acquired", holder=ME, check=True)["changed"] and ask(kept, "observed")["lock"] is None
    assert kept.version == 0
    ask(kept, "acquired", holder=ME)
    assert ask(kept, "released", check=True)["changed"] and ask(kept, "noted", check=True, entry={"state": "active"})["journal"] == []
    assert kept.version == 1
    assert ask(kept, "examined")["checks"] == [
        {"name": "state_dir", "ok": True, "text": "the document of the shop can be written", "mend": []}]


@pytest.mark.parametrize("content", [{"lock": "mine"}, {"lock": {"holder": {}}}, {"journal": "x"}])
def test_what_no_deploy_wrote_is_refused_until_somebody_forces_it(content: t.Any) -> None:
    kept = Kept(content)
    with pytest.raises(Unreadable, match="cannot be read"):
        ask(kept, "acquired", holder=ME)
    assert ask(kept, "acquired", holder=ME, force=True)["acquired"]


def test_the_fence_notes_a_move_before_and_after_and_stops_who_lost_the_lock() -> None:
    kept = Kept()
    move = {"lock": "production-shop", "lock_key": "one", "deploy_id": "one", "state": "drained", "members": ["app1"],
            "intent": {"verb": "deploy"}}
    ask(kept, "acquired", holder=ME)
    with _document.fence(kept, move, False):
        assert [entry.get("done") for entry in kept.content["journal"]] == [None]
    assert [entry.get("done") for entry in kept.content["journal"]] == [None, True]
    ask(kept, "acquired", "two", holder=ME, force=True)
    moved = []
    with pytest.raises(Taken), _document.fence(kept, move, False):
        moved.append(True)
    assert not moved
    for free in ({**move, "lock": None}, {**move, "shares": None}):
        with _document.fence(kept, free, False):
            moved.append(True)
    with _document.fence(kept, move, True):
        moved.append(True)
    assert len(moved) == 3 and len(kept.content["journal"]) == 2
    with pytest.raises(DowntimeError, match="deploy_id is missing"), _document.fence(kept, {**move, "deploy_id": None}, False):
        pass


def test_a_move_that_was_made_does_not_fail_since_nobody_could_write_that_down() -> None:
    kept = Kept()
    ask(kept, "acquired", holder=ME)
    move = {"lock": "production-shop", "lock_key": "one", "deploy_id": "one", "state": "drained", "members": ["app1"], "intent": {"verb": "deploy"}}

    def broken(content: t.Any, version: int) -> None:
        raise DowntimeError("the platform is gone")

    with _document.fence(kept, move, False):
        kept.write = broken  # type: ignore[method-assign]
    assert [entry.get("done") for entry in kept.content["journal"]] == [None]


@pytest.mark.parametrize("state, words", [("noted", "entry is missing"), ("released", None)])
def test_bad_input(state: str, words: str | None) -> None:
    with pytest.raises(DowntimeError, match="deploy_id is missing"):
        ask(Kept(), state, None)
    if words:
        with pytest.raises(DowntimeError, match=words):
            ask(Kept(), state)
