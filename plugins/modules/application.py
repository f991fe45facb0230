#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: application
short_description: Find an application and its members in the inventory
description:
  - An inventory may hold one application or many. With many, C(deploy_app) picks one, and the variables of the group of that name apply.
  - The task runs once, whatever the number of hosts of the play.
options: {}
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
- name: Find the application and its members
  zero.downtime.application:
  register: application
"""

RETURN = r"""
app:
  description: Name of the application.
  returned: success
  type: str
  sample: shop
hosts:
  description: Names of its members with commas between them, for the hosts of a play; C(deploy_hosts) may be a pattern that does not go together with that.
  returned: success
  type: str
  sample: app1,app2
members:
  description: Names of its members; none where a platform has members of its own.
  returned: success
  type: list
  elements: str
stands_for_it:
  description: The host of the inventory that has its variables, where a platform has members of its own. Nobody connects to it.
  returned: when it has no members in the inventory
  type: str
  sample: shop_at_the_works
restart_first:
  description: Whether what serves is to be restarted before a deploy, because a canary is to be compared with a fresh baseline.
  returned: success
  type: bool
  sample: false
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
