#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: members
short_description: Take members out of traffic and bring them back, whatever the technology
description:
  - Dispatches to the module C(<driver>_members), on all of the driver's hosts at the same time. With two balancers, members are out
    when both of them say so.
  - A balancer that cannot be reached is a failure of this task that names it. It never makes another host unreachable.
  - The task runs once, whatever the number of hosts of the play.
options:
  servers:
    description:
      - What the balancers call a member, where that is not its inventory name.
    type: dict
    default: {}
  own_traffic:
    description:
      - By inventory name, what stands in place of O(traffic) for that member, where a driver's modules run on the members' own hosts.
    type: dict
    default: {}
  idle:
    description:
      - Whether the members are of a side that gets no requests. A driver that only moves shares between sides has nothing to do for those, and refuses
        all others.
    type: bool
    default: false
  step:
    default: drain
  batch:
    description:
      - Number of the batch in the events.
    type: int
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.moving
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Take two members out of traffic, on every balancer
  zero.downtime.members:
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop
          port: 8000
    members: [app1, app2]
    state: drained
    timeout: 60
    min_active: 50%

- name: Bring them back; the task ends when they really serve
  zero.downtime.members:
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop
          port: 8000
    members: [app1, app2]
    state: active
"""

RETURN = r"""
members:
  description: Each member as each balancer has it after the move.
  returned: when no host failed, or with O(on_failure=report)
  type: list
  elements: dict
  contains:
    name: {description: "Name of the member.", type: str, sample: app1}
    balancer: {description: "Host that said so.", type: str, sample: lb1}
    pool: {description: "Pool on that balancer.", type: str, sample: shop}
    address: {description: "Address and port of the member.", type: str, sample: "192.0.2.11:8000"}
    state: {description: "active, draining, drained or down.", type: str, sample: drained}
    weight: {description: "Its weight.", type: int, sample: 100}
    in_flight: {description: "Its open requests; null where the balancer cannot know.", type: int, sample: 0}
    drained_by: {description: "What proved that nothing was in flight.", type: str, sample: sessions}
    cut: {description: "Connections that were closed on purpose.", type: int, sample: 0}
    streams: {description: "Streams that were left open for the application to end.", type: int, sample: 0}
waited:
  description: Seconds that the slowest balancer took.
  returned: always
  type: float
  sample: 0.4
streams:
  description: How many streams were left open on which members, for the application to end.
  returned: when no host failed, or with O(on_failure=report)
  type: dict
  sample: {app1: 12}
balancers:
  description: The whole result of the driver's module, for each host that it ran on.
  returned: when no host failed, or with O(on_failure=report)
  type: dict
theirs:
  description: Members that somebody else took out on a balancer. With O(lock), they are not brought back there.
  returned: when a member was given
  type: list
  elements: str
gone:
  description: Members that a deploy had moved before, and whose server somebody removed from a balancer since, each with those balancers. With O(lock).
  returned: when a member was given
  type: dict
lost:
  description: Members that a deploy had taken out and that a reload of a balancer had brought back. They were taken out again.
  returned: when a member was given
  type: list
  elements: str
why:
  description: RV(ignore:msg) without what holds only until somebody brings the members back, for whoever does that next.
  returned: when a host failed
  type: str
problems:
  description: One sentence for each host that failed, as in RV(why).
  returned: always
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
