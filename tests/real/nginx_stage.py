# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx before small HTTP servers, all on ephemeral loopback ports and in a directory of its own, for tests.

    with NginxStage({"shop": ["app1", "app2", "app3"]}) as stage:
        stage.options           # how the collection's modules reach this nginx
        stage.url               # http://127.0.0.1:<port>, which passes to the first pool
        stage.kill("app1"); stage.start_app("app1", label="2.0.0")
        stage.reload()          # new workers; the old ones leave when their requests are done

Every process it starts ends with the ``with`` block.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import typing as t

import pytest
from haproxy_stage import HaproxyStage, free_port, get, wait_until

NGINX = shutil.which("nginx") or next((p for p in ("/usr/sbin/nginx", "/usr/local/sbin/nginx") if os.path.exists(p)), None)
LOG_FORMAT = ("log_format zero_downtime '$status|$request_method|$request_completion|$body_bytes_sent|$upstream_status|$upstream_header_time|"
              "$upstream_response_length|$upstream_http_content_length|$proxy_host|$upstream_response_time|$msec|$upstream_addr';")


REVISION = """\
server {{
    listen {listen};
    access_log off;
    location = /revision {{ return 200 "000000000000-00000000"; }}
}}
"""

# By hand: what the collection writes is held against it.
SPLIT = """\
split_clients "$request_id" ${app}_side {{
    * blue;
}}
map ${app}_side ${app}_pool {{
    green {green};
    default {blue};
}}
"""


