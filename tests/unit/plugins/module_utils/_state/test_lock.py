# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, failure
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

ME = {"controller": "ctl1", "boot_id": "b", "pid": 7, "start_time": "1", "user": "ops"}


@pytest.fixture
def lock(tmp_path):
    return _lock.Lock(str(tmp_path / "state"), "production-shop")


def test_one_holder_at_a_time(lock):
    assert lock.acquire("d1", ME)["acquired"]
    again = lock.acquire("d2", ME)
    assert not again["acquired"]
    assert again["holder"]["deploy_id"] == "d1"
    assert "deploy d1 of ops on ctl1 (process 7)" in _lock.told(again["holder"])
    assert lock.acquire("d1", ME)["acquired"]
    assert lock.release("d1", clean=True)
    assert lock.acquire("d2", ME)["acquired"]


def test_only_the_holder_releases(lock):
    lock.acquire("d1", ME)
    assert not lock.release("d2", clean=True)
    assert lock.read()["deploy_id"] == "d1"
    assert not _lock.Lock(lock.directory, "other").release("d1", clean=True)


def test_a_clean_end_removes_what_killed_writers_left(lock):
    lock.acquire("d1", ME)
    lock.note_shares({"blue": 100}, "d1")
    names = set(os.listdir(lock.directory))
    for name in (".production-shop.shares.12.34", ".production-shop.lock.12.34", ".production-shop.without.12.34"):
        with open(os.path.join(lock.directory, name), "w", encoding="utf-8"):
            pass
    assert lock.release("d1", clean=True)
    assert names == {"production-shop.lock", "production-shop.room", "production-shop.shares"} and os.listdir(lock.directory) == ["production-shop.shares"]


def test_a_takeover_names_whom_it_proved_dead(lock):
    lock.acquire("d1", ME)
    assert not lock.acquire("d3", ME, over="d0")["acquired"]
    got = lock.acquire("d3", ME, over="d1")
    assert got["acquired"] and got["taken_over"]["deploy_id"] == "d1"
    assert lock.acquire("d4", ME, force=True)["taken_over"]["deploy_id"] == "d3"


@pytest.mark.claim("moves-are-fenced")
def test_the_fence_refuses_who_does_not_hold_it(lock):
    with pytest.raises(DowntimeError, match="is gone"):
        with lock.fence("d1"):
            raise AssertionError
    lock.acquire("d1", ME)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        pass
    lock.acquire("d2", ME, over="d1")
    with pytest.raises(DowntimeError, match="held by deploy d2 .* so deploy d1 may not move anything any more") as refused:
        with lock.fence("d1", {"state": "drained", "members": ["app2"]}):
            raise AssertionError
    # By this the deploy knows that all else that it would say of its members is out of date.
    assert failure(refused.value)["lock_taken"] == str(refused.value)
    assert [entry["members"] for entry in lock.entries()] == [["app1"]] * 2


@pytest.mark.claim("takeover-waits-for-a-running-move")
def test_a_takeover_waits_for_a_move_that_runs(lock):
    lock.acquire("d1", ME)
    inside, leave, order = threading.Event(), threading.Event(), []

    def move():
        with lock.fence("d1"):
            inside.set()
            leave.wait(10)
            order.append("moved")

    def take():
        _lock.Lock(lock.directory, "production-shop").acquire("d2", ME, over="d1")
        order.append("taken")

    mover, taker = threading.Thread(target=move), threading.Thread(target=take)
    mover.start()
    assert inside.wait(10)
    taker.start()
    leave.set()
    mover.join()
    taker.join()
    assert order == ["moved", "taken"]
    assert lock.read()["deploy_id"] == "d2"


def test_a_takeover_does_not_wait_forever(lock):
    lock.acquire("d1", ME)
    with lock.fence("d1"):
        with pytest.raises(DowntimeError, match="still hold the lock .* after 0.1 s"):
            _lock.Lock(lock.directory, "production-shop").acquire("d2", ME, over="d1", timeout=0.1)
    assert lock.read()["deploy_id"] == "d1"


def _race(directory, number, results):
    results.put((number, _lock.Lock(directory, "production-shop").acquire(f"d{number}", ME)["acquired"]))


