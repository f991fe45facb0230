# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the comparisons run on: a real HAProxy, its servers, an inventory, all on ports of their own, gone with the ``with`` block."""

from __future__ import annotations

import functools
import http.server
import json
import os
import pathlib
import signal
import sys
import threading
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
for directory in (REPO / "tests" / "real", REPO / "tests" / "stage"):
    sys.path.insert(0, str(directory))

import artifacts  # noqa: E402
from haproxy_stage import HaproxyStage, ask, free_port  # noqa: E402
from measure import other_python  # noqa: E402

STOP_TIMEOUT = 10.0
# As on the local stage: what a careful team would write.
SERVERS = "check inter 500ms fastinter 200ms downinter 200ms rise 2 fall 2 weight 100"
REDISPATCH = ["option redispatch 1", "retries 3", "retry-on conn-failure", "option idle-close-on-response", "http-reuse safe"]


def names_of(count: int) -> list[str]:
    return [f"app{number:0{len(str(count))}d}" for number in range(1, count + 1)]


def distinct_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


class Scene:
    """HAProxy before ``count`` servers. Without ``members`` every server is the same answer of HAProxy's own, which costs nothing."""

    def __init__(self, count: int, members: bool = False) -> None:
        self.names = names_of(count)
        self.members = members
        stub, *ports = distinct_ports(count + 1)
        answer = "" if members else (
            f"frontend stub\n    bind 127.0.0.1:{stub}\n    http-request return status 200 content-type text/plain string ok\n")
        self.balancer = HaproxyStage({"shop": self.names}, default_server=SERVERS, defaults_lines=REDISPATCH, start_apps=False, extra=answer,
                                     global_lines=["hard-stop-after 5m"])
        self.balancer.ports = dict(zip(self.names, ports)) if members else dict.fromkeys(self.names, stub)
        self.stub_url = f"http://127.0.0.1:{stub}/"
        self.dir = self.balancer.dir
        self.files: http.server.ThreadingHTTPServer | None = None
        self.digests: dict[str, str] = {}

    def __enter__(self) -> Scene:
        try:
            for part in ("pids", "log", "artifacts", "records", *(f"hosts/{name}/srv/releases" for name in self.names if self.members)):
                (self.dir / part).mkdir(parents=True)
            other_python(self.dir / "python")
            self.balancer.start_haproxy()
            if self.members:
                self._serve_files()
            self._write_inventory()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_exc: t.Any) -> None:
        if self.files is not None:
            self.files.shutdown()
            self.files.server_close()
        # The balancer first: a member would wait for its idle connections.
        if self.balancer.process is not None and self.balancer.process.poll() is None:
            self.balancer.process.terminate()
            self.balancer.process.wait(STOP_TIMEOUT)
        self._end_members()
        self.balancer.stop()

    @property
    def url(self) -> str:
        return self.balancer.url

    @property
    def inventory(self) -> str:
        return str(self.dir / "inventory.json")

    def ask(self, command: str) -> str:
        return ask(self.balancer.socket, command)

    def build(self, *labels: str) -> None:
        self.digests.update(artifacts.build(list(labels), str(self.dir / "artifacts")))

    def _serve_files(self) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_args: t.Any) -> None:
                """A line for each request would drown the results."""

        handler = functools.partial(Quiet, directory=str(self.dir / "artifacts"))
        self.files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.files.serve_forever, daemon=True).start()

    def _write_inventory(self) -> None:
        member = HERE / "member"
        files = f"http://127.0.0.1:{self.files.server_port}" if self.files else ""
        pools = [{"name": "shop", "port": "{{ bench_port }}"}]
        variables: dict[str, t.Any] = {
            "ansible_connection": "local", "ansible_host": "127.0.0.1", "ansible_python_interpreter": sys.executable,
            "bench_socket": self.balancer.socket, "bench_master_socket": self.balancer.master_socket, "bench_config": self.balancer.config,
            "bench_artifacts": files, "bench_root": f"{self.dir}/hosts/{{{{ inventory_hostname }}}}/srv",
            "bench_restart": f"{member} restart {self.dir} {{{{ inventory_hostname }}}} {{{{ bench_port }}}}",
            "deploy_app": "shop", "deploy_environment": "bench", "deploy_hosts": "shop_app",
            "deploy_artifact": {"url": files + "/shop-{{ deploy_release }}.tar.gz", "checksums": files + "/SHA256SUMS", "root": "{{ bench_root }}"},
            "deploy_service": {"command": "{{ bench_restart }}"},
            "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "socket": self.balancer.socket,
                               "master_socket": self.balancer.master_socket, "config": self.balancer.config, "frontends": ["front"], "pools": pools},
            "deploy_health": {"path": "/ready", "header": "x-release", "timeout": 60},
            "deploy_evidence_url": self.url + "/", "deploy_records_dir": str(self.dir / "records"),
            "deploy_batches": ["25%"], "deploy_min_active": "50%",
        }
        # JSON is YAML.
        hosts = {name: {"bench_port": self.balancer.ports[name]} for name in self.names}
        inventory = {"all": {"vars": variables, "hosts": {"localhost": {}},
                             "children": {"shop_app": {"hosts": hosts}, "shop_lb": {"hosts": {"lb1": {}}}}}}
        pathlib.Path(self.inventory).write_text(json.dumps(inventory, indent=1), encoding="utf-8")

    def note(self) -> str:
        """What limit.py has to know of this scene."""
        path = self.dir / "scene.json"
        path.write_text(json.dumps({"dir": str(self.dir), "socket": self.balancer.socket, "digests": self.digests, "member": str(HERE / "member"),
                                    "ports": self.balancer.ports}), encoding="utf-8")
        return str(path)

    def _mine(self) -> list[int]:
        """Members carry this scene's directory, which is unique, in their command line."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    line = pathlib.Path(entry.path, "cmdline").read_bytes()
                    state = pathlib.Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0]
                except OSError:
                    continue  # it ended while we were reading
                if f"{self.dir}/pids/".encode() in line and state not in "ZX":
                    found.append(int(entry.name))
        return found

    def _end_members(self) -> None:
        end = time.monotonic() + STOP_TIMEOUT
        number = signal.SIGTERM
        while left := self._mine():
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)
            number = signal.SIGKILL if time.monotonic() > end else signal.SIGTERM
