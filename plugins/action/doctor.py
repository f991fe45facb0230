# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at everything that a deploy needs; change nothing."""

from __future__ import annotations

import typing as t

from ansible import context as command_line
from ansible.utils.display import Display

from ansible_collections.zero.downtime.plugins.module_utils import _written
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import doctor as _doctor
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.plugin_utils import _examining, _inventory, _whole_run, _words
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

display = Display()


class ActionModule(PlayAction):
    SPEC = {"show": {"type": "bool", "default": True}}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        _whole_run.check(self._task.get_play())
        # In this process all modules and actions only look.
        self._task.check_mode = True
        members = [host for host in task_vars["ansible_play_hosts_all"] if host != _inventory.CONTROLLER]
        options = command_line.CLIARGS or {}
        picked = any("deploy_app" in str(extra) for extra in options.get("extra_vars") or ())
        commands = _doctor.Commands(str(task_vars.get("deploy_app")) if picked else None)
        found = _examining.Examination(self, members, task_vars, commands)
        found.run()
        if args["show"]:
            for line in found.checks.lines():
                # As in the result, which is put into the user's words when this has returned.
                display.display(_written.sentence(line) if _words.in_collection(self._task) else line)
        ready, strategy = found.checks.ready(), found.checked.get("deploy_strategy") or _going_on.DEFAULT
        return {
            "changed": False,
            "doctor": {
                "checks": found.checks.found,
                "ready": ready,
                "strategy": strategy,
                "is_ready": strategy in ready,
                "sentence": found.checks.sentence(),
                "advice": found.advice,
            },
        }
