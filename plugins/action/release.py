# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies an artifact of the controller to hosts that lack it; everything else is the module's."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _artifact_transfer
from ansible_collections.zero.downtime.plugins.plugin_utils import _payload
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded

MODULE = "zero.downtime.release"


class ActionModule(ActionBase):
    """Asks the host with the module's own call, so that a host which has the release costs one call only."""

    # The temporary directory is made when there is something to transfer.
    TRANSFERS_FILES = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        args = dict(self._task.args)
        event = {"run_dir": None if self._task.check_mode else args.pop("run_dir", None), "step": args.pop("step", None) or "activate",
                 "members": [task_vars.get("inventory_hostname", "")], "batch": args.pop("batch", None)}
        args.pop("run_dir", None)
        notes = _events.Notes()
        notes.write(_events.append, event="started", **event)
        try:
            result.update(self._release(args, task_vars))
        finally:
            # An exception is an event as well: a host that is lost in the middle must not look as if it were still at work.
            good = not (result.get("failed", "changed" not in result) or result.get("unreachable"))
            notes.write(_events.append, event="finished" if good else "failed",
                        reason=result.get("msg") or (result.get("swap") or {}).get("summary"), **event)
            if notes.warnings:
                result["warnings"] = [*result.get("warnings", []), *notes.warnings]
        return result

    def _release(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        sender = _artifact_transfer.Sender(self)

        def ask(given: dict[str, t.Any]) -> dict[str, t.Any]:
            return _payload.execute(self, MODULE, given, task_vars)

        try:
            local = sender.settle(args)
            answer = ask(args)
            if local and answer.get("needed") and not answer.get("failed"):
                path = sender.verified(local, args)
                if not self._task.check_mode:
                    with sender.on_host(path) as remote:
                        arrived = {**args, "artifact": _artifact_transfer.arrived(args["artifact"], remote)}
                        answer = _artifact_transfer.by_its_own_name(ask(arrived), remote, path)
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}
        answer.pop("needed", None)
        return answer
