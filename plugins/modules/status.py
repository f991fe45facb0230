#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Tell where an application stands
description:
  - Asks the host of each member which release it runs, and each balancer what state the member has there, all at the same time.
  - Never changes anything. A host or balancer that does not answer is a problem in the result, not a failure of the task.
options:
  plan:
    description:
      - A plan of M(zero.downtime.plan).
    type: dict
    required: true
  show:
    description:
      - Whether to print the table.
    type: bool
    default: true
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Resolve the application
  zero.downtime.plan:
    verb: status
  register: resolved

- name: Ask every host and balancer
  zero.downtime.status:
    plan: "{{ resolved.plan }}"
"""

RETURN = r"""
status:
  description: Where the application stands.
  returned: success
  type: dict
  contains:
    members: {description: "Each member with C(release), C(digest), C(previous), C(states) and C(in_flight).", type: list, elements: dict}
    problems: {description: "One sentence for each thing that is not as it should be.", type: list, elements: str}
    sentence: {description: "The whole in one sentence.", type: str}
findings:
  description: What the balancers' configurations lack, with the lines to add.
  returned: success
  type: list
  elements: dict
driver:
  description: The driver and the strategies that it carries.
  returned: success
  type: dict
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
