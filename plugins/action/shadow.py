# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replay requests on all balancers of a plan at the same time, or take what they have mirrored, and judge what they found together."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded

SPEC = {"plan": {"type": "dict", "required": True}, "mirrored": {"type": "dict"}}
STEP = "shadow"
# Beyond the duration: a module starts on a busy host, and the last request ends. Each of its three answers may take a connection, a status and a body.
BEYOND, ANSWERS = 10.0, 12


class ActionModule(ActionBase):
    # Once for all, and a failure is everybody's: with run_once only the first host would be rescued.
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        notes = _events.Notes()
        run_dir = None
        try:
            args = _spec.check(self._task.args, SPEC)
            plan = args["plan"]
            _spec.has(plan, "plan", ("shadow", "absent", "held", "run_dir"), "the plan that zero.downtime.plan returned")
            if not plan["shadow"] or self._task.check_mode:
                # Under check mode the idle side still runs what it ran.
                return {"changed": False, "shadow": None}
            run_dir = plan["run_dir"]
            notes.write(_events.append, run_dir, STEP, "started")
            found = self._found(plan, args["mirrored"], task_vars)
            notes.write(_shadow.keep, run_dir, found)
        except DowntimeError as error:
            notes.write(_events.append, run_dir, STEP, "failed", reason=str(error))
            return {"failed": True, "msg": str(error), **({"warnings": notes.warnings} if notes.warnings else {})}
        result: dict[str, t.Any] = {"changed": False, "shadow": found}
        bad = found["verdict"] != "same"
        warnings = list(notes.warnings)
        if bad and plan["shadow"]["report_only"]:
            warnings.append(f"shadow: {found['sentence']}")
        elif bad:
            result.update(failed=True, msg=f"shadow: {found['sentence']}")
        notes.write(_events.append, run_dir, STEP, "failed" if result.get("failed") else "finished", reason=result.get("msg"))
        return {**result, **({"warnings": warnings} if warnings else {})}

    def _found(self, plan: dict[str, t.Any], mirrored: dict[str, t.Any] | None, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if plan["shadow"]["method"] == "replay":
            return _shadow.report(plan["shadow"], self._replay(plan, task_vars))
        _spec.has(mirrored or {}, "mirrored", ("statuses",), "the result of zero.downtime.mirror with share 0")
        return _shadow.of_mirror(plan["shadow"], (mirrored or {})["statuses"])

    def _replay(self, plan: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
        shadow = plan["shadow"]
        left_out = [*plan["absent"], *plan["held"]]
        args = {host: _shadow.replay_args(shadow, host, left_out) for host in shadow["targets"]}
        results = _fanout.run_on(self, list(args), f"{_drivers.COLLECTION}.replay", args.__getitem__, task_vars,
                                 timeout=_fanout.limit(self, shadow["duration"] + ANSWERS * shadow["request_timeout"] + BEYOND))
        return _shadow.without_quiet(results)
