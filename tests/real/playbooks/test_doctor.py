# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""doctor on the local stage: what it finds in a configuration with many faults, that it stops at none, and that it
changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time
import typing as t

import layout
import playing
import pytest
from haproxy_stage import ask, free_port, status_of, wait_until
from sides import POOLS, traffic

STRATEGIES = ["rolling", "blue_green", "canary"]


class Looked:
    """One run of doctor, and what it found."""

    def __init__(self, stage: t.Any, path: pathlib.Path, *args: str, **variables: t.Any) -> None:
        found = path / f"doctor-{time.monotonic_ns()}.json"
        self.played: playing.Played = stage.play("zero.downtime.doctor", *args, status_file=str(found), **variables)
        assert found.exists() and "Traceback" not in self.played.output, self.played.output
        self.doctor = json.loads(found.read_text(encoding="utf-8"))
        self.rc, self.output, self.sentence = self.played.rc, self.played.output, self.doctor["sentence"]

    def of(self, name: str, host: str | None = None) -> list[dict[str, t.Any]]:
        return [check for check in self.doctor["checks"] if check["name"] == name and host in (None, check["host"])]

    def wrong(self) -> dict[str, list[str]]:
        """What is wrong, by its name; each has something that mends it, and is a line of what was printed."""
        found: dict[str, list[str]] = {}
        for check in self.doctor["checks"]:
            if check["ok"] is False:
                assert check["mend"] and all(line in self.output for line in check["mend"]), check
                assert f": {check['text']}\n" in self.output, check
                found.setdefault(check["name"], []).append(check["text"])
        return found


def everything(stage: t.Any) -> dict[str, t.Any]:
    """All that a run could change: every file, and what the balancer goes by."""
    files = {}
    for place in (stage.dir, stage.dir.parent / "records", stage.artifacts):
        for path in sorted(place.rglob("*")):
            status = path.lstat()
            inside = path.read_bytes() if path.is_file() and path.suffix not in (".log",) else None
            files[str(path)] = (status.st_mode, status.st_uid, os.readlink(path) if path.is_symlink() else inside)
    rows = [
        line.split(",") for line in ask(stage.socket(), "show stat -1 4 -1").splitlines() if line and line[0] != "#"
    ]
    return {
        "files": files,
        "states": ask(stage.socket(), "show servers state").splitlines()[0:2] + stage.seen()["servers"],
        "map": ask(stage.socket(), f"show map {stage.dir}/etc/split.map").split()[1:],
        "weights": [(row[0], row[1], status_of(row[17]), row[18]) for row in rows],
    }


@pytest.mark.claim("looking-changes-nothing", "doctor-for-programs")
def test_all_is_well_and_looking_changes_nothing(stage, tmp_path):
    before = everything(stage)
    looked = Looked(stage, tmp_path, deploy_release="2.0.0", env={"ANSIBLE_SHOW_CUSTOM_STATS": "1"})
    assert looked.rc == 0 and looked.wrong() == {}, looked.output
    assert looked.sentence == "ready for rolling, blue_green, canary" and looked.doctor["ready"] == STRATEGIES
    assert {check["name"] for check in looked.doctor["checks"]} >= {
        "configuration",
        "records",
        "balancer",
        "pool",
        "second_side",
        "state_dir",
        "lock",
        "release_root",
        "disk",
        "service",
        "floor",
        "health",
        "artifact",
        "evidence",
        "leftovers",
    }
    digest = next(
        line.split()[0]
        for line in (stage.artifacts / "SHA256SUMS").read_text().splitlines()
        if line.endswith("shop-2.0.0.tar.gz")
    )
    assert looked.of("artifact")[0]["text"] == f"2.0.0 is sha256 {digest}, and can be had"
    assert [check["host"] for check in looked.of("health")] == list(layout.MEMBERS) and all(
        "answered 200 with x-release" in check["text"] for check in looked.of("health")
    )
    # What a job of a controller such as AWX shows of it.
    assert '"deploy_doctor": {' in looked.output
    assert everything(stage) == before
    status = stage.play("zero.downtime.status")
    assert status.rc == 0 and everything(stage) == before, status.output


