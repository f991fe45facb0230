# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock and the journal of a deploy in the zone that it changes. Private to the collection.

They are TXT records beside the name: C(_zero-downtime.NAME) is the lock, and names its holder. Taking it has the
prerequisite that there is none, and each update that moves something the prerequisite that the lock is exactly the
deploy's own: the name server itself refuses the last update of a controller that lost its lock, in one step with the
move. Whatever is moved is written down in the same update.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import typing as t
import zlib

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, looked_at
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.client import Client, Refused, Unknown
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.options import lock_spec
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.place import client_of
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken, Unreadable, key_of, told
from ansible_collections.zero.downtime.plugins.module_utils._state.lock import answer

LOCK, JOURNAL, STATE = "_zero-downtime", "_journal._zero-downtime", "_state._zero-downtime"
# Bytes of text from which on it is packed, and what all records of a name may have: a message has 64 KiB, with its
# signature and what else is in it.
PLAIN, ROOM = 512, 56 * 1024
ATTEMPTS = 3


class Store:
    """The lock, the journal and what outlives a deploy, of one application at one name.

    :param name: the name in DNS that is moved.
    :param app: the lock's name, of the application and its environment.
    """

    def __init__(self, client: Client, name: t.Any, app: str, clock: t.Callable[[], float] = time.time) -> None:
        self.client, self.app, self._clock = client, app, clock
        below = client.dns.name.from_text
        self.lock, self.journal, self.state = (below(label, name) for label in (LOCK, JOURNAL, STATE))
        self.path = client.shown(self.lock)

    # -- what is there -------------------------------------------------------------------------------------------------
    def raw(self) -> bytes | None:
        """The lock as the zone has it."""
        found = self.client.texts(self.lock)
        return found[0] if found else None

    def read(self, raw: bytes | None) -> dict[str, t.Any] | None:
        """The lock; None where there is none. Raises Unreadable."""
        if raw is None:
            return None
        found = _unpacked(raw)
        if not isinstance((found or {}).get("deploy_id"), str):
            raise Unreadable(
                f"the lock {self.path} cannot be read (it is not what a deploy writes), so nobody can tell who holds it"
            )
        return found

    def aged(self, lock: dict[str, t.Any] | None) -> dict[str, t.Any] | None:
        """A lock with its C(age) in seconds, by this controller's clock, which is the only one that it is compared
        with."""
        return lock if lock is None or not lock.get("since") else {**lock, "age": self._clock() - lock["since"]}

    def entries(self) -> list[dict[str, t.Any]]:
        """The journal, the oldest entry first. Raises Unreadable where none of its records is an entry."""
        raw = self.client.texts(self.journal)
        found = [entry for entry in map(_unpacked, raw) if entry is not None and isinstance(entry.get("n"), int)]
        if raw and not found:
            raise Unreadable(
                f"the journal {self.client.shown(self.journal)} cannot be read (it holds no entry), so nobody can tell "
                "what a deploy before moved"
            )
        return sorted(found, key=lambda entry: entry["n"])

    def kept(self) -> dict[str, t.Any]:
        """What outlives a deploy: C(shares), C(last) and C(without)."""
        raw = self.client.texts(self.state)
        if not raw:
            return {}
        found = _unpacked(raw[0])
        if found is None:
            raise Unreadable(
                f"the record {self.client.shown(self.state)} cannot be read, so nobody can tell since when the sides "
                "have their shares"
            )
        return found

    # -- updates -------------------------------------------------------------------------------------------------------
    def owned(self, update: t.Any, deploy_id: str, key: str | None) -> None:
        """Let an update be refused unless the lock is this deploy's at that moment. Raises Taken where it is not by
        now."""
        raw = self.raw()
        found = self.read(raw)
        if raw is None or found is None:
            raise Taken(
                f"the lock {self.path} is gone, taken or removed by somebody else, so deploy {deploy_id} may not move "
                "anything any more"
            )
        if key_of(found) != (key or deploy_id):
            raise Taken(
                f"the lock {self.path} is held by {told(found)}, so deploy {deploy_id} may not move anything any more"
            )
        update.present(self.lock, self.client.text_record(raw))

    def note(self, update: t.Any, entry: t.Mapping[str, t.Any]) -> None:
        """Write an entry into the journal with an update. Raises DowntimeError where there is no room for it."""
        number = max((one["n"] for one in self.entries()), default=0) + 1
        packed = _packed({"n": number, "time": self._clock(), **entry})
        if sum(map(len, self.client.texts(self.journal))) + len(packed) > ROOM:
            raise DowntimeError(
                f"the journal of this deploy does not fit into the zone ({len(packed)} bytes more, and {ROOM >> 10} "
                "KiB are accepted); "
                "deploy_state_hosts names hosts that keep it instead"
            )
        update.add(self.journal, 0, self.client.text_record(packed))

    def keep(self, update: t.Any, known: t.Mapping[str, t.Any]) -> None:
        """Write down with an update what outlives the deploy."""
        update.delete(self.state, "TXT")
        if known:
            update.add(self.state, 0, self.client.text_record(_packed(known)))

    def with_shares(
        self, known: t.Mapping[str, t.Any], shares: t.Mapping[str, int], deploy_id: str
    ) -> dict[str, t.Any]:
        """What is known, with since when the sides have these shares; what is known to be so for longer stays."""
        now = {side: int(share) for side, share in shares.items()}
        if (known.get("shares") or {}).get("shares") == now:
            return dict(known)
        return {**known, "shares": {"shares": now, "since": self._clock(), "deploy_id": deploy_id}}

    def noted(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str | None) -> list[dict[str, t.Any]]:
        """Write down a move that is made elsewhere, or has been made; returns the journal as it was before. Raises
        Taken."""
        before = self.entries()
        update = self.client.update()
        self.owned(update, deploy_id, key)
        self.note(update, {"deploy_id": deploy_id, **entry})
        if entry.get("done") and entry.get("shares"):
            self.keep(update, self.with_shares(self.kept(), entry["shares"], deploy_id))
        self.send(update, deploy_id, key)
        return before

    def send(self, update: t.Any, deploy_id: str, key: str | None) -> None:
        """Send an update that C(owned) guards. Raises Taken where it was refused for the lock's sake, else as the
        client does."""
        try:
            self.client.send(update)
        except Refused:
            self.owned(self.client.update(), deploy_id, key)
            raise

    # -- the lock ------------------------------------------------------------------------------------------------------
    def acquire(
        self,
        deploy_id: str,
        holder: t.Mapping[str, t.Any],
        over: str | None,
        force: bool,
        key: str | None,
        without: t.Sequence[str] = (),
    ) -> dict[str, t.Any]:
        """Take the lock, as C(_lock.Lock.acquire) does."""
        if force:
            self._forget_unreadable()
        # Before the lock is there: who cannot read it must not leave a lock behind.
        journal = self.entries()
        known = self.kept()
        mine = {
            "name": self.app,
            "deploy_id": deploy_id,
            "key": key or deploy_id,
            "holder": dict(holder),
            "since": self._clock(),
        }
        got: dict[str, t.Any] = {"acquired": True, "taken_over": None, "holder": None, "journal": journal}
        problem: DowntimeError | None = None
        # One more look than tries: the last one tells what became of the last try.
        for attempt in range(ATTEMPTS + 1):
            raw = self.raw()
            found = self.read(raw)
            if found is not None and key_of(found) == mine["key"]:
                # By a try whose answer was lost, it may have been taken from somebody.
                return {**got, "journal": self.entries() if got["taken_over"] else journal}
            if found is not None and not force and key_of(found) != over:
                return {**got, "acquired": False, "taken_over": None, "holder": self.aged(found)}
            if attempt == ATTEMPTS:
                break
            got["taken_over"] = found
            update = self.client.update()
            if raw is None:
                update.absent(self.lock, "TXT")
            else:
                update.present(self.lock, self.client.text_record(raw))
                update.delete(self.lock, "TXT")
            update.add(self.lock, 0, self.client.text_record(_packed(mine)))
            if without:
                left = {name: {"deploy_id": deploy_id, "time": self._clock()} for name in without}
                self.keep(update, {**known, "without": {**known.get("without", {}), **left}})
            try:
                self.client.send(update)
            except (Refused, Unknown) as error:
                # Somebody was faster, or it is ours and nobody told: the zone tells.
                problem = error
                continue
            return {**got, "journal": self.entries() if found else journal}
        raise DowntimeError(f"the lock {self.path} could not be taken in {ATTEMPTS} tries: {problem}") from problem

    def release(
        self,
        deploy_id: str,
        key: str | None,
        clean: bool,
        joined: t.Collection[str],
        shares: t.Mapping[str, int] | None,
        last: t.Mapping[str, t.Any] | None,
    ) -> bool:
        """Give the lock back, as C(_lock.Lock.release) does."""
        update = self.client.update()
        try:
            self.owned(update, deploy_id, key)
        except Taken:
            return False
        known = self.kept()
        if shares:
            known = self.with_shares(known, shares, deploy_id)
        if last:
            known["last"] = {**last, "time": self._clock()}
        if clean:
            update.delete(self.journal, "TXT")
            known["without"] = {
                name: entry for name, entry in (known.get("without") or {}).items() if name not in joined
            }
        self.keep(update, known)
        update.delete(self.lock, "TXT")
        try:
            self.send(update, deploy_id, key)
        except Taken:
            return False
        except Unknown:
            raw = self.raw()
            if raw is not None and key_of(t.cast("dict[str, t.Any]", self.read(raw))) == (key or deploy_id):
                raise
        return True

    # -- as a keeper ---------------------------------------------------------------------------------------------------
    @property
    def place(self) -> str:
        return self.path

    def held(self) -> dict[str, t.Any] | None:
        return self.read(self.raw())

    def observed(self) -> dict[str, t.Any]:
        self.client.check_zone()
        known = self.kept()
        return {
            "lock": self.aged(self.held()),
            "journal": self.entries(),
            "without": known.get("without") or {},
            "shares": known.get("shares"),
            "last": known.get("last"),
        }

    def examined(self) -> dict[str, t.Any]:
        mend = (
            f"allow-update {{ key {self.client.key_name}; }}; or update-policy, in the zone on "
            f"{self.client.server.label}; deploy_state_hosts names another place for lock and journal"
        )
        return looked_at("state_dir", self.usable, [mend])

    def take(self, params: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
        holder = params["holder"] or {}
        return self.acquire(params["deploy_id"], holder, params["over"], params["force"], key, params["without"])

    def write_down(self, deploy_id: str, entry: t.Mapping[str, t.Any], key: str) -> list[dict[str, t.Any]]:
        return self.noted(deploy_id, entry, key)

    def give_back(self, params: t.Mapping[str, t.Any], key: str) -> bool:
        return self.release(
            params["deploy_id"], key, params["clean"], params["joined"], params.get("shares"), params.get("last")
        )

    def _forget_unreadable(self) -> None:
        """Remove what nobody can read, for somebody who has made sure that no deploy runs."""
        for owner, read in (
            (self.lock, lambda: self.read(self.raw())),
            (self.journal, self.entries),
            (self.state, self.kept),
        ):
            try:
                read()
            except Unreadable:
                update = self.client.update()
                update.delete(owner, "TXT")
                self.client.send(update)

    def usable(self) -> str:
        """What can be said for the zone. Raises DowntimeError where nothing could be written there. Nothing is."""
        update = self.client.update()
        # Nobody has such a record: what is asked for is the right to remove it.
        update.delete(self.client.dns.name.from_text("_check", self.lock), "TXT")
        self.client.send(update)
        return f"{self.path} can be written with key {self.client.key_name}"


def _packed(value: t.Mapping[str, t.Any]) -> bytes:
    """A mapping as the text of a record: readable where it is short."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return text if len(text) <= PLAIN else b"z:" + base64.b64encode(zlib.compress(text, 9))


def _unpacked(raw: bytes) -> dict[str, t.Any] | None:
    """The mapping; None for anything else."""
    try:
        found = json.loads(zlib.decompress(base64.b64decode(raw[2:], validate=True)) if raw.startswith(b"z:") else raw)
    except (ValueError, binascii.Error, zlib.error):
        return None
    return found if isinstance(found, dict) else None


def run(
    params: t.Mapping[str, t.Any],
    check_mode: bool,
    client: Client | None = None,
    clock: t.Callable[[], float] = time.time,
) -> dict[str, t.Any]:
    """The module C(rfc2136_lock): options and returns are those of C(zero.downtime.lock)."""
    client = client or client_of(params)
    store = Store(client, client.below(params["record"], "record"), params["name"], clock)
    return answer(store, params, check_mode, clock)


IN_PROCESS = lock_spec, run
