# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green under WebSockets and server-sent events: what becomes of them by each value of deploy_streams.

Where kamal-proxy is on PATH, it stands beside them: the same application, on the local stage's members, and the same
clients, which reconnect at once and say what they have seen last. Each way begins with the old release on every blue
slot and ends with the old side stopped, where that is done: by a whole deploy of ours, and with kamal-proxy by
starting the new side, its own deploy command and stopping the old side, as kamal does it with containers. Both have
the same drain limit.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t

import yaml
from measure import OUTPUT, REPO, Finding, median, playbook, run, under_load
from switch import kamal_proxy

sys.path[:0] = [str(REPO / "tests" / room) for room in ("load", "real", "stage")]

import artifacts  # noqa: E402  pylint: disable=wrong-import-position
import layout  # noqa: E402  pylint: disable=wrong-import-position
import stage  # noqa: E402  pylint: disable=wrong-import-position
import stream_clients  # noqa: E402  pylint: disable=wrong-import-position
from haproxy_stage import get, wait_until  # noqa: E402  pylint: disable=wrong-import-position

OLD, NEW = "1.0.0", "2.0.0"
VALUES = ("ask", "cut", "wait")
SOCKETS, EVENTS = 16, 8
# Those that are compared take turns, since a machine is not always as fast.
ROUNDS = 3
RATE = 20.0
DRAIN_LIMIT = 20
# What lasts longer is a stream: no other request here takes a second.
SLOWEST_REQUEST = 5
# How long the clients go on once all is done: who has not moved by then stays where it is.
AFTER = 5.0
SERVICE = str(REPO / "tests" / "stage" / "service")
INVENTORY = str(REPO / "inventories" / "local")


def _measured(name: str, url: str, command: list[str]) -> dict[str, t.Any]:
    """What became of streams and of ordinary requests while a command ran."""
    report = OUTPUT / f"streams-{name}-clients.json"
    report.unlink(missing_ok=True)
    clients = [
        sys.executable,
        stream_clients.__file__,
        "--target",
        url,
        "--report",
        str(report),
        "--output",
        str(OUTPUT / f"streams-{name}-command.log"),
        "--sockets",
        str(SOCKETS),
        "--events",
        str(EVENTS),
        "--after",
        str(AFTER),
        "--expect",
        "any",
        "--",
        *command,
    ]
    load = under_load(f"streams-{name}", url, RATE, clients)
    if not report.exists():
        raise Finding(f"the clients of streams left no report; see {OUTPUT.relative_to(REPO)}/streams-{name}.log")
    found = json.loads(report.read_text(encoding="utf-8"))
    if found["command"]["rc"]:
        raise Finding(
            f"{name} ended with code {found['command']['rc']}; "
            f"see {OUTPUT.relative_to(REPO)}/streams-{name}-command.log"
        )
    if NEW not in load["versions"]:
        raise Finding(f"{name} brought no request to {NEW}")
    summary = found["summary"]
    return {
        "cut": summary["cut"],
        "ends": summary["ends"],
        "server_messages": summary["server_messages"],
        "client_messages": summary["client_messages"],
        "longest_gap_ms": summary["longest_gap_ms"],
        "refused": summary["refused"],
        "on_the_new": summary["versions"].get(NEW, 0),
        # From the first ordinary request that the new release was given.
        "moved": stream_clients.moved(found, NEW, load["versions"][NEW]["first"]),
        "seconds": round(found["command"]["finished"] - found["command"]["started"], 3),
        "requests": {count: load[count] for count in ("sent", "failed", "failures")},
    }


def _traffic() -> dict[str, t.Any]:
    """The stage's own, which names no slowest request."""
    variables = pathlib.Path(INVENTORY, "group_vars", "all.yml").read_text(encoding="utf-8")
    return {**yaml.safe_load(variables)["deploy_traffic"], "slowest_request": SLOWEST_REQUEST}


def _ours(value: str) -> dict[str, t.Any]:
    """A whole deploy, which stops the old side at its end once nobody is on it any more."""
    stage.down()
    try:
        stage.up([OLD, NEW])
        run(
            f"streams-{value}-first",
            playbook(INVENTORY, "zero.downtime.deploy", deploy_release=OLD, deploy_batches=["100%"]),
        )
        found = _measured(
            value,
            f"http://127.0.0.1:{layout.PORT}",
            playbook(
                INVENTORY,
                "zero.downtime.deploy",
                deploy_release=NEW,
                deploy_strategy="blue_green",
                deploy_soak=0,
                deploy_keep_previous=0,
                deploy_idle_for=1,
                deploy_drain_timeout=DRAIN_LIMIT,
                deploy_streams=value,
                deploy_traffic=_traffic(),
            ),
        )
        records = sorted(pathlib.Path(layout.RECORDS).glob("*.json"), key=lambda path: path.stat().st_mtime)
        record = json.loads(records[-1].read_text(encoding="utf-8"))
    finally:
        stage.down()
    return {**found, "counted_as_cut": record["evidence"]["balance"]["cut"], "sentence": record["sentence"]}


