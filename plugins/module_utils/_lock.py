# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a deploy on a host that balancers share, its journal, and the fence before every move. Private to the collection.

A lock is one file that names its holder. It comes into being whole, by link(2): a crash between creating and writing would leave a lock
without a name. The journal beside it outlives the lock when a deploy does not end cleanly: it says what was about to be done.

Every move takes the lock's file shared for as long as it lasts (flock(2)), and whoever takes the lock over takes it exclusively: a killed
controller's last module ends before the next deploy looks at anything, and one that begins later finds another's name and is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

POLL = 0.05


def name_of(app: str, environment: str) -> str:
    """The file name, without its ending, of an application's lock in an environment."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", f"{environment}-{app}")


def told(lock: t.Mapping[str, t.Any]) -> str:
    """The holder, for a sentence."""
    holder = lock.get("holder") or {}
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lock["since"])) if lock.get("since") else "an unknown time"
    return (f"deploy {lock.get('deploy_id')} of {holder.get('user', 'an unknown user')} on {holder.get('controller', 'an unknown controller')} "
            f"(process {holder.get('pid', 'unknown')}), since {since}")


@dataclasses.dataclass
class Memory:
    """What the journal on a host says of the members there, for the move that is about to be made.

    :param out: the members that deploys took out and have not brought back, each with the worker that was told so, when it was this deploy.
    :param theirs: by member, the places where somebody else had it out when a deploy came to it, in the driver's own words.
    :param note: writes to the journal.
    """

    out: dict[str, t.Any]
    theirs: dict[str, list[str]]
    note: t.Callable[[t.Mapping[str, t.Any]], None]
    done: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def found_out(self, theirs: t.Mapping[str, t.Sequence[str]]) -> None:
        """Write down, before anything is moved, where somebody else has each of these members out; nowhere is an answer too."""
        news = {member: list(places) for member, places in theirs.items() if list(places) != self.theirs.get(member, [])}
        if news:
            self.note({"theirs": news})
            self.theirs.update(news)


class Lock:
    """The lock and the journal of one application in one environment, in a directory of this host."""

    def __init__(self, directory: str, name: str, clock: t.Callable[[], float] = time.time, monotonic: t.Callable[[], float] = time.monotonic,
                 sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.directory = directory
        self.path = os.path.join(directory, name + ".lock")
        self.journal = os.path.join(directory, name + ".journal")
        self.left_out = os.path.join(directory, name + ".without")
        self.switched = os.path.join(directory, name + ".shares")
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep

    def prepare(self) -> None:
        """Make the directory. Raises DowntimeError when that cannot be done or nothing can be written there."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
        except OSError as error:
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', which cannot be made: {error.strerror}") from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', where user id {os.geteuid()} cannot write; "
                                "a directory that can be written is accepted")

    def read(self) -> dict[str, t.Any] | None:
        """Who holds the lock; None when nobody does."""
        try:
            with open(self.path, encoding="utf-8") as handle:
                return json.load(handle)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return None

    def entries(self) -> list[dict[str, t.Any]]:
        """The journal; a line that a crash cut short is no entry."""
        found = []
        try:
            with open(self.journal, encoding="utf-8") as handle:
                for line in handle:
                    with contextlib.suppress(ValueError):
                        found.append(json.loads(line))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    def acquire(self, deploy_id: str, holder: t.Mapping[str, t.Any], over: str | None = None, force: bool = False, timeout: float = 60) -> dict[str, t.Any]:
        """Take the lock.

        :param over: the deploy whose holder is proven dead; its lock is taken over when it is still that one's.
        :param force: take it whoever holds it.
        :param timeout: seconds to wait for moves of the old holder that still run.
        :returns: C(acquired), C(taken_over) (the old lock, or None), C(holder) (who has it when it was not acquired), C(journal).
        """
        self.prepare()
        content = json.dumps({"deploy_id": deploy_id, "holder": dict(holder), "since": self._clock()})
        for _attempt in range(3):
            if self._create(content):
                return {"acquired": True, "taken_over": None, "holder": None, "journal": self.entries()}
            found = self.read()
            if found is None:
                continue
            if found["deploy_id"] == deploy_id:
                return {"acquired": True, "taken_over": None, "holder": None, "journal": self.entries()}
            if not force and found["deploy_id"] != over:
                return {"acquired": False, "taken_over": None, "holder": found, "journal": self.entries()}
            with self._held(fcntl.LOCK_EX, timeout, "moves of " + told(found)) as now:
                if now is None or now["deploy_id"] != found["deploy_id"]:
                    continue
                self._replace(content)
                return {"acquired": True, "taken_over": found, "holder": None, "journal": self.entries()}
        return {"acquired": False, "taken_over": None, "holder": self.read(), "journal": self.entries()}

    def release(self, deploy_id: str, clean: bool, joined: t.Collection[str] = (), shares: t.Mapping[str, int] | None = None) -> bool:
        """Give the lock back, if it is this deploy's. C(clean) also ends the journal: nothing is left to resume. C(joined) took part in it.

        C(shares) are those that all balancers have now, as far as it is known.
        """
        with self._held(fcntl.LOCK_EX, 10, "moves of deploy " + deploy_id) as found:
            if found is None or found["deploy_id"] != deploy_id:
                return False
            if shares:
                self.note_shares(shares, deploy_id)
            if clean:
                self.take_in(joined)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.journal)
            os.unlink(self.path)
            self._sync()
            return True

    def without(self) -> dict[str, dict[str, t.Any]]:
        """The balancers that deploys went on without, each with the last such deploy, until one of theirs has them again."""
        try:
            with open(self.left_out, encoding="utf-8") as handle:
                return json.load(handle)
        except (FileNotFoundError, NotADirectoryError):
            return {}

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

    def shares(self) -> dict[str, t.Any] | None:
        """The shares that the sides got last, as far as this host knows: C(shares), C(since) and C(deploy_id)."""
        try:
            with open(self.switched, encoding="utf-8") as handle:
                return json.load(handle)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def note_shares(self, shares: t.Mapping[str, int], deploy_id: str) -> None:
        """Write down since when the sides have these shares; what is known to be so for longer stays."""
        before, now = self.shares(), {side: int(share) for side, share in shares.items()}
        if not before or before["shares"] != now:
            os.rename(self._temporary(json.dumps({"shares": now, "since": self._clock(), "deploy_id": deploy_id})), self.switched)
            self._sync()

    def _keep_without(self, entries: t.Mapping[str, t.Any]) -> None:
        os.rename(self._temporary(json.dumps(entries)), self.left_out)
        self._sync()

    def note(self, entry: t.Mapping[str, t.Any]) -> None:
        """Append to the journal, on the disk when this returns."""
        fresh = not os.path.exists(self.journal)
        handle = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A line that a crash cut short is ended first, so that it spoils itself only.
            os.write(handle, ("\n" + json.dumps({"time": self._clock(), **entry}) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        if fresh:
            self._sync()

    @contextlib.contextmanager
    def fence(self, deploy_id: str, entry: t.Mapping[str, t.Any] | None = None) -> t.Iterator[Memory]:
        """Go on only while the lock is this deploy's, and keep it from being taken over until done.

        C(entry) is written down first, and once more when it has been done: a member that was on its way back is out until then.
        """
        with self._held(fcntl.LOCK_SH, 10, "a takeover of the lock") as found:
            if found is None:
                raise DowntimeError(f"the lock {self.path} is gone, so deploy {deploy_id} may not move anything")
            if found["deploy_id"] != deploy_id:
                raise DowntimeError(f"the lock {self.path} is held by {told(found)}, so deploy {deploy_id} may not move anything any more")
            memory = memory_of(self.entries(), deploy_id, self.note)
            if entry is not None:
                self.note({"deploy_id": deploy_id, **entry})
            yield memory
            if entry is not None:
                done = {name: value for name, value in entry.items() if name != "intent"}
                # The move has been made: a disk that is full by now must not make a failure of it. Without the note less is known, nothing wrong.
                with contextlib.suppress(OSError):
                    self.note({"deploy_id": deploy_id, **done, "done": True, **memory.done})
                    if entry.get("shares"):
                        # The journal ends with the deploy; when the sides changed places is asked for later.
                        self.note_shares(entry["shares"], deploy_id)

    def _create(self, content: str) -> bool:
        temporary = self._temporary(content)
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        self._sync()
        return True

    def _replace(self, content: str) -> None:
        os.rename(self._temporary(content), self.path)
        self._sync()

    def _temporary(self, content: str) -> str:
        path = f"{self.path}.{os.getpid()}.{time.monotonic_ns()}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(handle, content.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        return path

    def _sync(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

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
                        yield json.load(handle)
                    finally:
                        fcntl.flock(handle, fcntl.LOCK_UN)
                    return

    def _opened(self) -> t.Any:
        try:
            return open(self.path, encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_current(self, handle: t.Any) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        mine = os.fstat(handle.fileno())
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def fence(params: t.Mapping[str, t.Any], check_mode: bool) -> t.ContextManager[Memory | None]:
    """The fence of a module that moves traffic: by its options C(lock) and C(deploy_id). Without C(lock) there is none; in check mode nothing moves."""
    if not params.get("lock") or check_mode:
        return contextlib.nullcontext()
    if not params.get("deploy_id"):
        raise DowntimeError("deploy_id is missing; with lock, the name of the deploy that holds it is needed")
    directory, base = os.path.split(params["lock"])
    # What is moved are members, or the shares of the sides.
    entry = {name: params[name] for name in ("state", "members", "shares") if name in params}
    entry["intent"] = params.get("intent")
    return Lock(directory, base[:-len(".lock")] if base.endswith(".lock") else base).fence(params["deploy_id"], entry)


def memory_of(entries: t.Iterable[t.Mapping[str, t.Any]], deploy_id: str | None, note: t.Callable[[t.Mapping[str, t.Any]], None]) -> Memory:
    """What the journal's entries amount to. Only the deploy's own moves count as told to a worker: since an earlier one, people may have put things right."""
    memory = Memory({}, {}, note)
    for entry in entries:
        memory.theirs.update(entry.get("theirs") or {})
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
                    memory.out[member] = entry.get("worker") if entry.get("deploy_id") == deploy_id else None
            elif entry.get("state") and member not in held:
                memory.out.setdefault(member, None)
    return memory


def out_of(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """The members that deploys took out, by the journal, and have not brought back; what somebody else took out is not among them."""
    memory = memory_of(entries, None, lambda entry: None)
    return [member for member in memory.out if not memory.theirs.get(member)]


def interrupted_of(entries: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any] | None:
    """What a deploy that did not end cleanly set out to do, from the intents that go with its moves.

    :returns: C(verb), C(release) (digest), C(label), C(serving) (the side that served when it began), C(side) (whose members it moved), and
        C(before): the digest that each member ran before the first of such deploys. None when the journal has none.
    """
    last: t.Mapping[str, t.Any] | None = None
    before: dict[str, str] = {}
    for entry in entries:
        intent = entry.get("intent")
        if not intent:
            continue
        last = intent
        for member, digest in (intent.get("before") or {}).items():
            if digest:
                before.setdefault(member, digest)
    if not last:
        return None
    return {"verb": last.get("verb"), "release": last.get("release"), "label": last.get("label"), "before": before, "serving": last.get("serving"),
            "side": last.get("side")}


def unmoved(taken_over: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """What a deploy whose lock was taken over set out to do, when its journal has no move: all members still run what they ran before it.

    Of a rollback that moved nobody, nothing has to be known: another one begins where it did. What only stops an idle side moves nobody at all.
    """
    verb = ((taken_over or {}).get("holder") or {}).get("verb")
    return {"verb": verb, "release": None, "label": None, "before": {}} if verb and verb not in ("rollback", "retire") else None


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The module C(lock)."""
    lock = Lock(params["directory"], params["name"])
    state = params["state"]
    if state == "observed" or (check_mode and state == "acquired"):
        found = lock.read()
        ours = found is not None and found["deploy_id"] == params.get("deploy_id")
        return {"changed": state == "acquired" and not ours, "lock": found, "journal": lock.entries(), "without": lock.without(),
                "shares": lock.shares(), "now": time.time(), "path": lock.path}
    if not params.get("deploy_id"):
        raise DowntimeError(f"deploy_id is missing; with state {state}, the name of a deploy is needed")
    if state == "released":
        if check_mode:
            found = lock.read()
            return {"changed": found is not None and found["deploy_id"] == params["deploy_id"], "lock": found, "path": lock.path}
        return {"changed": lock.release(params["deploy_id"], params["clean"], params["joined"], params.get("shares")), "lock": None, "path": lock.path}
    before = lock.read() or {}
    got = lock.acquire(params["deploy_id"], params["holder"] or {}, params["over"], params["force"], params["timeout"])
    if got["acquired"]:
        lock.leave_out(params["deploy_id"], params["without"])
    return {"changed": got["acquired"] and before.get("deploy_id") != params["deploy_id"], "path": lock.path, **got}


def argument_spec() -> dict[str, t.Any]:
    """The options of the module C(lock)."""
    return {
        "state": {"type": "str", "choices": ["acquired", "released", "observed"], "required": True},
        "directory": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "deploy_id": {"type": "str"},
        "holder": {"type": "dict"},
        "over": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "clean": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 60.0},
        "without": {"type": "list", "elements": "str", "default": []},
        "joined": {"type": "list", "elements": "str", "default": []},
        "shares": {"type": "dict"},
    }
