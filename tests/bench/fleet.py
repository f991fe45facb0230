# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy to a fleet costs the controller, beside the least that Ansible needs for so many hosts and batches.

The members are workers of driver none on this machine, which one call a batch serves, so that only the controller counts. Beside a deploy stands a
play of two tasks that do nothing, with as many hosts at a time; beside a status, a play of one such task on all of them.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import typing as t

from measure import OUTPUT, Finding, environment
from scene import artifacts, names_of

BARE = """\
- hosts: fleet
  gather_facts: false
  serial: {serial}
  tasks:
    - name: Nothing
      ansible.builtin.debug: {{msg: a}}
    - name: Nothing once more
      ansible.builtin.debug: {{msg: b}}
"""
ONE_TASK = """\
- hosts: fleet
  gather_facts: false
  tasks:
    - name: Nothing
      ansible.builtin.debug: {msg: a}
"""


class Fleet:
    """So many workers on this machine, gone with the C(with) block."""

    def __init__(self, count: int) -> None:
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-fleet-"))
        self.names = names_of(count)
        artifacts.build(["1.0.0", "2.0.0"], str(self.dir / "artifacts"))
        variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "deploy_app": "fleet", "deploy_environment": "bench",
            "deploy_hosts": "fleet", "deploy_records_dir": str(self.dir / "records"), "deploy_state_dir": str(self.dir / "state"),
            "deploy_artifact": {"src": f"{self.dir}/artifacts/shop-{{{{ deploy_release }}}}.tar.gz", "root": f"{self.dir}/{{{{ inventory_hostname }}}}"},
            "deploy_service": {"command": "true"}, "deploy_traffic": {"driver": "none"}, "deploy_min_active": "0", "deploy_soak": 0,
        }
        hosts = {"fleet": {"hosts": {name: {} for name in self.names}, "vars": variables}}
        self.inventory = self.dir / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {"children": hosts}}), encoding="utf-8")

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        shutil.rmtree(self.dir)

    def play(self, text: str) -> str:
        path = self.dir / "play.yml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def run(self, name: str, *words: str) -> dict[str, float]:
        """CPU seconds, and the most memory of one process in MiB, of one run of ansible-playbook."""
        argv = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), *words]
        with open(OUTPUT / f"fleet-{name}.log", "wb") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
            _pid, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Finding(f"{name} ended with {process.returncode}; {OUTPUT / f'fleet-{name}.log'} tells why")
        return {"cpu": round(used.ru_utime + used.ru_stime, 2), "memory": used.ru_maxrss // 1024}


def measure(count: int, batches: int) -> dict[str, t.Any]:
    """One size: a deploy in so many batches, and a status, each beside what does nothing."""
    at_a_time = -(-count // batches)
    with Fleet(count) as fleet:
        name = f"{count}x{batches}"
        fleet.run(f"{name}-first", "zero.downtime.deploy", "-e", "deploy_release=1.0.0", "-e", '{"deploy_batches": ["100%"]}')
        ours = fleet.run(f"{name}-deploy", "zero.downtime.deploy", "-e", "deploy_release=2.0.0", "-e", json.dumps({"deploy_batches": [at_a_time]}))
        bare = fleet.run(f"{name}-bare", fleet.play(BARE.format(serial=at_a_time)))
        status = fleet.run(f"{name}-status", "zero.downtime.status")
        trivial = fleet.run(f"{name}-one-task", fleet.play(ONE_TASK))
    return {"members": count, "batches": batches, "deploy": ours, "bare": bare, "ratio": round(ours["cpu"] / bare["cpu"], 2),
            "status": status, "one_task": trivial, "status_ratio": round(status["cpu"] / trivial["cpu"], 2)}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for size in sys.argv[1:]:
        count, _x, batches = size.partition("x")
        print(json.dumps(measure(int(count), int(batches or 1))), flush=True)


if __name__ == "__main__":
    main()
