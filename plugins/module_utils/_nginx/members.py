# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nginx_members does. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx.mover import Mover, Request
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import counted, members_spec, opened, pools_of, safe
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory


def move(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(nginx_members) does; returns its result. C(memory) is what the journal says of the members before this move."""
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    if not params["members"]:
        raise DowntimeError("members is empty; at least one name is needed")
    nginx = nginx or opened(params)
    request = Request(
        members=list(params["members"]), state=params["state"], pools=pools_of(params), weight=params.get("weight"), wait=params["wait"],
        timeout=params["timeout"], timeout_action=params["timeout_action"], min_active=params["min_active"],
        restored=params.get("restored") or (), probe_path=params.get("probe_path"), streams=params.get("streams") or "wait",
        slowest_request=params["slowest_request"], check_mode=check_mode)
    config = safe(nginx, max(params["slowest_request"], params["timeout"] if request.state == "drained" else 0))
    request = dataclasses.replace(request, silence=config.silence())
    # What was counted until now is not of this move.
    before = counted(params, nginx, keep=False)["counters"] if request.state != "down" and not check_mode else []
    result = Mover(nginx, request, memory=memory).run()
    if memory:
        memory.done["worker"] = result["worker"]
    return {**result, **counted(params, nginx, not check_mode), "counters_before": before}


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: a move behind the fence."""
    with _fence.fence(params, check_mode) as memory:
        return _fence.with_notes(move(params, check_mode, memory=memory), memory)


IN_PROCESS = members_spec, run
