# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start, judge and close the evidence of one deploy: the probe here, the counters on every balancer."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._strategy import seen as _seen
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._evidence_keeper import SPEC, Keeper
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded


class ActionModule(ActionBase):
    # Once for all hosts, and a failure is everybody's: with run_once only the first host would be rescued.
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            args = _spec.check(self._task.args, SPEC)
            result = self._kept(args, task_vars)
            if args["state"] == "stopped" and args["pools"] and not self._task.check_mode and (
                    args["failed"] or result.get("failed") or result["verdict"] != "clean"):
                result["seen"] = self._seen(args, task_vars)
            return result
        except DowntimeError as error:
            return {"failed": True, "msg": str(error), **error.details}

    def _kept(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What became of the evidence. Who serves can be asked also where it cannot be kept."""
        try:
            keeper = Keeper(args, self._sampler(args, task_vars), self._task.check_mode)
            return t.cast("dict[str, t.Any]", getattr(keeper, args["state"])())
        except DowntimeError as error:
            return {"failed": True, "msg": str(error), **error.details}
        except _probe.BadConfig as error:
            return {"failed": True, "msg": str(error), "cause": error.cause}
        except OSError as error:
            return {"failed": True, "msg": f"the evidence in run_dir {self._task.args.get('run_dir')} cannot be kept: {error.strerror or error}"}

    def _seen(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any] | None:
        """How every balancer has the members by now; None for a driver whose balancers cannot be asked."""
        driver = _drivers.load(args["driver"])
        if not driver.info or driver.info_args is None:
            return None
        traffic = _credentials.checked(self, driver, {**args["traffic"], "pools": args["pools"]}, task_vars)
        return _seen.told(_queries.balancers(self, driver, traffic, _inventory.hosts_of(driver, traffic, [], task_vars), task_vars))

    def _sampler(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> _queries.Sampler | None:
        if not args["driver"]:
            return None
        driver = _drivers.load(args["driver"])
        return _queries.sampler(self, driver, _credentials.checked(self, driver, args["traffic"], task_vars), task_vars)
