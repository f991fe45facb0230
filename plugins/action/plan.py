# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resolve and check everything before anything moves (C(state=resolved)), then lay out the batches (C(state=batched)). Before all that, whether an
earlier run has left something on the idle side (C(state=looked))."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.zero.downtime.plugins.module_utils import _commands, _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing
from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy.description import describe
from ansible_collections.zero.downtime.plugins.plugin_utils import _reaching, _whole_run
from ansible_collections.zero.downtime.plugins.plugin_utils._planner import Planner
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded

display = Display()

SPEC = {
    "state": {"type": "str", "choices": ["resolved", "batched", "looked"], "default": "resolved"},
    "verb": {"type": "str", "choices": list(_plan.VERBS), "default": "deploy"},
    "strategy": {"type": "str", "choices": list(_drivers.STRATEGIES)},
    "plan": {"type": "dict"},
    "staged": {"type": "dict"},
    "locked": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            _whole_run.check(self._task.get_play())
            args = _spec.check(self._task.args, SPEC)
            if args["state"] == "looked":
                return self._looked(task_vars)
            if args["state"] == "resolved":
                plan = Planner(self, task_vars, args["verb"], args["strategy"]).plan()
                _events.append(plan["run_dir"], "plan", "finished")
            else:
                plan = self._batch(args["plan"], args["staged"], args["locked"])
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}
        warnings = plan["warnings"] if args["state"] == "resolved" else [
            *(f"{name} cannot be reached and serves nobody: it is left out, and keeps what it runs" for name in plan["absent"]), *_stay_out(plan),
            *_lost_late(plan, args["locked"])]
        return {"changed": False, "plan": plan, "run_dir": plan["run_dir"], "warnings": warnings}

    def _looked(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Whether a run that has not ended moved the idle side: the next one goes on there, and nobody restarts what serves before."""
        interrupted = Planner(self, task_vars, "deploy").begun_before()
        begun = _going_on.begun(interrupted)
        return {"changed": False, "begun": begun, "warnings": [
            f"{_going_on.told(interrupted)} has not ended: this one goes on from there, and what serves is not restarted before"
        ] if interrupted and begun else []}

    def _batch(self, plan: dict[str, t.Any], staged: dict[str, t.Any], locked: dict[str, t.Any]) -> dict[str, t.Any]:
        _plan.serves_whole(plan, locked.get("out", []), locked.get("interrupted"))
        # What an earlier deploy took out nobody holds: this one brings it back.
        orphans = [name for name in plan["held"] if plan["servers"][name] in locked.get("out", [])]
        plan = {**plan, "held": [name for name in plan["held"] if name not in orphans]}
        if "serving" not in plan["capacity"]:
            # No balancer can be asked.
            away = [name for name, result in staged.items() if result.get("unreachable_host")]
            serving = _reaching.serving(plan["hosts"], plan["capacity"].get("down", ()), away)
            plan = {**plan, "capacity": {**plan["capacity"], "serving": serving}}
        plan = {**plan, **_drivers.strategy(plan["strategy"]).lay_out(plan, staged, orphans, locked.get("interrupted"))}
        plan = {**plan, "evidence": {**plan["evidence"], **_answers.known(plan)}}
        if plan.get("ended"):
            _events.append(plan["run_dir"], "plan", "note", served_before=True,
                           text=f"{plan['ended']['told']} had brought users {_outcome.label_of(plan['ended']['release'])}, and is ended by this run")
        if self._task.check_mode or display.verbosity:
            for line in describe(plan):
                display.display(line)
        return plan


def _stay_out(plan: dict[str, t.Any]) -> list[str]:
    """Of members that a person took out; whom a deploy left out that did not end is known by now, and is none of them."""
    if not plan["held"]:
        return []
    side = None if _plan.lacks_side(plan["whole_traffic"]) else plan["side"]
    back = _commands.command("activate", plan["app"], deploy_side=side, deploy_members=plan["held"])
    were = agreeing(plan["held"], "was taken out of traffic before this deploy: it gets the release and stays out",
                    "were taken out of traffic before this deploy: they get the release and stay out")
    return [f"{were}; {back} brings {'it' if len(plan['held']) == 1 else 'them'} back"]


def _lost_late(plan: dict[str, t.Any], locked: t.Mapping[str, t.Any]) -> list[str]:
    """What was lost, of the requests that were open when the last deploy ended, by the time this one began: later nobody can tell.

    Where a deploy has died since, what it moved has changed the counters.
    """
    if not plan["run_dir"] or locked.get("taken_over") or locked.get("interrupted"):
        return []
    begun = {sample["balancer"]: sample for sample in _balance.read(plan["run_dir"]) if sample["at"] == "started"}
    late = _late.look(plan["records_dir"], plan["app"], plan["environment"], begun, write=True)
    return [late["sentence"]] if late and late["lost"] else []
