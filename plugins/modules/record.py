#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Write the record of a deploy and its report
version_added: 0.1.0
description:
  - Composes what the plan, the steps and the evidence say into one JSON record, and draws it as one self-contained HTML page.
  - Both files lie on the controller, in O(records_dir), and are named after the deploy. Each is written whole or not at all.
  - The record is described key by key in C(docs/records.md) of the collection.
  - This is an action plugin. It runs once for the whole play, whatever the number of hosts, and never connects to any of them.
author: zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written; the record and the paths it would have are returned.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - A record that tells the same as the one on disk, apart from the moment it was written, is left alone.
options:
  plan:
    description:
      - The plan as M(zero.downtime.plan) returned it.
      - Needed is C(deploy_id); used besides are C(app), C(environment), C(strategy), C(driver), C(release), C(previous), C(batches), C(started) and C(verb).
      - C(started) is a time in seconds since the epoch or in ISO 8601. Without it the first event counts.
    type: dict
    required: true
  result:
    description:
      - How the deploy ended.
    type: str
    choices:
      - succeeded
      - rolled_back
      - failed
    required: true
  records_dir:
    description:
      - The directory of the records, on the controller. It is made when it does not exist.
    type: path
    required: true
  run_dir:
    description:
      - The directory of the running deploy, on the controller, with the events of its steps.
      - Without it the record has no steps.
    type: path
  evidence:
    description:
      - The evidence as M(zero.downtime.evidence) returned it. A line of evidence that it lacks is V(null) in the record.
    type: dict
  members:
    description:
      - The members as the deploy left them, each with C(name), C(release) (a label) and C(state).
    type: list
    elements: dict
  sentence:
    description:
      - What happened and what serves now, in one sentence.
    type: str
  tidy:
    description:
      - Whether to remove O(run_dir) once the record is written. It stays when the record could not be, as the only trace.
    type: bool
    default: false
seealso:
  - module: zero.downtime.evidence
"""

EXAMPLES = r"""
- name: Keep the history of this deploy
  zero.downtime.record:
    records_dir: /var/lib/deploys
    run_dir: "{{ plan.run_dir }}"
    plan: "{{ plan.plan }}"
    result: succeeded
    evidence: "{{ stopped.evidence }}"
    members:
      - name: app1
        release: 2.0.0
        state: active
    sentence: shop 2.0.0 serves on 1 member.
"""

RETURN = r"""
record:
  description:
    - The record. It is returned even when O(records_dir) cannot be written, so that it can be kept elsewhere.
  returned: when the plan names the deploy
  type: dict
  sample:
    schema: 1
    deploy_id: shop-20261123T150350Z-4f1a
    app: shop
    result: succeeded
path:
  description: The JSON file.
  returned: when the plan names the deploy
  type: str
  sample: /var/lib/deploys/shop-20261123T150350Z-4f1a.json
report:
  description: The HTML file.
  returned: when the plan names the deploy
  type: str
  sample: /var/lib/deploys/shop-20261123T150350Z-4f1a.html
"""
