# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the driver elbv2, in ``deploy_traffic`` and in its modules alike. Private to the collection.

Nothing here needs boto3: every action that knows drivers imports it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import members as _members
from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import POOL
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

# Who is asked, and by whom. Without any of it, boto3 finds region and credentials where every tool of Amazon's does.
ACCESS: dict[str, t.Any] = {
    "region": {"type": "str"},
    "profile": {"type": "str"},
    "access_key": {"type": "str", "no_log": True},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "endpoint_url": {"type": "str"},
}
# How long the load balancer's nodes are given to follow.
HOLD: dict[str, t.Any] = {"hold": {"type": "float", "default": 5.0}}
# The action that has both sides.
PLACE: dict[str, t.Any] = {"load_balancer": {"type": "str"}, "listener": {"type": "str"}, "rule": {"type": "str"}}
# Where lock and journal lie, in place of hosts.
STATE: dict[str, t.Any] = {"state_bucket": {"type": "str"}, "state_prefix": {"type": "str", "default": "zero-downtime"}}
# What a target group is to a module.
GROUP: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int"},
    "side": {"type": "str", "choices": list(_split.SIDES)},
    "members": {"type": "dict"},
    "availability_zone": {"type": "str"},
}
POOLS: dict[str, t.Any] = {"pools": {"type": "list", "elements": "dict", "required": True, "options": GROUP}}


def traffic_spec() -> dict[str, t.Any]:
    pool = {**POOL, "members": GROUP["members"], "availability_zone": GROUP["availability_zone"]}
    return {
        **ACCESS,
        **PLACE,
        **HOLD,
        **STATE,
        "pools": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": pool,
            "description": (
                "The target groups that have the application's members: one, or several that serve it at the same time,"
                " or those of both sides."
            ),
        },
    }


def members_spec() -> dict[str, t.Any]:
    return {**_members.common_spec(), **ACCESS, **HOLD, **STATE, **POOLS}


def split_spec() -> dict[str, t.Any]:
    return {**_split.common_spec(), **ACCESS, **PLACE, **HOLD, **STATE, **POOLS}


def lock_spec() -> dict[str, t.Any]:
    """The argument spec of C(elbv2_lock): that of zero.downtime.lock, and where the object is. There is no directory."""
    bucket = {**STATE["state_bucket"], "required": True}
    return {**_lock.argument_spec(), "directory": {"type": "path"}, **ACCESS, **STATE, "state_bucket": bucket}


def info_spec() -> dict[str, t.Any]:
    return {**ACCESS, **PLACE, **HOLD, **POOLS}