def test_of_many_at_once_one_gets_it(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_race, args=(str(tmp_path), number, results)) for number in range(8)]
    for child in children:
        child.start()
    got = [results.get(timeout=20) for _child in children]
    for child in children:
        child.join()
    assert sum(acquired for _number, acquired in got) == 1
    assert sorted(os.listdir(tmp_path)) == ["production-shop.lock", "production-shop.room"]


def test_the_journal_outlives_a_deploy_that_did_not_end_cleanly(lock):
    lock.acquire("d1", ME)
    for number, before in enumerate(({"app1": "o"}, {"app2": "o", "app1": "n"})):
        intent = {"verb": "deploy", "release": "n" * number, "label": "2.0.0", "before": before}
        with lock.fence("d1", {"state": "drained", "members": ["app1", "app2"], "intent": intent}):
            pass
    with lock.fence("d1", {"state": "active", "members": ["app2"]}):
        pass
    with pytest.raises(DowntimeError):
        with lock.fence("d1", {"state": "active", "members": ["app1"]}):
            raise DowntimeError("on its way back, and not there")
    with open(lock.journal, "a", encoding="utf-8") as handle:
        handle.write('{"state": "drai')
    lock.release("d1", clean=False)
    got = lock.acquire("d2", ME)
    assert _lock.out_of(got["journal"]) == ["app1"]
    with lock.fence("d2", {"state": "drained", "members": ["app3"]}):
        pass
    assert _lock.out_of(lock.entries()) == ["app1", "app3"]
    assert _lock.interrupted_of(got["journal"]) == {
        "verb": "deploy", "release": "n", "label": "2.0.0", "strategy": None, "deploy_id": "d1", "serving": None, "side": None, "streams": None,
        "before": {"app1": "o", "app2": "o"}}
    lock.release("d2", clean=True)
    assert lock.entries() == []
    assert _lock.interrupted_of([]) is None


@pytest.mark.claim("journal-before-the-move")
def test_a_move_is_in_the_journal_before_it_is_made(lock):
    lock.acquire("d1", ME)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        (noted,) = lock.entries()
        assert (noted["state"], noted["members"], noted.get("done")) == ("drained", ["app1"], None)
    assert [entry.get("done") for entry in lock.entries()] == [None, True]


def test_a_return_that_was_killed_within_brought_nobody_back(lock):
    lock.acquire("d1", ME)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        pass
    with pytest.raises(KeyboardInterrupt), lock.fence("d1", {"state": "active", "members": ["app1"]}):
        raise KeyboardInterrupt
    assert _lock.out_of(lock.entries()) == ["app1"]
    with lock.fence("d1", {"state": "active", "members": ["app1"]}):
        pass
    assert _lock.out_of(lock.entries()) == []


def test_whom_a_person_took_out_no_deploy_did():
    entries = [{"state": "drained", "members": ["app1", "app2"], "intent": {"held": ["app2"]}}]
    assert _lock.out_of(entries) == ["app1"]


@pytest.mark.parametrize("taken_over, verb", [
    ({"deploy_id": "d1", "holder": {**ME, "verb": "deploy"}}, "deploy"), ({"deploy_id": "d1", "holder": {**ME, "verb": "rollback"}}, None),
    ({"deploy_id": "d1", "holder": {**ME, "verb": "retire"}}, None), ({"deploy_id": "d1", "holder": ME}, None), (None, None)])
def test_a_deploy_that_moved_nobody_is_known_by_its_lock(taken_over, verb):
    assert (_lock.unmoved(taken_over) or {}).get("verb") == verb


def test_check_mode_only_looks(tmp_path):
    params = {"directory": str(tmp_path / "none"), "name": "production-shop", "state": "acquired", "deploy_id": "d1"}
    found = _lock.run(params, True)
    assert found.pop("now") > 0
    assert found == {"changed": True, "lock": None, "journal": [], "without": {}, "shares": None, "last": None,
                     "path": str(tmp_path / "none" / "production-shop.lock")}
    assert not (tmp_path / "none").exists()


