#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elbv2_info
short_description: Tell the targets and shares of target groups of Elastic Load Balancing
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Asks the API which targets of which target groups get requests, and which shares the two sides of an application
    have. It changes nothing.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.aws
  - zero.downtime.elbv2
  - zero.downtime.elbv2_place
attributes:
  check_mode:
    support: full
    details: This module never changes anything.
  diff_mode:
    support: none
    details: This module never changes anything.
  idempotent:
    support: full
seealso:
  - module: zero.downtime.elbv2_members
  - module: zero.downtime.elbv2_split
"""

EXAMPLES = r"""
- name: Ask who serves
  zero.downtime.elbv2_info:
    region: eu-west-1
    load_balancer: shop
    pools:
      - name: shop-blue
        side: blue
      - name: shop-green
        side: green
  register: shop
"""

RETURN = r"""
region:
  description: Region that was asked.
  returned: success
  type: str
pools:
  description: Target groups and their members.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Target group.
      type: str
      returned: success
    members:
      description: Members, and whoever else is registered.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: Name of the member, or its target where it has none.
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
        in_flight:
          description: Always V(null). Elastic Load Balancing does not tell.
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
    requests:
      description: Always V(null).
      type: int
      returned: success
    idle_s:
      description: Always V(null).
      type: float
      returned: success
    uncountable:
      description: Why requests are not counted.
      type: str
      returned: success
    drain_s:
      description: Seconds that a drain takes, by the deregistration delay and O(hold).
      type: float
      returned: success
    return_s:
      description: Seconds of slow start until a target has its full share.
      type: float
      returned: success
    times_told:
      description: What these two are made of, as a phrase.
      type: str
      returned: success
split:
  description: The shares of the two sides, where O(pools) has both; otherwise V(null).
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
    kept:
      description: The same shares.
      type: dict
      returned: success
    sticky:
      description: Whether clients stay with the target group that they had.
      type: bool
      returned: success
    missing:
      description: Always V(null).
      type: dict
      returned: success
counters:
  description: Always empty.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why nothing is counted.
  returned: success
  type: str
findings:
  description: Settings with which requests could be lost.
  returned: success
  type: list
  elements: dict
  contains:
    level:
      description: V(error) or V(warning).
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
      description: Always empty.
      type: list
      elements: str
      returned: success
"""

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import info, options
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(options.info_spec(), info.run)


if __name__ == "__main__":
    main()
