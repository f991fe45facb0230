# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock and the journal of a deploy in one document of a platform that can compare and set. Private to the collection.

A platform that writes a document only if it is as it was read (an object with C(If-Match), a resource version) needs no
more than that: whoever reads it, changes it and loses the race reads it again. Options and returns are those of
C(lock.run).
"""

from __future__ import annotations

import contextlib
import copy
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, looked_at
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken, Unreadable, key_of, told
from ansible_collections.zero.downtime.plugins.module_utils._state.lock import answer

# How often a change is tried again that lost a race; deploys of one application are few.
ATTEMPTS = 20
Content = t.Dict[str, t.Any]
# What is kept: the lock, the journal, and what outlives a deploy.
EMPTY: Content = {"lock": None, "journal": [], "without": {}, "shares": None, "last": None}


class Changed(Exception):
    """The document is not as it was read: nothing was written."""


class Document(t.Protocol):
    """One document at a platform.

    :param place: what people know it by, in sentences.
    """

    place: str

    def read(self) -> tuple[Content | None, t.Any]:
        """The document, None where there is none, and its version. Raises DowntimeError."""

    def write(self, content: Content, version: t.Any) -> None:
        """Write it if it still has this version. Raises Changed, and DowntimeError for any other failure."""


class DocumentLock:
    """The lock of one application in a document.

    :param name: the lock's, of the application and its environment.
    :param clock: seconds since 1970.
    :param mend: what to do where the document cannot be written, for doctor.
    """

    def __init__(self, document: Document, name: str, clock: t.Callable[[], float] = time.time, mend: str = "") -> None:
        self.document, self.name, self._clock, self._mend = document, name, clock, mend

    @property
    def place(self) -> str:
        return self.document.place

    def held(self) -> Content | None:
        return t.cast("Content | None", self._read()[0]["lock"])

    def observed(self) -> dict[str, t.Any]:
        """All that is kept. Raises Unreadable for what no deploy has written."""
        content = self._read()[0]
        return {**{name: content[name] for name in EMPTY}, "lock": self._aged(content["lock"])}

    def _read(self) -> tuple[Content, t.Any]:
        found, version = self.document.read()
        if found is None:
            return copy.deepcopy(EMPTY), version
        held = found.get("lock")
        if not (held is None or isinstance(held, dict) and isinstance(held.get("deploy_id"), str)) or not isinstance(found.get("journal", []), list):
            raise Unreadable(f"the lock {self.document.place} cannot be read (it is not what a deploy writes), so nobody "
                             "can tell who holds it")
        return {**copy.deepcopy(EMPTY), **found}, version

    def change(self, made: t.Callable[[Content], t.Any], force: bool = False) -> t.Any:
        """Change the document in place, whatever others do meanwhile, and return what C(made) returns: without a write
        where that is False.

        :param force: begin with an empty one where nobody can read what is there.
        """
        for _attempt in range(ATTEMPTS):
            try:
                content, version = self._read()
            except Unreadable:
                if not force:
                    raise
                content, version = copy.deepcopy(EMPTY), self.document.read()[1]
            result = made(content)
            if result is False:
                return result
            try:
                self.document.write(content, version)
            except Changed:
                continue
            return result
        raise DowntimeError(f"{self.document.place} changes again and again while it is written; who writes there?")

    def take(self, params: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
        """Take the lock where there is none, where it is that of C(over), or with C(force)."""
        deploy_id, over, force = params["deploy_id"], params["over"], params["force"]
        got: dict[str, t.Any] = {}

        def take(content: Content) -> bool:
            held = content["lock"]
            mine = held is not None and key_of(held) == key
            is_free = held is None or mine or force or key_of(held) == over
            got.update(acquired=is_free, taken_over=held if held and is_free and not mine else None,
                       holder=None if is_free else self._aged(held), journal=content["journal"])
            if mine or not is_free:
                return False
            now = self._clock()
            content["lock"] = {"name": self.name, "deploy_id": deploy_id, "key": key, "holder": dict(params["holder"] or {}), "since": now}
            content["without"].update({name: {"deploy_id": deploy_id, "time": now} for name in params["without"]})
            return True

        self.change(take, force)
        return got

    def owned(self, content: Content, deploy_id: str, key: str) -> None:
        """Raises Taken where the lock is not this deploy's."""
        held = content["lock"]
        if held is None:
            raise Taken(f"the lock {self.document.place} is gone, taken or removed by somebody else, so deploy {deploy_id} may "
                        "not move anything any more")
        if key_of(held) != key:
            raise Taken(f"the lock {self.document.place} is held by {told(held)}, so deploy {deploy_id} may not move anything "
                        "any more")

    def write_down(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str) -> list[dict[str, t.Any]]:
        """Write a move into the journal; returns the journal as it was before. Raises Taken."""
        before: list[dict[str, t.Any]] = []

        def add(content: Content) -> bool:
            self.owned(content, deploy_id, key)
            before[:] = content["journal"]
            content["journal"].append({"deploy_id": deploy_id, "time": self._clock(), **entry})
            if entry.get("done") and entry.get("shares"):
                self._keep_shares(content, entry["shares"], deploy_id)
            return True

        self.change(add)
        return before

    def give_back(self, params: t.Mapping[str, t.Any], key: str) -> bool:
        """Give the lock back if it is this deploy's."""

        def change(content: Content) -> bool:
            held = content["lock"]
            if held is None or key_of(held) != key:
                return False
            content["lock"] = None
            if params.get("shares"):
                self._keep_shares(content, params["shares"], params["deploy_id"])
            if params.get("last"):
                content["last"] = {**params["last"], "time": self._clock()}
            if params["clean"]:
                content["journal"] = []
                content["without"] = {name: one for name, one in content["without"].items() if name not in params["joined"]}
            return True

        return bool(self.change(change))

    def _aged(self, held: Content | None) -> Content | None:
        """A lock with its C(age) in seconds, by this controller's clock."""
        return {**held, "age": self._clock() - held["since"]} if held and held.get("since") else held

    def examined(self) -> dict[str, t.Any]:
        return looked_at("state_dir", self._usable, [self._mend])

    def _usable(self) -> str:
        self.change(lambda content: True)
        return f"{self.document.place} can be written"

    def _keep_shares(self, content: Content, shares: t.Mapping[str, int], deploy_id: str) -> None:
        """Since when the sides have these shares; what is known to be so for longer stays."""
        now = {side: int(share) for side, share in shares.items()}
        if (content["shares"] or {}).get("shares") != now:
            content["shares"] = {"shares": now, "since": self._clock(), "deploy_id": deploy_id}


