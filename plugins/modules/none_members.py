#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: none_members
short_description: Stand in for a balancer where members get no requests
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - For queue workers and cron jobs, which no balancer stands before. There is no traffic to move, so nothing is done.
  - RV(members) repeats the state that was asked for. It is remembered nowhere and observed nowhere, so it says nothing about what the
    member does, and C(changed) is always false. Whether work is in progress is for the application to know. Stopping it
    is left to the command or unit that activates a release.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Before and after are always the same.
  idempotent:
    support: full
options:
  members:
    description:
      - Names of the members. They are not checked against anything, since nothing knows them.
  weight:
    description:
      - Refused. No balancer stands before these members.
  timeout_action:
    description:
      - Without effect, since nothing is ever in flight.
  min_active:
    description:
      - Read but not enforced, since nothing tells which members serve. RV(floor) says so.
"""

EXAMPLES = r"""
- name: Do nothing, in the words of every other driver
  zero.downtime.none_members:
    members: [worker1, worker2]
    state: drained
"""

RETURN = r"""
members:
  description: The members, in the state that was asked for.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      sample: worker1
    pool:
      description: Always null.
      type: str
    address:
      description: Always null.
      type: str
    state:
      description: The state that was asked for.
      type: str
      sample: drained
    weight:
      description: Always null.
      type: int
    in_flight:
      description: Always null, since nobody can say.
      type: int
    drained_by:
      description: Always null, since nothing was drained.
      type: str
    cut:
      description: Always 0.
      type: int
waited:
  description: Always 0.
  returned: success
  type: float
floor:
  description: Always V(unenforced).
  returned: success
  type: str
  sample: unenforced
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._none import members as _none


def main() -> None:
    run(_none.argument_spec(), _none.run)


if __name__ == "__main__":
    main()
