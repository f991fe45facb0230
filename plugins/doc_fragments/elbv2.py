# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hold:
    description:
      - Seconds that are waited when the API says that members have left, or has new shares, until the nodes of the load
        balancer have followed as well.
    type: float
    default: 5.0
  pools:
    description:
      - The target groups that are concerned.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the target group.
        type: str
        required: true
      port:
        description:
          - Port of its targets, where they name none themselves. Without it, the target group's own.
        type: int
      side:
        description:
          - The side that the target group is of, where two sides get shares of the requests.
        type: str
        choices: [blue, green]
      members:
        description:
          - Targets by the names of members, as C(id:port), where the id is that of an instance or an IP address. In a
            deploy they come from the inventory.
          - Without it, members are named by their targets.
        type: dict
      availability_zone:
        description:
          - The zone that IP addresses outside of the target group's VPC are registered with, which is V(all).
        type: str
"""
