# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the driver ``healthcheck`` says of itself; what it does is in L(mover). Private to the collection."""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import Driver
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._healthcheck.mover import driver_spec


def member_args(traffic: dict[str, t.Any], members: list[str]) -> dict[str, t.Any]:
    """
    Module options from ``deploy_traffic``.

    One call moves one member, on its own host: the caller narrows ``members`` down to it. The whole batch stays known as
    ``together``, because all of them read the balancer at the same moment and each must count the others as gone.
    """
    args: dict[str, t.Any] = {name: traffic[name] for name in driver_spec() if traffic.get(name) is not None}
    args.update(members=members, together=members)
    return args


def check(traffic: dict[str, t.Any], health: dict[str, t.Any]) -> None:
    """Refuses a gate that asks the very check that is made to fail: it could not pass before the member is back in traffic."""
    parts = urlsplit(traffic["check_url"])
    port = health.get("port") or next((pool["port"] for pool in traffic.get("pools") or [] if pool.get("port")), None)
    if parts.path == health.get("path") and port in (None, parts.port or (443 if parts.scheme == "https" else 80)):
        raise DowntimeError(
            f"deploy_health.path is '{parts.path}', which the driver healthcheck makes fail while a member is out (check_url); "
            "a path that does not follow off_file, such as /health, is accepted"
        )


DRIVER = Driver(
    name="healthcheck",
    runs_on="members",
    capabilities=("members",),
    traffic_spec=driver_spec(),
    member_args=member_args,
    check=check,
    cuts=False,
)
