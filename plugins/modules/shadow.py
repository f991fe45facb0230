#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shadow
short_description: Compare the release on the idle side of a plan with the one that serves, before any user sees it
version_added: 0.1.0
description:
  - With the method V(replay) of C(deploy_shadow), runs M(zero.downtime.replay) on all balancers of a plan at the same time, and judges what they found
    together. With V(mirror), judges what M(zero.downtime.mirror) has counted. Copies that the idle side answered with 5xx or not at all are reported.
  - Fails when more fields are reported than C(deploy_shadow.max_differences), unless C(deploy_shadow.report_only) is set, or when nothing could
    be compared.
  - The report is kept in the plan's C(run_dir), where M(zero.downtime.record) finds it.
  - The task runs once, whatever the number of hosts of the play.
options:
  plan:
    description:
      - The plan of M(zero.downtime.plan), with O(ignore:state=batched).
    type: dict
    required: true
  mirrored:
    description:
      - With the method V(mirror), the result of M(zero.downtime.mirror) that ended it.
    type: dict
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is sent, since the idle side still runs what it ran.
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
seealso:
  - module: zero.downtime.replay
  - module: zero.downtime.mirror
author:
  - zero.downtime contributors (@zero-downtime)
"""

EXAMPLES = r"""
- name: Compare the releases before any user sees the new one
  zero.downtime.shadow:
    plan: "{{ batched.plan }}"
"""

RETURN = r"""
shadow:
  description: What was found; V(null) where the plan has no shadow, and in check mode.
  returned: success
  type: dict
  contains:
    method: {description: "V(replay) or V(mirror).", type: str}
    requests: {description: "Requests that were sent.", type: int}
    compared: {description: "Those that the old release answered.", type: int}
    late: {description: "Those that were left out since earlier ones were not answered in time.", type: int}
    differences: {description: "Fields that are reported.", type: int}
    fields: {description: "The fields that differed, as M(zero.downtime.replay) returns them.", type: list, elements: dict}
    verdict: {description: "V(same), V(different), or V(nothing).", type: str}
    sentence: {description: "The verdict for a person.", type: str}
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
