# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The moves of the driver rfc2136: a name becomes the other side, or resolvers may keep it for another time. Private to
the collection.

Three moments are told apart. A split is *set* when the primary server has made the update; *effective* when every
authoritative server answers so, and each resolver that was named; *settled* when no resolver may have an answer from
before any more, a time to live after that.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.client import Refused, Unknown
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.lock import Store
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.options import split_spec
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.place import Look, Place, Values, told
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken

# Seconds between two looks at the servers, and tries of an update that nobody answered.
POLL = 0.2
ATTEMPTS = 3
WHOLE = "a name in DNS is one of the sides for everybody who asks"

Clock = t.Callable[[], float]


class Split:
    """One call of the module C(rfc2136_split).

    :param clock: seconds since 1970, which the moments are told in; C(sleep) passes them.
    """

    def __init__(
        self,
        params: t.Mapping[str, t.Any],
        place: Place,
        clock: Clock = time.time,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.params, self.place, self._clock, self._sleep = params, place, clock, sleep
        self.client = place.client
        self.notes: list[str] = []
        self.deploy_id, self.key = params.get("deploy_id"), params.get("lock_key")
        self.store = Store(self.client, place.name, str(params["lock"]), clock) if params.get("lock") else None

    # -- options -------------------------------------------------------------------------------------------------------
    def wanted(self) -> _split.Shares | None:
        """The shares that are asked for. Raises DowntimeError for options that cannot be."""
        params = self.params
        for name in ("timeout", "effective_timeout", "ttl", "short_ttl"):
            if params[name] < 0:
                raise DowntimeError(f"{name} is {params[name]}; seconds from 0 on are accepted")
        if self.store and not self.deploy_id:
            raise DowntimeError("deploy_id is missing; with lock, the name of the deploy that holds it is needed")
        return _split.check_whole(_split.check_shares(params["shares"]), WHOLE)

    def ttl_for(self, found: Look) -> int:
        """The time to live that the records get."""
        hold, usual = self.params["hold"], self.place.ttl
        if hold == "short":
            return int(min(usual, self.params["short_ttl"]))
        return int(usual if hold == "usual" or found.records.ttl is None else found.records.ttl)

    def remembered(self, found: Look) -> int:
        """Seconds for which resolvers may have an answer from before: its time to live, and where nobody has waited for
        the usual one to be over, that one, since a deploy before may have lowered it a moment ago."""
        own = found.records.ttl or 0
        return own if self.params["not_before"] is not None else max(own, self.place.ttl)

    # -- the move ------------------------------------------------------------------------------------------------------
    def run(self, check_mode: bool) -> dict[str, t.Any]:
        wanted, began = self.wanted(), self._clock()
        self.client.check_zone()
        found = self.place.look()
        if wanted is None:
            return self._told(found, found, False, began)
        side = next(side for side, share in wanted.items() if share == 100)
        values, ttl = self.place.sides[side], self.ttl_for(found)
        changed = found.records.values != values or found.records.ttl != ttl
        if check_mode:
            return {
                **self._told(found, found, changed, began),
                "shares": wanted,
                "diff": {"before": _shown(found.records.values, found.records.ttl), "after": _shown(values, ttl)},
            }
        if self.params["not_before"] is not None and found.records.values != values:
            self._wait_until(self.params["not_before"])
        set_at = self._set(found, values, ttl, wanted)
        effective_at = self._effective(found, side, ttl)
        settled_at = effective_at + self.remembered(found)
        if self.params["until"] == "settled":
            self._wait_until(settled_at)
        self._done(wanted)
        now = self.place.look()
        return {
            **self._told(found, now, changed, began),
            "set_at": set_at,
            "effective_at": effective_at,
            "settled_at": settled_at,
            "diff": {
                "before": _shown(found.records.values, found.records.ttl),
                "after": _shown(now.records.values, now.records.ttl),
            },
        }

    def _told(self, found: Look, now: Look, changed: bool, began: float) -> dict[str, t.Any]:
        """What every call returns."""
        return {
            "changed": changed,
            "shares": now.shares,
            "found": found.shares,
            "kept": now.shares,
            "waited": round(self._clock() - began, 3),
            "ttl": now.records.ttl,
            "notes": self.notes,
            "set_at": None,
            "effective_at": None,
            "settled_at": None,
            "diff": {
                "before": _shown(found.records.values, found.records.ttl),
                "after": _shown(now.records.values, now.records.ttl),
            },
        }

    def _wait_until(self, moment: float) -> None:
        while (left := moment - self._clock()) > 0:
            self._sleep(min(left, 1.0))

    def _set(self, found: Look, values: Values, ttl: int, wanted: _split.Shares) -> float:
        """Let the primary have the records; when it did. Raises Taken, and DowntimeError with the shares that count
        now."""
        entry = {"deploy_id": self.deploy_id, "shares": wanted, "intent": self.params.get("intent")}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._update(found, values, ttl, entry)
                break
            except Refused as error:
                now = self.place.look()
                if now.records.values == values and now.records.ttl == ttl and attempt > 1:
                    # Made by the try before, whose answer was lost.
                    break
                raise _split.NotSet(
                    f"{error}: {self.place.label} was {told(found.records.values)} and is {told(now.records.values)} "
                    "by now, changed by "
                    "somebody else; nothing was moved",
                    now.shares,
                ) from error
            except Unknown as error:
                if attempt == ATTEMPTS:
                    raise _split.NotSet(str(error), None) from error
                self._sleep(POLL)
        return self._clock()

    def _update(self, found: Look, values: Values, ttl: int | None, entry: t.Mapping[str, t.Any] | None) -> None:
        """One update: refused unless the lock is ours and the records are as they were found, it changes them and the
        journal."""
        client, name = self.client, self.place.name
        update = client.update()
        if self.store:
            self.store.owned(update, str(self.deploy_id), self.key)
            if entry:
                self.store.note(update, entry)
        before = found.records.values
        if before != values or found.records.ttl != ttl:
            for kind in self.place.kinds:
                if kind in before:
                    update.present(name, *(_record(client, kind, value) for value in before[kind]))
                else:
                    update.absent(name, kind)
            for kind in before:
                update.delete(name, kind)
            for kind, some in values.items():
                update.add(name, ttl, *(_record(client, kind, value) for value in some))
        elif not self.store:
            return
        if self.store:
            self.store.send(update, str(self.deploy_id), self.key)
        else:
            client.send(update)

    def _effective(self, found: Look, side: str, ttl: int) -> float:
        """Wait until every server answers so; when the last one did.

        Where that does not come, the records are put back. On the way back, and where the name stays what it is,
        nothing is: a server that gives no answer at all is named and left to itself, since nobody's return waits for
        ever.
        """
        stays = self.params["going_back"] or (
            found.records.values == self.place.sides[side] and self.params["hold"] != "short"
        )
        end = self._clock() + self.params["effective_timeout"]
        while late := self.place.late(side, ttl):
            if self._clock() > end:
                break
            self._sleep(POLL)
        if not late:
            return self._clock()
        silent = all(nothing for _why, nothing in late.values())
        if silent and stays:
            self.notes += [f"{why}; it follows the primary when it is there again" for why, _nothing in late.values()]
            return self._clock()
        said = "; ".join(why for why, _nothing in late.values())
        limit = self.params["effective_timeout"]
        sentence = f"{self.place.label} was set to {side} and did not become effective within {limit} s: {said}"
        if stays:
            raise _split.NotSet(sentence, self.place.look().shares)
        raise self._put_back(found, sentence)

    def _put_back(self, found: Look, sentence: str) -> DowntimeError:
        """Let the primary have the records from before; the failure that tells so."""
        try:
            now = self.place.look()
            self._update(now, found.records.values, found.records.ttl, None)
        except Taken:
            raise
        except DowntimeError as error:
            return _split.NotSet(f"{sentence}; it could not be put back: {error}", None)
        return _split.NotSet(f"{sentence}; it was put back to {told(found.records.values)}", found.shares)

    def _done(self, wanted: _split.Shares) -> None:
        """Write down that it has been made. The move stands: only a lost lock makes a failure of a note that cannot be
        written."""
        if not self.store:
            return
        try:
            self.store.noted(str(self.deploy_id), {"shares": wanted, "done": True}, self.key)
        except Taken:
            raise
        except DowntimeError as error:
            self.notes.append(f"that it was done could not be written down: {error}")


def _record(client: t.Any, kind: str, value: str) -> t.Any:
    return client.dns.rdata.from_text("IN", kind, value)


def _shown(values: Values, ttl: int | None) -> dict[str, t.Any]:
    """Records for a diff."""
    return {"records": {kind: list(some) for kind, some in sorted(values.items())}, "ttl": ttl}


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """What the module C(rfc2136_split) returns."""
    return Split(params, Place(params)).run(check_mode)


IN_PROCESS = split_spec, run
