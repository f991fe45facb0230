#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: judge
short_description: Watch a release at its share of the requests, and say whether it is worse than the old one
description:
  - Looks every few seconds at what both sides do, by the balancers' own counts, the probe of M(zero.downtime.evidence) and Prometheus, and compares
    them. There are three verdicts. The release fails as soon as it is worse, passes when it was watched for long enough and nothing is worse, and is
    held as long as nothing can be said.
  - A release that fails makes the task fail, with one sentence that says why.
  - The task runs once, whatever the number of hosts of the play. It moves nothing.
options:
  canary:
    description:
      - How the release is watched and judged, as C(deploy_canary) has it.
    type: dict
    default: {}
  share:
    description:
      - The share of the requests that the release has, in percent from 1 to 99.
    type: int
    required: true
  driver:
    description:
      - Name of the driver, such as V(haproxy), or C(namespace.collection.name) of another collection's driver.
    type: str
    required: true
  traffic:
    description:
      - The driver's own options, as C(deploy_traffic) has them, less C(driver).
    type: dict
    required: true
  pools:
    description:
      - Names of the pools of C(canary), the release, and of C(baseline), what it is compared with.
    type: dict
    default: {}
    suboptions:
      canary:
        description:
          - Pools of the side with the release.
        type: raw
      baseline:
        description:
          - Pools of the other side.
        type: raw
  releases:
    description:
      - Digests of the release (C(canary)) and of what it is compared with (C(baseline)), by which the probe's answers are told apart.
    type: dict
    default: {}
    suboptions:
      canary:
        description:
          - Digest of the release.
        type: raw
      baseline:
        description:
          - Digest of the old release.
        type: raw
  label:
    description:
      - The release's label, for the sentence.
    type: str
  sticky:
    description:
      - Whether users stay on the side that they were sent to. A few for whom everything fails then look like a release that is worse, which the reasons say.
    type: bool
    default: false
  max_failed:
    description:
      - Requests that the probe may lose. One more fails the release at once.
    type: int
    default: 0
  run_dir:
    description:
      - Directory of the running deploy on the controller. The probe's numbers are read from there, and what was looked at is kept there.
    type: path
  step:
    description:
      - Name of the step in the record.
    type: str
    default: judge
extends_documentation_fragment:
  - zero.downtime.attributes
  - action_common_attributes.flow
attributes:
  check_mode:
    support: full
    details: Nothing is watched. The balancers and Prometheus are asked once, so that it shows whether they answer.
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
  async:
    support: none
  bypass_host_loop:
    support: full
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
seealso:
  - module: zero.downtime.split
  - module: zero.downtime.evidence
"""

EXAMPLES = r"""
- name: Judge the release at five of a hundred requests
  zero.downtime.judge:
    canary: {step_time: 30, interval: 2, deadline: 300}
    share: 5
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - {name: shop_blue, side: blue}
        - {name: shop_green, side: green}
    pools: {canary: [shop_green], baseline: [shop_blue]}
  register: judged
"""

RETURN = r"""
verdict:
  description: V(pass), V(fail) or V(inconclusive); V(null) in check mode.
  returned: when the sources answered
  type: str
  sample: pass
reasons:
  description: Sentences that say why.
  returned: when the sources answered
  type: list
  elements: str
share:
  description: The share that was judged.
  returned: when the sources answered
  type: int
waited:
  description: Seconds that the release was watched.
  returned: when it was watched
  type: float
deadline:
  description: Whether nothing could be said until the deadline.
  returned: when that was so
  type: bool
score:
  description: Percent of the metrics that pass; V(null) without metrics.
  returned: when it was watched
  type: float
errors:
  description: Requests and errors of both sides since the first share, and C(e_value), the evidence that the release fails more often, beside C(needed);
    C(design_effect), how many errors count as one since they come in bursts, and C(bad_blocks), in how many looks at a member the release has errors.
  returned: when it was watched
  type: dict
metrics:
  description: Of each metric its C(classification), the estimated shift beside the other side in parts of its mean, and the interval of that.
  returned: when it was watched
  type: list
  elements: dict
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
