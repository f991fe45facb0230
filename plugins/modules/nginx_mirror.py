#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_mirror
short_description: Copy a share of the GET requests of an upstream of nginx to another one
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Writes files of its own beside the upstream files, with which nginx copies a share of GET requests to the upstream of the idle side, and has nginx
    load them. With a share of 0 they are removed. It runs on the balancer's host.
  - With C(mirror) alone, a slow idle side would delay the next request of the same connection. Copies go to a relay of the same nginx, which answers
    at once and passes them on afterwards. So a dead or slow idle side costs users nothing.
  - A copy has the headers of its request, also its cookies and its C(Authorization). The answers are only counted.
  - nginx's own configuration is not changed. Its location has to include the mirror's files once, see docs/shadow.md; M(zero.downtime.nginx_info)
    names the lines.
  - It reloads nginx, as M(zero.downtime.nginx_members) does, and sees that it has happened. When nginx refuses the files, the old ones are put back.
extends_documentation_fragment:
  - zero.downtime.attributes
  - zero.downtime.mirror
attributes:
  check_mode:
    support: full
    details: nginx's configuration is really read, and what is refused is refused in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  mirrors:
    description:
      - The upstreams whose requests are copied, each with the upstream that gets the copies. Both have a file in O(upstreams_dir).
      - A mirror to an upstream that serves is refused, and so is one between upstreams with a common server.
    type: dict
    required: true
  mirror_timeout:
    description:
      - Seconds within which the idle side has to answer a copy. No user waits for it.
    type: float
    default: 5.0
  mirror_limit:
    description:
      - Most copies that may be open at a time, for each upstream. What comes beyond is not copied. Each takes two of C(worker_connections).
    type: int
    default: 32
  upstreams_dir:
    description:
      - Directory of the files that are kept for nginx, as M(zero.downtime.nginx_members) has it.
    type: path
    default: /etc/nginx/zero-downtime
  nginx_command:
    description:
      - The command of nginx, as a list of words, to which C(-t -q) and C(-T -q) are added.
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
      - Address and port on the loopback at which nginx answers which state of the files it runs. The relay listens there, too, by a name of its own.
      - Without it, what C(revision.conf) has, or V(127.0.0.1:8469).
    type: str
  slowest_request:
    description:
      - Seconds that the slowest request may take. A C(worker_shutdown_timeout) below it is refused, since nginx would cut such requests
        at each reload.
    type: float
    default: 60.0
  reload_command:
    description:
      - Command, as a list of words, that has nginx reload. Without it, the master process gets the signal HUP.
    type: list
    elements: str
  reload_timeout:
    description:
      - Seconds within which nginx has to run new files.
    type: float
    default: 30.0
seealso:
  - module: zero.downtime.mirror
"""

EXAMPLES = r"""
- name: Copy a tenth of the GET requests to green
  zero.downtime.nginx_mirror:
    mirrors:
      shop_blue: shop_green
    share: 10
    lasts: 120

- name: End it
  zero.downtime.nginx_mirror:
    mirrors:
      shop_blue: shop_green
    share: 0
"""

RETURN = r"""
share:
  description: Percentage that is copied.
  returned: success
  type: int
requests:
  description: With O(share=0), how many requests were copied and ended, since the mirror was begun.
  returned: success
  type: int
statuses:
  description: With O(share=0), how often the idle side answered with which status. What it did not answer at all is a V(502) or V(504) of nginx.
  returned: success
  type: dict
  sample: {"200": 118, "500": 2}
waited:
  description: Seconds that the change took.
  returned: success
  type: float
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._nginx import mirror as _nginx_mirror


def main() -> None:
    run(_nginx_mirror.mirror_spec(), _nginx_mirror.run)


if __name__ == "__main__":
    main()
