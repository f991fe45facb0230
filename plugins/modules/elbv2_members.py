#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elbv2_members
short_description: Take targets out of target groups of AWS and bring them back without losing a request
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Deregisters a list of targets, all of a target group in one call, and waits until they have left; or registers them
    and waits until their health checks pass, and until a slow start is over. It works with target groups of Application
    and Network Load Balancers, for instances and IP addresses.
  - A target that is deregistered has the deregistration delay of its target group to answer what it has. Then Elastic
    Load Balancing cuts what is left, so the delay has to be longer than the slowest request.
  - A target that is still draining when it has to come back is registered again.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
  - zero.downtime.aws
  - zero.downtime.aws_state
  - zero.downtime.elbv2
attributes:
  check_mode:
    support: full
    details: The API is really asked, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  timeout:
    description:
      - Seconds that the move may take, for all members together. With O(state=drained) more than the deregistration
        delay and O(hold) are needed, and with O(state=active) more than the slow start.
  timeout_action:
    description:
      - V(cut) is refused, since Elastic Load Balancing itself cuts what is left after the deregistration delay.
  weight:
    description:
      - Refused, since targets have no weights.
seealso:
  - module: zero.downtime.elbv2_info
  - module: zero.downtime.elbv2_split
"""

EXAMPLES = r"""
- name: Take two instances out and wait until they have left
  zero.downtime.elbv2_members:
    region: eu-west-1
    pools:
      - name: shop
    members: [i-0123456789abcdef0, i-0123456789abcdef1]
    state: drained
    timeout: 330
    min_active: 75%

- name: Bring them back when their health checks pass
  zero.downtime.elbv2_members:
    region: eu-west-1
    pools:
      - name: shop
    members: [i-0123456789abcdef0, i-0123456789abcdef1]
    state: active

- name: Name members by the hosts of the inventory
  zero.downtime.elbv2_members:
    region: eu-west-1
    pools:
      - name: shop
        members:
          app1: 10.0.1.11:8000
          app2: 10.0.1.12:8000
    members: [app1]
    state: drained
    timeout: 330
"""

RETURN = r"""
members:
  description: Each member in each of its target groups.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      returned: success
    pool:
      description: Target group.
      type: str
      returned: success
    address:
      description: The target, as id and port.
      type: str
      returned: success
    state:
      description: One of V(active), V(draining), V(drained), V(down).
      type: str
      returned: success
    weight:
      description: Always V(null). Targets have no weights.
      type: int
      returned: success
    full:
      description: Whether it gets requests.
      type: bool
      returned: success
    known:
      description: Whether its health checks have come to a verdict.
      type: bool
      returned: success
    in_flight:
      description: Always V(null). Elastic Load Balancing does not tell.
      type: int
      returned: success
    drained_by:
      description: V(deregistered) with O(state=drained), otherwise V(null).
      type: str
      returned: success
    cut:
      description: Always V(0). What Elastic Load Balancing cuts after the deregistration delay it does not tell.
      type: int
      returned: success
floor:
  description: V(enforced). O(min_active) is checked before anything is moved.
  returned: success
  type: str
waited:
  description: Seconds that the move took.
  returned: success
  type: float
notes:
  description: What is worth knowing.
  returned: success
  type: list
  elements: str
counters:
  description: Always empty.
  returned: success
  type: list
  elements: dict
counters_before:
  description: Always empty.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why nothing is counted.
  returned: success
  type: str
noted:
  description: What hosts that keep the journal are to note, with O(memory).
  returned: with O(memory)
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import members, options
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(options.members_spec(), members.run)


if __name__ == "__main__":
    main()
