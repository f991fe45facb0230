# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  socket:
    description:
      - HAProxy's runtime socket, the path of a UNIX socket or V(host:port). It needs C(level admin) where members are moved.
    type: str
    default: /run/haproxy/admin.sock
  master_socket:
    description:
      - Socket of HAProxy's master process (C(haproxy -W -S)), the path of a UNIX socket or V(host:port).
      - Through it, requests are also seen that a worker from before a reload still holds. Without it, such workers are found as
        processes of this host and waited for.
    type: str
  socket_command:
    description:
      - A command whose standard input and output are the socket, as a list of words, for sockets that this user may not open.
      - V({socket}) in it stands for O(socket), or for O(master_socket). Without V({socket}) in it, O(master_socket) is opened directly.
    type: list
    elements: str
  socket_timeout:
    description:
      - Seconds within which HAProxy has to answer.
    type: float
    default: 5.0
  old_workers:
    description:
      - What to do about workers from before a reload that cannot be asked. V(wait) waits until they have ended, and fails where they
        cannot even be seen, as with a socket on another machine. V(ignore) trusts the newest worker alone, which loses requests
        when HAProxy was reloaded while a request was in flight.
    type: str
    choices: [wait, ignore]
    default: wait
  config:
    description:
      - Configuration file of HAProxy, or a directory of them. It is read, never written.
      - Without it, the files that HAProxy was started with are taken, or V(/etc/haproxy/haproxy.cfg), as far as they can be read.
    type: path
  frontends:
    description:
      - Frontends that lead to the pools, for findings about their settings. Without it every frontend but those that only show statistics.
    type: list
    elements: str
  counted_pools:
    description:
      - Pools whose requests are counted, such as those of both sides of an application. Without it O(pools).
    type: list
    elements: str
"""
