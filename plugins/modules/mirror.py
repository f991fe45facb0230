#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mirror
short_description: Copy a share of GET requests to the idle side, whatever the technology
version_added: 0.1.0
description:
  - Dispatches to the module C(<driver>_mirror), on all of the driver's hosts at the same time.
  - Users never see an answer to a copy. A dead or slow idle side costs them nothing.
  - A balancer that cannot be reached is a failure of this task that names it. It never makes another host unreachable.
  - The task runs once, whatever the number of hosts of the play.
options:
  traffic:
    description:
      - The driver's own options, as C(deploy_traffic) has them, less C(driver). Pools of both sides are needed.
  to:
    description:
      - The side that gets the copies. It must not be the one that serves.
    type: str
    choices: [blue, green]
    required: true
  step:
    description:
      - Name of the step in the events.
    default: mirror
extends_documentation_fragment:
  - zero.downtime.moving
  - zero.downtime.attributes
  - zero.downtime.mirror
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: zero.downtime.nginx_mirror
author:
  - zero.downtime contributors (@zero-downtime)
"""

EXAMPLES = r"""
- name: Copy a tenth of the GET requests to green
  zero.downtime.mirror:
    driver: nginx
    traffic:
      balancers: shop_lb
      pools:
        - name: shop_blue
          side: blue
        - name: shop_green
          side: green
    to: green
    share: 10
    lasts: 120

- name: End it, and see how green answered
  zero.downtime.mirror:
    driver: nginx
    traffic:
      balancers: shop_lb
      pools:
        - name: shop_blue
          side: blue
        - name: shop_green
          side: green
    to: green
    share: 0
  register: mirrored
"""

RETURN = r"""
requests:
  description: With O(share=0), how many requests were copied and ended.
  returned: when the options could be read
  type: int
statuses:
  description: With O(share=0), how often the idle side answered with which status. What it did not answer at all is a V(502) or V(504) of the balancer.
  returned: when the options could be read
  type: dict
  sample: {"200": 118, "500": 2}
balancers:
  description: The whole result of the driver's module, for each host that it ran on, also of those that failed.
  returned: when the options could be read
  type: dict
waited:
  description: Seconds that the slowest balancer took.
  returned: when the options could be read
  type: float
problems:
  description: One sentence for each host that failed.
  returned: when the options could be read
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
