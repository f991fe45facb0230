# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask every host and every balancer of an application where it stands; change nothing."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import status as _status
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._strategy import idle as _idle
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

display = Display()


class ActionModule(PlayAction):
    SPEC = {"plan": {"type": "dict", "required": True}, "show": {"type": "bool", "default": True}}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        checking = self._task.check_mode
        # In this process all modules only look: one that keeps notes of what it has counted keeps none.
        self._task.check_mode = True
        plan = args["plan"]
        _spec.has(plan, "plan", ("driver", "traffic", "members", "hosts", "servers", "balancers", "lock"), "the plan that zero.downtime.plan returned")
        driver = _drivers.load(plan["driver"])
        releases = _queries.platform(self, driver, plan["traffic"], plan["app"], task_vars) if plan.get("platform") else _queries.members(
            self, {name: plan["hosts"][name] for name in plan["members"]}, task_vars)
        # Of the pools of both sides, where there are two; the traffic is otherwise that of the side that serves.
        both = {"pools": plan["whole_traffic"]["pools"]} if plan.get("sides") else {}
        infos = _queries.balancers(self, driver, {**plan["traffic"], **both}, plan["balancers"], task_vars)
        locks = _queries.locks(self, plan["lock"], task_vars)
        serving = infos
        if plan.get("sides"):
            serving = {host: {**info, "pools": [pool for pool in info.get("pools") or () if pool["name"] in plan["pools"]]} for host, info in infos.items()}
        status = _status.build(plan, releases, serving, locks, _lock_holder.dead)
        status["idle"] = None
        if plan.get("sides"):
            status["idle"] = _idle.look(plan, releases, _queries.watched(self, driver, plan, infos, task_vars), locks, time.time())
        if status["idle"]:
            _status.add_idle(status, plan, infos, status["idle"]["side"], status["idle"]["state"] not in ("stopped", "empty"))
        # Once somebody has begun to move something, what is lost may be that one's.
        late = None if status["locks"] else _late.look(plan["records_dir"], plan["app"], plan["environment"], infos, write=not checking)
        _status.add_late(status, late)
        findings = [{**finding, "balancer": host} for host, info in infos.items() for finding in info.get("findings", [])]
        if args["show"]:
            for line in _status.table(status):
                display.display(line)
            if status["idle"] and status["idle"]["release"]:
                display.display(status["idle"]["sentence"])
        return {"changed": False, "status": status, "findings": findings, "driver": {"name": driver.name, "strategies": driver.strategies}}