def test_a_second_run_changes_nothing(tmp_path):
    params = {"directory": str(tmp_path), "name": "production-shop", "state": "acquired", "deploy_id": "d1", "holder": ME, "over": None, "force": False,
              "timeout": 1, "clean": True, "without": [], "joined": [], "shares": None}
    assert _lock.run(params, False)["changed"]
    assert not _lock.run(params, False)["changed"]
    params["state"] = "released"
    assert _lock.run(params, False)["changed"]
    assert not _lock.run(params, False)["changed"]


def test_a_state_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DowntimeError, match="deploy_state_dir is .*file/state"):
        _lock.Lock(str(tmp_path / "file" / "state"), "x").acquire("d1", ME)


def test_the_fence_of_a_module(tmp_path):
    lock = _lock.Lock(str(tmp_path), "production-shop")
    params = {"lock": lock.path, "deploy_id": "d1", "state": "drained", "members": ["app1"]}
    with _fence.fence({**params, "lock": None}, False):
        pass
    with _fence.fence(params, True):
        pass
    with pytest.raises(DowntimeError, match="is gone"):
        with _fence.fence(params, False):
            raise AssertionError
    lock.acquire("d1", ME)
    with _fence.fence(params, False):
        pass
    assert [(entry["members"], entry.get("done")) for entry in lock.entries()] == [(["app1"], None), (["app1"], True)]
    with pytest.raises(DowntimeError, match="deploy_id is missing"):
        with _fence.fence({**params, "deploy_id": None}, False):
            raise AssertionError


def test_names_are_file_names():
    assert _lock.name_of("shop/../x", "production") == "production-shop_.._x"


def test_the_journal_remembers_whose_a_member_is_and_who_was_told(lock):
    lock.acquire("d1", ME)
    worker = {"pid": 7, "started": "1"}
    with lock.fence("d1", {"state": "drained", "members": ["app1", "app2"]}) as memory:
        assert memory.out == {} == memory.theirs
        memory.found_out({"app1": [], "app2": ["shop/app2"]})
        memory.done["worker"] = worker
    with lock.fence("d1", {"state": "active", "members": ["app1", "app2"]}) as memory:
        assert memory.out == {"app1": worker, "app2": worker}
        assert memory.theirs == {"app2": ["shop/app2"]}
        assert _lock.out_of(lock.entries()) == ["app1"]
    with lock.fence("d1", {"state": "drained", "members": ["app2"]}) as memory:
        assert memory.out == {}
        memory.found_out({"app2": []})
        memory.done["worker"] = worker
    assert _lock.out_of(lock.entries()) == ["app2"]
    lock.release("d1", clean=False)
    lock.acquire("d2", ME)
    # People may have put things right since: another deploy does not hold the old one's worker against them.
    with lock.fence("d2", {"state": "active", "members": ["app2"]}) as memory:
        assert memory.out == {"app2": None}


def test_who_was_left_out_is_kept_until_a_deploy_has_them_again(tmp_path):
    lock = _lock.Lock(str(tmp_path), "production-shop")
    params = {"directory": str(tmp_path), "name": "production-shop", "state": "acquired", "deploy_id": "d1", "holder": ME, "over": None, "force": False,
              "timeout": 1, "clean": True, "without": ["lb2", "lb3"], "joined": []}
    _lock.run(params, False)
    assert {name: entry["deploy_id"] for name, entry in _lock.run({**params, "state": "observed"}, False)["without"].items()} == {"lb2": "d1", "lb3": "d1"}
    assert set(lock.without()) == {"lb2", "lb3"}
    _lock.run({**params, "state": "released", "joined": ["lb1", "lb3"]}, False)
    assert set(lock.without()) == {"lb2"}
    _lock.run({**params, "without": []}, False)
    _lock.run({**params, "state": "released", "joined": ["lb1", "lb2"]}, False)
    assert lock.without() == {}
    assert os.listdir(tmp_path) == []


def test_shares_are_noted_before_they_are_set_and_take_nobody_out(tmp_path):
    lock = _lock.Lock(str(tmp_path), "production-shop")
    lock.acquire("d1", ME)
    params = {"lock": lock.path, "deploy_id": "d1", "shares": {"blue": 0, "green": 100}, "intent": {"verb": "deploy", "release": "f" * 64}}
    with _fence.fence(params, False):
        assert lock.entries()[0]["shares"] == {"blue": 0, "green": 100}
    assert lock.entries()[1]["done"] and "members" not in lock.entries()[1]
    assert _lock.out_of(lock.entries()) == [] and _lock.interrupted_of(lock.entries())["verb"] == "deploy"


