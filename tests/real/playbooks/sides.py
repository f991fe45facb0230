# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage's two sides, for the tests of every strategy that has an idle one."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t
import urllib.request

import layout
import playing
from haproxy_stage import ask

URL = "http://127.0.0.1:8080"
# Of a shell that has Ansible's commands, as whoever runs the playbooks has.
PASTED = {**os.environ, **playing.ENV, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
LOAD = playing.REPO / "tests" / "load" / "load.py"
BLUE_GREEN = {"deploy_strategy": "blue_green", "deploy_soak": 0, "deploy_evidence_rate": 20}
POOLS = [{"name": f"shop_{side}", "side": side, "port": f"{{{{ stage_{side}_port }}}}"} for side in layout.SLOTS]


def traffic(**changes: t.Any) -> dict[str, t.Any]:
    """The local stage's own deploy_traffic, changed: a dictionary that is set for one run is set as a whole."""
    return {
        "driver": "haproxy",
        "balancers": "shop_lb",
        "socket": "{{ stage_run }}/admin.sock",
        "master_socket": "{{ stage_run }}/master.sock",
        "config": "{{ stage_dir }}/etc/haproxy.cfg",
        "frontends": ["shop"],
        "pools": POOLS,
        **changes,
    }


class Side:
    """The stage, and what its balancer does with its two sides."""

    def __init__(self, stage: t.Any, path: pathlib.Path) -> None:
        self.stage, self.path = stage, path

    def play(self, playbook: str, **variables: t.Any) -> t.Any:
        return self.stage.play("zero.downtime." + playbook, **{**BLUE_GREEN, **variables})

    def under_load(self, *command: str, expect: str = "success") -> dict[str, t.Any]:
        """Run a command while requests come in; the load's report, with what the command printed as C(output)."""
        report, output = self.path / "load.json", self.path / "output"
        subprocess.run([sys.executable, str(LOAD), "--target", URL, "--report", str(report), "--output", str(output), "--rate", "6", "--expect", expect,
                        "--", *command], check=True, timeout=300, env={**os.environ, **playing.ENV}, cwd=playing.REPO)
        return {**json.loads(report.read_text(encoding="utf-8")), "output": output.read_text(encoding="utf-8")}

    def play_under_load(self, playbook: str, expect: str = "success", **variables: t.Any) -> dict[str, t.Any]:
        return self.under_load(*playing.command("zero.downtime." + playbook, inventories=[str(playing.REPO / "inventories" / "local")],
                                                variables={**BLUE_GREEN, **variables}), expect=expect)

    @property
    def split(self) -> str:
        return str(self.stage.dir / "etc" / "split.map")

    def shares(self) -> tuple[str, str]:
        """Green's share in the running process, and in the file that a reload reads."""
        running = ask(self.stage.socket(), f"show map {self.split}").split()
        written = pathlib.Path(self.split).read_text(encoding="utf-8").split()
        return running[running.index("shop") + 1], written[written.index("shop") + 1]

    def record(self) -> dict[str, t.Any]:
        return json.loads(max((self.stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))


def version() -> str:
    with urllib.request.urlopen(URL + "/", timeout=30) as answer:
        return json.load(answer)["version"]
