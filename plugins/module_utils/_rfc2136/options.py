# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the driver rfc2136 and of its modules. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136.client import ALGORITHMS
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

# How one gets to the zone, and who has to answer.
ACCESS: dict[str, t.Any] = {
    "zone": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "key_name": {"type": "str", "required": True, "no_log": False},
    "key_secret": {"type": "str", "required": True, "no_log": True},
    "key_algorithm": {"type": "str", "choices": list(ALGORITHMS), "default": "hmac-sha256", "no_log": False},
    "query_timeout": {"type": "float", "default": 3.0},
}
# What has to be known of the record.
RECORD: dict[str, t.Any] = {
    "servers": {"type": "list", "elements": "str", "default": []},
    "resolvers": {"type": "list", "elements": "str", "default": []},
    "ttl": {"type": "int", "default": 300},
}
# How it is moved.
MOVING: dict[str, t.Any] = {
    "short_ttl": {"type": "int", "default": 5},
    "effective_timeout": {"type": "int", "default": 120},
}
# What each side is in DNS.
SIDES: dict[str, t.Any] = {side: {"type": "list", "elements": "str", "required": True} for side in _split.SIDES}


def info_spec() -> dict[str, t.Any]:
    """The argument spec of C(rfc2136_info)."""
    return {**ACCESS, **RECORD, **SIDES}


def split_spec() -> dict[str, t.Any]:
    """The argument spec of C(rfc2136_split)."""
    return {**_split.common_spec(), **_split.slow_spec(), **ACCESS, **RECORD, **MOVING, **SIDES}


def lock_spec() -> dict[str, t.Any]:
    """The argument spec of C(rfc2136_lock): that of zero.downtime.lock, where C(name) is the lock's, and how one gets
    to the zone. There is no directory."""
    access = {name: option for name, option in ACCESS.items() if name != "name"}
    return {**_lock.argument_spec(), "directory": {"type": "path"}, "record": ACCESS["name"], **access}
