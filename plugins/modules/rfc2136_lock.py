#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rfc2136_lock
short_description: One deploy at a time for a name in DNS, by a record in its zone
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Takes, gives back or looks at the lock of a deploy, which is a TXT record beside the name that the deploy changes.
    Options and returns are those of M(zero.downtime.lock), which keeps it in a file.
  - Taking it has the prerequisite that there is none, and each update by M(zero.downtime.rfc2136_split) the
    prerequisite that it is the deploy's own, so the name server itself refuses what a controller that lost it still
    sends.
  - The journal, and what a later rollback has to know, are TXT records beside the lock. Everybody who may ask the name
    server can read them, with the names of members, controllers and users in them.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.rfc2136
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
      - V(acquired) takes the lock or tells who has it. V(released) gives it back. V(noted) writes O(entry) to the
        journal while the lock is the deploy's, and fails otherwise. V(observed) only looks, and so does V(examined),
        which also tells in RV(checks) whether a lock could be taken.
    type: str
    choices: [acquired, released, noted, observed, examined]
    required: true
  directory:
    description:
      - Of M(zero.downtime.lock). Here it means nothing.
    type: path
  name:
    description:
      - Name of the lock, of the application and the environment.
    type: str
    required: true
  deploy_id:
    description:
      - The deploy that takes or gives back the lock.
    type: str
  key:
    description:
      - What tells this deploy's lock from that of another deploy of the same name, which a person may have given twice.
        Without it the name alone counts.
    type: str
  holder:
    description:
      - Who runs the deploy (C(controller), C(boot_id), C(pid), C(start_time), C(user)).
    type: dict
  over:
    description:
      - The O(key) of the lock whose holder is proven dead (without one, that lock's O(deploy_id)). It is taken over.
    type: str
  force:
    description:
      - Takes the lock whoever holds it, and also where its files, or the journal, cannot be read.
    type: bool
    default: false
  clean:
    description:
      - With O(state=released), whether the deploy left nothing behind, so that the journal ends too.
    type: bool
    default: false
  timeout:
    description:
      - Of M(zero.downtime.lock). Here nobody waits for moves of an old holder, since the server refuses them.
    type: float
    default: 60
  without:
    description:
      - With O(state=acquired), the balancers that the deploy goes on without. That is kept beside the lock.
    type: list
    elements: str
    default: []
  joined:
    description:
      - With O(state=released) and O(clean), the balancers that took part. That they were once left out is forgotten.
    type: list
    elements: str
    default: []
  shares:
    description:
      - With O(state=released), the shares that the sides blue and green have now on all balancers. Where they differ
        from those that were known here, they count from now on.
    type: dict
  last:
    description:
      - With O(state=released), what a later rollback has to know of this deploy, where it gave users another release.
    type: dict
  entry:
    description:
      - With O(state=noted), what is to be written down of a move that other hosts make, as C(state) and C(members), or
        C(shares), with C(intent); C(done) once it has been made, with what each of these hosts has to say of it in
        C(by_host).
    type: dict
  record:
    description:
      - The name that the lock is for, whole or relative to the zone; V(@) is the zone itself. The lock is the TXT
        record C(_zero-downtime) below it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Take the lock
  zero.downtime.rfc2136_lock:
    state: acquired
    name: production-shop
    deploy_id: 20261123T120000Z-production-shop-4f2a9c
    zone: shop.example
    record: www
    server: ns1.shop.example
    key_name: deploy
    key_secret: "{{ vault_deploy_key }}"
  register: lock

- name: Give it back
  zero.downtime.rfc2136_lock:
    state: released
    name: production-shop
    deploy_id: 20261123T120000Z-production-shop-4f2a9c
    clean: true
    zone: shop.example
    record: www
    server: ns1.shop.example
    key_name: deploy
    key_secret: "{{ vault_deploy_key }}"
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
  description: The shares that the sides got last, as far as the zone knows, as C(shares), with C(since) (seconds since
    1970) and C(deploy_id); or null.
  returned: with O(state=observed)
  type: dict
last:
  description:
    - The last deploy or rollback that ended well and gave users another release, as far as the zone knows, as C(verb),
      C(strategy), C(deploy_id), C(release), C(origin) (what served before) and C(time); or null.
  returned: with O(state=observed)
  type: dict
now:
  description: The controller's own time (seconds since 1970), to which C(since) belongs.
  returned: with O(state=observed)
  type: float
path:
  description: Name of the lock's record.
  returned: success
  type: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import lock, options


def main() -> None:
    run(options.lock_spec(), lock.run)


if __name__ == "__main__":
    main()
