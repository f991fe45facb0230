#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elbv2_split
short_description: Read and set the weights of two target groups in a forward action of Elastic Load Balancing
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Changes only the weights of two target groups in one forward action, of a listener or of a rule. Everything else in
    it, other actions, conditions, certificates and stickiness, stays as it was found.
  - The action is read, compared with what is there right before it is written, and read again behind it. Where somebody
    else changed it meanwhile, the task fails and says so. Elastic Load Balancing has no call that would refuse it by
    itself, so a change between that look and the write is seen behind it.
  - A side gets more than it has only when enough of its targets are healthy.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.split
  - zero.downtime.memory
  - zero.downtime.aws
  - zero.downtime.aws_state
  - zero.downtime.elbv2
  - zero.downtime.elbv2_place
attributes:
  check_mode:
    support: full
    details: The API is really asked, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - Both target groups have to be in the action beforehand, the idle one with the weight 0. Targets of a group that no
    action forwards to are not checked.
seealso:
  - module: zero.downtime.elbv2_info
  - module: zero.downtime.elbv2_members
"""

EXAMPLES = r"""
- name: Send all new requests to green
  zero.downtime.elbv2_split:
    region: eu-west-1
    load_balancer: shop
    listener: "443"
    pools:
      - name: shop-blue
        side: blue
      - name: shop-green
        side: green
    shares:
      green: 100
    min_active: 75%

- name: Read the shares of a rule
  zero.downtime.elbv2_split:
    region: eu-west-1
    load_balancer: shop
    listener: "443"
    rule: "10"
    pools:
      - name: shop-blue
        side: blue
      - name: shop-green
        side: green
"""

RETURN = r"""
shares:
  description:
    - The shares as the action has them. When the task failed, those that it has then, or V(null) when nobody can say.
  returned: always
  type: dict
  sample: {blue: 0, green: 100}
found:
  description: The shares before.
  returned: success
  type: dict
kept:
  description: The same as RV(shares). There is no other place where they are kept.
  returned: success
  type: dict
waited:
  description: Seconds that it took.
  returned: success
  type: float
notes:
  description: What is worth knowing, such as clients that stay with the target group that they had.
  returned: success
  type: list
  elements: str
worker:
  description: Always V(null).
  returned: success
  type: dict
workers:
  description: Always empty.
  returned: success
  type: list
  elements: dict
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
kernel:
  description: Always V(null).
  returned: success
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options, split
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(options.split_spec(), split.run)


if __name__ == "__main__":
    main()
