# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The secrets of C(deploy_traffic). Private to the collection.

A plan is shown with C(-v) and registered on every host, so it leaves them out (C(_plan.without_secrets)). Each task that calls a driver's module reads
them again where the plan had them from: the variables of the application's first member (of the host that stands for it, where it has no members), or of
the member's own host where modules run there.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _inventory

TRAFFIC = "deploy_traffic"


def whole(action: ActionBase, driver: _drivers.Driver, traffic: t.Mapping[str, t.Any], task_vars: dict[str, t.Any],
          member: str | None = None) -> dict[str, t.Any]:
    """C(traffic) with the secrets that it lacks.

    :param member: whose variables have them; the application's first member where nobody is named.
    """
    lacking = [name for name, option in driver.traffic_spec.items() if option.get("no_log") and traffic.get(name) is None]
    given = of_member(action, TRAFFIC, task_vars, member) if lacking else {}
    return {**traffic, **{name: given[name] for name in lacking if given.get(name) is not None}}


def checked(action: ActionBase, driver: _drivers.Driver, traffic: t.Mapping[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """An action's option C(traffic), with its secrets, converted and with defaults. Raises DowntimeError where it does not fit the driver."""
    return _spec.check(whole(action, driver, traffic, task_vars), driver.traffic_spec, "traffic.")


def of_member(action: ActionBase, name: str, task_vars: dict[str, t.Any], member: str | None = None) -> dict[str, t.Any]:
    """The variable of that name, a mapping, as a member has it; nothing where it has none, or nobody is the application's."""
    variables = _inventory.Variables(action, task_vars)
    try:
        host = member or _inventory.spokesman(variables, task_vars)
    except DowntimeError:
        return {}
    return variables.of(host, (name,)).get(name) or {}
