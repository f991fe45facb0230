#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rfc2136_split
short_description: Read and set which of two sides a name in DNS is
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Changes the addresses (A, AAAA) or the CNAME of a name by one update of its zone (RFC 2136), signed with a key. It
    works with BIND, Knot DNS, PowerDNS and each other server that takes such updates, and runs on the controller.
  - The shares are set when the primary server has made the update. They are effective when every authoritative server
    answers so, and each resolver that O(resolvers) names. They are settled when no resolver may have an answer from
    before any more.
  - Where they do not become effective within O(effective_timeout), the records from before are put back, and the task
    fails.
  - An update is refused by the server itself unless the records are as they were read, and, with O(lock), unless the
    lock in the zone is the deploy's own.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.split
  - zero.downtime.slow_split
  - zero.downtime.memory
  - zero.downtime.rfc2136
  - zero.downtime.rfc2136_name
attributes:
  check_mode:
    support: full
    details: The servers are really asked, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  lock:
    description:
      - Name of the lock that M(zero.downtime.rfc2136_lock) took beside the name for O(deploy_id).
  short_ttl:
    description:
      - Seconds for which resolvers may keep the name around a switch.
    type: int
    default: 5
  effective_timeout:
    description:
      - Seconds within which every server has to answer so.
    type: int
    default: 120
seealso:
  - module: zero.downtime.rfc2136_info
  - module: zero.downtime.rfc2136_lock
"""

EXAMPLES = r"""
- name: All who ask for the name get green
  zero.downtime.rfc2136_split:
    zone: shop.example
    name: www
    server: ns1.shop.example
    key_name: deploy
    key_secret: "{{ vault_deploy_key }}"
    blue: [192.0.2.1, "2001:db8::1"]
    green: [192.0.2.2, "2001:db8::2"]
    shares:
      green: 100
    until: settled

- name: Which side is it?
  zero.downtime.rfc2136_split:
    zone: shop.example
    name: www
    server: ns1.shop.example
    key_name: deploy
    key_secret: "{{ vault_deploy_key }}"
    blue: [192.0.2.1, "2001:db8::1"]
    green: [192.0.2.2, "2001:db8::2"]
"""

RETURN = r"""
shares:
  description: The shares by the primary server. When the task failed, those that count then, or V(null) when nobody can
    say.
  returned: always
  type: dict
  sample: {blue: 0, green: 100}
found:
  description: The shares before.
  returned: success
  type: dict
kept:
  description: The same as RV(shares).
  returned: success
  type: dict
ttl:
  description: The records' time to live, in seconds; null without records.
  returned: success
  type: int
set_at:
  description: When the primary server had made the update, in seconds since 1970.
  returned: with O(shares), not in check mode
  type: float
effective_at:
  description: When every server answered so.
  returned: with O(shares), not in check mode
  type: float
settled_at:
  description: From when on no resolver has an answer from before.
  returned: with O(shares), not in check mode
  type: float
waited:
  description: Seconds that it took.
  returned: success
  type: float
notes:
  description: What is worth knowing, such as a server that gave no answer on the way back.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import options, split


def main() -> None:
    run(options.split_spec(), split.run)


if __name__ == "__main__":
    main()
