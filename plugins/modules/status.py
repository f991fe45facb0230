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
  - Changes nothing on any host. The record of the last deploy gets, on the controller, what became of requests that were open at its end, unless in
    check mode. A host or balancer that does not answer is a problem in the result, not a failure of the task.
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
    watch:
      description:
        - What is not as it should be, each with C(kind), C(who) and C(text), the sentence.
        - C(orphan) is a member that a deploy took out and left there, C(out) one that somebody else took out, C(dead) one that nobody took out and
          that does not serve all the same, C(disagree) one that balancers have in different states.
        - C(missing) is a member that a pool has no server for, C(missing_file) a file that a balancer's configuration needs and that somebody deleted
          while it runs, with the lines that bring it back.
        - C(sides) is a balancer that sends requests to both sides, balancers that disagree which one serves, or one whose next reload would
          change the shares.
        - C(mixed_releases), C(half_staged) and C(old_workers) say what they are. C(dead_lock) is a lock whose holder is proven dead, C(old_lock) one
          that is older than six hours.
        - C(left_out) is a balancer that a deploy went on without and that does not agree with the others yet, C(unreachable) a host that does not answer.
      type: list
      elements: dict
    running: {description: "The deploys that have the lock and are not known to be dead. What they have out is no problem.", type: list, elements: str}
    without: {description: "Balancers that were left out and are not reconciled yet.", type: list, elements: str}
    idle:
      description: The side that does not serve, as M(zero.downtime.idle) tells it, less C(slots); null where there are no two sides.
      type: dict
    locks: {description: "Each holder of the lock, V(dead) or V(running).", type: dict}
    late:
      description:
        - What became of the requests that were open when the last deploy ended, as its record has it under C(late); null where there is nothing to say.
      type: dict
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
