# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local connection to a host that is lost at a chosen step of a deploy, for tests."""

from __future__ import annotations

DOCUMENTATION = """
name: flaky
short_description: Local, but out of reach where a file of faults says so
description:
  - The environment variable E(FLAKY_FAULTS) names a file of JSON lines with C(host), C(step) (of the running deploy's events; without it from the
    start), C(at) (V(before) or V(after) the host has done what it was told) and C(until) (another step; without it for good).
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
  host:
    description: The host's inventory name.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
"""

import json
import os
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local


class Connection(Local):
    """Local, with faults."""

    transport = "flaky"

    def exec_command(self, cmd: str, in_data: t.Any = None, sudoable: bool = True) -> t.Any:
        self._check()
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> t.Any:
        self._check()
        return super().put_file(in_path, out_path)

    def _check(self) -> None:
        name = self.get_option("host")
        with open(os.environ["FLAKY_FAULTS"], encoding="utf-8") as faults:
            for fault in map(json.loads, faults):
                if fault["host"] == name and self._begun(fault):
                    raise AnsibleConnectionFailure(f"no route to host {name}")

    def _begun(self, fault: dict[str, t.Any]) -> bool:
        """The fault begins when its step has begun for its host, and ends when another has."""
        mark = os.environ["FLAKY_FAULTS"] + "." + fault["host"]
        if not os.path.exists(mark):
            if fault.get("step") and not self._in_step(fault):
                return False
            with open(mark, "w", encoding="ascii"):
                pass
        return not (fault.get("until") and self._in_step({**fault, "step": fault["until"]}))

    @staticmethod
    def _in_step(fault: dict[str, t.Any]) -> bool:
        running = os.path.join(os.environ["FLAKY_RECORDS"], ".running")
        for deploy in os.listdir(running) if os.path.isdir(running) else []:
            with open(os.path.join(running, deploy, "events.jsonl"), encoding="utf-8") as events:
                for line in events:
                    event = json.loads(line)
                    if event["step"] == fault["step"] and event["event"] == "started" and fault["host"] in event.get("members", []):
                        return True
        return False
