# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What haproxy_members does. Private to the collection."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config as _haproxy_config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.mover import Knowledge, Mover, Request
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.options import balancer_of, config_of, counted, members_spec
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Processes
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory


def _knowledge(config: _haproxy_config.Config | None) -> Knowledge:
    if config is None:
        return Knowledge()
    return Knowledge(True, config.sticky, config.cuts, config.lingers)


def move(params: t.Mapping[str, t.Any], check_mode: bool = False, processes: Processes | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(haproxy_members) does; returns its result. C(memory) is what the journal says of the members before this move."""
    processes = processes or Processes()
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    if not 0 <= params["slowest_request"] < math.inf:
        raise DowntimeError(f"slowest_request is {params['slowest_request']:g}; seconds from 0 on are accepted")
    balancer = balancer_of(params, processes)
    request = Request(
        members=list(params["members"]), state=params["state"], pools=params.get("pools") or None, weight=params.get("weight"), wait=params["wait"],
        timeout=params["timeout"], timeout_action=params["timeout_action"], min_active=params["min_active"],
        restored=params.get("restored") or (), take_out=params["take_out"],
        probe_path=params.get("probe_path"), streams=params.get("streams") or "wait", slowest_request=params["slowest_request"],
        check_mode=check_mode)
    if not request.members:
        raise DowntimeError("members is empty; at least one name is needed")
    pid = balancer.look([]).current
    config, dummy = config_of(params, pid, processes)
    # What was counted until now is not of this move.
    before = counted(balancer, params, config)["counters"] if request.state != "down" and not check_mode else []
    result = Mover(balancer, request, _knowledge(config), memory=memory).run()
    if memory:
        memory.done["worker"] = result["worker"]
    result.update(counted(balancer, params, config), counters_before=before)
    return result


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: a move behind the fence."""
    with _fence.fence(params, check_mode) as memory:
        return _fence.with_notes(move(params, check_mode, memory=memory), memory)


IN_PROCESS = members_spec, run
