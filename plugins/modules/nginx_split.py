#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_split
short_description: Read and set the shares of new requests that two pools of nginx get
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Writes a file with a block C(split_clients) in O(upstreams_dir), by which a variable has the name of one of two pools, and reloads nginx. It runs on
    the balancer's host and works with nginx Open Source.
  - The file is only left in place when C(nginx -t) accepts it. A reload is only believed when nginx answers the new revision and no old
    worker takes connections any more; otherwise all files are put back and the task fails.
  - What old workers had taken by then they answer by the shares from before. That is waited for a second; then they are named in RV(notes).
  - nginx's own configuration is not changed. It has to pass requests to the variable, C(proxy_pass http://$shop_pool;). The playbook
    C(zero.downtime.doctor) prints the lines.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.split
  - zero.downtime.memory
  - zero.downtime.nginx
attributes:
  check_mode:
    support: full
    details: The files and nginx are really read, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  split_by:
    description:
      - What the side of a request is drawn by, a text with variables of nginx in it. Without it, what the file has, or V($request_id), which is a
        draw of its own for each request.
      - With V($remote_addr), or a cookie or header such as V($cookie_user), a user stays on one side as long as the share does not pass him. Where it
        is empty, as for a user without the cookie, each request is drawn by itself.
    type: str
  split_pin:
    description:
      - A variable of nginx, such as V($cookie_side) or V($http_x_side), whose value V(blue) or V(green) decides by itself, as long as that side has a
        share. An empty text takes that away. Without it, what the file has.
    type: str
  reload_command:
    description:
      - A command that reloads nginx, as a list of words. Without it, the master process gets the signal HUP.
    type: list
    elements: str
  reload_timeout:
    description:
      - Seconds within which a reload has to be seen.
    type: float
    default: 30.0
notes:
  - A reload of nginx closes idle connections of clients. Clients open another one; a request that meets such a close on its way has to be
    repeated by its client. nginx 1.27.4 and newer avoid it with C(keepalive_min_timeout).
  - The split is found by O(pools), otherwise by O(app). A split without a file is named as the first pool of blue, less C(_blue).
seealso:
  - module: zero.downtime.nginx_info
"""

EXAMPLES = r"""
- name: Write the file, with all requests on blue, before proxy_pass goes by it
  zero.downtime.nginx_split:
    pools:
      - name: shop_blue
        side: blue
      - name: shop_green
        side: green
    shares:
      blue: 100

- name: Send all new requests to green
  zero.downtime.nginx_split:
    app: shop
    probe_path: /ready
    shares:
      green: 100
    min_active: 75%

- name: Send five of a hundred users to green, and testers who ask for it
  zero.downtime.nginx_split:
    app: shop
    shares:
      blue: 95
      green: 5
    split_by: $cookie_user
    split_pin: $http_x_side

- name: Read the shares
  zero.downtime.nginx_split:
    app: shop
"""

RETURN = r"""
shares:
  description: The shares as nginx uses them. When the task failed, those it uses then, or V(null) when nobody can say.
  returned: always
  type: dict
  sample: {blue: 0, green: 100}
found:
  description: The shares before; V(null) when there were none, or nobody can say.
  returned: success
  type: dict
kept:
  description: The shares that the file has, and a reload would bring.
  returned: success
  type: dict
file:
  description: The file.
  returned: success
  type: str
  sample: /etc/nginx/zero-downtime/shop.split.conf
variables:
  description: The variables by which requests are passed on, one for each pair of pools.
  returned: success
  type: list
  elements: str
  sample: [$shop_pool]
waited:
  description: Seconds that it took.
  returned: success
  type: float
notes:
  description:
    - What is worth knowing, such as a file that differed from what nginx used, old workers that still answer, or that nothing in nginx's
      configuration goes by the shares.
  returned: success
  type: list
  elements: str
revision:
  description: The state of the files that nginx runs.
  returned: success
  type: str
worker:
  description: What a later call of the same deploy compares.
  returned: success
  type: dict
  contains:
    revision:
      description: The same as RV(revision).
      type: str
      returned: success
workers:
  description: Living worker processes, as zero.downtime.nginx_info returns them.
  returned: success
  type: list
  elements: dict
counters:
  description: Counters of requests, as zero.downtime.nginx_info returns them.
  returned: success
  type: list
  elements: dict
counters_before:
  description: The same as RV(counters), read before anything was moved; empty where nothing was taken out of traffic.
  returned: success
  type: list
  elements: dict
uncounted:
  description: Why there are no counters.
  returned: success
  type: str
kernel:
  description: The kernel's counters of connections lost in listen queues, as zero.downtime.nginx_info returns them.
  returned: success
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options
from ansible_collections.zero.downtime.plugins.module_utils._nginx import split as _nginx_split


def main() -> None:
    run(_nginx_options.split_spec(), _nginx_split.run)


if __name__ == "__main__":
    main()
