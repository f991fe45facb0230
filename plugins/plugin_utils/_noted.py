# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A move whose hosts do not all keep the lock: noted on those that do, before it is made and when it has been made. Private to the collection.

It is a weaker fence than the lock beside what moves: a module that a killed controller has left running on a balancer may end after the lock has been
taken over.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._errors import named
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _store

Results = t.Dict[str, t.Dict[str, t.Any]]


class Noted:
    """The notes about one move.

    :param lock: the plan's.
    :param entry: what is moved, with its intent, as the journal has it.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], lock: t.Mapping[str, t.Any], deploy_id: str, entry: t.Mapping[str, t.Any]) -> None:
        self.action, self.task_vars, self.lock, self.deploy_id, self.entry = action, task_vars, lock, deploy_id, entry
        self.journal: list[dict[str, t.Any]] = []

    def before(self, flees: bool = False) -> Results:
        """Write down what is about to be moved; what the hosts say against it.

        What returns a member to traffic, or C(flees) from a release, is held up by another deploy's lock only: without the note less is known, and
        without the move users are missing a member, or keep the release.
        """
        results = self._note(self.entry)
        self.journal = _lock.journal_of(results)
        return self._taken(results) if flees or self.entry.get("state") == "active" else self._failed(results)

    def memory(self, host: str) -> dict[str, t.Any]:
        """What the journal says of the members, as one of the movers is to know it."""
        known = _fence.memory_of(self.journal, self.deploy_id, lambda _entry: None, host)
        return {"out": known.out, "theirs": known.theirs, "moved": sorted(known.moved)}

    def after(self, results: Results) -> Results:
        """Write down what has been moved, and what each host has to say of it; another deploy that has the lock by now.

        The move has been made: a note that cannot be written must not make a failure of it.
        """
        by_host = {host: result["noted"] for host, result in results.items() if result.get("noted")}
        made = not any(result.get("failed") for result in results.values())
        if not made and not by_host:
            return {}
        entry = {name: value for name, value in self.entry.items() if name != "intent"}
        return self._taken(self._note({**(entry if made else {}), "by_host": by_host, **({"done": True} if made else {})}))

    def _note(self, entry: t.Mapping[str, t.Any]) -> Results:
        options = {"state": "noted", "deploy_id": self.deploy_id, "key": self.lock["key"], "entry": dict(entry)}
        return _store.ask(self.action, self.lock, options, self.task_vars, _fanout.QUESTION)

    @staticmethod
    def _failed(results: Results) -> Results:
        return {host: {**result, "msg": named(_store.KEEPER, host, result), "named": True} for host, result in results.items() if result.get("failed")}

    def _taken(self, results: Results) -> Results:
        return {host: result for host, result in self._failed(results).items() if result.get("lock_taken")}
