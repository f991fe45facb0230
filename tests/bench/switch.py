# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green: what a switch costs on HAProxy, nginx, Caddy and, where it is on PATH, kamal-proxy, under the same load; what the whole command takes.

Each switch is a task of one play, and the load is the project's own probe, which repeats nothing. Ours is measured with a balancer on the controller,
as the others are, and apart from it, where a module has to be run. Two moments are told from the beginning of the task on:
the first answer of the side that gets the requests, and the last one of the side that had them.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import typing as t

from measure import OUTPUT, REPO, Finding, length, median, other_python, playbook, run
from scene import HERE, distinct_ports

from haproxy_stage import HaproxyStage, get, wait_until  # isort: skip
from nginx_stage import NginxStage  # isort: skip

# Last: the other collections come from where they are installed.
sys.path.append(str(REPO / "build" / "collections"))

from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe  # noqa: E402  pylint: disable=wrong-import-position

PLAY = str(HERE / "play" / "switch.yml")
POOLS = {"shop_blue": ["b1", "b2"], "shop_green": ["g1", "g2"]}
SIDED = [{"name": "shop_blue", "side": "blue"}, {"name": "shop_green", "side": "green"}]
# Those that are compared take turns, since a machine is not always as fast.
ROUNDS = 3
SWITCHES = 10
RATE = 200.0


class Heard(_probe.Tally):
    """Also notes when which side answered."""

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.answers: list[tuple[float, str]] = []

    def finish(self, stream: str, scheduled: float, now: float, latency: float | None, outcome: _probe.Outcome) -> None:
        super().finish(stream, scheduled, now, latency, outcome)
        if outcome.version is not None:
            self.answers.append((now, outcome.version))


@contextlib.contextmanager
def _listening(url: str) -> t.Iterator[dict[str, t.Any]]:
    """Requests to a URL; the account of them, and C(answers), when the block is over."""
    found: dict[str, t.Any] = {}
    probe = _probe.Probe({"url": url + "/", "rate": RATE})
    heard = probe.tally = Heard(probe.config, probe.tally.started)
    thread = threading.Thread(target=lambda: found.update(probe.run()))
    thread.start()
    try:
        wait_until(lambda: heard.ok > 20, "the load runs")
        yield found
    finally:
        probe.stop()
        thread.join()
    found["answers"] = heard.answers


def _apps(stage: t.Any) -> None:
    for name in stage.names:
        stage.start_app(name, label="blue" if name.startswith("b") else "green")


@contextlib.contextmanager
def _haproxy() -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    stage = HaproxyStage(POOLS, start_apps=False, global_lines=["hard-stop-after 5m"],
                         defaults_lines=["option redispatch 1", "retries 3", "retry-on conn-failure", "option idle-close-on-response", "http-reuse safe"])
    shares = stage.dir / "split.map"
    shares.write_text("shop 0\n", encoding="utf-8")
    stage.frontend_lines += [f"http-request set-var(txn.green) str(shop),map_str_int({shares},0)", "http-request set-var(txn.draw) rand(100)",
                             "use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"]
    _apps(stage)
    with stage:
        yield stage.url, "haproxy", {"driver": "haproxy", "app": "shop", "traffic": {
            "balancers": "localhost", "pools": SIDED, "socket": stage.socket, "master_socket": stage.master_socket, "config": stage.config}}


@contextlib.contextmanager
def _nginx() -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    # As doctor advises for this nginx, which closes idle connections at each reload.
    stage = NginxStage(POOLS, split="shop", start_apps=False, keepalive="0")
    _apps(stage)
    with stage:
        yield stage.url, "nginx", {"driver": "nginx", "app": "shop", "traffic": {
            "balancers": "localhost", "pools": SIDED, "probe_path": "/ready", "slowest_request": 10.0, **stage.options}}


