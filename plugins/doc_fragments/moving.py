# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  driver:
    description:
      - Name of the driver, such as V(haproxy) or V(nginx), or C(namespace.collection.name) of another collection's driver.
    type: str
    required: true
  traffic:
    description:
      - The driver's own options, as C(deploy_traffic) has them, less C(driver).
    type: dict
    required: true
  lock:
    description:
      - The lock of a plan of M(zero.downtime.plan). Nothing is moved where it is another deploy's.
    type: dict
  on_failure:
    description:
      - Whether failures fail the task, or are reported in RV(ignore:problems) alone. The latter is for going back, where one balancer's
        failure must not keep the others from being put right.
    type: str
    choices: [fail, report]
    default: fail
  run_dir:
    description:
      - Directory on the controller that takes the events of a running deploy.
    type: path
  step:
    description:
      - Name of the step in the events.
      - With O(run_dir) one that moves something, by which the evidence knows when the deploy has touched what, such as V(drain), V(return), V(switch),
        V(push), or V(share 5 %).
    type: str
"""
