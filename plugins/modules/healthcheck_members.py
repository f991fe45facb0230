#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: healthcheck_members
short_description: Take a member out of traffic by failing its own readiness check, and bring it back
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - For teams who have no access to the balancer's socket. The application answers its readiness check with 503 while a file
    exists (O(off_file)), or after a command (O(off_command)); the balancer takes it out by itself.
  - Runs on the member's own host and moves one member a call.
  - O(state=drained) ends when nothing is in flight any more. What can be known is tried in order of strength. With O(stats_url) each
    balancer has to say that the member is not UP and has no session. With O(in_flight) the application's own gauge has to be 0 once the
    balancer must have noticed (O(inter) times O(fall)). With neither, O(inter) times O(fall) plus O(slowest_request) is waited, and the
    result says C(waited), because then nothing is proven.
  - Statistics after a reload of HAProxy know nothing of what the replaced worker still carries. They count as proof only when the
    worker is older than O(slowest_request), or when O(in_flight) is 0 too; otherwise O(slowest_request) is waited in addition.
  - O(state=active) ends when readiness answers 2xx or 3xx and each balancer says UP with slow start over, or without O(stats_url) when it has
    been ready for O(inter) times O(rise).
  - The floor O(min_active) can only be held where the balancers' statistics are readable. Without O(stats_url) it is not enforced,
    and RV(floor) says so.
  - A member that somebody took out at the balancer itself is never brought back.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.members
  - zero.downtime.memory
attributes:
  check_mode:
    support: full
    details:
      - Readiness, statistics and gauge are really asked in check mode, and the floor is held.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  members:
    description:
      - Name of the one member whose host this runs on.
  weight:
    description:
      - Refused. Failing a health check is all or nothing.
  timeout_action:
    description:
      - V(cut) is refused, since without the balancer there is nothing to cut connections with.
  off_file:
    description:
      - Absolute path of a file whose presence makes readiness fail. It is created with mode 0644 in a directory that has to exist.
      - Either this or O(off_command) with O(on_command) is needed. The file is to be preferred. It outlives a restart of the application, so that a
        new release cannot get traffic before its gates have passed, and it tells since when the member has been out.
    type: path
  off_command:
    description:
      - Command that makes readiness fail, a command line or a list of arguments. No shell reads it.
      - It has to outlive a restart of the application.
    type: raw
  on_command:
    description:
      - Command that makes readiness pass again.
    type: raw
  check_url:
    description:
      - The readiness check, as the balancer asks it. It has to follow O(off_file) or the commands.
    type: str
    required: true
  inter:
    description:
      - Seconds between two checks of the balancer. A C(spread-checks) of the balancer is to be added.
    type: float
    default: 2.0
  fall:
    description:
      - Failing checks after which the balancer takes a member out.
    type: int
    default: 3
  rise:
    description:
      - Passing checks after which the balancer takes a member in.
    type: int
    default: 2
  slowest_request:
    description:
      - Seconds that the slowest request may take.
    type: float
    default: 30.0
  in_flight:
    description:
      - The application's gauge of requests that it is answering.
    type: dict
    suboptions:
      url:
        description:
          - Where it is read. The answer is JSON. The request that reads it must not count.
        type: str
        required: true
      field:
        description:
          - Dotted path of the number in the answer. Without it the answer is the number.
        type: str
  stats_url:
    description:
      - Addresses of HAProxy's statistics in CSV, for example C(http://lb1:8404/stats;csv), one for each balancer. Read-only access is enough.
    type: list
    elements: str
    default: []
  stats_user:
    description:
      - User name for O(stats_url), when it needs one.
    type: str
  stats_password:
    description:
      - Password for O(stats_url).
    type: str
  pools:
    description:
      - The pools (HAProxy backends) that the member belongs to. Needed with O(stats_url).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the pool.
        type: str
        required: true
      server:
        description:
          - Name of the member in this pool. Without it, the member's own.
        type: str
      port:
        description:
          - Port that the member serves this pool on. It only shows in RV(members).
        type: int
      side:
        description:
          - The side that the pool belongs to.
        type: str
        choices: [blue, green]
        default: blue
  together:
    description:
      - Names of all members that are taken out at the same moment by other calls like this one. The floor counts all of them as gone.
    type: list
    elements: str
  connect_timeout:
    description:
      - Seconds that a connection to one of the URLs may take.
    type: float
    default: 2.0
  read_timeout:
    description:
      - Seconds that an answer of one of the URLs may take.
    type: float
    default: 5.0
"""

EXAMPLES = r"""
- name: Take this member out, proven by the balancers' statistics
  zero.downtime.healthcheck_members:
    members: [app1]
    state: drained
    min_active: 75%
    off_file: /run/shop/off
    check_url: http://127.0.0.1:8000/ready
    slowest_request: 10
    stats_url:
      - http://lb1.example:8404/stats;csv
      - http://lb2.example:8404/stats;csv
    pools:
      - name: shop

- name: Bring it back, with nothing but the application to ask
  zero.downtime.healthcheck_members:
    members: [app1]
    state: active
    off_file: /run/shop/off
    check_url: http://127.0.0.1:8000/ready
    inter: 1
    rise: 3
"""

RETURN = r"""
members:
  description: The member, once for each pool, also when it did not get where it should.
  returned: when the options are right and everything can be asked
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      sample: app1
    pool:
      description: The pool, or null when none is named.
      type: str
      sample: shop
    address:
      description: Address and port, as the balancer or else O(check_url) says.
      type: str
      sample: 10.0.0.11:8000
    state:
      description: V(active), V(draining), V(drained) or V(down).
      type: str
      sample: drained
    weight:
      description: Weight at the balancer, or null when it is not asked.
      type: int
    in_flight:
      description: Open requests, or null when nobody can say.
      type: int
      sample: 0
    drained_by:
      description: V(sessions) when statistics or the gauge proved it, V(waited) when time alone stands for it, otherwise null.
      type: str
      sample: sessions
    cut:
      description: Connections cut. Always 0.
      type: int
waited:
  description: Seconds that the call took.
  returned: when the options are right and everything can be asked
  type: float
  sample: 6.1
floor:
  description: Whether O(min_active) was V(enforced), or V(unenforced) because no statistics can be read.
  returned: when the options are right and everything can be asked
  type: str
  sample: enforced
proof:
  description: What proved the state that was reached, V(stats) or V(gauge), or null when nothing did.
  returned: when the options are right and everything can be asked
  type: str
  sample: stats
"""

from ansible_collections.zero.downtime.plugins.module_utils._healthcheck import mover as _healthcheck
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_healthcheck.argument_spec(), _healthcheck.run, commands=True)


if __name__ == "__main__":
    main()
