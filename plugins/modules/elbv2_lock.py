#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elbv2_lock
short_description: One deploy at a time for target groups of AWS, by an object of S3
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Takes, gives back or looks at the lock of a deploy, which is an object of S3. Options and returns are those of
    M(zero.downtime.lock), which keeps it in a file.
  - S3 writes the object only if it is as it was read (C(If-Match), C(If-None-Match)), so of two that take it at once one
    is refused. The journal, and what a later rollback has to know, are in the same object.
  - Elastic Load Balancing knows nothing of it. What moves targets or weights writes down its move before, and is refused
    there when it has lost the lock; a call that is under way by then is not held up.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.own_lock
  - zero.downtime.aws
  - zero.downtime.aws_state
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state_bucket:
    required: true
"""

EXAMPLES = r"""
- name: Take the lock
  zero.downtime.elbv2_lock:
    state: acquired
    name: production-shop
    deploy_id: 20261123T120000Z-production-shop-4f2a9c
    region: eu-west-1
    state_bucket: shop-deploys
  register: lock

- name: Give it back
  zero.downtime.elbv2_lock:
    state: released
    name: production-shop
    deploy_id: 20261123T120000Z-production-shop-4f2a9c
    clean: true
    region: eu-west-1
    state_bucket: shop-deploys
"""

RETURN = r"""
checks:
  description: What was looked at (C(name), C(ok), C(text), and C(mend), the lines that put it right).
  returned: with O(state=examined)
  type: list
  elements: dict
acquired:
  description: Whether the lock is this deploy's now.
  returned: with O(state=acquired)
  type: bool
holder:
  description: The lock of another deploy that is in the way, or null.
  returned: with O(state=acquired)
  type: dict
taken_over:
  description: The lock that was taken over, or null.
  returned: with O(state=acquired)
  type: dict
lock:
  description: The lock as it is, or null.
  returned: with O(state=observed), and in check mode
  type: dict
journal:
  description: The journal's entries, the oldest first.
  returned: with O(state=acquired), O(state=observed) and O(state=noted)
  type: list
  elements: dict
without:
  description: The balancers that deploys went on without, each with C(deploy_id) and C(time) of the last such deploy.
  returned: with O(state=observed)
  type: dict
shares:
  description: The shares that the sides got last, as far as is known here, as C(shares), with C(since) (seconds since
    1970) and C(deploy_id); or null.
  returned: with O(state=observed)
  type: dict
last:
  description:
    - The last deploy or rollback that ended well and gave users another release, as far as is known here, as C(verb),
      C(strategy), C(deploy_id), C(release), C(origin) (what served before) and C(time); or null.
  returned: with O(state=observed)
  type: dict
now:
  description: The controller's own time (seconds since 1970), to which C(since) belongs.
  returned: with O(state=observed)
  type: float
path:
  description: Address of the object.
  returned: success
  type: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import lock, options
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(options.lock_spec(), lock.run)


if __name__ == "__main__":
    main()
