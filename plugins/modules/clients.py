#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clients
short_description: Who still asks a member directly
version_added: 0.2.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Says of each member on this host who has a connection to it, by the kernel's tables, and who asked it when, by its
    access log. A side that users reach by a name in DNS may be stopped when nobody does either any more.
  - Nothing is changed.
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  members:
    description:
      - The members on this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the member.
        type: str
        required: true
      address:
        description:
          - Address that it answers on.
        type: str
        required: true
      port:
        description:
          - Port that it answers on.
        type: int
        required: true
      access_log:
        description:
          - Its access log, in the common or the combined format. The file with C(.1) behind its name is read, too.
        type: path
  ignored:
    description:
      - Paths that are no requests of users, such as that of a health check.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Does anybody still ask for blue?
  zero.downtime.clients:
    members:
      - name: app1
        address: 192.0.2.11
        port: 8000
        access_log: /var/log/shop/blue.log
    ignored: [/ready]
  register: asked
"""

RETURN = r"""
members:
  description: What can be said of each member.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      returned: success
      type: str
    listens:
      description: Whether anything listens there.
      returned: success
      type: bool
    open:
      description: Connections that are open.
      returned: success
      type: int
    clients:
      description: By address, how many of them.
      returned: success
      type: dict
    requests:
      description: Requests in the access log; null where it cannot tell.
      returned: success
      type: int
    idle_s:
      description: Seconds since the last one, or since the log begins; null where it cannot tell.
      returned: success
      type: float
    recent:
      description: By address, how many seconds ago it asked last; the ten latest.
      returned: success
      type: dict
    unknown:
      description: Why the log cannot tell, or null.
      returned: success
      type: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._driver import clients as _clients
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_clients.argument_spec(), _clients.run)


if __name__ == "__main__":
    main()
