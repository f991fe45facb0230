# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' checks share: the hosts by name, the balancers' words, the two witnesses of a deploy."""

from __future__ import annotations

import concurrent.futures
import csv
import functools
import io
import json
import os
import pathlib
import re
import subprocess
import typing as t
import urllib.request

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BALANCERS = {"lb1": "10.214.77.11", "lb2": "10.214.77.12"}
MEMBERS = {"app1": "10.214.77.21", "app2": "10.214.77.22", "app3": "10.214.77.23", "app4": "10.214.77.24"}

# Asked of every host by one command, since each command in a container takes its time.
ASK_BALANCER = {
    "stat": "echo 'show stat -1 4 -1' | socat - /run/haproxy/admin.sock",
    "state": "echo 'show servers state shop' | socat - /run/haproxy/admin.sock",
    "proc": "echo 'show proc' | socat - /run/haproxy-master.sock",
    "locks": "ls /var/lib/zero-downtime",
    "split": "cat /etc/haproxy/split.map; echo 'show map /etc/haproxy/split.map' | socat - /run/haproxy/admin.sock | cut -d ' ' -f 2-",
    # Of the nginx that takes the place of HAProxy in one scenario.
    "nginx_files": "ls /etc/nginx/zero-downtime",
    "nginx_split": "cat /etc/nginx/zero-downtime/shop.split.conf",
    "nginx_down": "grep -h ' down;' /etc/nginx/zero-downtime/*.upstream.conf",
    "nginx_workers": "pgrep -P $(cat /run/nginx.pid) | xargs ps -o args --no-headers",
    "processes": "ps -eo args --no-headers",
}
ASK_MEMBER = {
    "link": "readlink /srv/shop/current",
    "service": "systemctl is-active shop",
    "off": "ls /var/lib/shop",
    "started": "systemctl show --timestamp=unix --value -p ExecMainStartTimestamp shop.service | tr -d @",
    "releases": "stat -c %U /srv/shop/releases; ls /srv/shop/releases/*/app.py",
    "processes": "ps -eo args --no-headers",
}


def ask(name: str) -> dict[str, str]:
    """What a host says to each of the questions; a command that fails says why."""
    questions = ASK_BALANCER if name in BALANCERS else ASK_MEMBER
    script = "\n".join(f"echo '== {key}'; {command} 2>&1" for key, command in questions.items())
    said = subprocess.run(["podman", "exec", name, "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout
    _nothing, *parts = re.split(r"^== (\w+)\n", said, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2]))


class Stage:
    """The scenario as it stands after converge."""

    balancers = tuple(BALANCERS)
    members = tuple(MEMBERS)

    def __init__(self, results: pathlib.Path) -> None:
        self.results = results
        self.load: dict[str, t.Any] = json.loads((results / "load.json").read_text(encoding="utf-8"))
        self.output = (results / "converge.log").read_text(encoding="utf-8")
        self.records = sorted(
            (json.loads(path.read_text(encoding="utf-8")) for path in (results / "records").glob("*.json")),
            key=lambda record: record["started"])

    @property
    def record(self) -> dict[str, t.Any]:
        """The deploy's under load: the last one. The first is the prepare step's."""
        assert self.records, f"no record in {self.results}"
        return self.records[-1]

    @property
    def again(self) -> dict[str, t.Any]:
        """The record of the run after the hazard."""
        (path,) = (self.results / "again").glob("*.json")
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def sentence(self) -> str:
        """How the failed run under load ended, in its own last words."""
        return re.findall(r"Action failed: ([^\n\x1b]*)", self.output)[-1]

    def told(self, name: str) -> tuple[int, str]:
        """How one run of a scenario's story ended: its exit code, and all that it said in one line."""
        return (int((self.results / f"{name}.rc").read_text(encoding="utf-8")),
                " ".join((self.results / f"{name}.log").read_text(encoding="utf-8").split()))

    def noted(self) -> dict[str, str]:
        """Label of the release that each member answered with right after the run under load."""
        return {name: json.loads((self.results / f"{name}.noted").read_text(encoding="utf-8"))["version"] for name in MEMBERS}

    @functools.cached_property
    def said(self) -> dict[str, dict[str, str]]:
        """What all hosts say, once: nothing changes any more."""
        names = (*BALANCERS, *MEMBERS)
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(ask, names)))

    def no_lock_left(self) -> None:
        for balancer in BALANCERS:
            # What stays is since when the sides have their shares.
            assert [name for name in self.said[balancer]["locks"].split() if not name.endswith(".shares")] == [], balancer

    def answer(self, address: str, port: int = 8000) -> dict[str, t.Any]:
        # Without the proxies that the environment of a test machine may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}:{port}/", timeout=30) as response:
            return {**json.load(response), "header": response.headers["x-release"]}

    def running(self) -> dict[str, str]:
        """Label of the release that each member answers with, asked past the balancers."""
        return {name: self.answer(address)["version"] for name, address in MEMBERS.items()}

    def served(self) -> set[str]:
        """Labels that clients get from the balancers."""
        return {self.answer(address, 8080)["version"] for address in BALANCERS.values() for _turn in range(2 * len(MEMBERS))}

    def servers(self, balancer: str) -> dict[str, dict[str, str]]:
        """What a balancer says about its members, from its socket inside the container."""
        rows = csv.DictReader(io.StringIO(self.said[balancer]["stat"].lstrip("# ").strip()))
        return {row["svname"]: row for row in rows if row["pxname"] == "shop"}

    def admin_states(self, balancer: str) -> dict[str, int]:
        """0 where nobody has taken the member out, by drain, maintenance or weight."""
        return self.admin_states_in(self.said[balancer]["state"])

    @staticmethod
    def admin_states_in(said: str) -> dict[str, int]:
        _version, head, *lines = said.strip().splitlines()
        rows = csv.DictReader([head[2:], *lines], delimiter=" ")
        return {row["srv_name"]: int(row["srv_admin_state"]) for row in rows}

    def link(self, member: str) -> str:
        """Digest of the release that the slot leads to."""
        return pathlib.PurePath(self.said[member]["link"].strip()).name

    def service_started(self, member: str) -> float:
        return float(self.said[member]["started"])


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage(REPOSITORY / "build" / "molecule" / "results" / os.environ["MOLECULE_SCENARIO_NAME"])