@pytest.mark.claim("bg-since-when-is-kept")
def test_since_when_the_sides_have_their_shares_outlives_the_journal(tmp_path):
    times = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    lock = _lock.Lock(str(tmp_path), "production-shop", clock=lambda: next(times))
    assert lock.shares() is None
    lock.acquire("d1", ME)
    with lock.fence("d1", {"shares": {"blue": 0, "green": 100}, "intent": {"verb": "deploy"}}):
        assert lock.shares() is None  # not before it is so
    switched = lock.shares()
    assert switched["shares"] == {"blue": 0, "green": 100} and switched["deploy_id"] == "d1"
    # Set to what they are, they count from when they became so.
    with lock.fence("d1", {"shares": {"blue": 0, "green": 100}}):
        pass
    assert lock.release("d1", clean=True, shares={"blue": 0, "green": 100})
    assert lock.shares() == switched and not lock.entries()
    # What was switched in another way counts from when somebody saw it.
    lock.acquire("d2", ME)
    assert lock.release("d2", clean=True, shares={"blue": 100, "green": 0})
    assert lock.shares()["shares"]["blue"] == 100 and lock.shares()["since"] > switched["since"]


def test_a_switch_that_failed_counts_from_nowhere(lock):
    lock.acquire("d1", ME)
    with pytest.raises(ValueError):
        with lock.fence("d1", {"shares": {"blue": 0, "green": 100}}):
            raise ValueError
    assert lock.shares() is None


@pytest.mark.claim("lock-is-its-takers")
def test_two_deploys_of_one_name_are_two(lock):
    """A job that is tried again gives its name again: the second must not move anything beside the first."""
    assert lock.acquire("ci-42", ME, key="one")["acquired"]
    second = lock.acquire("ci-42", {**ME, "pid": 8}, key="two")
    assert not second["acquired"] and second["holder"]["key"] == "one"
    with pytest.raises(DowntimeError, match="held by deploy ci-42 .* so deploy ci-42 may not move anything any more"):
        with lock.fence("ci-42", {"state": "drained", "members": ["app1"]}, "two"):
            raise AssertionError
    assert not lock.release("ci-42", clean=True, key="two")
    # Once the first is proven dead, a late call of it is the stranger's.
    assert lock.acquire("ci-42", ME, over="one", key="two")["taken_over"]["key"] == "one"
    with pytest.raises(DowntimeError, match="may not move anything any more"):
        with lock.fence("ci-42", None, "one"):
            raise AssertionError
    assert lock.release("ci-42", clean=True, key="two")


BROKEN = {"empty": b"", "half a line": b'{"deploy_id": "d1", "hol', "binary": b"\x00\xff\x80" * 9, "null": b"null",
          "a list": b"[1]", "another mapping": b'{"a": 1}'}


@pytest.mark.claim("unreadable-lock-can-be-broken")
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["lock", "journal", "without"])
def test_a_file_that_cannot_be_read_is_named_and_can_be_broken(lock, name, content):
    lock.prepare()
    path = os.path.join(lock.directory, f"production-shop.{name}")
    with open(path, "wb") as handle:
        handle.write(content * 2 if name == "journal" and content in (b"null", b"[1]") else content)
    harmless = {"journal": (b"", b'{"deploy_id": "d1", "hol', b"null", b"[1]", b'{"a": 1}', BROKEN["binary"]), "without": (b'{"a": 1}',)}
    if content not in harmless.get(name, ()):
        with pytest.raises(DowntimeError) as refused:
            lock.acquire("d2", ME)
        assert path in str(refused.value)
        told = _lock.failed("lb1", {"failed": True, **failure(refused.value)}, "this command")
        assert told.startswith("state host lb1: the ") and told.endswith("; make sure that no deploy runs, and then this command goes on without it")
        assert os.listdir(lock.directory) == [os.path.basename(path)], "nothing is left behind"
    assert lock.acquire("d2", ME, force=True)["acquired"]
    assert lock.release("d2", clean=True) and set(os.listdir(lock.directory)) <= {"production-shop.without"}


