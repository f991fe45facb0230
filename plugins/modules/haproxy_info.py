#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_info
short_description: Tell the members, request counters and risky settings of a running HAProxy
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Reads HAProxy's sockets and, where it may, its configuration, and changes nothing. It runs on the balancer's host.
  - Counters are told for every living worker process, since a reload begins new ones while the old worker still answers requests.
  - Findings name settings with which requests could be lost during a deploy, and the lines that would change them.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.haproxy
  - zero.downtime.haproxy_splits
attributes:
  check_mode:
    support: full
    details: This module never changes anything.
  diff_mode:
    support: none
    details: This module never changes anything.
  idempotent:
    support: full
options:
  pools:
    description:
      - Backends to tell about. Without it, every backend that has servers.
    type: list
    elements: str
  members:
    description:
      - Servers that have a second slot, for the lines that give a pool a second side. Others are printed there with the address that they have.
      - Without it, every server is taken for one.
    type: list
    elements: str
seealso:
  - module: zero.downtime.haproxy_members
  - module: zero.downtime.haproxy_split
"""

EXAMPLES = r"""
- name: Read the balancer
  zero.downtime.haproxy_info:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    pools: [shop]
  register: balancer

- name: Show what could lose requests
  ansible.builtin.debug:
    msg: "{{ balancer.findings | map(attribute='text') }}"
"""

RETURN = r"""
version:
  description: Version of HAProxy.
  returned: success
  type: str
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
    uptime_s:
      description: Seconds since it started; V(0) for one that is only seen as a process.
      type: int
      returned: success
pools:
  description: Backends and their servers.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Backend.
      type: str
      returned: success
    mode:
      description: In another one than C(http) HAProxy knows connections and no requests, and tells no streams from requests.
      type: str
      returned: success
    sticky:
      description: Whether clients are sent back to the server they had before.
      type: bool
      returned: success
    requests:
      description: Requests since the start of each worker that can be asked, over all of them; sessions where the mode is not C(http).
      type: int
      returned: success
    idle_s:
      description:
        - Seconds since the last of these requests, or for which the newest worker has known of none. V(null) when a worker cannot be asked.
      type: float
      returned: success
    members:
      description: Its servers.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: Name of the server.
          type: str
          returned: success
        address:
          description: Address and port.
          type: str
          returned: success
        state:
          description: One of V(active), V(draining), V(drained), V(down).
          type: str
          returned: success
        weight:
          description: Weight.
          type: int
          returned: success
        in_flight:
          description: Open and queued requests over all workers, V(null) when a worker cannot be asked.
          type: int
          returned: success
        status:
          description: What HAProxy itself says.
          type: str
          returned: success
        check:
          description: Result of the last health check, the server whose health is tracked, or V(none).
          type: str
          returned: success
        throttle:
          description: Percent of its weight that slow start gives it now.
          type: int
          returned: success
        full:
          description: Whether it serves at full weight.
          type: bool
          returned: success
        known:
          description: Whether its health is known. Right after a start HAProxy calls servers UP that it has not checked yet.
          type: bool
          returned: success
        backup:
          description: Whether it is a backup server.
          type: bool
          returned: success
        agent:
          description: Whether an agent check is enabled.
          type: bool
          returned: success
split:
  description:
    - The shares of new requests that the two sides get, where O(pools) are the sides of one split; otherwise V(null).
  returned: success
  type: dict
  contains:
    blue:
      description: Percents that blue gets.
      type: int
      returned: success
    green:
      description: Percents that green gets.
      type: int
      returned: success
    map:
      description: The file that keeps them.
      type: str
      returned: success
    key:
      description: The key in that file.
      type: str
      returned: success
    kept:
      description: The shares that the file has, and a reload would bring; V(null) when it cannot be read.
      type: dict
      returned: success
    pools:
      description: The pools of each side.
      type: dict
      returned: success
    sticky:
      description: Whether clients stay on the side that they had before, as long as the shares do not change.
      type: bool
      returned: success
    missing:
      description:
        - V(null) while the file is there. Of one that was deleted, C(text) says so, C(lines) are what HAProxy has of it, and C(hindrance) is why
          setting the shares would not write it again.
      type: dict
      returned: success
counters:
  description:
    - Raw counters of each worker that can be asked, since its start.
    - What all workers count in one place (C(shm-stats-file) of HAProxy 3.3) is a row of its own, which a reload does not end.
  returned: success
  type: list
  elements: dict
  contains:
    worker:
      description: Process id; V(0) in the row of what all workers count together.
      type: int
      returned: success
    current:
      description: Whether it takes new connections.
      type: bool
      returned: success
    requests:
      description: Requests that were given to the pools.
      type: int
      returned: success
    responses:
      description: Answers of the pools, by class of status. Answers that were cut short are among them; C(other) has clients that left an HTTP/2 stream.
      type: dict
      returned: success
    open:
      description: Requests that are being answered now, or wait for a member.
      type: int
      returned: success
    client_aborts:
      description: Requests whose client left first.
      type: int
      returned: success
    server_aborts:
      description: Answers that a member cut short.
      type: int
      returned: success
    server_4xx:
      description: Answers with a status from 400 to 499 that members themselves gave.
      type: int
      returned: success
    server_5xx:
      description: Answers with a status from 500 on that members themselves gave. The other ones are HAProxy's own.
      type: int
      returned: success
    faults:
      description: Requests that no member could be found for, or whose member gave no valid answer, as far as HAProxy says so. A reset counts twice.
      type: int
      returned: success
    streams:
      description: Upgraded connections (WebSockets) that are open now. They are among RV(counters[].open), too.
      type: int
      returned: success
    streams_begun:
      description: Upgraded connections so far.
      type: int
      returned: success
    retries:
      description: Connections to servers that were tried again.
      type: int
      returned: success
    redispatches:
      description: Requests that were sent to another server than first chosen.
      type: int
      returned: success
    denied:
      description: Requests and answers that rules of the pools refused.
      type: int
      returned: success
    uncounted:
      description: Pools in the mode C(tcp), whose requests HAProxy does not know.
      type: list
      elements: str
      returned: where there are any
    pools:
      description:
        - Of each pool that was named, its C(requests), C(errors) (answers with a status from 500 on, the balancer's own among them), C(time_ms) (the
          sum of what its members took, V(null) where nobody counts that), C(average_ms) (the mean of the last requests) and C(members).
        - Of each member, C(requests) that were given to it, C(errors) (its answers with a status from 500 on), C(refused) (from 400 to 499), C(cut_short),
          C(faults), C(open) and C(missing) (requests without an answer); what is 0 is left out.
      type: dict
      returned: success
uncounted:
  description: Why nothing is counted, V(null) where something is.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections that were lost before HAProxy saw them.
  returned: success
  type: dict
  contains:
    listen_overflows:
      description: Connections lost because a listen queue was full.
      type: int
      returned: success
    listen_drops:
      description: Connections lost in a listen queue for any reason.
      type: int
      returned: success
findings:
  description: Settings with which requests could be lost.
  returned: success
  type: list
  elements: dict
  contains:
    level:
      description: One of V(error), V(warning), V(info).
      type: str
      returned: success
    setting:
      description: The setting.
      type: str
      returned: success
    text:
      description: What follows from it.
      type: str
      returned: success
    lines:
      description: Lines that would change it.
      type: list
      elements: str
      returned: success
"""

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import info as _haproxy_info
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_haproxy_options.info_spec(), _haproxy_info.run)


if __name__ == "__main__":
    main()
