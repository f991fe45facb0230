#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: idle
short_description: Tell about the side that does not serve, and whether it may be stopped
description:
  - Asks the host of each member what the idle side runs, each balancer what it still sends there and when it did so last, and each state host since
    when the sides have their shares. Never changes anything.
  - A side may be stopped when it has been idle for C(deploy_keep_previous), has seen no request for C(deploy_idle_for), has none in flight, gets no
    share from any balancer, and no other deploy has the lock or did not end. What cannot be known is in the way.
options:
  plan:
    description:
      - A plan of M(zero.downtime.plan) for an application with two sides.
    type: dict
    required: true
  wait:
    description:
      - Seconds to wait for the time to come. With V(0) it is asked once.
    type: int
    default: 0
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
    verb: retire
  register: resolved

- name: Look at the idle side
  zero.downtime.idle:
    plan: "{{ resolved.plan }}"
  register: idle

- name: Stop it
  zero.downtime.releases:
    state: stopped
    members: "{{ idle.slots }}"
  when: idle.due
"""

RETURN = r"""
side: {description: "The idle side.", returned: success, type: str}
serving: {description: "The other one.", returned: success, type: str}
release: {description: "The release that it has, or null.", returned: success, type: dict}
state:
  description: V(warm), V(warm on N of M members), V(stopped), V(down) (nothing runs there, but nobody stopped it), V(empty) (no release), or V(unknown).
  returned: success
  type: str
since: {description: "Since when it is idle, in seconds since 1970, or null where that is not known.", returned: success, type: float}
idle_s: {description: "Seconds since it got its last request, or null where that is not known.", returned: success, type: float}
in_flight: {description: "Its open requests, or null where they cannot be counted.", returned: success, type: int}
requests: {description: "Requests that it got since its balancers were started.", returned: success, type: int}
why: {description: "What is in the way of stopping it, whatever the time.", returned: success, type: list, elements: str}
wait: {description: "Seconds until its time has come.", returned: success, type: float}
when: {description: "That moment, in seconds since 1970; null when something else is in the way.", returned: success, type: float}
due: {description: "Whether it may be stopped now.", returned: success, type: bool}
begin: {description: "Whether nothing is in the way but that nobody knows since when it is idle.", returned: success, type: bool}
left: {description: "Whether the lock is that of a run that was stopping it, which may have died.", returned: success, type: bool}
shares: {description: "The shares that all balancers give the sides; null where they differ or cannot be told.", returned: success, type: dict}
slots: {description: "The places of its members, for M(zero.downtime.releases).", returned: success, type: list, elements: dict}
sentence: {description: "The whole in one sentence.", returned: success, type: str}
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
