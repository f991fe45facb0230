#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Resolve and check a deploy, and lay out its batches
description:
  - O(state=resolved) reads the C(deploy_*) variables of the members, checks every one of them, asks the balancers what they have, and
    refuses with one sentence before anything has been changed.
  - O(state=batched) takes what staging found on the hosts, and lays out the batches within the capacity floor.
  - O(state=looked) tells whether a deploy or rollback that has not ended moved the idle side, by the journal on the state hosts.
  - The task runs once, whatever the number of hosts of the play. In check mode it really asks, and shows the plan.
options:
  state:
    description:
      - Which half of the plan to make, or to look only for what an earlier run has left.
    type: str
    choices: [resolved, batched, looked]
    default: resolved
  verb:
    description:
      - What the plan is for.
    type: str
    choices: [deploy, rollback, restart, drain, activate, retire, status]
    default: deploy
  strategy:
    description:
      - A strategy in place of C(deploy_strategy), for whoever asks what else would work.
    type: str
    choices: [rolling, blue_green, canary, push]
    version_added: 0.2.0
  plan:
    description:
      - For O(state=batched), the resolved plan.
    type: dict
  staged:
    description:
      - For O(state=batched), the result of M(zero.downtime.release) for each member.
    type: dict
  locked:
    description:
      - For O(state=batched), the result of M(zero.downtime.deploy_lock).
    type: dict
    default: {}
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
- name: Resolve and check everything
  zero.downtime.plan:
    verb: deploy
  register: resolved
"""

RETURN = r"""
begun:
  description: Whether an earlier run has left something on the idle side, which the next one goes on from. Only with O(state=looked).
  returned: success
  type: bool
plan:
  description: The plan. Not with O(state=looked).
  returned: success
  type: dict
  contains:
    deploy_id: {description: "Name of the deploy.", type: str}
    app: {description: "Name of the application.", type: str}
    strategy: {description: "Order of the moves.", type: str}
    driver: {description: "What moves traffic.", type: str}
    members: {description: "All members.", type: list, elements: str}
    batches: {description: "The batches, each with C(n) and C(members). Only with O(state=batched).", type: list, elements: dict}
    going_back_to: {description: "The release that each moving member runs now. Only with O(state=batched).", type: dict}
    capacity: {description: "Whether anything serves, and how many members may be out at a time.", type: dict}
    warnings: {description: "What deserves attention and does not prevent the deploy.", type: list, elements: str}
run_dir:
  description: Directory on the controller for the events and samples of this deploy. Null in check mode.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
