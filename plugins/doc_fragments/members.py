# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  members:
    description:
      - Names of the members to move, all of them in one call.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(active) brings members into traffic and ends when they really serve.
      - V(drained) takes members out and ends when nothing is in flight on them.
      - V(down) takes members out at once; what is in flight is not waited for.
    type: str
    choices: [active, drained, down]
    required: true
  weight:
    description:
      - Weight that an active member gets. Without it the weight stays as it is.
    type: int
  wait:
    description:
      - Whether to wait until the state is reached. V(false) starts the move only.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that the move may take, for all members together.
    type: int
    default: 60
  timeout_action:
    description:
      - What follows when members still have requests in flight after O(timeout).
      - V(fail) fails and cuts nothing. V(cut) closes the connections that are left, and counts them.
    type: str
    choices: [fail, cut]
    default: fail
  streams:
    description:
      - What O(state=drained) does about streams, which last for as long as their client likes. A stream is a connection that was upgraded (a WebSocket), or a
        request that lasts longer than the driver's C(slowest_request), such as server-sent events, a long poll or a large download.
      - V(wait) waits for them as for requests, and is the default. V(leave) ends when nothing but streams is in flight, and counts those in
        C(members[].streams), for an application that ends them itself when it is told to. V(end) waits, after that, until those are gone.
        V(cut) closes them once nothing else is in flight, and counts them in C(members[].cut).
      - Drivers that cannot tell streams from requests refuse all but V(wait).
    type: str
    choices: [wait, leave, end, cut]
  min_active:
    description:
      - How many members have to serve at full weight in each pool while these are out, as a count (V(4)) or as a percentage of
        the configured members, rounded up (V(75%)).
      - Taking out a member that does not serve is always allowed.
    type: str
    default: "0"
  restored:
    description:
      - Members that moves before this one would have brought into traffic. In check mode, where none was made, they count for O(min_active) as if they
        served. Otherwise this is not looked at.
    type: list
    elements: str
  deploy_id:
    description:
      - Name of the deploy on whose behalf members are moved.
    type: str
  lock:
    description:
      - The file of the lock that M(zero.downtime.lock) took on this host for O(deploy_id). The move is noted in the lock's journal before it is
        made, and refused when the lock is another deploy's.
    type: path
  lock_key:
    description:
      - What tells the lock of this deploy from that of another one of the same name, as it was given to M(zero.downtime.lock). Without it the name
        alone counts.
    type: str
  intent:
    description:
      - What the deploy sets out to do, noted with the move in the journal of O(lock).
    type: dict
"""
