# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask hosts, balancers and state hosts about the side that does not serve; change nothing."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._strategy import idle as _idle
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

POLL = 1.0


class ActionModule(PlayAction):
    SPEC = {"plan": {"type": "dict", "required": True}, "wait": {"type": "int", "default": 0, "minimum": 0}}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        plan = args["plan"]
        _spec.has(plan, "plan", ("deploy_id", "verb", "driver", "whole_traffic", "members", "balancers", "lock", "sides", "retire"),
                  "the plan that zero.downtime.plan returned")
        if not plan["sides"]:
            raise DowntimeError("plan has no sides; the plan of an application with the sides blue and green is accepted")
        driver = _drivers.load(plan["driver"])
        if driver.info_args is None:
            raise DowntimeError(f"driver {driver.name} cannot be asked, so nobody knows what a side does")
        end = time.monotonic() + args["wait"]
        while True:
            found = self._look(driver, plan, task_vars)
            left = end - time.monotonic()
            # Only time is waited for: what is in flight ends by itself, and each request that comes begins the time anew.
            hopeless = found["why"] and found["in_flight"] == 0
            if found["due"] or hopeless or left <= 0 or found["state"] in ("stopped", "empty"):
                return {"changed": False, **found, "slots": _idle.slots(plan, found["side"])}
            time.sleep(min(left, max(POLL, found["wait"])))

    def _look(self, driver: _drivers.Driver, plan: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        infos = _queries.balancers(self, driver, plan["whole_traffic"], plan["balancers"], task_vars)
        locks = _queries.locks(self, plan["lock"], task_vars)
        hosts = next(iter(plan["sides"].values()))["hosts"]
        releases = _queries.members(self, {name: hosts[name] for name in plan["members"]}, task_vars)
        return _idle.look(plan, releases, _queries.watched(self, driver, plan, infos, task_vars), locks, time.time())
