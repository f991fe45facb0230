# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._record import record as _record
from ansible_collections.zero.downtime.plugins.module_utils._record import report as _report
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded


class ActionModule(ActionBase):
    """Writes the record on the controller, once for the play: its hosts have no part in it."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        args = self.validate_argument_spec(argument_spec=_record.ARGUMENT_SPEC)[1]
        try:
            events: list[dict[str, t.Any]] = []
            left: dict[str, t.Any] = {}
            try:
                events = _events.read(args["run_dir"]) if args["run_dir"] else []
                left = {"canary": _events.load(args["run_dir"], _events.CANARY), "shadow": _events.load(args["run_dir"], _events.SHADOW)}
            except OSError as error:
                # A record without its steps is better than none.
                result["warnings"] = [f"the record lacks its steps: run_dir {args['run_dir']} cannot be read ({error.strerror})"]
            record = _record.compose(
                plan=args["plan"],
                result=args["result"],
                finished=_events.clock(args["run_dir"])(),
                evidence=args["evidence"],
                members=args["members"],
                sentence=args["sentence"],
                events=events,
                **left,
            )
            # From here on the record exists: it is returned even when the disk refuses it.
            result["record"] = record
            path, report = _record.paths(args["records_dir"], record["deploy_id"])
            result.update(path=path, report=report)
            before = _record.read(path)
            # Tidied up by an earlier call: what it wrote has the steps, which are gone now.
            gone = args["tidy"] and args["run_dir"] and not os.path.exists(args["run_dir"])
            result["changed"] = not ((_record.same(before, record) or before and gone) and os.path.exists(report))
            if result["changed"]:
                if self._task.diff:
                    result["diff"] = {
                        "before_header": path,
                        "after_header": path,
                        "before": _record.dumps(before) if before else "",
                        "after": _record.dumps(record),
                    }
                if not self._task.check_mode:
                    _record.write(path, _record.dumps(record))
                    _record.write(report, _report.render(record))
            else:
                result["record"] = before
            if args["tidy"] and args["run_dir"] and not self._task.check_mode and os.path.exists(args["run_dir"]):
                result["changed"] = True
                shutil.rmtree(args["run_dir"])
        except DowntimeError as error:
            result.update(failed=True, msg=str(error))
        except OSError as error:
            result["warnings"] = [*result.get("warnings", []), f"run_dir {args['run_dir']} could not be removed: {error.strerror or error}"]
        return result
