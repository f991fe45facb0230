# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
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
      - Of M(zero.downtime.lock). Here nobody waits for moves of an old holder, which are refused.
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
"""