@contextlib.contextmanager
def _peer(name: str, command: t.Sequence[str], home: str, ready: t.Callable[[], bool]) -> t.Iterator[None]:
    """Another proxy, from when it is ready until the block is over; C(home) gets all that it keeps."""
    with open(OUTPUT / f"{name}.log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={
            "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "XDG_RUNTIME_DIR": home, "PATH": "/usr/bin:/bin"})
    try:
        wait_until(ready, f"{name} answers")
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def _caddy() -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Its admin API replaces the list of upstreams, which is what its users do for blue/green."""
    binary = pathlib.Path(sys.executable).with_name("caddy")
    if not binary.exists():
        raise Finding("caddy is not installed in the environment; make setup does that")
    admin, port = distinct_ports(2)
    with _apps_alone() as (home, addresses):
        upstreams = {side: [{"dial": address} for address in found] for side, found in addresses.items()}
        config = {"admin": {"listen": f"127.0.0.1:{admin}", "config": {"persist": False}}, "apps": {"http": {"servers": {"shop": {
            "listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True},
            "routes": [{"handle": [{"@id": "shop", "handler": "reverse_proxy", "upstreams": upstreams["blue"]}]}]}}}}}
        path = pathlib.Path(home, "caddy.json")
        path.write_text(json.dumps(config), encoding="utf-8")
        url = f"http://127.0.0.1:{port}"
        with _peer("caddy", [str(binary), "run", "--config", str(path)], home, lambda: get(url + "/")[0] == 200):
            yield url, "caddy", {"address": f"http://127.0.0.1:{admin}/id/shop/upstreams", "upstreams": upstreams}


class KamalProxy(t.NamedTuple):
    """A kamal-proxy that runs: where it is reached, and how its command finds it."""

    url: str
    binary: str
    environment: dict[str, str]

    def deploy(self, targets: t.Iterable[str], *options: str) -> list[str]:
        """Its own command, which asks the new targets for their health, switches, and returns when the old ones have answered all."""
        return [self.binary, "deploy", "shop", "--target", ",".join(targets), "--health-check-path", "/ready", *options]

    def begin(self, targets: t.Iterable[str]) -> None:
        """Serve these first."""
        subprocess.run(self.deploy(targets), check=True, stdin=subprocess.DEVNULL, capture_output=True, env=self.environment, timeout=30)


@contextlib.contextmanager
def kamal_proxy(home: str) -> t.Iterator[KamalProxy]:
    """kamal-proxy without a service; C(home) gets all that it keeps."""
    binary = t.cast(str, shutil.which("kamal-proxy"))
    http, https = distinct_ports(2)
    found = KamalProxy(f"http://127.0.0.1:{http}", binary, {"XDG_RUNTIME_DIR": home})
    # Without a service it answers 404.
    with _peer("kamal-proxy", [binary, "run", "--http-port", str(http), "--https-port", str(https)], home, lambda: get(found.url + "/")[0] == 404):
        yield found


@contextlib.contextmanager
def _kamal_proxy() -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    with _apps_alone() as (home, addresses):
        with kamal_proxy(home) as proxy:
            proxy.begin(addresses["blue"])
            yield proxy.url, "kamal_proxy", {"deploys": {side: proxy.deploy(found) for side, found in addresses.items()}, "environment": proxy.environment}


@contextlib.contextmanager
def _apps_alone() -> t.Iterator[tuple[str, dict[str, list[str]]]]:
    """The applications without a balancer of ours: a directory for what stands before them, and their addresses by side."""
    stage = HaproxyStage(POOLS, start_apps=False)
    home = tempfile.mkdtemp(prefix="zdp-")
    try:
        _apps(stage)
        yield home, {side: [f"127.0.0.1:{stage.ports[name]}" for name in POOLS[f"shop_{side}"]] for side in ("blue", "green")}
    finally:
        stage.stop()
        shutil.rmtree(home)


def _switches(name: str, front: t.ContextManager[tuple[str, str, dict[str, t.Any]]], python: str) -> dict[str, t.Any]:
    timeline = OUTPUT / f"switch-{name}.timeline"
    timeline.unlink(missing_ok=True)
    with front as (url, task, options):
        inventory = OUTPUT / f"switch-{name}.inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": python}}}}),
                             encoding="utf-8")
        with _listening(url) as account:
            run(f"switch-{name}", playbook(str(inventory), PLAY, switch_task=task, switch_options=options, switches=SWITCHES),
                ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback"), BENCH_TIMELINE=str(timeline))
    marks = [json.loads(line) for line in timeline.read_text(encoding="utf-8").splitlines()]
    # Tasks that are skipped begin, too.
    begins = [mark["time"] for mark in marks if mark["event"] == "began" and mark["task"].lower() == f"switch on {task.replace('_', '-')}"]
    if len(begins) != SWITCHES:
        raise Finding(f"{name} made {len(begins)} switches of {SWITCHES}")
    firsts, lasts = [], []
    for number, (began, until) in enumerate(zip(begins, [*begins[1:], float("inf")])):
        side, other = ("blue", "green") if number % 2 else ("green", "blue")
        answers = [(when, who) for when, who in account["answers"] if began <= when < until]
        new = [when for when, who in answers if who == side]
        if not new:
            raise Finding(f"{name}: switch {number + 1} brought no request to {side}")
        firsts.append(new[0] - began)
        lasts.append(max((when for when, who in answers if who == other), default=began) - began)
    return {"sent": account["sent"], "failed": account["failed"], "failures": account["failures"], "firsts": firsts, "lasts": lasts}


def _together(rounds: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    failures = dict(sum((collections.Counter(one["failures"]) for one in rounds), collections.Counter()))
    firsts, lasts = ([seconds for one in rounds for seconds in one[which]] for which in ("firsts", "lasts"))
    return {"sent": sum(one["sent"] for one in rounds), "failed": sum(one["failed"] for one in rounds), "failures": failures,
            "first": round(median(firsts), 3), "last": round(median(lasts), 3),
            "between": round(median([last - first for first, last in zip(firsts, lasts)]) * 1000, 1)}


def command() -> dict[str, t.Any]:
    """The whole deploy of a release that is staged already, there and back, on the local stage's four hosts."""
    import layout  # pylint: disable=import-outside-toplevel
    import stage  # pylint: disable=import-outside-toplevel

    inventory = str(REPO / "inventories" / "local")
    common = {"deploy_strategy": "blue_green", "deploy_soak": 0}
    stage.down()
    try:
        stage.up(["1.0.0", "2.0.0", "2.1.0"])
        run("command-first", playbook(inventory, "zero.downtime.deploy", deploy_release="1.0.0", deploy_batches=["100%"]))
        # After these two no slot runs the first release any more, and every host still has it.
        for label in ("2.0.0", "2.1.0"):
            run("command-before", playbook(inventory, "zero.downtime.deploy", deploy_release=label, **common))
        spent = run("command", playbook(inventory, "zero.downtime.deploy", deploy_release="1.0.0", **common))
        records = sorted(pathlib.Path(layout.RECORDS).glob("*.json"), key=lambda path: path.stat().st_mtime)
        record = json.loads(records[-1].read_text(encoding="utf-8"))
    finally:
        stage.down()
    spans: dict[str, list[tuple[float, float]]] = {}
    for step in record["steps"]:
        spans.setdefault(step["name"], []).append((step["started"], step["finished"]))
    steps = {name: round(length(found), 3) for name, found in spans.items()}
    # Members that wait at the same time wait once.
    waits = length([span for name in ("drain", "activate", "gate", "return") for span in spans.get(name, [])])
    return {"seconds": spent["seconds"], "waits": round(waits, 3), "rest": round(spent["seconds"] - waits, 3), "steps": steps, "result": record["result"]}


def compare() -> dict[str, t.Any]:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    # With another Python modules are run, as on a host that is not the controller.
    mine, other = sys.executable, other_python(OUTPUT / "python")
    fronts = {"haproxy": (_haproxy, mine), "nginx": (_nginx, mine), "haproxy_apart": (_haproxy, other), "nginx_apart": (_nginx, other), "caddy": (_caddy, mine)}
    if shutil.which("kamal-proxy"):
        fronts["kamal_proxy"] = (_kamal_proxy, mine)
    rounds = [{name: _switches(name, front(), python) for name, (front, python) in fronts.items()} for dummy in range(ROUNDS)]
    found: dict[str, t.Any] = {"switches": ROUNDS * SWITCHES, "rate": RATE, "command": command()}
    return {**found, "fronts": {name: _together([one[name] for one in rounds]) for name in fronts}}
