# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fence before every move: the lock of a deploy on a host that balancers share, and its journal, as far as who moves something needs them.
Private to the collection; who takes the lock and gives it back is in C(_lock). Where other hosts keep the lock than those that move something, the move
is noted there before it is made and when it has been made, and the mover is told what the journal says.

Every move takes the lock's file shared for as long as it lasts (flock(2)), and whoever takes the lock over takes it exclusively: a killed
controller's last module ends before the next deploy looks at anything, and one that begins later finds another's name and is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

POLL = 0.05
# Room for what has to be written down in one deploy of a thousand members, kept while the lock is.
ROOM = 256 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT)


class Unreadable(DowntimeError):
    """A file of ours that is there and says nothing: a crash, a full disk, or somebody's hand. Nobody can tell what it said."""

    # The controller knows which command goes on without it.
    details = {"unreadable": True}


class Taken(DowntimeError):
    """Somebody else has the lock now, or had it: what this deploy knew of its members is not so any more."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.details = {"lock_taken": sentence}


def key_of(lock: t.Mapping[str, t.Any]) -> str:
    """What tells one deploy's lock from another's. A deploy's name does not: a person may give the same one twice."""
    return str(lock.get("key") or lock["deploy_id"])


def told(lock: t.Mapping[str, t.Any]) -> str:
    """The holder, for a sentence."""
    holder = lock.get("holder") or {}
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lock["since"])) if lock.get("since") else "an unknown time"
    return (f"{holder.get('verb') or 'deploy'} {lock.get('deploy_id')} of {holder.get('user', 'an unknown user')} "
            f"on {holder.get('controller', 'an unknown controller')} (process {holder.get('pid', 'unknown')}), since {since}")


class Memory:
    """What the journal on a host says of the members there, for the move that is about to be made.

    :param out: the members that deploys took out and have not brought back, each with the worker that was told so, when it was this deploy.
    :param theirs: by member, the places where somebody else had it out when a deploy came to it, in the driver's own words.
    :param note: writes to the journal.

    C(done) is what the driver wants noted beside that the move has been made, C(moved) the members that this deploy has moved, in whichever direction.
    """

    def __init__(self, out: dict[str, t.Any], theirs: dict[str, list[str]], note: t.Callable[[t.Mapping[str, t.Any]], None]) -> None:
        self.out, self.theirs, self.note = out, theirs, note
        self.done: dict[str, t.Any] = {}
        self.moved: set[str] = set()

    def had(self, member: str) -> bool:
        """Whether a move before this one was about the member, so that it had a server then."""
        return member in self.out or member in self.moved

    def found_out(self, theirs: t.Mapping[str, t.Sequence[str]]) -> None:
        """Write down, before anything is moved, where somebody else has each of these members out; nowhere is an answer too."""
        news = {member: list(places) for member, places in theirs.items() if list(places) != self.theirs.get(member, [])}
        if news:
            self.note({"theirs": news})
            self.theirs.update(news)


class Elsewhere(Memory):
    """The same where the journal is kept on other hosts: what is to be noted goes back with the result."""

    def __init__(self, out: dict[str, t.Any], theirs: dict[str, list[str]], moved: t.Iterable[str]) -> None:
        self.noted: dict[str, t.Any] = {}
        super().__init__(out, theirs, self.noted.update)
        self.moved.update(moved)


def with_notes(result: dict[str, t.Any], memory: Memory | None) -> dict[str, t.Any]:
    """A mover's result with what hosts that keep the journal are to note of it."""
    return {**result, "noted": {**memory.noted, **memory.done}} if isinstance(memory, Elsewhere) else result


