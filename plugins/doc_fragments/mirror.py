# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options that the facade C(mirror) and every driver's C(mirror) share."""

    DOCUMENTATION = r"""
options:
  share:
    description:
      - Percentage of the GET requests that are copied. V(0) ends the mirror.
    type: int
    required: true
  lasts:
    description:
      - Seconds after which the mirror ends by itself, should nobody end it. One that has at least half of them left is not begun anew.
    type: float
    default: 600.0
  timeout:
    description:
      - Seconds within which the balancer has to have the change.
    type: int
    default: 30
  deploy_id:
    description:
      - Name of the deploy on whose behalf requests are copied.
    type: str
  lock:
    description:
      - The file of the lock that M(zero.downtime.lock) took on this host for O(deploy_id). Nothing is changed when the lock is another deploy's.
    type: path
  lock_key:
    description:
      - What tells the lock of this deploy from that of another one of the same name, as it was given to M(zero.downtime.lock). Without it the name
        alone counts.
    type: str
"""
