# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver ``acme.edge.works``: a platform that gets a release handed and brings its own members to it.

Who they are it tells nobody.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.acme.edge.plugins.module_utils._api import Asked, access_spec
from ansible_collections.zero.downtime.plugins.module_utils.driver import Driver, DowntimeError, push_spec

# Seconds between two looks at a platform that is at work.
POLL = 0.2


def traffic_spec() -> dict[str, t.Any]:
    return {
        **access_spec(),
        "app": {"type": "str", "required": True, "description": "Name of the application at the works."},
    }


def argument_spec() -> dict[str, t.Any]:
    return {**push_spec(), **traffic_spec()}


class Platform:
    """One application there."""

    def __init__(self, params: t.Mapping[str, t.Any]) -> None:
        self.api, self.path = Asked(params), f"/apps/{params['app']}"

    def look(self) -> dict[str, t.Any]:
        return self.api.call("GET", self.path)

    def push(self, release: str) -> None:
        self.api.call("PUT", self.path, {"release": release})

    def give_up(self) -> None:
        self.api.call("DELETE", f"{self.path}/rolling")


def run(
    params: t.Mapping[str, t.Any],
    check_mode: bool,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> dict[str, t.Any]:
    """What the module works_push returns."""
    platform, state, wanted, began = Platform(params), params["state"], params["release"], clock()

    def settled() -> dict[str, t.Any]:
        while (found := platform.look())["phase"] != "settled":
            if clock() - began > params["timeout"]:
                raise DowntimeError(
                    f"{found['rolling']['label']} is still {found['phase']} after {params['timeout']} s"
                )
            sleep(POLL)
        return found

    before = now = platform.look()
    changed = (state == "settled" and params["going_back"] and before["phase"] != "settled") or (
        state == "activated" and not _runs(before, wanted)
    )
    if state == "settled" and not check_mode:
        if changed:
            platform.give_up()
        now = settled()
    if state == "activated" and changed and not check_mode:
        if before["phase"] == "settled" or before["rolling"]["label"] != wanted:
            platform.push(wanted)
        now = settled()
        if not _runs(now, wanted):
            raise DowntimeError(now["events"][-1] if now["events"] else f"{wanted} was not brought to the members")
    return {
        "changed": changed,
        "waited": round(clock() - began, 3),
        "active": now["active"],
        "previous": now["previous"],
        "pending": now["rolling"],
        "staged": now["releases"],
        "release": next((entry for entry in now["releases"] if wanted in (entry["label"], entry["digest"])), None),
        "diff": {"before": _shown(before), "after": {"release": wanted} if changed and check_mode else _shown(now)},
    }


def _runs(found: t.Mapping[str, t.Any], release: str | None) -> bool:
    """Whether all members have it, and stay with it."""
    return found["phase"] == "settled" and release in (
        (found["active"] or {}).get("label"),
        (found["active"] or {}).get("digest"),
    )


def _shown(found: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"release": (found["active"] or {}).get("label")}


def push_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    return {name: traffic[name] for name in ("url", "token", "app")}


DRIVER = Driver(
    name="works",
    runs_on="controller",
    capabilities=("push",),
    traffic_spec=traffic_spec(),
    push_args=push_args,
    endpoint=lambda traffic: f"app {traffic['app']} at the works",
)
