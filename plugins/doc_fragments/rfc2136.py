# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  zone:
    description:
      - The zone that is updated.
    type: str
    required: true
  server:
    description:
      - The primary server of the zone, where updates go, as a name or an address, with a port behind a colon if need
        be.
    type: str
    required: true
  key_name:
    description:
      - Name of the key (TSIG) that updates are signed with.
    type: str
    required: true
  key_secret:
    description:
      - Secret of the key, in base64 as C(tsig-keygen) prints it.
    type: str
    required: true
  key_algorithm:
    description:
      - Algorithm of the key.
    type: str
    choices: [hmac-sha256, hmac-sha224, hmac-sha384, hmac-sha512, hmac-sha1]
    default: hmac-sha256
  query_timeout:
    description:
      - Seconds that one question to a name server may take.
    type: float
    default: 3.0
requirements:
  - dnspython
"""
