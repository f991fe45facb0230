#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_members
short_description: Take servers of HAProxy out of traffic and bring them back without losing a request
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Moves a list of servers over HAProxy's runtime socket, in every pool that holds them. It runs on the balancer's host.
  - A member is drained when nothing is in flight on it in any worker process, also not in workers from before a reload, and is then in
    maintenance.
  - Connections that HAProxy keeps open to a drained member for later requests are closed, so that a service that waits for them when it
    stops need not. Where O(take_out=auto) drains first they are closed by that; with O(take_out=maint) on a sticky pool they stay.
  - A member that comes back first has to pass its health checks without traffic (the re-admission gate), and is active when its
    status is exactly C(UP) and slow start is over.
  - HAProxy's configuration is not changed. What is set here is lost at a reload, unless HAProxy keeps a server state file.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
  - zero.downtime.haproxy
attributes:
  check_mode:
    support: full
    details: HAProxy is really asked, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  pools:
    description:
      - Backends in which the members are moved. Without it, every backend that has a server of that name.
      - Servers that track the health of a moved server, or whose health it tracks, move with it.
    type: list
    elements: str
  take_out:
    description:
      - How members leave. V(maint) takes all new requests away; V(drain) lets clients that stick to a member come back until nothing
        is in flight.
      - V(auto) drains where a pool is sticky, where HAProxy would close sessions of a server in maintenance
        (C(on-marked-down shutdown-sessions)), and where the configuration cannot be read, and uses maintenance elsewhere.
    type: str
    choices: [auto, drain, maint]
    default: auto
  probe_path:
    description:
      - Path that is requested from a member that HAProxy itself does not check, before it comes back. It has to answer with a
        status from 200 to 399 three times running. Without it, the member's port has to accept connections.
    type: str
  slowest_request:
    description:
      - Seconds that the slowest request may take. What lasts longer is a stream to O(streams).
    type: float
    default: 30.0
notes:
  - Agent checks of a member are disabled while it is out, since an agent that says V(ready) would bring it back, and enabled when it is
    activated.
seealso:
  - module: zero.downtime.haproxy_info
"""

EXAMPLES = r"""
- name: Take two members out and wait until nothing is in flight
  zero.downtime.haproxy_members:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    members: [app1, app2]
    state: drained
    timeout: 120
    min_active: 75%

- name: Bring them back when they pass their checks again
  zero.downtime.haproxy_members:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    members: [app1, app2]
    state: active

- name: Use a socket that only root may open
  zero.downtime.haproxy_members:
    socket: /run/haproxy/admin.sock
    socket_command: [sudo, -n, socat, "-", "UNIX-CONNECT:{socket}"]
    pools: [shop]
    members: [app1]
    state: down
"""

RETURN = r"""
members:
  description: Each member in each of its pools.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      returned: success
    pool:
      description: Backend.
      type: str
      returned: success
    server:
      description: Name of the server in this backend. It differs from RV(members[].name) only for servers that share its health by tracking.
      type: str
      returned: success
    address:
      description: Address and port of the server.
      type: str
      returned: success
    state:
      description: One of V(active), V(draining), V(drained), V(down).
      type: str
      returned: success
    found:
      description: The state before.
      type: str
      returned: success
    status:
      description: What HAProxy itself says.
      type: str
      returned: success
    weight:
      description: Weight.
      type: int
      returned: success
    full:
      description: Whether it serves at full weight, with no failing check and slow start over.
      type: bool
      returned: success
    in_flight:
      description: Open and queued requests over all workers, V(null) when a worker cannot be asked.
      type: int
      returned: success
    drained_by:
      description:
        - How it is known that nothing is in flight. V(sessions) counted them in all workers, V(workers_exited) in addition waited until
          workers from before a reload had ended.
      type: str
      returned: success
    cut:
      description: Connections that were closed on purpose, at the time-out or with O(streams=cut).
      type: int
      returned: success
    cut_answers:
      description: Of RV(members[].cut), those that HAProxy counts as answers that were not whole. A WebSocket is none of them.
      type: int
      returned: success
    streams:
      description: Streams that were left open, with O(streams=leave).
      type: int
      returned: success
waited:
  description: Seconds that the move took.
  returned: success
  type: float
already_out:
  description: Members that were in maintenance before this call, taken out by somebody else or by an earlier call.
  returned: success
  type: list
  elements: str
theirs:
  description: Members that somebody else took out. With O(lock), they are left out and not brought back.
  returned: success
  type: list
  elements: str
gone:
  description: Members that this deploy had moved before, and whose server somebody removed since. Nothing is done about them, and the others are moved.
  returned: success
  type: list
  elements: str
lost:
  description: Members that a deploy had taken out, and that a reload of HAProxy had brought back. They were taken out again.
  returned: success
  type: list
  elements: str
worker:
  description: The worker that was told. A later call that finds another one knows that what was set may be lost.
  returned: success
  type: dict
  contains:
    pid:
      description: Process id.
      type: int
      returned: success
    started:
      description: When it started, in seconds since the epoch, as HAProxy tells it.
      type: str
      returned: success
notes:
  description: What happened meanwhile that is worth knowing, such as a reload that made the move begin again.
  returned: success
  type: list
  elements: str
workers:
  description: Living worker processes. When the current one differs from that of an earlier call, what was set by that call may be lost.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Process id.
      type: int
      returned: success
    current:
      description: Whether it takes new connections.
      type: bool
      returned: success
    uptime_s:
      description: Seconds since it started.
      type: int
      returned: success
counters:
  description: HAProxy's raw request counters for each worker, as zero.downtime.haproxy_info returns them.
  returned: success
  type: list
  elements: dict
counters_before:
  description: The same as RV(counters), read before anything was moved; empty with O(state=down) and in check mode.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why nothing is counted, V(null) where something is.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections lost in listen queues, as zero.downtime.haproxy_info returns them.
  returned: success
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import members as _haproxy_members
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_haproxy_options.members_spec(), _haproxy_members.run)


if __name__ == "__main__":
    main()
