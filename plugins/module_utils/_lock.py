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
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._fence import LockFile, memory_of, told


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
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise DowntimeError(f"deploy_state_dir is '{self.directory}', where user id {os.geteuid()} cannot write; "
                                "a directory that can be written is accepted")

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
                # All of these are written by the lock's holder only.
                for path in (self.path, self.left_out, self.switched):
                    _durable.remove_unfinished(path)
            os.unlink(self.path)
            _durable.sync_directory(self.directory)
            return True

    def without(self) -> dict[str, dict[str, t.Any]]:
        """The balancers that deploys went on without, each with the last such deploy, until one of theirs has them again."""
        return self._loaded(self.left_out) or {}

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


IN_PROCESS = argument_spec, run
