#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_info
short_description: Tell the members, request counters and risky settings of a running nginx
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Reads nginx's processes, its configuration as C(nginx -T) prints it, and the upstream files of M(zero.downtime.nginx_members), and changes none of
    them. It runs on the balancer's host.
  - Requests are counted out of O(access_log). What has been counted, and up to where, is kept in O(upstreams_dir) as C(counted.json), so that
    each line is read once.
  - Findings name settings with which requests could be lost during a deploy, and the lines that are missing.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.nginx
attributes:
  check_mode:
    support: full
    details: This module never changes anything.
  diff_mode:
    support: none
    details: This module never changes anything.
  idempotent:
    support: full
seealso:
  - module: zero.downtime.nginx_members
  - module: zero.downtime.nginx_split
"""

EXAMPLES = r"""
- name: Read the balancer
  zero.downtime.nginx_info:
    pools:
      - name: shop
    access_log: /var/log/nginx/zero-downtime.log
  register: balancer

- name: Show what could lose requests
  ansible.builtin.debug:
    msg: "{{ balancer.findings | map(attribute='text') }}"
"""

RETURN = r"""
split:
  description:
    - The shares of new requests that the two sides get, where O(pools) are the sides of one split by which requests are passed on; otherwise, and where
      nobody can say, V(null).
  returned: success
  type: dict
  contains:
    blue:
      description: Percents that blue gets.
      type: int
      returned: success
    green:
      description: Percents that green gets.
      type: int
      returned: success
    file:
      description: The file that keeps them.
      type: str
      returned: success
    kept:
      description: The shares that the file has, and a reload would bring.
      type: dict
      returned: success
    pools:
      description: The pools of each side.
      type: dict
      returned: success
    variables:
      description: The variables by which requests are passed on, one for each pair of pools.
      type: list
      elements: str
      returned: success
    by:
      description: What the side of a request is drawn by.
      type: str
      returned: success
    sticky:
      description: Whether that is more than a draw of each request's own.
      type: bool
      returned: success
    pin:
      description: The variable that decides by itself; V(null) without one.
      type: str
      returned: success
workers:
  description: Living worker processes.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Process id.
      type: int
      returned: success
    current:
      description: Whether it takes new connections.
      type: bool
      returned: success
revision:
  description: The state of the files as the last move wrote it, V(null) before the first one.
  returned: success
  type: str
silence:
  description: Seconds for which a connection may be open until its first request is there (C(client_header_timeout), of the block that allows for most).
  returned: success
  type: float
pools:
  description: Upstreams and their servers.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Upstream.
      type: str
      returned: success
    file:
      description: Its file.
      type: str
      returned: success
    requests:
      description: Requests for it that the log has been seen to have; V(null) without O(access_log).
      type: int
      returned: success
    idle_s:
      description:
        - Seconds since the last of these requests ended, or since the log is read where there was none. V(null) without O(access_log).
      type: float
      returned: success
    uncountable:
      description: Of a side that gets no share, why RV(pools[].members[].in_flight) is V(null). V(null) when there is no such reason.
      type: str
      returned: success
    members:
      description: Its servers, and members without a line.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: Name of the member.
          type: str
          returned: success
        address:
          description: Address and port.
          type: str
          returned: success
        state:
          description: V(active), V(draining), V(drained), or V(down) for one that has no line yet, or does not answer.
          type: str
          returned: success
        weight:
          description: Weight.
          type: int
          returned: success
        in_flight:
          description:
            - Of a side that gets no share, the TCP connections that are open to the member, kept ones included, so that V(0) means that nothing is in
              flight; V(null) where this user may not see those of nginx. Otherwise V(null), too; nginx does not tell.
          type: int
          returned: success
        status:
          description: V(up), V(down), V(absent) for a member that has no line yet, or what is wrong with its answer.
          type: str
          returned: success
        full:
          description: Whether it serves at full weight.
          type: bool
          returned: success
        known:
          description: Always V(true). nginx has no health checks that would have to be waited for.
          type: bool
          returned: success
        backup:
          description: Whether it is a backup server.
          type: bool
          returned: success
