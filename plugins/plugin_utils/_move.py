# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every action that moves traffic does beside the move itself: the fence, the events, the counters, and the sentences. Private to the collection."""

from __future__ import annotations

import re
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, called, named
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _noted

Results = t.Dict[str, t.Dict[str, t.Any]]

# Seconds by which a reading of before a move comes before it.
MOMENT = 0.001
# Options of every facade that moves traffic.
FACADE: dict[str, t.Any] = {
    "lock": {"type": "dict"},
    "driver": {"type": "str", "required": True},
    "traffic": {"type": "dict", "required": True},
    "on_failure": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    "run_dir": {"type": "path"},
    "step": {"type": "str"},
}


def check_step(args: t.Mapping[str, t.Any]) -> None:
    """Refuse a step of a deploy for a move that the evidence would take for none."""
    if args["run_dir"] and not _steps.is_move(args["step"]):
        names = ", ".join(_steps.moving(_steps.MEMBERS, _steps.ALL))
        raise DowntimeError(f"step is '{args['step']}', which moves nothing; accepted are {names}, and '{_steps.SHARE}' with a share")


class Move:
    """One move, on all hosts of a driver at the same time.

    :param args: the facade's checked options.
    :param what: the word for a host in sentences.
    :param remembers: whether the driver's module asks what the journal says of its members.
    :param about: what the events say of the move.
    """

    def __init__(self, action: ActionBase, args: t.Mapping[str, t.Any], task_vars: dict[str, t.Any], what: str,
                 remembers: bool = True, **about: t.Any) -> None:
        self.action, self.args, self.task_vars, self.what, self.remembers, self.about = action, args, task_vars, what, remembers, about
        self.notes = _events.Notes()

    def shared(self, spec: t.Iterable[str], *own: str) -> dict[str, t.Any]:
        """The options that the driver's module has in common with the facade, less its C(own)."""
        return {name: self.args[name] for name in spec if name not in (*own, "lock", "lock_key", "memory") and self.args[name] is not None}

    def note(self, event: str, **detail: t.Any) -> None:
        if not self.action._task.check_mode:
            self.notes.write(_events.append, self.args["run_dir"], self.args["step"], event, **self.about, **detail)

    def run(self, hosts: t.Sequence[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], seconds: float, **detail: t.Any) -> Results:
        # A moment before the move begins: what its module read first is what was counted until then.
        began = _events.clock(self.args["run_dir"])() - MOMENT

        def keep(host: str, result: dict[str, t.Any]) -> None:
            if result.get("counters_before") and not self.action._task.check_mode:
                self.notes.write(_balance.append, self.args["run_dir"], host, {"counters": result["counters_before"]}, self.args["step"], now=lambda: began)
            # A reading at every move: of a worker that a reload ends meanwhile, the last one is all there will be.
            if result.get("counters") and not self.action._task.check_mode:
                self.notes.write(_balance.append, self.args["run_dir"], host, result, self.args["step"])

        options = {host: args_for(host) for host in hosts}
        notes = self._notes(options)
        self.note("started", **detail)
        if notes is not None and (refused := notes.before(_steps.goes_back(self.args["step"]) or bool(self.args.get("going_back")))):
            return refused
        results = _fanout.run_on(self.action, hosts, module, lambda host: {**options[host], **self._fence(host, notes)}, self.task_vars, what=self.what,
                                 on_result=keep, timeout=_fanout.limit(self.action, seconds))
        return results if notes is None else {**results, **notes.after(results)}

    @property
    def _is_locked(self) -> bool:
        """Whether any host keeps a lock for this move."""
        return bool((self.args["lock"] or {}).get("hosts"))

    def _fence(self, host: str, notes: _noted.Noted | None) -> dict[str, t.Any]:
        """What a mover has to know of the lock, where this is a deploy's move."""
        if not self._is_locked:
            return {}
        if notes is None:
            return {"lock": self.args["lock"]["path"], "lock_key": self.args["lock"].get("key")}
        # Who moves members of its own has no place for what others have out.
        return {"memory": notes.memory(host)} if self.remembers else {}

    def _notes(self, options: t.Mapping[str, t.Mapping[str, t.Any]]) -> _noted.Noted | None:
        """The notes on other hosts about this move; None where each of its hosts keeps the lock, and none has to be asked."""
        lock, any_of = self.args["lock"], next(iter(options.values()))
        if not self._is_locked or set(options) <= set(lock["hosts"]) or self.action._task.check_mode or ("shares" in self.args and self.args["shares"] is None):
            return None
        entry = {name: any_of[name] for name in ("state", "shares") if any_of.get(name) is not None}
        members = [name for own in options.values() for name in own.get("members") or ()]
        entry.update({"members": list(dict.fromkeys(members))} if members else {}, intent=any_of.get("intent"))
        return _noted.Noted(self.action, self.task_vars, lock, str(self.args["deploy_id"]), entry)

    def merged(self, results: Results) -> dict[str, t.Any]:
        """What can be said of every move; where a host failed, C(failed) as C(on_failure) has it and C(msg)."""
        failures = {host: result for host, result in results.items() if result.get("failed")}
        found: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in results.values()),
            "waited": max((result.get("waited") or 0.0 for result in results.values()), default=0.0),
            "balancers": results,
            "diff": [{**diff, "before_header": host, "after_header": host} for host, result in results.items() for diff in _as_list(result.get("diff"))],
            # Why this deploy may not move anything any more, if that is so.
            "lock_taken": next((result["lock_taken"] for result in failures.values() if result.get("lock_taken")), ""),
            # Less what holds only until somebody brings the members back: whoever makes more of this than its own end may be the one.
            "problems": [self._said(host, {**result, "msg": _without_promise(result)}) for host, result in failures.items()],
        }
        if failures:
            found["msg"], found["why"] = "; ".join(self._said(host, result) for host, result in failures.items()), "; ".join(found["problems"])
            found["failed"] = self.args["on_failure"] == "fail"
        return found

    def _said(self, host: str, result: t.Mapping[str, t.Any]) -> str:
        """A failure in the user's words: a module names its options; who has a deploy made has set variables."""
        sentence = str(result["msg"]) if result.get("named") else named(self.what, host, result)
        return re.sub(r"(?<!\w)min_active\b", "deploy_min_active", sentence) if self.args["lock"] else sentence

    def end(self, results: Results, found: dict[str, t.Any], **detail: t.Any) -> dict[str, t.Any]:
        """Write down how it ended, and add the warnings."""
        told = [f"{called(host)}: {text}" for host, result in results.items() for text in result.get("notes") or ()]
        for text in told:
            self.note("note", text=text)
        self.note("failed" if found["problems"] else "finished", reason=found.get("msg"), waited=found["waited"], **detail)
        if told or self.notes.warnings:
            found["warnings"] = told + self.notes.warnings
        return found


def _without_promise(result: t.Mapping[str, t.Any]) -> str:
    return str(result.get("msg") or "").replace(result.get("until_back") or "", "")


def _as_list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [value] if value else []
