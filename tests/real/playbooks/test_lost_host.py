# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that cannot be reached before a deploy, in the middle of it, and while it goes back: whoever is lost is named and stays out, the others go on.

Each single step is the scenario lost_host's, where hosts are really cut off.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import time
import typing as t
import urllib.request

import pytest

from haproxy_stage import ask

URL = "http://127.0.0.1:8080"
MEMBERS = ["app1", "app2", "app3", "app4"]
PLUGINS = str(pathlib.Path(__file__).parent / "connection")


class Flaky:
    """The stage, with hosts that get lost."""

    def __init__(self, stage: t.Any, path: pathlib.Path) -> None:
        self.stage = stage
        self.path = path
        # A second inventory: only these members' way of being reached differs from that of the local one, as if each were a machine of its own.
        hosts = ", ".join(f"{name}: {{ansible_connection: flaky, ansible_port: {number}}}" for number, name in enumerate(MEMBERS, 1))
        (path / "flaky.yml").write_text(f"all: {{hosts: {{{hosts}}}}}\n", encoding="utf-8")
        self.faults = path / "faults"

    def play(self, playbook: str, *faults: dict[str, t.Any], **variables: t.Any) -> t.Any:
        for mark in self.path.glob("faults*"):
            mark.unlink()
        # What controllers that were killed left of theirs: its steps are not this run's.
        shutil.rmtree(self.stage.dir.parent / "records" / ".running", ignore_errors=True)
        self.faults.write_text("".join(json.dumps(fault) + "\n" for fault in faults), encoding="utf-8")
        variables = {"deploy_batches": [2], "deploy_soak": 0, **variables}
        return self.stage.play("zero.downtime." + playbook, "-i", str(self.path / "flaky.yml"), env={
            "ANSIBLE_CONNECTION_PLUGINS": PLUGINS, "FLAKY_FAULTS": str(self.faults), "FLAKY_RECORDS": str(self.stage.dir.parent / "records")}, **variables)

    def record(self) -> dict[str, t.Any]:
        return json.loads(max((self.stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))

    def rows(self) -> dict[str, tuple[str | None, str]]:
        return {row["name"]: (row["release"], row["state"]) for row in self.record()["members"]}

    def lost_requests(self) -> int:
        evidence = self.record()["evidence"]
        return evidence["probe"]["failed"] + evidence["balance"]["unanswered"] + evidence["balance"]["truncated"]

    def serving(self) -> dict[str, int]:
        """Which members answer with which release, through the balancer."""
        found: dict[str, int] = {}
        for _number in range(12):
            with urllib.request.urlopen(URL + "/", timeout=30) as answer:
                version = json.load(answer)["version"]
            found[version] = found.get(version, 0) + 1
        return found

    def move(self, port: int, status: str) -> None:
        """Let the balancer look for app3 at another port, and wait until it has come to a verdict."""
        reply = ask(self.stage.socket(), f"set server shop_blue/app3 addr 127.0.0.1 port {port}")
        assert f"to '{port}'" in reply, reply
        end = time.monotonic() + 20
        while not re.search(rf"^shop_blue,app3,.*,{status},", ask(self.stage.socket(), "show stat shop_blue 4 -1"), re.MULTILINE):
            assert time.monotonic() < end, f"app3 did not get {status}"
            time.sleep(0.05)


@pytest.fixture
def flaky(stage: t.Any, tmp_path: pathlib.Path) -> Flaky:
    return Flaky(stage, tmp_path)


def lost(host: str, step: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    return {"host": host, **({"step": step} if step else {}), **more}


@pytest.mark.claim("absent-host-that-serves")
def test_one_that_serves_is_never_left_out(flaky: Flaky) -> None:
    before = flaky.stage.seen()
    played = flaky.play("deploy", lost("app3"), deploy_release="2.0.0", deploy_max_absent=1)
    assert played.rc == 2, played.output
    assert played.sentence.startswith("Deploy of shop was refused: app3 cannot be reached, but serves")
    assert {key: value for key, value in flaky.stage.seen().items() if key.endswith("current") or key == "servers"} == {
        key: value for key, value in before.items() if key.endswith("current") or key == "servers"}


@pytest.mark.claim("absent-host-refused")
def test_one_that_serves_nobody_is_not_left_out_unless_that_is_allowed(flaky: Flaky) -> None:
    # Its host is off: neither Ansible nor the balancer can reach it.
    flaky.move(9, "DOWN")
    played = flaky.play("deploy", lost("app3"), deploy_release="2.0.0")
    assert played.rc == 2 and "member app3 cannot be reached: no route to host app3. Nothing has been changed." in played.sentence, played.output


def test_a_whole_batch_is_lost(flaky: Flaky) -> None:
    played = flaky.play("deploy", lost("app3", "activate"), lost("app4", "activate"), deploy_release="2.0.0", deploy_min_active="1")
    assert played.rc == 2, played.output
    assert flaky.rows() == {**dict.fromkeys(("app3", "app4"), (None, "lost")), **dict.fromkeys(("app1", "app2"), ("1.0.0", "active"))}
    assert flaky.lost_requests() == 0
    assert flaky.serving() == {"1.0.0": 12}


def test_a_network_that_comes_back_in_time_lets_everybody_go_back(flaky: Flaky) -> None:
    played = flaky.play("deploy", lost("app1", "activate", until="back_activate"), lost("app2", "activate", until="back_activate"), deploy_release="2.0.0")
    assert played.rc == 2, played.output
    assert "no route to host" in played.sentence
    assert "4 of 4 members serve 1.0.0" in played.sentence
    assert flaky.record()["result"] == "rolled_back"
    assert flaky.rows() == dict.fromkeys(MEMBERS, ("1.0.0", "active"))
    assert flaky.lost_requests() == 0
