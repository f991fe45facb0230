# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description:
      - The name that users ask for, whole or relative to the zone; V(@) is the zone itself.
    type: str
    required: true
  servers:
    description:
      - The authoritative servers that have to answer with a side before it is effective, as names or addresses, with a
        port behind a colon if need be. Without any, those that the zone's NS records name.
    type: list
    elements: str
    default: []
  resolvers:
    description:
      - Resolvers that have to answer so, too, such as those of a large group of users.
    type: list
    elements: str
    default: []
  ttl:
    description:
      - Seconds for which resolvers may keep the name, usually (its time to live).
    type: int
    default: 300
  blue:
    description:
      - What the name is while blue serves, addresses (A, AAAA) or one name (CNAME).
    type: list
    elements: str
    required: true
  green:
    description:
      - What the name is while green serves, addresses (A, AAAA) or one name (CNAME).
    type: list
    elements: str
    required: true
"""
