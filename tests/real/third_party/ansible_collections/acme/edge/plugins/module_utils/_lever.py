# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver ``acme.edge.lever``: shares of two sides behind a balancer that only an API moves. It knows no members: they are nobody's who asks it."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.acme.edge.plugins.module_utils._api import Api, access_spec
from ansible_collections.zero.downtime.plugins.module_utils.driver import POOL, Driver, check_shares, split_spec


def traffic_spec() -> dict[str, t.Any]:
    pools = {"type": "list", "elements": "dict", "required": True, "options": dict(POOL), "description": "A pool of each side."}
    return {**access_spec(), "split": {"type": "str", "required": True, "description": "Name of the split in the API."}, "pools": pools}


def argument_spec() -> dict[str, t.Any]:
    return {**split_spec(), **access_spec(), "split": {"type": "str", "required": True}}


def info_spec() -> dict[str, t.Any]:
    return {**access_spec(), "split": {"type": "str", "required": True}}


def info(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the module lever_info returns: the shares, and that nobody counts here."""
    return {"split": _shares(Api(params).green(params["split"])), "counters": [], "uncounted": "the lever counts no requests"}


def run(params: t.Mapping[str, t.Any], check_mode: bool, clock: t.Callable[[], float] = time.monotonic) -> dict[str, t.Any]:
    """What the module lever_split returns. The API answers when the shares count."""
    api, wanted, began = Api(params), check_shares(params["shares"]), clock()
    before = _shares(api.green(params["split"]))
    changed = wanted is not None and wanted != before
    if changed and not check_mode:
        api.set_green(params["split"], wanted["green"])
    after = wanted if changed and check_mode else _shares(api.green(params["split"]))
    return {"changed": changed, "shares": after, "found": before, "waited": round(clock() - began, 3), "diff": {"before": before, "after": after}}


def _shares(green: int) -> dict[str, int]:
    return {"blue": 100 - green, "green": green}


def _access(traffic: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: traffic[name] for name in ("url", "token", "split")}


def split_args(traffic: dict[str, t.Any], app: str | None) -> dict[str, t.Any]:
    return _access(traffic)


DRIVER = Driver(name="lever", runs_on="controller", capabilities=("split",), traffic_spec=traffic_spec(), split_args=split_args,
                info=True, info_args=_access, endpoint=lambda traffic: f"the lever {traffic['split']} at {traffic['url']}")