@contextlib.contextmanager
def full_disk(place: pathlib.Path) -> t.Iterator[bool]:
    """A file system without room at C(place), where this user may mount one."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "zero-downtime-test", str(place)], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)


def dead_lock(place: pathlib.Path) -> None:
    """The lock of a deploy whose process has ended, as its controller, this one, wrote it."""
    from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder

    place.mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = {
        "deploy_id": "d1",
        "holder": {**_lock_holder.machine(), "pid": ended.pid, "start_time": "1", "user": "ops"},
        "since": time.time(),
    }
    (place / "local-shop.lock").write_text(json.dumps(lock), encoding="utf-8")


@pytest.mark.claim("doctor-stops-at-nothing")
def test_many_faults_are_told_in_one_run(stage, tmp_path):
    dead_lock(tmp_path / "state")
    closed = free_port()
    named = [
        {**pool, "server": "{{ 'app9' if inventory_hostname == 'app3' else inventory_hostname }}"} for pool in POOLS
    ]
    before = stage.seen()
    with full_disk(tmp_path / "small") as is_full:
        looked = Looked(
            stage,
            tmp_path,
            deploy_release="7.7.7",
            deploy_traffic=traffic(pools=named),
            deploy_health={"path": "/nope", "header": "x-release"},
            deploy_evidence_url=f"http://127.0.0.1:{closed}/",
            deploy_state_dir=str(tmp_path / "state"),
            deploy_batches=["no"],
            deploy_service={side: {"command": "/nowhere/restart", "stop": "true"} for side in layout.SLOTS},
            **(
                {
                    "deploy_artifact": {
                        "src": "/nowhere/{{ deploy_release }}.tar.gz",
                        "checksums": str(stage.artifacts / "SHA256SUMS"),
                        "root": str(tmp_path / "small"),
                    }
                }
                if is_full
                else {}
            ),
        )
    assert stage.seen() == before
    wrong = looked.wrong()
    assert looked.rc == 2 and looked.doctor["ready"] == [] and not looked.doctor["is_ready"]
    assert wrong["server"] == [
        f"pool shop_{side} on balancer lb1 has no server app9 for member app3; it has app1, app2, app3, app4"
        for side in layout.SLOTS
    ]
    # The release that brings the path is legitimate, so it keeps nobody; a deploy says the same in its plan.
    assert len(wrong["health"]) == 4 and all(
        text.startswith("what runs now answered 404 at /nope; the new release has to answer 200 there, or its gate fails after 60 s; ")
        for text in wrong["health"]
    )
    assert [check["bars"] for check in looked.of("health")] == [[]] * 4 and "⚠ health, app1: " in looked.output
    assert len(wrong["evidence"]) == 1 and wrong["evidence"][0].startswith(
        f"deploy_evidence_url http://127.0.0.1:{closed}/ does not answer: refused"
    ), wrong
    assert "deploy_evidence_url: URL names another one" in looked.of("evidence")[0]["mend"][0]
    assert wrong["lock"] == [
        text for text in wrong["lock"] if text.startswith("deploy d1 of ops on ") and "its controller has died" in text
    ]
    assert [check["bars"] for check in looked.of("lock")] == [[]]
    # What is not there gets no checksum made, and is told once, however many members miss it.
    assert len(wrong["artifact"]) == 1 and "release 7.7.7 is unknown" in wrong["artifact"][0]
    assert "sha256sum" not in "".join(looked.of("artifact")[0]["mend"])
    assert set(wrong["service"]) == {
        f"{side}: deploy_service has the command /nowhere/restart, which is not there, or cannot be run"
        for side in layout.SLOTS
    }
    assert wrong["batches"] == [
        "deploy_batches has 'no'; counts from 1 on, or percentages from 1% to 100%, are accepted"
    ]
    if is_full:
        assert len(wrong["disk"]) == 4 and "and the next release may need 1 MiB" in wrong["disk"][0], wrong
    assert (
        looked.sentence.startswith("not ready for rolling, blue_green, canary because deploy_batches has 'no'")
        and looked.sentence in looked.output
    )


@pytest.mark.claim("doctor-names-who-is-out-of-reach", "doctor-says-the-protocol")
def test_hosts_out_of_reach_and_a_pool_that_is_not_there_are_lines_of_their_own(stage, tmp_path):
    inventory = tmp_path / "more.yml"
    away = (
        "ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_common_args: '-o "
        "ConnectTimeout=2'"
    )
    inventory.write_text(
        f"shop_lb:\n  hosts:\n    lb2: {{{away}}}\nshop_app:\n  hosts:\n    app5: {{stage_number: 5, {away}}}\n",
        encoding="utf-8",
    )
    looked = Looked(
        stage,
        tmp_path,
        "-i",
        str(inventory),
        deploy_traffic=traffic(pools=[*POOLS[:1], {**POOLS[1], "name": "nope"}]),
        deploy_strategi="rolling",
    )
    wrong = looked.wrong()
    assert looked.rc == 2, looked.output
    assert wrong["configuration"] == ["deploy_strategi is no known variable; did you mean deploy_strategy?"]
    assert len(wrong["balancer"]) == 1 and wrong["balancer"][0].startswith("balancer lb2 cannot be reached"), wrong
    assert looked.of("balancer", "lb1")[0]["ok"] is True
    assert wrong["pool"] == [
        "balancer lb1: pool 'nope' is not a backend with servers of this haproxy; it has shop_blue, shop_green"
    ]
    # That lb2 does not answer is said of lb2; of the two it is the reason why nobody knows the side, too.
    assert looked.of("second_side")[0]["text"] == "which side serves cannot be told before every balancer answers"
    assert len(wrong["member"]) == 1 and wrong["member"][0].startswith("member app5 cannot be reached"), wrong
    # What can be asked is asked all the same.
    assert [check["host"] for check in looked.of("health") if check["ok"]] == list(layout.MEMBERS)
    assert looked.of("lock", "lb1")[0]["ok"] is True and looked.of("evidence")[0]["ok"] is True
    assert looked.of("evidence")[0]["text"].endswith(" answers 200 over HTTP/1.1")


def test_a_socket_that_is_not_there(stage, tmp_path):
    looked = Looked(stage, tmp_path, deploy_traffic=traffic(socket="/nowhere/admin.sock"))
    assert looked.wrong()["balancer"] == [
        "balancer lb1: deploy_traffic.socket is '/nowhere/admin.sock', which does not exist; haproxy makes it when it "
        "runs with such a stats socket"
    ]
    assert looked.rc == 2 and "stats socket /nowhere/admin.sock mode 660 level admin" in looked.output
    assert looked.sentence.startswith(
        "not ready for rolling, blue_green, canary because balancer lb1: deploy_traffic.socket is '/nowhere/admin.sock'"
    )


@pytest.mark.claim("doctor-exit-code", "doctor-with-leftovers")
def test_what_bars_only_some_strategies_leaves_the_others(stage, tmp_path):
    first = stage.play("zero.downtime.drain", deploy_members=["app3"])
    assert first.rc == 0, first.output
    looked = Looked(stage, tmp_path, deploy_min_active="4")
    wrong = looked.wrong()
    assert wrong["leftovers"] == ["member app3 is out of traffic (drained)"]
    assert any(
        "zero.downtime.activate -e deploy_members=app3" in line
        for check in looked.of("leftovers")
        for line in check["mend"]
    )
    assert looked.sentence == (
        "ready for blue_green, canary; not ready for rolling because deploy_min_active is 4, which cannot be held "
        "while a member is out: "
        "pool shop_blue on lb1: 4 of 4 have to serve"
    )
    assert looked.rc == 2
    # The others could leave, one by one, if the one that is out came back by itself.
    other = Looked(stage, tmp_path, deploy_min_active="3", deploy_strategy="blue_green")
    assert other.rc == 0 and other.sentence == (
        "ready for blue_green, canary; not ready for rolling because deploy_min_active is 3, which cannot be held "
        "while a member is out: pool shop_blue on lb1: 3 of 4 serve, and 3 have to"
    ), other.output
    assert [line.partition("  # ")[0] for line in other.of("plan")[0]["mend"]] == [
        "ansible-playbook zero.downtime.activate -e deploy_members=app3",
        "deploy_min_active: …",
    ]


@pytest.mark.claim("doctor-by-the-rules-of-the-plan")
def test_the_plan_has_the_last_word(stage, tmp_path):
    looked = Looked(stage, tmp_path, deploy_canary={"steps": [50, 20]})
    assert looked.rc == 0 and looked.doctor["ready"] == ["rolling", "blue_green"]
    assert looked.wrong() == {
        "plan": [
            "deploy_canary.steps is [50, 20]; ascending whole percents from 1 on that end with 100 are accepted, "
            "such as "
            "[1, 5, 25, 50, 100]"
        ]
    }


def test_what_a_deploy_left_on_the_side_that_serves_bars_a_switch(stage, tmp_path):
    first = stage.play("zero.downtime.drain", deploy_members=["app3"])
    assert first.rc == 0, first.output
    intent = {"verb": "deploy", "release": "0" * 64, "label": "9.9.9", "serving": "blue", "side": "blue", "before": {}}
    move = {"deploy_id": "d1", "time": time.time(), "state": "drained", "members": ["app3"], "intent": intent}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "local-shop.journal").write_text(json.dumps(move) + "\n", encoding="utf-8")
    looked = Looked(stage, tmp_path, deploy_state_dir=str(tmp_path / "state"))
    wrong = looked.wrong()
    assert wrong["lock"] == ["a deploy before did not end, by its journal"], wrong
    assert looked.rc == 0 and looked.sentence.startswith(
        "ready for rolling; not ready for blue_green, canary because app3 is out of traffic on blue, which serves, "
        "because a deploy there has not ended; ansible-playbook zero.downtime.rollback "
    ), looked.sentence
    # The same words refuse the deploy.
    refused = stage.play(
        "zero.downtime.deploy",
        "--check",
        deploy_release="2.0.0",
        deploy_strategy="blue_green",
        deploy_state_dir=str(tmp_path / "state"),
    )
    assert refused.rc == 2 and wrong["plan"][0].partition("; ")[0] in refused.sentence, refused.output


@pytest.mark.parametrize(
    "variables, text, mends",
    [
        (
            {"deploy_evidence_http2": True},
            "deploy_evidence_http2 is true, which needs an https address",
            ["deploy_evidence_http2: auto  # in the inventory"],
        ),
        (
            {"deploy_evidence_url": "https://127.0.0.1/", "deploy_evidence_ca_path": "/nowhere/ca.pem"},
            "deploy_evidence_ca_path '/nowhere/ca.pem' cannot be read as certificates",
            ["ls -l /nowhere/ca.pem  # on this controller"],
        ),
    ],
)
def test_a_public_address_that_cannot_be_asked_so_is_mended_by_its_cause(stage, tmp_path, variables, text, mends):
    looked = Looked(stage, tmp_path, **variables)
    (found,) = looked.of("evidence")
    assert looked.rc == 2 and looked.wrong()["evidence"][0].startswith(text), looked.output
    assert [line for line, begins in zip(found["mend"], mends) if line.startswith(begins)] == found["mend"], found


@pytest.mark.claim("doctor-with-two-releases")
def test_members_on_two_releases_keep_no_deploy_and_what_settles_it_is_printed(stage, tmp_path):
    process = stage.start("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[1])
    try:
        wait_until(
            lambda: re.search(
                r"^\d+ shop_blue \d+ app2 \S+ \d+ [1-9]", ask(stage.socket(), "show servers state shop_blue"), re.MULTILINE
            ),
            "app1 has moved, and app2 is out",
            timeout=120,
        )
    finally:
        process.kill()
        process.wait(30)
    looked = Looked(stage, tmp_path)
    assert looked.rc == 0 and looked.sentence.startswith("ready for rolling; not ready for blue_green, canary because app2 is out"), looked.output
    assert "do not agree" not in looked.output
    mixed = next(check for check in looked.of("leftovers") if check["text"].startswith("members run different releases: 1.0.0 on "))
    assert [line.partition("  # ")[0] for line in mixed["mend"]] == [
        "ansible-playbook zero.downtime.rollback",
        "ansible-playbook zero.downtime.deploy -e deploy_release=1.0.0",
        "ansible-playbook zero.downtime.deploy -e deploy_release=2.0.0",
    ]
    back = stage.play("zero.downtime.rollback")
    assert back.rc == 0 and Looked(stage, tmp_path).wrong() == {}, back.output