def test_a_journal_of_which_no_line_is_one_is_refused(lock):
    lock.prepare()
    with open(lock.journal, "wb") as handle:
        handle.write(b"\xff\xfe\n\x00\n")
    with pytest.raises(DowntimeError, match="journal .* cannot be read .*which members a deploy before had out"):
        lock.acquire("d2", ME)
    assert lock.acquire("d2", ME, force=True)["journal"] == []


def test_lines_that_are_none_do_not_hide_the_others(lock):
    lock.acquire("d1", ME)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        pass
    with open(lock.journal, "ab") as handle:
        handle.write(b"\xff\xfe\nnull\n")
    assert _lock.out_of(lock.entries()) == ["app1"]


def full(*_args):
    raise OSError(28, "No space left on device")


class Disk:
    """A disk that is full: what is appended does not fit, until room is given back."""

    def __init__(self, monkeypatch, lock):
        self.append = _fence._durable.append
        self.lock, self.full = lock, True
        monkeypatch.setattr(_fence._durable, "append", self)

    def __call__(self, path, line, mode=0o644):
        if self.full and os.path.exists(self.lock.room):
            raise OSError(28, "No space left on device", path)
        if self.full == "still":
            raise OSError(28, "No space left on device", path)
        self.append(path, line, mode)


def test_room_was_kept_for_what_has_to_be_written_on_a_full_disk(lock, monkeypatch):
    lock.acquire("d1", ME)
    assert os.path.getsize(lock.room) == _fence.ROOM
    Disk(monkeypatch, lock)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        pass
    assert not os.path.exists(lock.room) and [entry["members"] for entry in lock.entries()] == [["app1"]] * 2
    assert lock.release("d1", clean=True) and os.listdir(lock.directory) == []


@pytest.mark.claim("full-disk-keeps-nobody-out")
def test_a_member_returns_where_nothing_can_be_written_and_none_leaves(lock, monkeypatch):
    lock.acquire("d1", ME)
    Disk(monkeypatch, lock).full = "still"
    with pytest.raises(DowntimeError, match="the journal .* cannot be written: no space left on device"):
        with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
            raise AssertionError
    moved = []
    with lock.fence("d1", {"state": "active", "members": ["app1"]}):
        moved.append("app1")
    assert moved == ["app1"]


def test_lock_and_journal_go_where_nothing_can_be_written(lock, monkeypatch):
    lock.acquire("d1", ME)
    with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
        pass
    monkeypatch.setattr(lock, "_put", full)
    with pytest.raises(DowntimeError, match="the lock is given back, but nothing can be written to .* any more: no space left"):
        lock.release("d1", clean=True, shares={"blue": 100})
    assert os.listdir(lock.directory) == []


def test_no_lock_where_there_is_no_room_for_a_journal(lock, monkeypatch):
    monkeypatch.setattr(lock, "_keep_room", full)
    with pytest.raises(DowntimeError, match="deploy_state_dir is .* where there is no space left"):
        lock.acquire("d1", ME)
    assert os.listdir(lock.directory) == []


def test_a_directory_that_somebody_removed_keeps_no_member_out(lock):
    lock.acquire("d1", ME)
    shutil.rmtree(lock.directory)
    with pytest.raises(DowntimeError, match="is gone, taken or removed by somebody else, so deploy d1 may not move"):
        with lock.fence("d1", {"state": "drained", "members": ["app1"]}):
            raise AssertionError
    with lock.fence("d1", {"state": "active", "members": ["app1"]}) as memory:
        assert memory.out == {}
    assert not lock.release("d1", clean=True) and lock.acquire("d2", ME)["acquired"]


def test_a_lock_tells_its_age(lock):
    lock._clock = lambda: 1000.0
    lock.acquire("d1", ME)
    lock._clock = lambda: 1060.0
    assert lock.acquire("d2", ME)["holder"]["age"] == 60.0


