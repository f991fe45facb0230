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
import subprocess
import sys
import tempfile
import time
import typing as t

import layout
import playing
from haproxy_stage import ask, wait_until

PORT, STATS_PORT = 8180, 8504
HERE = "/proc/self/cwd"
URLS = (f"http://127.0.0.1:{layout.PORT}", f"http://127.0.0.1:{PORT}")


def worker_pid(path: str) -> int:
    return int(next(line for line in ask(path, "show info").splitlines() if line.startswith("Pid: "))[5:])


class Pair:
    """lb1 is the stage's own balancer; lb2 is C(process). Both know the application's one side, or both sides."""

    def __init__(self, stage: t.Any, sides: t.Sequence[str] = ("blue",)) -> None:
        self.stage = stage
        self.sides = tuple(sides)
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
        (self.dir / "lb2" / "split.map").write_text("shop 0\n", encoding="utf-8")
        # Each one's files are its own.
        config = config.replace(str(stage.dir / "etc"), str(self.dir / "lb2"))
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
                "pools": [{"name": f"shop_{side}", "side": side, "port": f"{{{{ stage_{side}_port }}}}"} for side in self.sides]},
        }

    def play(self, playbook: str, *args: str, **variables: t.Any) -> t.Any:
        """Run a playbook to its end."""
        return self.stage.play(playbook, "-i", str(self.inventory), *args, **{**self.variables, **variables})

    def begin(self, playbook: str, output: t.Any, **variables: t.Any) -> t.Any:
        """Start a playbook."""
        return self.stage.start(playbook, "-i", str(self.inventory), output=output, **{**self.variables, **variables})

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        """The command line of a run, for whoever runs it elsewhere."""
        return playing.command(playbook, inventories=[playing.LOCAL, str(self.inventory)], variables={**self.variables, **variables})

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

    def reload(self, balancer: str) -> None:
        """As a service manager does; back when the new worker answers."""
        master = self.process.pid if balancer == "lb2" and self.process else int(pathlib.Path(layout.HAPROXY_PID).read_text(encoding="ascii"))
        path = self.sockets[balancer]
        before = worker_pid(path)
        os.kill(master, signal.SIGUSR2)
        wait_until(lambda: worker_pid(path) != before, f"a new worker of {balancer} answers")
        # The master executes itself again: for a moment nothing listens on its socket.
        wait_until(lambda: "worker" in ask(path.replace("admin.sock", "master.sock"), "show proc"), f"the master of {balancer} answers")

    def kill(self) -> None:
        """SIGKILL to the master and to every worker, as when the machine is gone."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def shares(self, balancer: str) -> tuple[str, str]:
        """Green's share in the running process, and in the file that a reload reads."""
        path = self.stage.dir / "etc" / "split.map" if balancer == "lb1" else self.dir / "lb2" / "split.map"
        running = ask(self.sockets[balancer], f"show map {path}").split()
        written = path.read_text(encoding="utf-8").split()
        return running[running.index("shop") + 1], written[written.index("shop") + 1]

    def states(self, balancer: str, side: str = "blue") -> list[str]:
        """What the balancer says of each member: operational and administrative state."""
        lines = ask(self.sockets[balancer], f"show servers state shop_{side}").splitlines()
        return [" ".join(line.split()[5:7]) for line in lines[2:] if line.strip()]

    def state_files(self, balancer: str) -> list[str]:
        where = self.dir / balancer / "state"
        return sorted(os.listdir(where)) if where.is_dir() else []

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir)
