# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine that stands for all hosts of an example inventory.

Each host has a directory and an address of its own; the balancers are real HAProxy or nginx processes, the services real programs, the artifacts come from
a real HTTP server. The example's own files are used as they are: a second inventory (``on_one_machine/``) says what is different here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import json
import pathlib
import random
import shlex
import shutil
import sys
import tarfile
import tempfile
import threading
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE.parents[1] / "load"), str(HERE.parents[1] / "stage")) if path not in sys.path]

import artifacts  # noqa: E402  pylint: disable=wrong-import-position
import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import nginx_stage  # noqa: E402  pylint: disable=wrong-import-position
import playing  # noqa: E402  pylint: disable=wrong-import-position
import under_load  # noqa: E402  pylint: disable=wrong-import-position
import unit  # noqa: E402  pylint: disable=wrong-import-position

SHARED = HERE / "on_one_machine" / "common.yml"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: t.Any) -> None:
        """Say nothing: a request that fails fails the deploy, with a sentence."""


class Balancer(haproxy_stage.HaproxyStage):
    """One of the example's HAProxy hosts, configured as a careful team would."""

    def __init__(self, address: str, fronts: t.Mapping[str, int], pools: t.Mapping[str, t.Mapping[str, str]]) -> None:
        super().__init__({app: list(servers) for app, servers in pools.items()}, start_apps=False)
        self.address, self.fronts, self.servers = address, fronts, pools
        # Written by whoever reloads; "1" is the format's version, and there is no server yet.
        self.state = self.dir / "servers.state"
        self.state.write_text("1\n", encoding="utf-8")

    def text(self) -> str:
        lines = [f"""\
global
    maxconn 1000
    stats socket {self.socket} mode 600 level admin
    stats timeout 30s
    hard-stop-after 5m
    server-state-file {self.state}
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout queue 10s
    timeout http-request 10s
    timeout check 3s
    timeout http-keep-alive 30s
    option redispatch 1
    retries 3
    retry-on conn-failure
    option idle-close-on-response
    http-reuse safe
    load-server-state-from-file global
frontend stats
    bind {self.address}:{self.fronts["stats"]}
    stats enable
    stats uri /stats"""]
        for app, servers in self.servers.items():
            lines.append(f"""\
frontend {app}
    bind {self.address}:{self.fronts[app]}
    default_backend {app}
backend {app}
    balance roundrobin
    option httpchk GET /ready
    http-check expect status 200
    default-server check inter 200ms fall 3 rise 2 weight 100""")
            lines += [f"    server {name} {address}" for name, address in servers.items()]
        return "\n".join(lines) + "\n"


class NginxBalancer(nginx_stage.NginxStage):
    """One of the example's nginx hosts: the team's configuration, with the driver's lines in it."""

    def __init__(self, address: str, fronts: t.Mapping[str, int], pools: t.Mapping[str, t.Mapping[str, str]], keepalive: str = "30s") -> None:
        super().__init__({app: list(servers) for app, servers in pools.items()}, address=address, servers=pools, start_apps=False, write_revision=True,
                         fronts={app: fronts[app] for app in pools}, keepalive=keepalive)


