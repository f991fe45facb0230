# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the application in the inventory: which one is meant, and which hosts are its members."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan import canary_options as _canary_options
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _floor, _inventory, _whole_run
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset()

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            _floor.check()
            _whole_run.check(self._task.get_play(), task_vars)
            return {"changed": False, **find(_inventory.Variables(self, task_vars), task_vars)}
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}


def find(variables: _inventory.Variables, task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the application's name as C(app), its C(hosts) and C(members), and whether what serves shall be C(restart_first).

    Where a platform has the members, there are none in the inventory, and C(stands_for_it) is the host whose variables are the application's.
    """
    if task_vars.get("ansible_limit") and _inventory.CONTROLLER not in task_vars["ansible_play_hosts_all"]:
        # Without the controller the next play would have no hosts, and nothing would happen, with success.
        raise DowntimeError(f"--limit is '{task_vars['ansible_limit']}'; no --limit is accepted, or one with localhost and all members of the application")
    hosts = list(task_vars["groups"]["all"])
    if not hosts:
        raise DowntimeError("the inventory has no hosts; name one with -i")
    names = {str(name) for host in hosts if (name := variables.of(host, ("deploy_app",)).get("deploy_app"))}
    # The controller is no member: what it has is what was set for this run, or for all.
    if not task_vars.get("deploy_app"):
        names |= _inventory.apps_of_groups(task_vars)
    if not names:
        raise DowntimeError("deploy_app is missing; the name of an application is needed, in the inventory or as -e deploy_app=NAME")
    if len(names) > 1:
        raise DowntimeError(f"the inventory has several applications, {', '.join(sorted(names))}; pick one with -e deploy_app=NAME")
    app = names.pop()
    # A group named as the application holds its variables where there are several; with one application the group may be missing.
    candidates = task_vars["groups"].get(app) or hosts
    wanted = next((found["deploy_hosts"] for host in candidates if (found := variables.of(host, ("deploy_hosts",)))), None)
    if not wanted and (stands := _of_platform(variables, app, task_vars)):
        return {"app": app, "hosts": "", "members": [], "stands_for_it": stands, "restart_first": False}
    if not wanted:
        raise DowntimeError(f"deploy_hosts is missing for application {app}; the group of its members is needed")
    members = _inventory.group(wanted, "deploy_hosts", task_vars)
    # By name: a pattern of the inventory's own would not go together with the play's.
    said = variables.of(members[0], ("deploy_strategy", "deploy_canary"))
    return {"app": app, "hosts": ",".join(members), "members": members,
            "restart_first": _canary_options.restarts_first(said.get("deploy_strategy"), said.get("deploy_canary"))}


def _of_platform(variables: _inventory.Variables, app: str, task_vars: t.Mapping[str, t.Any]) -> str | None:
    """The host that stands for an application whose platform has members of its own; none of the inventory is one."""
    host = _inventory.stands_for(variables, app, task_vars)
    traffic = variables.of(host, (_credentials.TRAFFIC,)).get(_credentials.TRAFFIC) if host else None
    has = isinstance(traffic, dict) and traffic.get("driver") and _drivers.load(str(traffic["driver"])).has_platform
    return host if has else None
