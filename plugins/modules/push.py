#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: push
short_description: Hand a release to a platform that brings its own members to it, or say what it runs, whatever the technology
description:
  - Dispatches to the module C(<driver>_push), on the controller.
  - It returns when the platform has brought all of its members to the release, and fails where it gave the release up, with the words of the
    platform itself.
  - The task runs once, whatever the number of hosts of the play.
options:
  app:
    description:
      - Name of the application, where the platform's own name for it is not among the driver's options.
    type: str
  state:
    description:
      - Whether O(release) is handed to the platform (V(activated)), or nothing is changed (V(observed)).
      - With V(settled), the platform is only waited for until it is at rest. With V(activated) this is done before, where it is at another release.
    type: str
    choices: [observed, settled, activated]
    default: activated
  release:
    description:
      - The release, by the platform's own name for it, such as a label, a commit or an image digest.
      - With O(state=observed), the platform is asked whether it has it.
    type: str
  going_back:
    description:
      - Whether this goes back from another release. Where the platform is still bringing its members to that one, it is told to give it up, if it
        can; with O(state=activated), where it is O(leaving).
    type: bool
    default: false
  leaving:
    description:
      - With O(going_back), the release that is left.
    type: str
  timeout:
    description:
      - Seconds within which the platform has to have brought its members to the release.
    type: int
    default: 900
  deploy_id:
    description:
      - Name of the deploy on whose behalf the release is handed over.
    type: str
  lock:
    description:
      - The lock of a plan of M(zero.downtime.plan). The release is noted on its hosts before and after it is handed over, and not handed over
        where the lock is another deploy's.
    type: dict
  lock_key:
    description:
      - What tells the lock of this deploy from that of another one of the same name. It is part of O(lock).
    type: str
  intent:
    description:
      - What the deploy sets out to do, noted in the journal beside O(lock).
    type: dict
  so_far:
    description:
      - The members' results of earlier calls, which are returned with those of this one.
    type: dict
    default: {}
  step:
    default: push
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.moving
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: zero.downtime.releases
"""

EXAMPLES = r"""
- name: Hand a release to a platform
  zero.downtime.push:
    driver: acme.edge.works
    traffic:
      url: https://works.example.com
      token: "{{ works_token }}"
      app: shop
    release: 2.0.0

- name: What does the platform run?
  zero.downtime.push:
    driver: acme.edge.works
    traffic:
      url: https://works.example.com
      token: "{{ works_token }}"
      app: shop
    state: observed
  register: works
"""

RETURN = r"""
members:
  description: What the driver's module returned, by the name of the platform.
  returned: when the options could be read
  type: dict
  contains:
    platform:
      description: The name is a phrase, such as "app shop at the works".
      returned: when the options could be read
      type: dict
      contains:
        active:
          description: The release that all members run, as C({digest, label}); V(null) where there is none.
          returned: always
          type: dict
        previous:
          description: The release that ran before it.
          returned: always
          type: dict
        release:
          description: O(release), as the platform knows it; V(null) where it does not.
          returned: always
          type: dict
        pending:
          description: The release that the platform is bringing its members to now; V(null) where it is at rest.
          returned: always
          type: dict
        staged:
          description: The releases that can be handed to it by their names.
          returned: always
          type: list
          elements: dict
waited:
  description: Seconds that it took.
  returned: when the options could be read
  type: float
  sample: 41.2
problems:
  description: One sentence for each failure.
  returned: when the options could be read
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
