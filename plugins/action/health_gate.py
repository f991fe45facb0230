# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the health gate in this process, or as a module on the host that O(from) names."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _health, _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout


class ActionModule(ActionBase):
    # A skipped gate would let check mode promise what it has not seen.
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            args = _spec.check(self._task.args, _health.argument_spec())
            # Before any host is asked, so that a typo costs no connection.
            _health.parse(args)
            if args["from"] == "controller":
                return _health.run(args)
            return self._from_host(args["from"], args, task_vars)
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}

    def _from_host(self, host: str, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if host not in task_vars.get("hostvars", {}):
            raise DowntimeError(f"from is {host!r}; accepted: controller, or the name of a host in the inventory")
        given = {name: value for name, value in args.items() if value is not None}
        return _fanout.run_on(self, [host], "zero.downtime.health_gate", lambda dummy: given, task_vars, what="host")[host]
