#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_split
short_description: Read and set the shares of new requests that two pools of HAProxy get
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Sets a number in a map by which a frontend of HAProxy sends requests to one of two pools. It runs on the balancer's host.
  - The map's file is written first, then all workers are told over the sockets, then everything is read again. So a later reload keeps the
    shares. When HAProxy refuses them, the file is put back.
  - Workers from before a reload go on with their kept-alive connections by a map of their own. They are told, too, where O(master_socket) is
    given; otherwise they are named in RV(notes).
  - HAProxy's configuration is not changed. It has to contain the topology, which M(zero.downtime.haproxy_info) names the lines for.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.split
  - zero.downtime.memory
  - zero.downtime.haproxy
  - zero.downtime.haproxy_splits
attributes:
  check_mode:
    support: full
    details: HAProxy is really asked, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  sides:
    description:
      - The pools of each side. With them the split is found among several, and it has to send each side's share to these pools.
    type: dict
    suboptions:
      blue:
        description: Pools of the side blue.
        type: list
        elements: str
      green:
        description: Pools of the side green.
        type: list
        elements: str
  pools:
    description:
      - Pools whose counters are told. Without it, all of them.
    type: list
    elements: str
notes:
  - Without O(master_socket), a reload that begins at the very moment of the change can bring a worker with the shares from before. The next call
    names it and puts it right.
seealso:
  - module: zero.downtime.haproxy_info
"""

EXAMPLES = r"""
- name: Send all new requests to green
  zero.downtime.haproxy_split:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    app: shop
    shares:
      green: 100
    min_active: 75%

- name: Read the shares of a split that the configuration does not show
  zero.downtime.haproxy_split:
    socket: /run/haproxy/admin.sock
    split_map: /etc/haproxy/split.map
    split_key: shop
    sides:
      blue: [shop_blue]
      green: [shop_green]
"""

RETURN = r"""
shares:
  description: The shares as HAProxy uses them. When the task failed, those it uses then, or V(null) when nobody can say.
  returned: always
  type: dict
  sample: {blue: 0, green: 100}
found:
  description: The shares before.
  returned: success
  type: dict
kept:
  description: The shares that the map's file has, and a reload would bring; V(null) when it cannot be read.
  returned: success
  type: dict
missing:
  description: Of a map that somebody deleted while HAProxy runs, what C(zero.downtime.haproxy_info) tells; V(null) while it is there.
  returned: when shares are only read
  type: dict
map:
  description: The map's file.
  returned: success
  type: str
  sample: /etc/haproxy/split.map
key:
  description: The key in the map.
  returned: success
  type: str
  sample: shop
waited:
  description: Seconds that it took.
  returned: success
  type: float
notes:
  description:
    - What is worth knowing, such as a file that differed from what HAProxy used, a reload meanwhile, or workers from before a reload that go by
      other shares.
  returned: success
  type: list
  elements: str
worker:
  description: The worker that was told.
  returned: success
  type: dict
workers:
  description: Living worker processes, as zero.downtime.haproxy_info returns them.
  returned: success
  type: list
  elements: dict
counters:
  description: HAProxy's raw request counters for each worker, as zero.downtime.haproxy_info returns them.
  returned: success
  type: list
  elements: dict
counters_before:
  description: The same as RV(counters), read before anything was moved; empty where nothing was taken out of traffic.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why nothing is counted, V(null) where something is.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections lost in listen queues, as zero.downtime.haproxy_info returns them.
  returned: success
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import split as _haproxy_split
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_haproxy_split.split_spec(), _haproxy_split.run)


if __name__ == "__main__":
    main()
