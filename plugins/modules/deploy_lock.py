#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Take or give back the lock of a deploy on all hosts that keep it
description:
  - Takes the lock of M(zero.downtime.plan)'s plan on all of its state hosts, in sorted order, all or none. A deploy that finds it taken is refused,
    in one sentence that names the holder.
  - A holder that is proven dead, because its process on this very controller is gone, is taken over. Any other is left alone unless
    C(deploy_lock_break) says otherwise. Only what moves releases takes a deploy over; the verb C(retire) takes over its own kind alone.
  - The task runs once, whatever the number of hosts of the play.
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
options:
  state:
    description:
      - Whether to take the lock or to give it back.
    type: str
    choices: [acquired, released]
    required: true
  plan:
    description:
      - A plan of M(zero.downtime.plan).
    type: dict
    required: true
  clean:
    description:
      - With O(state=released), whether the deploy left nothing behind.
    type: bool
    default: false
  shares:
    description:
      - With O(state=released), the shares that the sides have now, so that it is known later since when.
    type: dict
  last:
    description:
      - With O(state=released), what a later rollback has to know of this deploy, where it gave users another release.
    type: dict
"""

EXAMPLES = r"""
- name: Take the lock
  zero.downtime.deploy_lock:
    state: acquired
    plan: "{{ resolved.plan }}"
"""

RETURN = r"""
taken_over:
  description: The lock that was taken over, or null.
  returned: with O(state=acquired)
  type: dict
out:
  description: Members that an earlier deploy took out and did not bring back.
  returned: with O(state=acquired)
  type: list
  elements: str
interrupted:
  description: What an earlier deploy that did not end cleanly set out to do, or null.
  returned: with O(state=acquired)
  type: dict
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
