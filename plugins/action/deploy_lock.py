# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take or give back the lock of a deploy on all of its state hosts: all or none."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands, _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import called, named
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder
from ansible_collections.zero.downtime.plugins.plugin_utils import _store
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

# Seconds that moves of an old holder may take to end.
WAIT = 60


class ActionModule(PlayAction):
    SPEC = {
        "state": {"type": "str", "choices": ["acquired", "released"], "required": True},
        "plan": {"type": "dict", "required": True},
        "clean": {"type": "bool", "default": False},
        "shares": {"type": "dict"},
        "last": {"type": "dict"},
    }

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        _spec.has(args["plan"], "plan", ("deploy_id", "verb", "app", "environment", "lock"), "the plan that zero.downtime.plan returned")
        if args["state"] == "acquired":
            return self._acquire(args["plan"], task_vars)
        return self._release(args["plan"], args["clean"], {name: args[name] for name in ("shares", "last") if args.get(name)}, task_vars)

    def _acquire(self, plan: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        lock = plan["lock"]
        options = {"state": "acquired", "deploy_id": plan["deploy_id"], "key": lock["key"],
                   "holder": {**_lock_holder.me(), "verb": plan["verb"]},
                   "force": lock["break"], "timeout": WAIT, "without": plan.get("without", [])}
        hosts = sorted(lock["hosts"])
        # Whoever gets the first host gets the others: two controllers that begin at once do not both end with half of them.
        results: dict[str, dict[str, t.Any]] = {}
        for some in (hosts[:1], hosts[1:]):
            got = _store.ask(self, lock, options, task_vars, WAIT, some)
            for host, result in list(got.items()):
                holder = result.get("holder") or (self._task.check_mode and result.get("lock"))
                if not result.get("failed") and holder and not _mine(plan, holder) and _may_follow(plan, holder):
                    got.update(_store.ask(self, lock, {**options, "over": _lock.key_of(holder)}, task_vars, WAIT, [host]))
            results.update(got)
            problems = [str(problem) for host, result in got.items() if (problem := self._problem(host, result, plan))]
            if problems:
                mine = [host for host, result in results.items() if result.get("acquired") and not result.get("taken_over") and result.get("changed")]
                _store.ask(self, lock, {"state": "released", "deploy_id": plan["deploy_id"], "key": lock["key"]}, task_vars, WAIT, mine)
                return {"failed": True, "msg": "; ".join(problems)}
        journal = _lock.journal_of(results)
        taken_over = next((result["taken_over"] for result in results.values() if result.get("taken_over")), None)
        # Check mode leaves the lock where it is, and plans for what a run would find.
        ended = taken_over or next((result["lock"] for result in results.values() if result.get("lock")), None)
        found: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in results.values()),
            "taken_over": taken_over,
            # Each balancer has its own journal: a member that any of them still has out was taken out by a deploy.
            "out": sorted({member for result in results.values() for member in _lock.out_of(result.get("journal") or [])}),
            "interrupted": _lock.interrupted_of(journal) or _lock.unmoved(ended),
        }
        if taken_over:
            found["warnings"] = [f"took the lock over from {_lock.told(taken_over)}, whose controller has died"
                                 if not lock["break"] else f"broke the lock of {_lock.told(taken_over)}"]
        return found

    def _problem(self, host: str, result: dict[str, t.Any], plan: dict[str, t.Any]) -> str | None:
        if result.get("failed"):
            return _lock.failed(host, result, _commands.again(plan, deploy_lock_break=True))
        holder = result.get("holder")
        if self._task.check_mode and result.get("lock") and not _mine(plan, result["lock"]) and not _may_follow(plan, result["lock"]):
            holder = result["lock"]
        if holder and not plan["lock"]["break"]:
            return _lock_holder.refusal(plan, host, holder)
        return None

    def _release(self, plan: dict[str, t.Any], clean: bool, known: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        lock = plan["lock"]
        results = _store.ask(self, lock, {"state": "released", "deploy_id": plan["deploy_id"], "key": lock["key"], "clean": clean,
                                          "joined": plan["balancers"] if clean else [], **known}, task_vars, WAIT)
        problems = [named("state host", host, result) for host, result in results.items() if result.get("failed")]
        # Whoever has moved all of his members by then hears of it here only.
        problems += [f"{called(host, _store.KEEPER)}: the lock was not this {plan['verb']}'s any more when it ended: somebody else took or removed it, and may "
                     "have moved members since" for host, result in results.items()
                     if not (result.get("failed") or result.get("changed") or self._task.check_mode)]
        # The deploy has ended, however that was: a lock that could not be given back is found to be a dead holder's by the next one.
        return {"changed": any(result.get("changed") for result in results.values()), "warnings": problems}


def _mine(plan: dict[str, t.Any], lock: dict[str, t.Any]) -> bool:
    return _lock.key_of(lock) == plan["lock"]["key"]


def _may_follow(plan: dict[str, t.Any], lock: dict[str, t.Any]) -> bool:
    """Whether C(plan) may take this lock over: its holder is dead, and C(plan) can end what it began."""
    same = (lock.get("holder") or {}).get("verb") == plan["verb"]
    return (plan["verb"] in _plan.SHIFTS or same) and _lock_holder.dead(lock)
