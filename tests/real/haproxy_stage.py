# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy in master-worker mode before small HTTP servers, all on ephemeral loopback ports, for tests.

    with HaproxyStage({"shop": ["app1", "app2", "app3"]}) as stage:
        stage.socket            # runtime API of the current worker
        stage.master_socket     # the master's CLI
        stage.url               # http://127.0.0.1:<port>, the frontend "front"
        stage.kill("app1"); stage.start_app("app1", label="2.0.0")
        stage.reload()          # a new worker; the old one leaves when its requests are done

Every process it starts ends with the ``with`` block.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
# Programs that are no tests use this stage, too.
sys.path.insert(0, str(HERE.parent / "suite"))

from limits import wait_until  # noqa: E402  pylint: disable=wrong-import-position

DEFAULT_SERVER = "check inter 100ms fastinter 50ms downinter 50ms fall 2 rise 3 weight 100"
HAPROXY = shutil.which("haproxy") or next((p for p in ("/usr/sbin/haproxy", "/usr/local/sbin/haproxy") if os.path.exists(p)), None)


def version() -> tuple[int, ...]:
    """The first two numbers of the version of HAProxy on this machine; (0, 0) where there is none."""
    text = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout if HAPROXY else ""
    found = re.search(r"version (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


_given: set[int] = set()


def free_port() -> int:
    """A port below the kernel's ephemeral range: in it, an outgoing connection could take a member's port while it is dead.

    None is given twice: between two calls nobody may have begun to listen.
    """
    while True:
        port = random.randint(10000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def get(url: str, timeout: float = 20.0, data: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def ask(path: str, command: str, timeout: float = 20.0) -> str:
    """One command on a HAProxy socket, on its own connection: deliberately not the collection's client."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(path)
        s.sendall(command.encode() + b"\n")
        s.shutdown(socket.SHUT_WR)  # the master's CLI would otherwise wait for another command
        data = b""
        while True:
            part = s.recv(65536)
            if not part:
                return data.decode()
            data += part


def status_of(cell: str) -> str:
    """What a server is, less how many checks it is from something else: "UP 1/2" is UP, on a machine that was too slow to answer one check."""
    return re.sub(r" \d+/\d+$", "", cell)


def rows_of(stage: HaproxyStage, kind: int) -> list[dict[str, str]]:
    """The statistics of every backend (2) or server (4), by the names of their columns."""
    titles, *rows = [line.split(",") for line in ask(stage.socket, f"show stat -1 {kind} -1").lstrip("# ").splitlines() if line]
    named = [dict(zip(titles, row)) for row in rows]
    return [{**row, "status": status_of(row["status"])} for row in named]


class HaproxyStage:
    def __init__(
        self,
        pools: dict[str, list[str]],
        *,
        default_server: str = DEFAULT_SERVER,
        server_options: dict[str, str] | None = None,
        backend_lines: list[str] | dict[str, list[str]] | None = None,
        global_lines: t.Sequence[str] = (),
        defaults_lines: t.Sequence[str] = (),
        frontend_lines: t.Sequence[str] = (),
        extra: str = "",
        master: bool = True,
        start_apps: bool = True,
        tcp_socket: bool = False,
    ) -> None:
        """A name in several pools is one process in all of them.

        ``server_options``: ``{"app1": "cookie a"}`` or ``{"pool/app1": …}`` is appended to that server's line.
        ``backend_lines``: more lines for every backend, or ``{pool: lines}``.
        """
        self.pools = pools
        self.default_server = default_server
        self.server_options = server_options or {}
        self.backend_lines = backend_lines or []
        self.global_lines, self.defaults_lines, self.frontend_lines = list(global_lines), list(defaults_lines), list(frontend_lines)
        self.extra = extra
        self.master = master
        self.start_apps = start_apps
        self.names = list(dict.fromkeys(name for names in pools.values() for name in names))
        # UNIX socket paths end at 107 characters, which pytest's own directories reach: so a short one.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zdt-"))
        self.socket = str(self.dir / "admin.sock")
        self.master_socket = str(self.dir / "master.sock") if master else None
        self.config = str(self.dir / "haproxy.cfg")
        self.tcp_port = free_port() if tcp_socket else None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ports = {name: free_port() for name in self.names}
        self.apps: dict[str, subprocess.Popen[bytes]] = {}
        self.process: subprocess.Popen[bytes] | None = None

    # -- configuration -------------------------------------------------------------------------------------------
    def text(self) -> str:
        lines = [
            "global",
            f"    stats socket {self.socket} mode 600 level admin expose-fd listeners",
            "    stats timeout 60s",
            "    maxconn 2000",
        ]
        if self.tcp_port:
            lines.append(f"    stats socket ipv4@127.0.0.1:{self.tcp_port} level admin")
        lines += ["    " + line for line in self.global_lines]
        lines += [
            "defaults",
            "    mode http",
            "    timeout connect 2s",
            "    timeout client 30s",
            "    timeout server 30s",
            "    timeout queue 5s",
            "    timeout http-keep-alive 10s",
            # Else a check fails after inter already, and a busy machine looks like a sick member.
            "    timeout check 2s",
        ]
        lines += ["    " + line for line in self.defaults_lines]
        lines += ["frontend front", f"    bind 127.0.0.1:{self.port}"]
        lines += ["    " + line for line in self.frontend_lines]
        lines.append(f"    default_backend {next(iter(self.pools))}")
        for pool, names in self.pools.items():
            more = self.backend_lines.get(pool, []) if isinstance(self.backend_lines, dict) else self.backend_lines
            lines.append(f"backend {pool}")
            lines.append("    balance roundrobin")
            if not any(line.strip().startswith(("option httpchk", "no option httpchk")) for line in more):
                lines.append("    option httpchk GET /ready")
            lines += ["    " + line for line in more]
            lines.append(f"    default-server {self.default_server}")
            for name in names:
                options = " ".join(o for o in (self.server_options.get(name), self.server_options.get(f"{pool}/{name}")) if o)
                lines.append(f"    server {name} 127.0.0.1:{self.ports[name]} {options}".rstrip())
        return "\n".join(lines) + "\n" + self.extra

    # -- processes -----------------------------------------------------------------------------------------------
    def __enter__(self) -> HaproxyStage:
        if self.process is not None:
            raise AssertionError("this stage has been started already; a second start would leave the first one behind")
        try:
            if self.start_apps:
                for name in self.names:
                    self.start_app(name, wait=False)
                for name in self.names:
                    self.wait_app(name)
            self.start_haproxy()
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *dummy: t.Any) -> None:
        self.stop()

    def start_app(self, name: str, label: str = "1.0.0", wait: bool = True, warm_ms: float = 0) -> None:
        self.apps[name] = subprocess.Popen(
            [sys.executable, str(HERE / "loopback_app.py"), "--port", str(self.ports[name]), "--name", name, "--label", label,
             "--warm-ms", str(warm_ms)], stdin=subprocess.DEVNULL)
        if wait:
            self.wait_app(name)

    def wait_app(self, name: str) -> None:
        wait_until(lambda: get(self.app_url(name) + "/health")[0] == 200, f"{name} answers")

    def app_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def in_flight(self) -> int:
        """Ordinary requests that the members are answering now."""
        return sum(json.loads(get(self.app_url(name) + "/in_flight")[1])["in_flight"] for name in self.apps)

    def kill(self, name: str) -> None:
        """SIGKILL: whatever the member still had in its hands is lost, as tests want it."""
        self.apps[name].kill()
        self.apps[name].wait()

    def start_haproxy(self) -> None:
        if HAPROXY is None:
            raise AssertionError("haproxy is not installed")
        pathlib.Path(self.config).write_text(self.text(), encoding="utf-8")
        argv = [HAPROXY, "-W" if self.master else "-db", "-f", self.config]
        if self.master_socket:
            argv += ["-S", self.master_socket]
        with open(self.dir / "haproxy.log", "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: "Pid: " in ask(self.socket, "show info"), "haproxy answers on its socket")
            if self.master_socket:
                self.wait_master()
            if self.start_apps:
                wait_until(self.settled, "every checked server is UP")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{(self.dir / 'haproxy.log').read_text()}") from e

    def settled(self) -> bool:
        rows = ask(self.socket, "show stat -1 4 -1").splitlines()[1:]
        return all(row.split(",")[17] in ("UP", "no check", "DRAIN", "MAINT") or "via" in row.split(",")[17] for row in rows if row)

    def worker_pid(self) -> int:
        return int(next(line for line in ask(self.socket, "show info").splitlines() if line.startswith("Pid: "))[5:])

    def configure(self, **changed: t.Any) -> int:
        """Write another configuration, as a team does, and reload; C(changed) are attributes such as C(pools)."""
        for name, value in changed.items():
            setattr(self, name, value)
        pathlib.Path(self.config).write_text(self.text(), encoding="utf-8")
        return self.reload()

    def reload(self) -> int:
        """SIGUSR2 to the master, as ``systemctl reload`` does; returns the new worker's pid."""
        assert self.process is not None
        before = self.worker_pid()
        os.kill(self.process.pid, signal.SIGUSR2)
        try:
            wait_until(lambda: self.worker_pid() != before, "a new worker answers")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{(self.dir / 'haproxy.log').read_text()}") from e
        if self.master_socket:
            # The master executes itself again: for a moment nothing listens on its socket.
            self.wait_master()
        return self.worker_pid()

    def wait_master(self) -> None:
        wait_until(lambda: str(self.worker_pid()) in ask(str(self.master_socket), "show proc"), "the master lists the worker")

    def stop(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
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
def stage() -> t.Iterator[t.Callable[..., HaproxyStage]]:
    """``stage(pools, …)`` starts a real HAProxy and its members; they end with the test. A room's conftest takes this fixture over by its name."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    with contextlib.ExitStack() as started:
        yield lambda *args, **kwargs: started.enter_context(HaproxyStage(*args, **kwargs))
