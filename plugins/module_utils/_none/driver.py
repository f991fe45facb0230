# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the driver ``none`` says of itself; what it does is in L(members). Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import Driver


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    """Module options from ``deploy_traffic``, which says nothing but the driver's name."""
    return {"members": members}


# Nobody waits for an answer of a worker, so that none has to go on.
DRIVER = Driver(name="none", runs_on="controller", capabilities=("members",), traffic_spec={}, member_args=member_args, default_floor="0")