class LockFile:
    """The lock and the journal of one application in one environment, in a directory of this host."""

    def __init__(self, directory: str, name: str, clock: t.Callable[[], float] = time.time, monotonic: t.Callable[[], float] = time.monotonic,
                 sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.directory = directory
        self.path = os.path.join(directory, name + ".lock")
        self.journal = os.path.join(directory, name + ".journal")
        self.left_out = os.path.join(directory, name + ".without")
        self.switched = os.path.join(directory, name + ".shares")
        self.ended = os.path.join(directory, name + ".last")
        self.room = os.path.join(directory, name + ".room")
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep

    def read(self) -> dict[str, t.Any] | None:
        """Who holds the lock; None when nobody does. Raises Unreadable."""
        return _lock_in(self.path, self._content(self.path))

    def aged(self, lock: dict[str, t.Any] | None) -> dict[str, t.Any] | None:
        """A lock with its C(age) in seconds, by the clock that it was written by."""
        return lock if lock is None or not lock.get("since") else {**lock, "age": self._clock() - lock["since"]}

    def entries(self) -> list[dict[str, t.Any]]:
        """The journal; a line that a crash cut short is no entry, and a line that is none at all is skipped. Raises Unreadable where no line is one."""
        content = self._content(self.journal)
        if content is None:
            return []
        lines = [line for line in content.split(b"\n") if line.strip()]
        found = [entry for entry in map(_entry, lines) if entry is not None]
        if len(lines) > 1 and not found:
            raise Unreadable(_unreadable("journal", self.journal, "it holds no entry", "which members a deploy before had out"))
        return found

    def shares(self) -> dict[str, t.Any] | None:
        """The shares that the sides got last, as far as this host knows: C(shares), C(since) and C(deploy_id)."""
        return self._loaded("file of the shares", self.switched, "since when the sides have their shares", ("shares", "since"))

    def note_shares(self, shares: t.Mapping[str, int], deploy_id: str) -> None:
        """Write down since when the sides have these shares; what is known to be so for longer stays."""
        before, now = self.shares(), {side: int(share) for side, share in shares.items()}
        if not before or before["shares"] != now:
            self._put(self.switched, json.dumps({"shares": now, "since": self._clock(), "deploy_id": deploy_id}))

    def last(self) -> dict[str, t.Any] | None:
        """The last deploy or rollback that ended well and gave users another release, as far as this host knows (C(_going_on.kept)), and C(time)."""
        return self._loaded("file of the last deploy", self.ended, "what a rollback goes back to", ("verb", "strategy", "time"))

    def note(self, entry: t.Mapping[str, t.Any]) -> None:
        """Append to the journal, on the disk when this returns: where the disk is full, in the room that was kept for it.

        Raises DowntimeError when it cannot be written.
        """
        line = json.dumps({"time": self._clock(), **entry})
        try:
            try:
                _durable.append(self.journal, line)
            except OSError as error:
                if error.errno not in FULL or not os.path.exists(self.room):
                    raise
                os.unlink(self.room)
                _durable.append(self.journal, line)
        except OSError as error:
            raise DowntimeError(f"the journal {self.journal} cannot be written: {(error.strerror or str(error)).lower()}") from error

    @contextlib.contextmanager
    def fence(self, deploy_id: str, entry: t.Mapping[str, t.Any] | None = None, key: str | None = None) -> t.Iterator[Memory]:
        """Go on only while the lock is this deploy's, and keep it from being taken over until done.

        C(entry) is written down first, and once more when it has been done: a member that was on its way back is out until then. What returns a
        member to traffic is not held up by a note that cannot be written, nor by a directory that somebody removed: without the note less is known,
        and without the move users are missing a member.

        :param key: what tells this deploy's lock from that of another one of the same name.
        """
        returns = (entry or {}).get("state") == "active"
        if returns and not os.path.isdir(self.directory):
            yield memory_of([], deploy_id, lambda _entry: None)
            return
        with self._owned(deploy_id, key):
            memory = memory_of(self.entries(), deploy_id, self.note)
            if entry is not None:
                with contextlib.suppress(DowntimeError) if returns else contextlib.nullcontext():
                    self.note({"deploy_id": deploy_id, **entry})
            yield memory
            if entry is not None:
                done = {name: value for name, value in entry.items() if name != "intent"}
                # The move has been made: a disk that is full by now must not make a failure of it. Without the note less is known, nothing wrong.
                with contextlib.suppress(OSError, DowntimeError):
                    self.note({"deploy_id": deploy_id, **done, "done": True, **memory.done})
                    if entry.get("shares"):
                        # The journal ends with the deploy; when the sides changed places is asked for later.
                        self.note_shares(entry["shares"], deploy_id)

    def noted(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str | None = None) -> list[dict[str, t.Any]]:
        """Write down a move that is made on other hosts; returns the journal as it was before. Raises Taken, and DowntimeError where it cannot be written."""
        with self._owned(deploy_id, key):
            before = self.entries()
            self.note({"deploy_id": deploy_id, **entry})
            if entry.get("done") and entry.get("shares"):
                self.note_shares(entry["shares"], deploy_id)
            return before

    @contextlib.contextmanager
    def _owned(self, deploy_id: str, key: str | None) -> t.Iterator[None]:
        """While this lasts nobody takes the lock over. Raises Taken where it is not this deploy's."""
        with self._held(fcntl.LOCK_SH, 10, "a takeover of the lock") as found:
            if found is None:
                raise Taken(f"the lock {self.path} is gone, taken or removed by somebody else, so deploy {deploy_id} may not move anything any more")
            if key_of(found) != (key or deploy_id):
                raise Taken(f"the lock {self.path} is held by {told(found)}, so deploy {deploy_id} may not move anything any more")
            yield

    @staticmethod
    def _content(path: str) -> bytes | None:
        try:
            with open(path, "rb") as handle:
                return handle.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _loaded(self, what: str, path: str, tells: str, needed: t.Collection[str] = ()) -> dict[str, t.Any] | None:
        """A file of one mapping; None where there is none. Raises Unreadable."""
        return _mapping(what, path, self._content(path), tells, lambda found: all(name in found for name in needed))

    def _put(self, path: str, content: str) -> None:
        _durable.replace(path, content.encode())
        _durable.sync_directory(self.directory)

    @contextlib.contextmanager
    def _held(self, how: int, timeout: float, what: str) -> t.Iterator[dict[str, t.Any] | None]:
        """The lock's content with its file locked; None when there is none. A file that was replaced meanwhile is opened anew."""
        end = self._monotonic() + timeout
        while True:
            handle = self._opened()
            if handle is None:
                yield None
                return
            with handle:
                try:
                    fcntl.flock(handle, how | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                    if self._monotonic() > end:
                        raise DowntimeError(f"{what} still hold the lock {self.path} after {timeout:g} s; try again when they have ended") from error
                    self._sleep(POLL)
                    continue
                if self._is_current(handle):
                    try:
                        yield _lock_in(self.path, handle.read())
                    finally:
                        fcntl.flock(handle, fcntl.LOCK_UN)
                    return

    def _opened(self) -> t.Any:
        try:
            return open(self.path, "rb")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_current(self, handle: t.Any) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        mine = os.fstat(handle.fileno())
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _entry(text: bytes) -> dict[str, t.Any] | None:
    """A mapping in JSON; None for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _lock_in(path: str, content: bytes | None) -> dict[str, t.Any] | None:
    return _mapping("lock", path, content, "who holds it",
                    lambda found: isinstance(found.get("deploy_id"), str) and isinstance(found.get("holder", {}), dict))


def _mapping(what: str, path: str, content: bytes | None, tells: str, is_ours: t.Callable[[dict[str, t.Any]], bool]) -> dict[str, t.Any] | None:
    """What a file of one mapping says; None where there is none. Raises Unreadable."""
    if content is None:
        return None
    found = _entry(content)
    if found is None or not is_ours(found):
        raise Unreadable(_unreadable(what, path, "it is empty" if not content.strip() else "it is not what a deploy writes", tells))
    return found


def _unreadable(what: str, path: str, why: str, tells: str) -> str:
    return f"the {what} {path} cannot be read ({why}), so nobody can tell {tells}"


def fence(params: t.Mapping[str, t.Any], check_mode: bool) -> t.ContextManager[Memory | None]:
    """The fence of a module that moves traffic: by its options C(lock) and C(deploy_id).

    Without C(lock) there is none; in check mode nothing moves, nor where shares are only asked for. C(memory) is what the journal on other hosts says,
    where this deploy is the one that may move something.
    """
    if check_mode or ("shares" in params and params["shares"] is None):
        return contextlib.nullcontext()
    if not params.get("lock"):
        known = params.get("memory")
        return contextlib.nullcontext(None if known is None else Elsewhere(known["out"], known["theirs"], known["moved"]))
    if not params.get("deploy_id"):
        raise DowntimeError("deploy_id is missing; with lock, the name of the deploy that holds it is needed")
    directory, base = os.path.split(params["lock"])
    # What is moved are members, or the shares of the sides.
    entry = {name: params[name] for name in ("state", "members", "shares") if name in params}
    entry["intent"] = params.get("intent")
    return LockFile(directory, base[:-len(".lock")] if base.endswith(".lock") else base).fence(
        params["deploy_id"], entry, params.get("lock_key"))


def memory_of(entries: t.Iterable[t.Mapping[str, t.Any]], deploy_id: str | None, note: t.Callable[[t.Mapping[str, t.Any]], None],
              host: str | None = None) -> Memory:
    """What the journal's entries amount to. Only the deploy's own moves count as told to a worker: since an earlier one, people may have put things right.

    :param host: whose moves they are, where the journal is kept for several (C(by_host) has what each has noted); None for all of them.
    """
    memory = Memory({}, {}, note)
    for entry in entries:
        for name, own in (entry.get("by_host") or {}).items():
            if host in (None, name):
                memory.theirs.update(own.get("theirs") or {})
        memory.theirs.update(entry.get("theirs") or {})
        if entry.get("done") and entry.get("deploy_id") == deploy_id:
            memory.moved.update(entry.get("members") or ())
        # What was out before the deploy is a person's, by its plan.
        held = (entry.get("intent") or {}).get("held") or ()
        for member in entry.get("members") or ():
            if entry.get("state") == "active":
                if entry.get("done"):
                    memory.out.pop(member, None)
                elif member in memory.out:
                    memory.out[member] = None  # it may be back by this very move, whose end nobody noted
            elif entry.get("done"):
                if member in memory.out:
                    worker = ((entry.get("by_host") or {}).get(host) or entry).get("worker")
                    memory.out[member] = worker if entry.get("deploy_id") == deploy_id else None
            elif entry.get("state") and member not in held:
                memory.out.setdefault(member, None)
    return memory
