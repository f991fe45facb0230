#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rfc2136_info
short_description: Which of two sides a name in DNS is, by each of its servers
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Asks the primary server of a zone for a name, with the key that would sign updates, and then every authoritative
    server and the resolvers that O(resolvers) names. Nothing is changed. It runs on the controller.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.rfc2136
  - zero.downtime.rfc2136_name
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: zero.downtime.rfc2136_split
"""

EXAMPLES = r"""
- name: Which side is it?
  zero.downtime.rfc2136_info:
    zone: shop.example
    name: www
    server: ns1.shop.example
    key_name: deploy
    key_secret: "{{ vault_deploy_key }}"
    blue: [192.0.2.1]
    green: [192.0.2.2]
  register: www
"""

RETURN = r"""
split:
  description: The shares of both sides by the primary server; all for blue where the name has no records. C(kept) is
    the same.
  returned: success
  type: dict
  sample: {blue: 100, green: 0, kept: {blue: 100, green: 0}}
records:
  description: The records by type.
  returned: success
  type: dict
  sample: {A: [192.0.2.1]}
ttl:
  description: Their time to live, in seconds; null without records.
  returned: success
  type: int
servers:
  description: The other servers and the resolvers (C(name)), each with what is wrong with its answer (C(problem)), or
    null.
  returned: success
  type: list
  elements: dict
findings:
  description: What would be in the way of a change (C(level), C(setting), C(text), C(lines)).
  returned: success
  type: list
  elements: dict
pools:
  description: None. Name servers know no members.
  returned: success
  type: list
  elements: dict
counters:
  description: None. Requests go past the name servers.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why there are no counters.
  returned: success
  type: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import info, options


def main() -> None:
    run(options.info_spec(), info.run)


if __name__ == "__main__":
    main()
