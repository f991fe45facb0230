# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Driver ``none``: members that get no requests, such as queue workers and cron jobs.

This module_util is private to the collection: do not import it from outside.

There is no traffic to move and nothing that would remember a state, so every call succeeds, changes nothing, and says so. It
exists so that a strategy need not know that such members are different.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import members as _members
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence


def argument_spec() -> dict[str, t.Any]:
    return _members.common_spec()


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: behind the fence."""
    with _fence.fence(params, check_mode):
        return moved(params)


def moved(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What C(none_members) returns: what it was asked for."""
    members = params.get("members") or []
    if not members:
        raise DowntimeError("members is empty; accepted: at least one member")
    for index, name in enumerate(members):
        if not name:
            raise DowntimeError(f"members[{index}] is empty; accepted: the name of a member")
        if name in members[:index]:
            raise DowntimeError(f"members names {name!r} twice; accepted: each member once")
    if params.get("weight") is not None:
        raise DowntimeError(f"weight is {params['weight']}; accepted: none, since no balancer stands before these members")
    _members.no_streams(params.get("streams"))
    if params["timeout"] < 1:
        raise DowntimeError(f"timeout is {params['timeout']}; accepted: 1 or more")
    # Refused even though it is not enforced: a floor that cannot be read would be a surprise at another driver.
    _members.floor_of(params["min_active"], len(members))
    entries = [
        dict(name=name, pool=None, address=None, state=params["state"], weight=None, in_flight=None, drained_by=None, cut=0) for name in members
    ]
    told = dict(members=[dict(name=name, state=params["state"]) for name in members])
    return dict(changed=False, members=entries, waited=0.0, floor="unenforced", diff=dict(before=told, after=told))


IN_PROCESS = argument_spec, run