@pytest.fixture
def record(stage: Stage) -> t.Callable[[str], dict[str, t.Any]]:
    """The record of a deploy by its name, where a scenario has several."""
    return {found["deploy_id"]: found for found in stage.records}.__getitem__


@pytest.fixture
def nothing_lost(stage: Stage) -> t.Callable[..., None]:
    """Both witnesses: the tests' own load generator, and the deploy's evidence with its three lines."""

    def check(complete: bool = True, record: dict[str, t.Any] | None = None) -> None:
        record = record or stage.record
        assert stage.load["failed"] == 0, stage.load["losses"]
        assert stage.load["sent"] > 200
        assert stage.load["streams"].keys() >= {"fresh", "keepalive", "post"}
        assert {name: target["failed"] for name, target in stage.load["targets"].items()} == {f"{address}:8080": 0 for address in BALANCERS.values()}
        evidence = record["evidence"]
        assert evidence["probe"]["failed"] == 0, evidence["probe"]["failures"]
        assert evidence["probe"]["sent"] > 50
        assert evidence["attributed"] == []
        balance = evidence["balance"]
        if record["driver"] == "healthcheck":
            # Who has no balancer to ask has one line of evidence; the others must not be made up.
            assert balance is None
        else:
            assert evidence["kernel"]["overflows"] == evidence["kernel"]["drops"] == 0
            assert balance["complete"] or not complete, balance["note"]
            assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0)
            assert balance["errors_during"] == 0
        assert evidence["verdict"] == "clean"

    return check


@pytest.fixture
def nobody_left_out(stage: Stage) -> t.Callable[[], None]:
    """No orphan: every balancer serves every member at full weight, and every member's service runs."""

    def check() -> None:
        for balancer in stage.balancers:
            servers = stage.servers(balancer)
            assert {name: (row["status"], row["weight"]) for name, row in servers.items()} == {name: ("UP", "100") for name in stage.members}
            assert stage.admin_states(balancer) == {name: 0 for name in stage.members}
        for member in stage.members:
            assert stage.said[member]["service"].strip() == "active", member
            assert "off" not in stage.said[member]["off"].split(), member

    return check


@pytest.fixture
def nothing_left_running(stage: Stage) -> t.Callable[[], None]:
    """The deploy is over: none of its processes may live on, neither a probe on the controller nor a module on a host."""

    def check() -> None:
        left = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(str(stage.results) in word for word in words):
                left.append(" ".join(words))
        assert left == []
        for name in (*stage.balancers, *stage.members):
            assert "ansible" not in stage.said[name]["processes"].lower(), name

    return check
