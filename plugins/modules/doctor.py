#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Look at everything that a deploy of an application needs
description:
  - Reads the C(deploy_*) variables of the members, and asks balancers, members' hosts, state hosts, the members themselves and the public
    address. Each rule is the one by which a deploy would be refused.
  - Nothing that is found ends it, also not a host that cannot be reached. What is wrong is told with what mends it.
  - The task runs once, whatever the number of hosts of the play, and changes nothing with or without check mode.
options:
  show:
    description:
      - Whether to show a line for each check.
    type: bool
    default: true
version_added: 0.2.0
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
seealso:
  - module: zero.downtime.status
"""

EXAMPLES = r"""
- name: Look at everything that a deploy needs
  zero.downtime.doctor:
  register: looked

- name: Go on only if the strategy of the configuration can be carried out
  ansible.builtin.assert:
    that: looked.doctor.is_ready
    fail_msg: "{{ looked.doctor.sentence }}"
  run_once: true
"""

RETURN = r"""
doctor:
  description: What was found.
  returned: success
  type: dict
  contains:
    checks:
      description:
        - What was looked at, in order, each with its C(name), C(host) (null for what belongs to the application), C(ok) (null where it does not
          apply or could not be looked at), C(text), C(mend) (lines or commands that put it right), and C(bars) (the strategies that cannot be
          carried out meanwhile).
      type: list
      elements: dict
      sample:
        - {"name": "balancer", "host": "lb1", "ok": true, "text": "haproxy 2.6.12 answers", "mend": [], "bars": []}
    ready: {description: "The strategies that this configuration can carry out now.", type: list, elements: str}
    strategy: {description: "That of the configuration, C(deploy_strategy).", type: str}
    is_ready: {description: "Whether the strategy of the configuration is among those.", type: bool}
    sentence: {description: "What the checks come to, such as V(ready for rolling).", type: str}
    advice:
      description:
        - What could be better in the configuration of balancers, and keeps no deploy (C(balancer), C(level), C(setting), C(text), C(lines)).
      type: list
      elements: dict
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
