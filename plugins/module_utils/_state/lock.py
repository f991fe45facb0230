# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a deploy on a host that balancers share, and its journal: taken, given back, read. Private to the collection.

A lock is one file that names its holder. It comes into being whole, by link(2): a crash between creating and writing would leave a lock
without a name. The journal beside it outlives the lock when a deploy does not end cleanly: it says what was about to be done.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, looked_at, named
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import FULL, ROOM, LockFile, Unreadable, key_of, memory_of, told


def name_of(app: str, environment: str) -> str:
    """The file name, without its ending, of an application's lock in an environment."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", f"{environment}-{app}")


class Lock(LockFile):
    """Takes the lock, gives it back, and keeps the balancers that were left out."""

    def prepare(self) -> None:
        """Make the directory. Raises DowntimeError when that cannot be done or nothing can be written there."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
        except OSError as error:
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', which cannot be made: {error.strerror}") from error
        self._writable(self.directory)

    def usable(self, statvfs: t.Callable[[str], os.statvfs_result] = os.statvfs) -> str:
        """What can be said for the directory. Raises DowntimeError where no lock could be taken in it. Nothing is made."""
        place = _durable.nearest(self.directory)
        if not os.path.isdir(place):
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', which cannot be made: {place} is no directory")
        self._writable(place)
        status = statvfs(place)
        if status.f_bavail * status.f_frsize < ROOM:
            raise DowntimeError(self._full())
        return f"{self.directory} can be written"

    def _writable(self, place: str) -> None:
        if not os.access(place, os.W_OK | os.X_OK):
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', where user id {os.geteuid()} cannot write; "
                                "a directory that can be written is accepted")

    def _full(self) -> str:
        return f"deploy_state_dir is '{self.directory}', where there is no space left for the lock and the journal of a deploy ({ROOM >> 10} KiB)"

    def acquire(self, deploy_id: str, holder: t.Mapping[str, t.Any], over: str | None = None, force: bool = False, timeout: float = 60,
                key: str | None = None) -> dict[str, t.Any]:
        """Take the lock, and keep room beside it for what this deploy will have to write down.

        :param over: the key of the lock whose holder is proven dead; it is taken over when it is still that one.
        :param force: take it whoever holds it, and whatever its files say or do not say.
        :param timeout: seconds to wait for moves of the old holder that still run.
        :param key: what tells this deploy's lock from that of another one of the same name.
        :returns: C(acquired), C(taken_over) (the old lock, or None), C(holder) (who has it when it was not acquired), C(journal).
        """
        self.prepare()
        if force:
            self._forget_unreadable()
        # Before the lock is there: whoever cannot read them must not leave a lock behind.
        journal = self.entries()
        self.without()
        lock = {"deploy_id": deploy_id, "key": key or deploy_id, "holder": dict(holder), "since": self._clock()}
        try:
            got = self._acquire(lock, over, force, timeout)
            if got["acquired"]:
                self._keep_room()
        except OSError as error:
            if error.errno not in FULL:
                raise
            # A lock without room for a journal would end half-way, with members out.
            self.release(deploy_id, clean=False, key=key)
            raise DowntimeError(self._full()) from error
        return {**got, "journal": self.entries() if got["taken_over"] else journal}

    def _acquire(self, lock: t.Mapping[str, t.Any], over: str | None, force: bool, timeout: float) -> dict[str, t.Any]:
        content = json.dumps(lock)
        mine: dict[str, t.Any] = {"acquired": True, "taken_over": None, "holder": None}
        for _attempt in range(3):
            if self._create(content):
                return mine
            found = self.read()
            if found is None:
                continue
            if key_of(found) == lock["key"]:
                return mine
            if not force and key_of(found) != over:
                return {"acquired": False, "taken_over": None, "holder": self.aged(found)}
            with self._held(fcntl.LOCK_EX, timeout, "moves of " + told(found)) as now:
                if now is None or key_of(now) != key_of(found):
                    continue
                self._replace(content)
                return {**mine, "taken_over": found}
        return {"acquired": False, "taken_over": None, "holder": self.aged(self.read())}

    def _forget_unreadable(self) -> None:
        """Remove what nobody can read, for somebody who has made sure that no deploy runs."""
        for path, read in ((self.path, self.read), (self.journal, self.entries), (self.left_out, self.without), (self.switched, self.shares),
                           (self.ended, self.last)):
            try:
                read()
            except Unreadable:
                os.unlink(path)

    def _keep_room(self) -> None:
        """Take the room that the journal may need, so that a disk which is full later does not keep a member from returning."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.room)
        handle = os.open(self.room, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # Really written: not every file system can set room aside.
            os.write(handle, b"\0" * ROOM)
            os.fsync(handle)
        finally:
            os.close(handle)
        if os.path.getsize(self.room) < ROOM:
            raise OSError(FULL[0], os.strerror(FULL[0]), self.room)

    def release(self, deploy_id: str, clean: bool, joined: t.Collection[str] = (), shares: t.Mapping[str, int] | None = None,
                key: str | None = None, last: t.Mapping[str, t.Any] | None = None) -> bool:
        """Give the lock back, if it is this deploy's. C(clean) also ends the journal: nothing is left to resume. C(joined) took part in it.

        C(shares) are those that all balancers have now, as far as it is known; C(last) is what a later rollback has to know of this
        deploy. Lock and journal go, also where nothing can be written any more.
        """
        with self._held(fcntl.LOCK_EX, 10, "moves of deploy " + deploy_id) as found:
            if found is None or key_of(found) != (key or deploy_id):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.room)
            if clean:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.journal)
                # All of these are written by the lock's holder only.
                for path in (self.path, self.left_out, self.switched, self.ended):
                    _durable.remove_unfinished(path)
            try:
                if shares:
                    self.note_shares(shares, deploy_id)
                if clean:
                    self.take_in(joined)
                if last:
                    self._put(self.ended, json.dumps({**last, "time": self._clock()}))
            except OSError as error:
                raise DowntimeError(f"the lock is given back, but nothing can be written to {self.directory} any more: "
                                    f"{(error.strerror or str(error)).lower()}") from error
            finally:
                os.unlink(self.path)
                _durable.sync_directory(self.directory)
            return True

    def without(self) -> dict[str, dict[str, t.Any]]:
        """The balancers that deploys went on without, each with the last such deploy, until one of theirs has them again."""
        return self._loaded("file of the balancers that deploys went on without", self.left_out, "which they are") or {}

    def leave_out(self, deploy_id: str, names: t.Sequence[str]) -> None:
        """Note that C(deploy_id) goes on without these balancers."""
        if names:
            self._keep_without({**self.without(), **{name: {"deploy_id": deploy_id, "time": self._clock()} for name in names}})

    def take_in(self, names: t.Collection[str]) -> None:
        """Forget that these were left out: a deploy with them has ended well."""
        before = self.without()
        after = {name: entry for name, entry in before.items() if name not in names}
        if after and after != before:
            self._keep_without(after)
        elif before and not after:
            os.unlink(self.left_out)

    def _keep_without(self, entries: t.Mapping[str, t.Any]) -> None:
        self._put(self.left_out, json.dumps(entries))

    # -- as a keeper -------------------------------------------------------------------------------------------------
    @property
    def place(self) -> str:
        return self.path

    def held(self) -> dict[str, t.Any] | None:
        return self.read()

    def observed(self) -> dict[str, t.Any]:
        return {"lock": self.aged(self.read()), "journal": self.entries(), "without": self.without(), "shares": self.shares(), "last": self.last()}

    def examined(self) -> dict[str, t.Any]:
        place = self.directory
        return looked_at("state_dir", self.usable, [f"install -d -o USER {place}, with the user that Ansible becomes there; df -h "
                                                    f"{_durable.nearest(place)} shows its room; deploy_state_dir names another place"])

    def take(self, params: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
        got = self.acquire(params["deploy_id"], params["holder"] or {}, params["over"], params["force"], params["timeout"], key)
        if got["acquired"]:
            self.leave_out(params["deploy_id"], params["without"])
        return got

    def write_down(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str) -> list[dict[str, t.Any]]:
        if entry.get("state") == "active" and not os.path.isdir(self.directory):
            # As with the fence: nobody stays out of traffic because somebody removed the directory.
            return []
        return self.noted(deploy_id, entry, key)

    def give_back(self, params: t.Mapping[str, t.Any], key: str) -> bool:
        return self.release(params["deploy_id"], params["clean"], params["joined"], params.get("shares"), key, params.get("last"))

    def _create(self, content: str) -> bool:
        temporary = f"{self.path}.{os.getpid()}.{time.monotonic_ns()}"
        _durable.create(temporary, content.encode())
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _durable.sync_directory(self.directory)
        return True

    def _replace(self, content: str) -> None:
        self._put(self.path, content)


def out_of(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """The members that deploys took out, by the journal, and have not brought back; what somebody else took out is not among them."""
    memory = memory_of(entries, None, lambda entry: None)
    return [member for member in memory.out if not memory.theirs.get(member)]


def interrupted_of(entries: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any] | None:
    """What a deploy that did not end cleanly set out to do, from the intents that go with its moves.

    :returns: C(verb), C(strategy), C(deploy_id), C(release) (digest), C(label), C(serving) (the side that served when it began), C(side) (whose members it
        moved), C(streams) (what was given on its command line) and C(before): the digest that each member ran on that side before the first of such
        deploys there. None when the journal has none.
    """
    told = [entry for entry in entries if entry.get("intent")]
    if not told:
        return None
    last = told[-1]["intent"]
    before: dict[str, str] = {}
    for entry in told:
        if entry["intent"].get("side") != last.get("side"):
            # What a slot of the other side ran is another thing.
            continue
        for member, digest in (entry["intent"].get("before") or {}).items():
            if digest:
                before.setdefault(member, digest)
    return {**{name: last.get(name) for name in ("verb", "strategy", "release", "label", "serving", "side", "streams")}, "before": before,
            "deploy_id": told[-1].get("deploy_id")}


def journal_of(answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The longest journal of all state hosts: each has its own, and a move that failed may have reached some of them only."""
    return max((result.get("journal") or [] for result in answers.values()), key=len, default=[])


