# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventories, each as it is: two releases and a look, on real servers, under load."""

from __future__ import annotations

import concurrent.futures
import functools
import pathlib
import sys
import threading
import time
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import elbv2_machine  # noqa: E402  pylint: disable=wrong-import-position
import one_machine  # noqa: E402  pylint: disable=wrong-import-position
from one_machine import Machine  # noqa: E402  pylint: disable=wrong-import-position

OLD, NEW = "1.0.0", "2.0.0"
# Nothing serves before the first release, and the second one shows what the example's own batches are good for.
ALL = ["100%"]


def nothing_lost(report: dict[str, t.Any], record: dict[str, t.Any]) -> None:
    """Both witnesses: the tests' own load, and the deploy's evidence."""
    assert report["failed"] == 0, report["losses"]
    assert report["sent"] > 100 and all(target["sent"] for target in report["targets"].values())
    assert set(report["versions"]) == {OLD, NEW}
    assert record["result"] == "succeeded" and record["release"]["label"] == NEW
    assert record["evidence"]["probe"]["failed"] == 0 and record["evidence"]["probe"]["sent"] > 50


def batches(record: dict[str, t.Any]) -> list[list[str]]:
    return [sorted(step["members"]) for step in record["steps"] if step["name"] == "drain"]


def look(machine: Machine, check: dict[str, str], foretold: str, status: dict[str, str], found: str) -> None:
    """What a deploy would do, and where things stand; both at the same time, since neither changes anything."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        checking = pool.submit(machine.play, "zero.downtime.deploy", "--check", **check)
        looking = pool.submit(machine.play, "zero.downtime.status", **status)
    for played, sentence in ((checking.result(), foretold), (looking.result(), found)):
        assert played.rc == 0 and sentence in played.sentence, played.output


def looked_over(machine: Machine, words: str, **variables: str) -> None:
    """What doctor finds where all is well, but for the second side that these do without."""
    doctor = machine.play("zero.downtime.doctor", **variables)
    assert doctor.rc == 0 and words in doctor.output, doctor.output
    assert doctor.sentence.startswith("ready for rolling; not ready for blue_green, canary because "), doctor.output
    wrong = [line for line in doctor.output.splitlines() if line.startswith(("✗", "⚠"))]
    assert all(line.startswith("✗ second_side: a second side needs pools of both sides") for line in wrong), doctor.output


def haproxy() -> None:
    shop = {f"app{number}": 10 + number for number in range(1, 5)}
    with Machine("haproxy", {"shop": shop, "account": {"app5": 15, "app6": 16}}, balancers=("lb1", "lb2"), labels=(OLD, NEW)) as machine:
        first = machine.play("zero.downtime.deploy", deploy_app="shop", deploy_release=OLD, deploy_batches=ALL)
        assert first.rc == 0, first.output
        report, output = machine.under_load("shop", "zero.downtime.deploy", deploy_app="shop", deploy_release=NEW)
        record = machine.records()[-1]
        nothing_lost(report, record)
        balance = record["evidence"]["balance"]
        assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0) and balance["received"] > 100
        assert batches(record) == [["app1"], ["app2", "app3"], ["app4"]]
        assert "[WARNING]" not in output, output
        assert machine.versions("shop") == dict.fromkeys(shop, NEW)
        # The other application behind the same balancers is still to come.
        look(machine, {"deploy_app": "account", "deploy_release": OLD}, f"would move 2 of 2 members to {OLD}",
             {"deploy_app": "shop"}, f"all 4 members run {NEW}")
        looked_over(machine, "shop has all 4 members", deploy_app="shop", deploy_release=OLD)


def nginx() -> None:
    shop = {f"app{number}": 10 + number for number in range(1, 5)}
    # A reload of this nginx closes idle connections, which a request may meet; the tests of the driver itself keep them.
    kind = functools.partial(one_machine.NginxBalancer, keepalive="0")
    with Machine("nginx", {"shop": shop}, balancers=("lb1", "lb2"), labels=(OLD, NEW), kind=kind) as machine:
        first = machine.play("zero.downtime.deploy", deploy_release=OLD, deploy_batches=ALL)
        assert first.rc == 0, first.output
        # A reload closes idle connections, and whoever keeps some has to mind that.
        report, output = machine.under_load("shop", "zero.downtime.deploy", "--mind-idle-close", deploy_release=NEW)
        record = machine.records()[-1]
        nothing_lost(report, record)
        balance = record["evidence"]["balance"]
        assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0) and balance["received"] > 100
        assert balance["complete"] and balance["errors_during"] == 0
        assert batches(record) == [["app1"], ["app2", "app3"], ["app4"]]
        assert "[WARNING]" not in output, output
        assert machine.versions("shop") == dict.fromkeys(shop, NEW)
        look(machine, {"deploy_release": OLD}, f"would move 4 of 4 members to {OLD}", {}, f"all 4 members run {NEW}")
        kept = {path: path.read_bytes() for balancer in machine.balancers.values() for path in balancer.upstreams.iterdir()}
        looked_over(machine, "nginx answers")
        assert {path: path.read_bytes() for balancer in machine.balancers.values() for path in balancer.upstreams.iterdir()} == kept


def elbv2() -> None:
    shop = {f"app{number}": 10 + number for number in range(1, 4)}
    with elbv2_machine.Machine(shop, (OLD, NEW)) as machine:
        first = machine.play("zero.downtime.deploy", deploy_release=OLD, deploy_batches=ALL)
        assert first.rc == 0, first.output
        report, output = machine.under_load("shop", "zero.downtime.deploy", deploy_release=NEW)
        record = machine.records()[-1]
        nothing_lost(report, record)
        assert batches(record) == [["app1"], ["app2", "app3"]]
        assert "[WARNING]" not in output, output
        assert machine.versions("shop") == dict.fromkeys(shop, NEW)
        looked_over(machine, "target group shop in eu-west-1", deploy_release=OLD)


def healthcheck() -> None:
    shop = {f"app{number}": 10 + number for number in range(1, 4)}
    with Machine("healthcheck", {"shop": shop}, balancers=("lb1", "lb2"), labels=(OLD, NEW)) as machine:
        first = machine.play("zero.downtime.deploy", deploy_release=OLD, deploy_batches=ALL)
        assert first.rc == 0, first.output
        report, output = machine.under_load("shop", "zero.downtime.deploy", deploy_release=NEW)
        record = machine.records()[-1]
        nothing_lost(report, record)
        assert batches(record) == [["app1"], ["app2"], ["app3"]]
        assert "[WARNING]" not in output, output
        assert machine.versions("shop") == dict.fromkeys(shop, NEW)
        look(machine, {"deploy_release": OLD}, f"would move 3 of 3 members to {OLD}", {}, f"all 3 members run {NEW}")
        looked_over(machine, "– balancer: driver healthcheck has none that could be asked")


class Queue:
    """Jobs that come all the time, and what became of each."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place, self.given, self.ending = place, 0, threading.Event()
        for name in ("todo", "taken", "done"):
            (place / name).mkdir(parents=True)
        self.thread = threading.Thread(target=self.fill)

    def fill(self) -> None:
        while not self.ending.wait(0.03):
            self.given += 1
            (self.place / "todo" / f"{self.given:06}").touch()

    def __enter__(self) -> Queue:
        self.thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.ending.set()
        self.thread.join()

    def finished(self) -> list[str]:
        """For each job the versions that did it, once all are done."""
        deadline = time.monotonic() + 120
        while (left := len(list((self.place / "todo").iterdir())) + len(list((self.place / "taken").iterdir()))):
            assert time.monotonic() < deadline, f"{left} of {self.given} jobs are not done"
            time.sleep(0.05)
        return [path.read_text(encoding="utf-8") for path in sorted((self.place / "done").iterdir())]


