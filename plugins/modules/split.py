#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: split
short_description: Read and set the shares of new requests that blue and green get, whatever the technology
description:
  - Dispatches to the module C(<driver>_split), on all of the driver's hosts at the same time.
  - A balancer that cannot be reached is a failure of this task that names it. It never makes another host unreachable. The result says
    which balancer has which shares, so that they can be set back.
  - The task runs once, whatever the number of hosts of the play.
options:
  step:
    default: switch
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.moving
  - zero.downtime.attributes
  - zero.downtime.split
  - zero.downtime.memory
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: zero.downtime.haproxy_split
  - module: zero.downtime.nginx_split
"""

EXAMPLES = r"""
- name: Give green five of a hundred new requests, on every balancer
  zero.downtime.split:
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop_blue
          side: blue
          port: 8000
        - name: shop_green
          side: green
          port: 8001
    shares:
      blue: 95
      green: 5
    min_active: 50%

- name: Read the shares
  zero.downtime.split:
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop_blue
          side: blue
          port: 8000
        - name: shop_green
          side: green
          port: 8001
  register: split
"""

RETURN = r"""
shares:
  description: The shares of the sides; V(null) when the balancers do not agree, or one cannot tell.
  returned: when the options could be read
  type: dict
  sample: {blue: 95, green: 5}
balancers:
  description: The whole result of the driver's module, for each host that it ran on, also of those that failed.
  returned: when the options could be read
  type: dict
waited:
  description: Seconds that the slowest balancer took.
  returned: when the options could be read
  type: float
  sample: 0.1
problems:
  description: One sentence for each host that failed.
  returned: when the options could be read
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