def newest(answers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any] | None:
    """The last deploy or rollback that ended well, by all state hosts: one that was left out meanwhile knows an earlier one."""
    known = [result["last"] for result in answers.values() if result.get("last")]
    return max(known, key=lambda last: float(last["time"]), default=None)


def unmoved(taken_over: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """What a deploy whose lock was taken over set out to do, when its journal has no move: all members still run what they ran before it.

    Of a rollback that moved nobody, nothing has to be known: another one begins where it did. What only stops an idle side moves nobody at all.
    """
    verb = ((taken_over or {}).get("holder") or {}).get("verb")
    return {"verb": verb, "release": None, "label": None, "before": {}} if verb and verb not in ("rollback", "retire") else None


def failed(host: str, result: t.Mapping[str, t.Any], command: str) -> str:
    """A state host's failure in a sentence; where it cannot read one of its files, with the C(command) that goes on without that."""
    told_so = named("state host", host, result)
    return f"{told_so}; make sure that no deploy runs, and then {command} goes on without it" if result.get("unreadable") else told_so


class Keeper(t.Protocol):
    """What keeps the lock of an application, the journal, and what outlives a deploy.

    :param place: what people know it by, in sentences.
    """

    @property
    def place(self) -> str:
        ...

    def held(self) -> dict[str, t.Any] | None:
        """The lock; None where there is none."""

    def observed(self) -> dict[str, t.Any]:
        """C(lock) with its age, C(journal), C(without), C(shares), C(last)."""

    def examined(self) -> dict[str, t.Any]:
        """Whether a lock could be taken, as C(looked_at) tells it."""

    def take(self, params: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
        """Take the lock, as C(Lock.acquire) does, and write down who is left out."""

    def write_down(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str) -> list[dict[str, t.Any]]:
        """Add a move to the journal; returns it as it was before. Raises Taken."""

    def give_back(self, params: t.Mapping[str, t.Any], key: str) -> bool:
        """Give the lock back if it is this deploy's, as C(Lock.release) does."""


def answer(keeper: Keeper, params: t.Mapping[str, t.Any], check_mode: bool, now: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """What a module that keeps locks returns, wherever it keeps them.

    :param params: its options, those of C(argument_spec).
    :param now: seconds since 1970.
    """
    state, deploy_id = params["state"], params.get("deploy_id")
    key = params.get("key") or deploy_id

    def is_ours(lock: t.Mapping[str, t.Any] | None) -> bool:
        return lock is not None and key_of(lock) == key

    if state in ("observed", "examined") or (check_mode and state == "acquired"):
        found = keeper.observed()
        return {**({"checks": [keeper.examined()]} if state == "examined" else {}),
                "changed": state == "acquired" and not is_ours(found["lock"]), **found, "now": now(), "path": keeper.place}
    if not deploy_id:
        raise DowntimeError(f"deploy_id is missing; with state {state}, the name of a deploy is needed")
    if state == "noted":
        if not params.get("entry"):
            raise DowntimeError("entry is missing; with state noted, what is to be written down is needed")
        journal = [] if check_mode else [_short(entry) for entry in keeper.write_down(deploy_id, params["entry"], key)]
        return {"changed": not check_mode, "journal": journal, "path": keeper.place}
    if state == "released":
        if check_mode:
            held = keeper.held()
            return {"changed": is_ours(held), "lock": held, "path": keeper.place}
        return {"changed": keeper.give_back(params, key), "lock": None, "path": keeper.place}
    before = None if params["force"] else keeper.held()
    got = keeper.take(params, key)
    return {"changed": got["acquired"] and not is_ours(before), "path": keeper.place, **got}


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The module C(lock)."""
    return answer(Lock(params["directory"], params["name"]), params, check_mode)


def _short(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    """An entry less what a mover does not need of its intent, which names all members."""
    intent = entry.get("intent") or {}
    return {**entry, "intent": {"held": intent.get("held") or []}} if intent else entry


def argument_spec() -> dict[str, t.Any]:
    """The options of the module C(lock)."""
    return {
        "state": {"type": "str", "choices": ["acquired", "released", "noted", "observed", "examined"], "required": True},
        "directory": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "deploy_id": {"type": "str"},
        "key": {"type": "str", "no_log": False},
        "holder": {"type": "dict"},
        "over": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "clean": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 60.0},
        "without": {"type": "list", "elements": "str", "default": []},
        "joined": {"type": "list", "elements": "str", "default": []},
        "shares": {"type": "dict"},
        "last": {"type": "dict"},
        "entry": {"type": "dict"},
    }


IN_PROCESS = argument_spec, run
