# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the health gate in this process, or as a module on the host that O(from) names."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

# Of the deploy on the controller, not of the host that sends the requests.
HERE = ("run_dir", "step", "batch")


class ActionModule(PlayAction):
    # In check mode, too: a skipped gate would let it promise what it has not seen.
    SPEC = _health.argument_spec()

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        # Before any host is asked, so that a typo costs no connection.
        targets, dummy = _health.parse(args)
        known = task_vars.get("hostvars", {})
        if args["from"] != "controller" and args["from"] not in known:
            raise DowntimeError(f"from is {args['from']!r}; accepted: controller, or the name of a host in the inventory")
        return self._gate([target.name for target in targets], args, task_vars)

    def _gate(self, names: list[str], args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        run_dir = None if self._task.check_mode else args["run_dir"]
        notes = _events.Notes()
        notes.write(_events.append, run_dir, args["step"], "started", members=names, batch=args["batch"])
        result = _health.run(args) if args["from"] == "controller" or not names else self._from_host(args["from"], args, task_vars)
        if result.get("failed") and args["on_failure"] == "report":
            # The host could not be asked at all: that is told in the same way as a member that did not pass.
            result["failed"] = False
        if not result.get("problems") and result.get("msg"):
            result["problems"] = [result["msg"]]
        bad = bool(result.get("problems"))
        notes.write(_events.append, run_dir, args["step"], "failed" if bad else "finished", members=names, batch=args["batch"],
                    reason=result.get("msg"), waited=result.get("waited"))
        told = list(result.get("notes") or ())
        for text in told:
            notes.write(_events.append, run_dir, args["step"], "note", batch=args["batch"], text=text)
        if told or notes.warnings:
            result["warnings"] = [*result.get("warnings", []), *told, *notes.warnings]
        return result

    def _from_host(self, host: str, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        given = {name: value for name, value in args.items() if value is not None and name not in HERE}
        return _fanout.run_on(self, [host], "zero.downtime.health_gate", lambda dummy: given, task_vars, what="host")[host]
