# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local connection to a host that is lost for good when a file says so, for the bench."""

from __future__ import annotations

DOCUMENTATION = """
name: lost
short_description: Local, until the file that E(BENCH_LOSE) names exists
description:
  - From then on nothing comes back (a file whose name ends in C(.hang)), or the host cannot be reached at all.
author: zero.downtime contributors
extends_documentation_fragment: [connection_pipelining]
options:
  become_success_timeout:
    type: int
    default: 10
    description: Seconds to wait for becoming another user.
  become_strip_preamble:
    type: bool
    default: true
    description: Whether to strip what comes before.
"""

import os
import signal
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local


class Connection(Local):
    """Local, with a loss."""

    transport = "lost"

    def exec_command(self, cmd: str, in_data: t.Any = None, sudoable: bool = True) -> t.Any:
        self._check()
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> t.Any:
        self._check()
        return super().put_file(in_path, out_path)

    @staticmethod
    def _check() -> None:
        path = os.environ["BENCH_LOSE"]
        if not os.path.exists(path):
            return
        if path.endswith(".hang"):
            while True:
                signal.pause()
        raise AnsibleConnectionFailure("no route to host")
