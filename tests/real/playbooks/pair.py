# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second balancer before the local stage's members, on this machine, which both play as hosts of their own.

All balancers of an application have their sockets at one and the same path. Here a host's Python starts in the host's own directory, and the
path is C(/proc/self/cwd): it means another place on each.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t

PORT, STATS_PORT = 8180, 8504
HERE = "/proc/self/cwd"


def ask(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        client.sendall(command.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode()


class Pair:
    """lb1 is the stage's own balancer; lb2 is C(process)."""

    def __init__(self, stage: t.Any) -> None:
        self.stage = stage
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zdt-"))
        self.process: subprocess.Popen[bytes] | None = None
        run = pathlib.Path(stage.socket()).parent
        self.sockets = {"lb1": str(run / "admin.sock"), "lb2": str(self.dir / "lb2" / "admin.sock")}
        for name in self.sockets:
            (self.dir / name).mkdir()
            python = self.dir / name / "python"
            # A host that hangs is one whose Python never starts.
            python.write_text(f"#!/bin/sh\ncd {self.dir / name}\nwhile [ -e hang ]; do sleep 0.05; done\nexec {sys.executable} \"$@\"\n", encoding="utf-8")
            python.chmod(0o755)
        for name in ("admin.sock", "master.sock"):
            (self.dir / "lb1" / name).symlink_to(run / name)
        config = (stage.dir / "etc" / "haproxy.cfg").read_text(encoding="utf-8")
        (self.dir / "lb1" / "haproxy.cfg").write_text(config, encoding="utf-8")
        config = config.replace(str(run), str(self.dir / "lb2")).replace(":8080", f":{PORT}").replace(":8404", f":{STATS_PORT}")
        (self.dir / "lb2" / "servers.state").write_text("1\n", encoding="utf-8")
        config = config.replace(str(stage.dir / "etc" / "servers.state"), str(self.dir / "lb2" / "servers.state"))
        (self.dir / "lb2" / "haproxy.cfg").write_text(config, encoding="utf-8")
        self.inventory = self.dir / "pair.yml"
        hosts = "".join(f"    {name}: {{ansible_python_interpreter: {self.dir / name / 'python'}, ansible_connection: local, ansible_host: 127.0.0.1}}\n"
                        for name in self.sockets)
        self.inventory.write_text("shop_lb:\n  hosts:\n" + hosts, encoding="utf-8")
        self.start()

    @property
    def variables(self) -> dict[str, t.Any]:
        return {
            "deploy_state_dir": HERE + "/state",
            "deploy_traffic": {
                "driver": "haproxy", "balancers": "shop_lb", "socket": HERE + "/admin.sock", "master_socket": HERE + "/master.sock",
                "config": HERE + "/haproxy.cfg", "frontends": ["shop"],
                "pools": [{"name": "shop_blue", "side": "blue", "port": "{{ stage_blue_port }}"}]},
        }

    def play(self, playbook: str, *args: str, **variables: t.Any) -> t.Any:
        return self.stage.play(playbook, "-i", str(self.inventory), *args, **{**self.variables, **variables})

    def start(self) -> None:
        where = self.dir / "lb2"
        with open(where / "haproxy.log", "ab") as log:
            self.process = subprocess.Popen(["haproxy", "-W", "-S", f"{where}/master.sock,mode,600,level,admin", "-f", str(where / "haproxy.cfg")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        end = time.monotonic() + 15
        while True:
            try:
                if "worker" in ask(str(where / "master.sock"), "show proc") and set(self.states("lb2")) != {"unknown"}:
                    return
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, (where / "haproxy.log").read_text(encoding="utf-8")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the master and to every worker, as when the machine is gone."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def states(self, balancer: str) -> list[str]:
        """What the balancer says of each member: operational and administrative state."""
        lines = ask(self.sockets[balancer], "show servers state shop_blue").splitlines()
        return [" ".join(line.split()[5:7]) for line in lines[2:] if line.strip()]

    def state_files(self, balancer: str) -> list[str]:
        where = self.dir / balancer / "state"
        return sorted(os.listdir(where)) if where.is_dir() else []

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir)