@contextlib.contextmanager
def fence(document: Document, params: t.Mapping[str, t.Any], check_mode: bool) -> t.Iterator[None]:
    """Around a move: writes it down before it is made, and once more when it has been made. Raises Taken before anything is
    moved where the lock is another's. Without C(lock) there is none; in check mode nothing moves, nor where shares are only
    asked for.

    :param params: the options of the module that moves: C(lock), C(lock_key), C(deploy_id), C(intent), and what is moved.
    """
    if check_mode or not params.get("lock") or ("shares" in params and params["shares"] is None):
        yield
        return
    if not params.get("deploy_id"):
        raise DowntimeError("deploy_id is missing; with lock, the name of the deploy that holds it is needed")
    lock, deploy_id = DocumentLock(document, params["lock"]), params["deploy_id"]
    key = params.get("lock_key") or deploy_id
    entry = {name: params[name] for name in ("state", "members", "shares") if params.get(name) is not None}
    lock.write_down(deploy_id, {**entry, "intent": params.get("intent")}, key)
    yield
    try:
        lock.write_down(deploy_id, {**entry, "done": True}, key)
    except Taken:
        raise
    except DowntimeError:
        # The move has been made: a note that cannot be written must not make a failure of it. Where things stand is observed.
        pass


def run(document: Document, params: t.Mapping[str, t.Any], check_mode: bool, clock: t.Callable[[], float] = time.time,
        mend: str = "deploy_state_hosts names another place for lock and journal") -> dict[str, t.Any]:
    """What a driver's module C(<name>_lock) returns.

    :param params: its options, those of C(lock_spec).
    :param mend: what to do where the document cannot be written, for doctor.
    """
    return answer(DocumentLock(document, params["name"], clock, mend), params, check_mode, clock)