def test_what_a_rollback_has_to_know_outlives_the_lock_and_the_next_deploy_writes_it_anew(lock):
    told = {"verb": "deploy", "strategy": "blue_green", "deploy_id": "d1", "release": {"digest": "n"}, "origin": {"digest": "o"}}
    lock.acquire("d1", ME)
    assert lock.last() is None and lock.release("d1", clean=True, last=told)
    assert {name: value for name, value in lock.last().items() if name != "time"} == told
    # One that failed says nothing, and keeps what was known.
    lock.acquire("d2", ME)
    lock.release("d2", clean=True)
    assert lock.last()["deploy_id"] == "d1"
    answers = {"lb1": {"last": {**told, "time": 1.0}}, "lb2": {"last": {**told, "deploy_id": "d2", "time": 2.0}},
               "lb3": {"failed": True}, "lb4": {"last": None}}
    assert _lock.newest(answers)["deploy_id"] == "d2" and _lock.newest({"lb3": {"failed": True}}) is None


def noted(lock, entry, **more):
    return _lock.run({"state": "noted", "directory": lock.directory, "name": "production-shop", "deploy_id": "d1", "key": "k1", "entry": entry, **more}, False)


def test_a_move_of_other_hosts_is_noted_while_the_lock_is_this_deploys(lock):
    lock.acquire("d1", ME, key="k1")
    out = {"state": "drained", "members": ["app1", "app2"], "intent": {"held": ["app9"], "before": {"app1": "a", "app2": "a"}, "verb": "deploy"}}
    assert noted(lock, out)["journal"] == []
    told = {"lb1": {"worker": 7, "theirs": {"app2": ["shop/app2"]}}, "lb2": {"worker": 8}}
    before = noted(lock, {"state": "drained", "members": ["app1", "app2"], "done": True, "by_host": told})["journal"]
    # A mover has no use for what all members ran.
    assert [entry["intent"] for entry in before] == [{"held": ["app9"]}]
    entries = lock.entries()
    known = {host: _fence.memory_of(entries, "d1", lambda _entry: None, host) for host in ("lb1", "lb2")}
    assert known["lb1"].out == {"app1": 7, "app2": 7} and known["lb1"].theirs == {"app2": ["shop/app2"]} and known["lb1"].moved == {"app1", "app2"}
    assert known["lb2"].out == {"app1": 8, "app2": 8} and known["lb2"].theirs == {}
    # What somebody else has out on any of them is no orphan; and what was set out to do is known.
    assert _lock.out_of(entries) == ["app1"] and _lock.interrupted_of(entries)["before"] == {"app1": "a", "app2": "a"}


def test_a_move_of_other_hosts_is_refused_once_the_lock_is_somebody_elses(lock):
    lock.acquire("d2", ME)
    with pytest.raises(DowntimeError, match="held by deploy d2 .* so deploy d1 may not move anything any more") as refused:
        noted(lock, {"state": "active", "members": ["app1"]})
    assert failure(refused.value)["lock_taken"] and lock.entries() == []
    with pytest.raises(DowntimeError, match="entry is missing"):
        noted(lock, None)
    shutil.rmtree(lock.directory)
    assert noted(lock, {"state": "active", "members": ["app1"]})["journal"] == []
    with pytest.raises(DowntimeError, match="is gone"):
        noted(lock, {"state": "drained", "members": ["app1"]})


def test_shares_that_other_hosts_have_set_are_known_when_they_are(lock):
    lock.acquire("d1", ME, key="k1")
    noted(lock, {"shares": {"blue": 0, "green": 100}, "intent": {"verb": "deploy"}})
    assert lock.shares() is None
    noted(lock, {"shares": {"blue": 0, "green": 100}, "done": True})
    assert lock.shares()["shares"] == {"blue": 0, "green": 100}


def test_a_mover_that_was_told_of_the_journal_elsewhere_gives_back_what_is_to_be_noted():
    with _fence.fence({"memory": {"out": {"app1": 7}, "theirs": {}, "moved": ["app1"]}}, False) as memory:
        assert memory.had("app1") and not memory.had("app2")
        memory.found_out({"app2": ["shop/app2"]})
        memory.done["worker"] = 8
    assert _fence.with_notes({"changed": True}, memory) == {"changed": True, "noted": {"theirs": {"app2": ["shop/app2"]}, "worker": 8}}
    assert _fence.with_notes({"changed": True}, None) == {"changed": True}
