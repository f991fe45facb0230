# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  shares:
    description:
      - The shares of new requests that the sides V(blue) and V(green) get, as whole percents that add up to 100. A side that is left out
        gets nothing.
      - Without it, the shares are only read.
    type: dict
  app:
    description:
      - Name of the application, where the balancer needs it to find the right split.
    type: str
  min_active:
    description:
      - How many members have to serve at full weight, in each pool of a side that gets more than it has, as a count (V(4)) or as a
        percentage of the configured members, rounded up (V(75%)). At least one has to.
    type: str
    default: "0"
  timeout:
    description:
      - Seconds within which the balancer has to have the shares.
    type: int
    default: 20
  deploy_id:
    description:
      - Name of the deploy on whose behalf shares are set.
    type: str
  lock:
    description:
      - The file of the lock that M(zero.downtime.lock) took on this host for O(deploy_id). The shares are noted in the lock's journal before
        they are set, and refused when the lock is another deploy's.
    type: path
  lock_key:
    description:
      - What tells the lock of this deploy from that of another one of the same name, as it was given to M(zero.downtime.lock). Without it the name
        alone counts.
    type: str
  intent:
    description:
      - What the deploy sets out to do, noted with the shares in the journal of O(lock).
    type: dict
"""