def none() -> None:
    workers = {f"worker{number}": 20 + number for number in range(1, 4)}
    with Machine("none", {"mailer": workers}, labels=(OLD, NEW)) as machine:
        with Queue(machine.dir / "queue") as queue:
            first = machine.play("zero.downtime.deploy", deploy_release=OLD, deploy_batches=ALL)
            assert first.rc == 0, first.output
            second = machine.play("zero.downtime.deploy", deploy_release=NEW)
            assert second.rc == 0 and f"3 of 3 members were moved to {NEW}" in second.sentence, second.output
        assert batches(machine.records()[-1]) == [["worker1"], ["worker2", "worker3"]]
        done = queue.finished()
        # Each job once: none was dropped by a worker that was stopped, none was begun by one release and done again by the other.
        assert len(done) == queue.given and set(done) == {OLD + "\n", NEW + "\n"}
        look(machine, {"deploy_release": OLD}, f"would move 3 of 3 members to {OLD}", {}, f"all 3 members run {NEW}")
        looked_over(machine, "– health: deploy_health.path is not set")


def process_swap() -> None:
    with Machine("process_swap", {"shop": {"web1": 31}}, labels=(OLD, NEW)) as machine:
        first = machine.play("zero.downtime.deploy", deploy_release=OLD)
        assert first.rc == 0, first.output
        # The old process closes its idle connections when it ends, and whoever keeps some has to mind that.
        report, output = machine.under_load("shop", "zero.downtime.deploy", "--mind-idle-close", deploy_release=NEW)
        record = machine.records()[-1]
        nothing_lost(report, record)
        assert ["web1: no errors, " in step["reason"] for step in record["steps"] if step["name"] == "activate"] == [True]
        assert "[WARNING]" not in output, output
        back = machine.play("zero.downtime.rollback")
        assert back.rc == 0 and machine.versions("shop") == {"web1": OLD}, back.output
        look(machine, {"deploy_release": NEW}, f"would move 1 of 1 members to {NEW}", {}, f"all 1 members run {OLD}")
        looked_over(machine, "✓ service, web1: ", deploy_release=NEW)
        report, output = machine.under_load("shop", "zero.downtime.activate", "--mind-idle-close", deploy_release=NEW)
        assert report["failed"] == 0 and set(report["versions"]) == {OLD, NEW}, report["losses"]
        assert "web1: no errors, " in output and machine.versions("shop") == {"web1": NEW}, output


EXAMPLES = (elbv2, haproxy, healthcheck, nginx, none, process_swap)


@pytest.fixture(scope="module")
def stories() -> t.Iterator[dict[str, concurrent.futures.Future[None]]]:
    """Two examples at the same time: much of a deploy is waiting, but two cores do not carry all of them."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {example.__name__: pool.submit(example) for example in EXAMPLES}


@pytest.mark.claim("example-inventories-work", "swap-activate-alone")
@pytest.mark.parametrize("example", [example.__name__ for example in EXAMPLES])
def test_example(stories, example):
    stories[example].result(timeout=1200)


@pytest.mark.claim("example-inventories-work")
def test_every_example_is_tried():
    # That of BIND is played by the tests of its driver (tests/real/bind).
    assert {example.__name__ for example in EXAMPLES} | {"bind", "local"} == {path.name for path in (one_machine.playing.REPO / "inventories").iterdir()}