class Machine:
    """``with Machine("haproxy", {"shop": {"app1": 11, …}}, balancers=("lb1", "lb2")) as machine``: hosts by application, with their addresses' last part."""

    def __init__(self, example: str, apps: t.Mapping[str, t.Mapping[str, int]], balancers: t.Sequence[str] = (), labels: t.Sequence[str] = (),
                 kind: t.Callable[..., t.Any] = Balancer) -> None:
        self.apps, self.labels = apps, labels
        self.inventories = [str(playing.REPO / "inventories" / example), str(HERE / "on_one_machine" / example)]
        # Short, since a socket lies in it; and one network of the loopback's own, so that every host has the same ports, as real ones do.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zdm-"))
        self.net = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self.ports = {app: haproxy_stage.free_port() for app in apps}
        self.fronts = {app: haproxy_stage.free_port() for app in (*apps, "stats")}
        pools = {app: {name: f"{self.net}.{last}:{self.ports[app]}" for name, last in hosts.items()} for app, hosts in apps.items()}
        self.balancers = {name: kind(f"{self.net}.{number}", self.fronts, pools) for number, name in enumerate(balancers, 1)}
        self.store = http.server.ThreadingHTTPServer((f"{self.net}.100", 0), functools.partial(QuietHandler, directory=str(self.dir / "store")))
        self.units: list[dict[str, t.Any]] = []
        self.ending = contextlib.ExitStack()

    def __enter__(self) -> Machine:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.dir)
            for name in {"localhost", *self.balancers, *(name for hosts in self.apps.values() for name in hosts)}:
                self.add_host(name, stack)
            for app, hosts in self.apps.items():
                self.pack(app)
                for name, last in hosts.items():
                    self.add_unit(app, name, f"{self.net}.{last}")
            stack.callback(self.stop_units)
            stack.callback(self.store.server_close)
            threading.Thread(target=self.store.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(self.store.shutdown)
            self.ending = stack.pop_all()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.ending.close()

    def add_host(self, name: str, stack: contextlib.ExitStack) -> None:
        """A directory, and a Python that works in it."""
        place = self.dir / name
        if name in self.balancers:
            # The balancer first made a directory for its sockets: that is this host's.
            place.symlink_to(self.balancers[name].dir)
            stack.enter_context(self.balancers[name])
        else:
            place.mkdir()
        python = place / "python"
        python.write_text(f'#!/bin/sh\ncd {shlex.quote(str(place))} && exec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        python.chmod(0o755)

    def pack(self, app: str) -> None:
        """The artifacts of all labels, with their checksums."""
        store = self.dir / "store" / app
        store.mkdir(parents=True)
        sums = ""
        for label in self.labels:
            data = artifacts.pack(label) if app != "mailer" else _packed({"VERSION": label.encode(), "worker.py": (HERE / "worker.py").read_bytes()})
            (store / f"{label}.tar.gz").write_bytes(data)
            sums += f"{hashlib.sha256(data).hexdigest()}  {label}.tar.gz\n"
        (store / "SHA256SUMS").write_text(sums, encoding="utf-8")

    def add_unit(self, app: str, host: str, address: str, slot: str = "", more: t.Sequence[str] = ()) -> None:
        """What systemd would know of the application there, or of one slot of it."""
        place = self.dir / host
        current = str(place.joinpath("srv", app, slot or "current"))
        unit_name = f"{app}-{slot}" if slot else app
        mark = str(place / f"{unit_name}.pid")
        if app == "mailer":
            argv = [sys.executable, f"{current}/worker.py", str(self.dir / "queue"), mark]
        else:
            argv = [sys.executable, "-m", "gunicorn", "--pid", mark, "--chdir", current, "--bind", f"{address}:{self.ports[app]}",
                    "--worker-class", "gthread", "--workers", "1", "--threads", "16", "--keep-alive", "90", "--graceful-timeout", "30", "--timeout", "0",
                    "--worker-tmp-dir", "/dev/shm", "--no-control-socket", *more, "app:application"]
        found = {"argv": argv, "mark": mark, "log": str(place / f"{unit_name}.log"), "answers": None if app == "mailer" else [address, self.ports[app]],
                 "env": {"APP_MEMBER": host, "APP_OFF_FILE": str(place / "off"), "PYTHONDONTWRITEBYTECODE": "1"}}
        self.units.append(found)
        (place / f"{unit_name}.json").write_text(json.dumps(found), encoding="utf-8")

    def stop_units(self) -> None:
        for balancer in self.balancers.values():
            # First: a server would wait for its balancer's idle connections.
            balancer.stop()
        for found in self.units:
            unit.stop(found)

    # -- what a user does ------------------------------------------------------------------------------------------------------------------------------
    def command(self, playbook: str, *args: str, **variables: t.Any) -> list[str]:
        machine = {
            "machine_nginx": nginx_stage.NGINX,
            "machine_dir": str(self.dir), "machine_net": self.net, "machine_ports": self.ports, "machine_fronts": self.fronts,
            "machine_store": f"http://{self.net}.100:{self.store.server_port}", "machine_unit": str(HERE / "unit.py"),
        }
        return playing.command(playbook, "-e", f"@{SHARED}", *args, inventories=self.inventories, variables={**machine, **variables})

    # Ansible does not merge mappings; merged, the second inventory need not repeat what the example says.
    ENV = {"ANSIBLE_HASH_BEHAVIOUR": "merge"}

    def play(self, playbook: str, *args: str, **variables: t.Any) -> playing.Played:
        return playing.play(self.command(playbook, *args, **variables), env=self.ENV)

    def under_load(self, app: str, playbook: str, *more: str, **variables: t.Any) -> tuple[dict[str, t.Any], str]:
        """The load generator's report, and what the playbook printed."""
        targets = self.doors(app)
        # Enough to meet every moment of a deploy; more would only take the machine's two processors from it.
        with under_load.Load([f"http://{target}" for target in targets], self.dir, "", "--rate", "4" if len(targets) > 1 else "6", *more) as load:
            played = self.play(playbook, **variables)
        assert played.rc == 0, played.output
        return load.report, played.output

    def doors(self, app: str) -> list[str]:
        """The addresses that people ask: the balancers, and without one the members themselves."""
        return ([f"{balancer.address}:{self.fronts[app]}" for balancer in self.balancers.values()]
                or [f"{self.net}.{last}:{self.ports[app]}" for last in self.apps[app].values()])

    def records(self) -> list[dict[str, t.Any]]:
        found = (json.loads(path.read_text(encoding="utf-8")) for path in (self.dir / "records").glob("*.json"))
        return sorted(found, key=lambda record: record["started"])

    def versions(self, app: str) -> dict[str, str]:
        """What each member answers, asked past the balancers."""
        return {name: json.loads(haproxy_stage.get(f"http://{self.net}.{last}:{self.ports[app]}/")[1])["version"] for name, last in self.apps[app].items()}


def _packed(contents: t.Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()