counters:
  description: Requests to the upstreams that have a file, as far as O(access_log) has that they ended. What is passed to no such upstream is not counted.
  returned: success
  type: list
  elements: dict
  contains:
    worker:
      description: Always V(log). A log goes on when workers change.
      type: str
      returned: success
    current:
      description: Always V(true).
      type: bool
      returned: success
    requests:
      description: Requests that ended.
      type: int
      returned: success
    responses:
      description: Answers, by class of status. Answers that were cut short are among them.
      type: dict
      returned: success
    open:
      description: Always V(0). A request that is being answered is not in the log.
      type: int
      returned: success
    client_aborts:
      description: Requests whose client left first.
      type: int
      returned: success
    server_aborts:
      description: Answers that a member cut short, as far as they had a Content-Length.
      type: int
      returned: success
    server_4xx:
      description: Answers with a status from 400 to 499 that members themselves gave.
      type: int
      returned: success
    server_5xx:
      description: Answers with a status from 500 on that members themselves gave. The other ones are nginx's own.
      type: int
      returned: success
    retries:
      description: Further servers that requests were sent to when one had failed.
      type: int
      returned: success
    redispatches:
      description: The same as RV(counters[].retries).
      type: int
      returned: success
    denied:
      description: Always V(0).
      type: int
      returned: success
    unreadable:
      description: Lines of the log in another format.
      type: int
      returned: success
    gaps:
      description: How often some of the log was gone before it was read (emptied in place, or moved elsewhere), so that what it had is not counted.
      type: int
      returned: success
    read:
      description: When the log was read, in seconds since the epoch, by this host's clock.
      type: float
      returned: success
    slow_losses:
      description: The latest 1000 requests that were lost and for which members took a second or more, the oldest first.
      type: list
      elements: dict
      returned: success
      contains:
        began:
          description: When a member was first asked, in seconds since the epoch.
          type: float
          returned: success
        ended:
          description: When the request ended.
          type: float
          returned: success
        pool:
          description: Upstream.
          type: str
          returned: success
        member:
          description: The member that was asked last, by its name, or by its address where no file names it.
          type: str
          returned: success
        kind:
          description: V(own_errors) (nginx answered with a 5xx in its place), V(truncated) or V(unanswered).
          type: str
          returned: success
    slow_losses_seen:
      description: How many of these there were since the log is read.
      type: int
      returned: success
    pools:
      description: The same of each upstream that has a file, by its name.
      type: dict
      returned: success
      contains:
        requests:
          description: Requests that ended.
          type: int
          returned: success
        errors:
          description: Answers with a status from 500 on.
          type: int
          returned: success
        time_ms:
          description: The milliseconds that members took, all in all.
          type: float
          returned: success
        members:
          description:
            - By member, C(requests) that it was the last to be asked for, C(errors) (its answers with a status from 500 on), C(refused) (from 400 to 499),
              each of these statuses by itself, such as C(status_404), C(cut_short) and C(faults) (requests that nginx answered in its place); what is 0 is left
              out.
            - A member that no file names any more is there with its address.
          type: dict
          returned: where the log has C($upstream_addr)
        average_ms:
          description: Always V(null).
          type: float
          returned: success
uncounted:
  description: Why there are no counters.
  returned: success
  type: str
unseen:
  description: What the counters cannot have.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections that were lost before nginx saw them.
  returned: success
  type: dict
  contains:
    listen_overflows:
      description: Connections lost because a listen queue was full.
      type: int
      returned: success
    listen_drops:
      description: Connections lost in a listen queue for any reason.
      type: int
      returned: success
findings:
  description: Settings with which requests could be lost.
  returned: success
  type: list
  elements: dict
  contains:
    level:
      description: One of V(error), V(warning), V(info).
      type: str
      returned: success
    setting:
      description: The setting.
      type: str
      returned: success
    text:
      description: What follows from it.
      type: str
      returned: success
    lines:
      description: Lines that would change it.
      type: list
      elements: str
      returned: success
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._nginx import info as _nginx_info
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options


def main() -> None:
    run(_nginx_options.info_spec(), _nginx_info.run)


if __name__ == "__main__":
    main()