def _place(label: str, side: str) -> None:
    """A release in each member's slot, as a deploy would stage it."""
    data = artifacts.pack(label)
    for member in layout.MEMBERS:
        root = pathlib.Path(layout.HOSTS, member, "srv")
        release = root / "releases" / hashlib.sha256(data).hexdigest()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(release)
        (root / side).unlink(missing_ok=True)
        os.symlink(os.path.join("releases", release.name), root / side)


def _all(verb: str, side: str) -> str:
    """The shell's words for doing it on all members at the same time."""
    return "\n".join(
        [
            *(f'{SERVICE} {verb} {member} {side} & pids="$pids $!"' for member in layout.MEMBERS),
            "for pid in $pids; do wait $pid; done",
            "pids=",
        ]
    )


def _kamal_proxy() -> dict[str, t.Any]:
    home = tempfile.mkdtemp(prefix="zdp-")
    targets = {side: [f"127.0.0.1:{layout.port(member, side)}" for member in layout.MEMBERS] for side in layout.SLOTS}
    stage.down()
    try:
        # Of the stage, only the members are asked for anything.
        stage.up([OLD, NEW])
        _place(OLD, "blue")
        _place(NEW, "green")
        subprocess.run(["sh", "-ec", _all("start", "blue")], check=True, stdin=subprocess.DEVNULL)
        with kamal_proxy(home) as proxy:
            proxy.begin(targets["blue"])
            wait_until(lambda: get(proxy.url + "/")[0] == 200, "kamal-proxy serves")
            deploy = proxy.deploy(targets["green"], "--drain-timeout", f"{DRAIN_LIMIT}s")
            environment = [f"{name}={value}" for name, value in proxy.environment.items()]
            return _measured(
                "kamal-proxy",
                proxy.url,
                [
                    "env",
                    *environment,
                    "sh",
                    "-ec",
                    "\n".join([_all("start", "green"), '"$@"', _all("stop", "blue")]),
                    "sh",
                    *deploy,
                ],
            )
    finally:
        stage.down()
        shutil.rmtree(home)


def _sum(rounds: t.Sequence[dict[str, t.Any]], name: str) -> t.Any:
    """A count, or counts by name, over all rounds."""
    found = [one[name] for one in rounds]
    if not isinstance(found[0], dict):
        return sum(found)
    return dict(sum((collections.Counter(one) for one in found), collections.Counter()))


def _together(rounds: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    counts = ("cut", "ends", "refused", "on_the_new", *(("counted_as_cut",) if "counted_as_cut" in rounds[0] else ()))
    requests = [one["requests"] for one in rounds]
    moved = [one["moved"] for one in rounds if one["moved"] is not None]
    return {
        **{name: _sum(rounds, name) for name in counts},
        **{
            side: {name: sum(one[side][name] for one in rounds) for name in rounds[0][side]}
            for side in ("server_messages", "client_messages")
        },
        "requests": {name: _sum(requests, name) for name in ("sent", "failed", "failures")},
        "longest_gap_ms": max(one["longest_gap_ms"] for one in rounds),
        # Where one client of one round has not moved, there is no last one.
        "moved": median(moved) if len(moved) == len(rounds) else None,
        "seconds": median([one["seconds"] for one in rounds]),
        "sentences": [one["sentence"] for one in rounds if "sentence" in one],
    }


def compare() -> dict[str, t.Any]:
    ways: dict[str, t.Callable[[], dict[str, t.Any]]] = {value: functools.partial(_ours, value) for value in VALUES}
    if shutil.which("kamal-proxy"):
        ways["kamal_proxy"] = _kamal_proxy
    rounds = [{name: way() for name, way in ways.items()} for dummy in range(ROUNDS)]
    return {
        "sockets": SOCKETS,
        "events": EVENTS,
        "rounds": ROUNDS,
        "drain_limit": DRAIN_LIMIT,
        "rate": RATE,
        "ways": {name: _together([one[name] for one in rounds]) for name in ways},
    }
