#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_members
short_description: Take servers of nginx out of traffic and bring them back without losing a request
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Moves a list of servers by their word C(down) in upstream files that belong to this driver, and a reload of nginx. It runs on the balancer's
    host and works with nginx Open Source.
  - A file is only left in place when C(nginx -t) accepts it. A reload is only believed when nginx answers the new revision; otherwise
    all files are put back and the task fails.
  - A member is drained when every worker process from before the reload has exited. nginx does not tell how many requests are in flight.
  - A member that comes back first has to answer three probes running, sent from the balancer's host, since nginx Open Source has no health checks.
  - One line of an upstream file is one server, with the name of the member behind it as a comment. Other lines of the upstream, and other
    words of a server's line, stay as they are.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
  - zero.downtime.nginx
attributes:
  check_mode:
    support: full
    details: The files and nginx are really read, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  timeout_action:
    description:
      - V(cut) ends nginx's old worker processes with all that they hold, for whichever member.
  reload_command:
    description:
      - A command that reloads nginx, as a list of words. Without it, the master process gets the signal HUP.
    type: list
    elements: str
  reload_timeout:
    description:
      - Seconds within which a reload has to be seen.
    type: float
    default: 30.0
notes:
  - A reload of nginx closes idle connections of clients. Clients open another one; a request that meets such a close on its way has to be
    repeated by its client. nginx 1.27.4 and newer avoid it with C(keepalive_min_timeout).
  - With O(wait=false) a member that does not pass its probes at once stays out, and nothing fails.
seealso:
  - module: zero.downtime.nginx_info
  - module: zero.downtime.nginx_split
"""

EXAMPLES = r"""
- name: Take two members out and wait until every old worker has exited
  zero.downtime.nginx_members:
    pools:
      - name: shop
    members: [app1, app2]
    state: drained
    timeout: 120
    min_active: 75%

- name: Bring them back when they answer their readiness check again
  zero.downtime.nginx_members:
    pools:
      - name: shop
    members: [app1, app2]
    state: active
    probe_path: /ready

- name: Write the first upstream file
  zero.downtime.nginx_members:
    pools:
      - name: shop
        members:
          app1: 192.0.2.11:8000
          app2: 192.0.2.12:8000
    members: [app1, app2]
    state: active
    probe_path: /ready
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
      description: Upstream.
      type: str
      returned: success
    server:
      description: The server as the upstream file has it.
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
      description: V(up), V(down), or V(absent) for a member that has no line yet.
      type: str
      returned: success
    weight:
      description: Weight.
      type: int
      returned: success
    full:
      description: Whether it serves at full weight.
      type: bool
      returned: success
    in_flight:
      description: Streams that old workers still hold to it, with O(streams) other than V(wait). Otherwise V(null); nginx does not tell.
      type: int
      returned: success
    drained_by:
      description:
        - How it is known that nothing is in flight. V(workers_exited) says that all workers from before the change have exited, V(sessions) that those which
          live hold no connection to it any more.
      type: str
      returned: success
    cut:
      description:
        - Requests that were closed on purpose at the time-out. Since old workers end whole, those for other servers are among them, and all
          are told with the first member. V(null) when they could not be counted.
        - With O(streams=cut) this is V(0), since no single connection can be closed; the streams are told as RV(members[].streams).
      type: int
      returned: success
    streams:
      description: Streams that were left open, with O(streams=leave) and O(streams=cut).
      type: int
      returned: success
waited:
  description: Seconds that the move took.
  returned: success
  type: float
already_out:
  description: Members that were out before this call, taken out by somebody else or by an earlier call.
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
  description: Always empty. What is written in the upstream file outlives a reload.
  returned: success
  type: list
  elements: str
revision:
  description: The state of the files that nginx runs.
  returned: success
  type: str
worker:
  description: What a later call of the same deploy compares.
  returned: success
  type: dict
  contains:
    revision:
      description: The same as RV(revision).
      type: str
      returned: success
notes:
  description: What happened meanwhile that is worth knowing.
  returned: success
  type: list
  elements: str
workers:
  description: Living worker processes.
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
counters:
  description: Counters of requests, as zero.downtime.nginx_info returns them.
  returned: success
  type: list
  elements: dict
counters_before:
  description: The same as RV(counters), read before anything was moved; empty with O(state=down) and in check mode.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why there are no counters.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections lost in listen queues, as zero.downtime.nginx_info returns them.
  returned: success
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._nginx import members as _nginx_members
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options


def main() -> None:
    run(_nginx_options.members_spec(), _nginx_members.run)


if __name__ == "__main__":
    main()
