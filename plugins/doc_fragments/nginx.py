# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  upstreams_dir:
    description:
      - Directory of the files that are kept for nginx, C(<pool>.upstream.conf) for each pool, C(<name>.split.conf) where two
        sides get shares of the requests, and C(revision.conf). It is made when it does
        not exist.
      - nginx has to include C(*.conf) of it in its C(http) block. nginx's own configuration is never written.
    type: path
    default: /etc/nginx/zero-downtime
  nginx_command:
    description:
      - The command of nginx, as a list of words, to which C(-t -q) and C(-T -q) are added. Where nginx runs with another configuration or prefix,
        it has the same C(-c) and C(-p).
    type: list
    elements: str
    default: [nginx]
  pid_file:
    description:
      - File with the process id of nginx's master process.
    type: path
    default: /run/nginx.pid
  revision_listen:
    description:
      - Address and port on the loopback at which nginx answers which state of the files it runs. Nobody else needs to reach it.
      - Without it, what C(revision.conf) has, or V(127.0.0.1:8469).
    type: str
  slowest_request:
    description:
      - Seconds that the slowest request may take. A C(worker_shutdown_timeout) below it is refused, since nginx would cut such requests
        at each reload.
    type: float
    default: 60.0
  access_log:
    description:
      - Access log in the format C(zero_downtime), out of which requests are counted. The playbook C(zero.downtime.doctor) prints the lines.
      - Without it, nothing is counted.
    type: path
  probe_path:
    description:
      - Path that is requested from members, in place of the health checks that nginx Open Source does not have. A status from 200 to 399 passes.
        Without it, a member's port has to accept connections.
      - A member that comes back has to pass three times running. One that does not answer, though it is in traffic, does not count against
        O(ignore:min_active).
    type: str
  pools:
    description:
      - Upstreams that are concerned. Without it, each one that has a file in O(upstreams_dir).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the upstream.
        type: str
        required: true
      side:
        description:
          - The side that the upstream is of, where two sides get shares of the requests. A pool of V(blue) goes with the pool of V(green) at the same place.
        type: str
        choices: [blue, green]
      members:
        description:
          - Addresses and ports of members, by name. Out of them a file that does not exist is written, and a member is added that has no line yet.
          - In a deploy they come from the inventory.
        type: dict
"""