class NginxStage:
    """With ``split="shop"`` the front of that name goes by the shares of the first two pools, blue and green.

    ``upstream_lines``, ``server_lines`` and ``http_lines`` are more lines for every upstream, for the server that passes to the first pool, and for all.
    """

    def __init__(self, pools: dict[str, list[str]], *, address: str = "127.0.0.1", fronts: t.Mapping[str, int] | None = None,
                 servers: t.Mapping[str, t.Mapping[str, str]] | None = None, main_lines: t.Sequence[str] = (), upstream_lines: t.Sequence[str] = (),
                 server_lines: t.Sequence[str] = (), start_apps: bool = True, write_revision: bool = False, workers: int = 2, split: str = "",
                 keepalive: str = "30s", http_lines: t.Sequence[str] = ()) -> None:
        self.pools, self.address, self.start_apps, self.write_revision = pools, address, start_apps, write_revision
        self.main_lines, self.upstream_lines, self.server_lines, self.worker_count = list(main_lines), list(upstream_lines), list(server_lines), workers
        self.split, self.keepalive, self.http_lines = split, keepalive, list(http_lines)
        self.names = list(dict.fromkeys(name for names in pools.values() for name in names))
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zdn-"))
        self.upstreams = self.dir / "zero-downtime"
        self.config = self.dir / "nginx.conf"
        self.log = self.dir / "counted.log"
        self.pid_file = self.dir / "nginx.pid"
        self.fronts = dict(fronts or {pool: free_port() for pool in ([split] if split else pools)})
        self.port = self.fronts[split or next(iter(pools))]
        self.url = f"http://{address}:{self.port}"
        self.revision_port = free_port()
        self.ports = {name: free_port() for name in self.names} if servers is None else {}
        self.servers = servers or {pool: {name: f"127.0.0.1:{self.ports[name]}" for name in names} for pool, names in pools.items()}
        self.apps: dict[str, subprocess.Popen[bytes]] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, t.Any]:
        return {"upstreams_dir": str(self.upstreams), "nginx_command": [str(NGINX), "-p", str(self.dir), "-c", str(self.config)],
                "pid_file": str(self.pid_file), "revision_listen": f"{self.address}:{self.revision_port}", "access_log": str(self.log)}

    # -- configuration -----------------------------------------------------------------------------------------------------
    def text(self) -> str:
        lines = [
            f"worker_processes {self.worker_count};", f"pid {self.pid_file};", f"error_log {self.dir}/error.log info;", *self.main_lines,
            "events { worker_connections 1024; }",
            "http {",
            *(f"    {kind}_temp_path {self.dir}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            "    " + LOG_FORMAT,
            f"    keepalive_timeout {self.keepalive};", *("    " + line for line in self.http_lines),
            f"    include {self.upstreams}/*.conf;"]
        for pool, port in self.fronts.items():
            target = f"${pool}_pool" if pool == self.split else pool
            lines += [f"    server {{ listen {self.address}:{port}; access_log {self.log} zero_downtime;", *("        " + line for line in self.server_lines),
                      f"        location / {{ proxy_pass http://{target}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"]
        return "\n".join([*lines, "}"]) + "\n"

    def upstream_text(self, pool: str) -> str:
        servers = [f"    server {self.servers[pool][name]}; # {name}" for name in self.pools[pool]]
        # In shared memory all workers take the same turns.
        return "\n".join([f"upstream {pool} {{", f"    zone {pool} 128k;", *("    " + line for line in self.upstream_lines), *servers, "}"]) + "\n"

    def upstream_file(self, pool: str) -> pathlib.Path:
        return self.upstreams / f"{pool}.upstream.conf"

    @property
    def split_file(self) -> pathlib.Path:
        return self.upstreams / f"{self.split}.split.conf"

    # -- processes ---------------------------------------------------------------------------------------------------------
    def __enter__(self) -> NginxStage:
        try:
            if self.start_apps:
                for name in self.names:
                    self.start_app(name, wait=False)
                for name in self.names:
                    self.wait_app(name)
            self.start_nginx()
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *dummy: t.Any) -> None:
        self.stop()

    start_app, wait_app, app_url, in_flight, kill = (
        HaproxyStage.start_app, HaproxyStage.wait_app, HaproxyStage.app_url, HaproxyStage.in_flight, HaproxyStage.kill)

    def start_nginx(self) -> None:
        if NGINX is None:
            raise AssertionError("nginx is not installed")
        self.upstreams.mkdir(exist_ok=True)
        self.config.write_text(self.text(), encoding="utf-8")
        for pool in self.pools:
            self.upstream_file(pool).write_text(self.upstream_text(pool), encoding="utf-8")
        if self.split:
            blue, green = list(self.pools)[:2]
            self.split_file.write_text(SPLIT.format(app=self.split, blue=blue, green=green), encoding="utf-8")
        if self.write_revision:
            # As an earlier move left it: two nginx on one machine cannot both have the driver's own port.
            (self.upstreams / "revision.conf").write_text(REVISION.format(listen=f"{self.address}:{self.revision_port}"), encoding="utf-8")
        self.run_nginx()

    def run_nginx(self) -> None:
        self.process = subprocess.Popen([str(NGINX), "-p", str(self.dir), "-c", str(self.config), "-g", "daemon off;"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: self.pid_file.exists() and len(self.workers()) == self.worker_count, "nginx has its workers")
            wait_until(lambda: get(self.url + "/health")[0], "nginx answers")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.errors()}") from e

    def restart(self) -> None:
        """As one does who does not know of reloads."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(5)
        self.run_nginx()

    def errors(self) -> str:
        path = self.dir / "error.log"
        return path.read_text(encoding="utf-8") if path.exists() else "no error log"

    def workers(self) -> list[int]:
        """The worker processes that take connections: deliberately not the collection's way to see them."""
        assert self.process is not None
        told = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False).stdout
        return [int(line.split()[0]) for line in told.splitlines() if "worker process" in line and "shutting down" not in line]

    def reload(self) -> None:
        """SIGHUP to the master, as ``systemctl reload`` does; returns when the new workers are the only ones that take connections."""
        assert self.process is not None
        before = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(set(self.workers()) - before) == self.worker_count and not set(self.workers()) & before, "new workers")

    def down(self, pool: str = "") -> set[str]:
        """Who is out by the file, read without the collection's help."""
        text = self.upstream_file(pool or next(iter(self.pools))).read_text(encoding="utf-8")
        return set(re.findall(r"^\s*server [^;]* down;\s*# (\S+)$", text, re.MULTILINE))

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for app in self.apps.values():
            if app.poll() is None:
                app.kill()
            app.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture
def stage() -> t.Iterator[t.Callable[..., NginxStage]]:
    """``stage(pools, …)`` starts a real nginx and its members; they end with the test. A room's conftest takes this fixture over by its name."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with contextlib.ExitStack() as started:
        yield lambda *args, **kwargs: started.enter_context(NginxStage(*args, **kwargs))
