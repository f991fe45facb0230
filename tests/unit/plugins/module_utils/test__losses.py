# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of deploys in worlds full of noise, by their counters: none may be called worse for it, and each loss of the deploy's own has to be seen.

A world is a line: what a member's requests come to, second by second. The deploy rolls over four members, one at a time.
"""

from __future__ import annotations

import itertools
import math
import random
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _evidence
from ansible_collections.zero.downtime.plugins.module_utils._placing import LOSSES

MEMBERS = ("app1", "app2", "app3", "app4")
# Seconds: until the first move, and of each step of a batch.
BEFORE, DRAIN, ACTIVATE, RETURN, VERIFY = 8.0, 1.0, 2.0, 1.0, 0.5
TICK = 0.5
RATE = 100.0

# Of a member at a time: the share of requests that end in each way.
Rates = t.Dict[str, float]
World = t.Callable[[str, float, int], Rates]


def steady(**rates: float) -> World:
    return lambda member, now, deploy: rates


def bursts(every: float, lasts: float, **rates: float) -> World:
    """Each member stumbles by itself every now and then, and so many of its requests fail meanwhile."""
    def world(member: str, now: float, deploy: int) -> Rates:
        # Each deploy begins at another moment of each member's rhythm.
        phase = every * random.Random(f"{member} {deploy}").random()
        return rates if (now + phase) % every < lasts else {}
    return world


NOISE: dict[str, World] = {
    "nothing": steady(),
    "500s, 0.1 %": steady(app_errors=0.001), "500s, 1 %": steady(app_errors=0.01), "500s, 5 %": steady(app_errors=0.05),
    "404s, 20 %": steady(refused=0.2),
    "the balancer's 502s, 1 %": steady(own_errors=0.01), "the balancer's 502s, 2 %": steady(own_errors=0.02),
    "truncated, 2 %": steady(truncated=0.02), "truncated, 4 %": steady(truncated=0.04),
    "unanswered, 2 %": steady(unanswered=0.02),
    "each member stumbles for a second every 40": bursts(40, 1, app_errors=0.5), "for two seconds every 120": bursts(120, 2, app_errors=0.5),
    "a member's process hiccups every 40": bursts(40, 1, app_errors=0.2, refused=0.2),
    "everything a little": steady(app_errors=0.01, own_errors=0.01, truncated=0.01, unanswered=0.01),
}
DEPLOYS = 45
# Counters of HAProxy by kind: of the worker, and of the member.
COLUMNS = {"app_errors": ("server_5xx", "errors"), "refused": ("server_4xx", "refused"), "own_errors": ("faults", "faults"),
           "truncated": ("server_aborts", "cut_short"), "unanswered": ("", "missing")}


def poisson(mean: float, draw: random.Random) -> int:
    limit, product, number = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        number += 1
    return number


class Deploy:
    """The counters of one rolling deploy, read as a deploy reads them: after each drain and each return."""

    def __init__(self, world: World, seed: int, plant: t.Mapping[tuple[str, str], tuple[str, int]] | None = None, **asked: t.Any) -> None:
        self.world, self.seed, self.draw, self.plant = world, seed, random.Random(seed), plant or {}
        self.now = 0.0
        self.row: dict[str, t.Any] = {
            "worker": 1, "current": True, "requests": 0, "responses": {"2xx": 0, "4xx": 0, "5xx": 0}, "open": 0, "client_aborts": 0, "server_aborts": 0,
            "server_4xx": 0, "server_5xx": 0, "faults": 0}
        self.members: dict[str, dict[str, int]] = {name: {"requests": 0} for name in MEMBERS}
        self.samples: list[dict[str, t.Any]] = []
        self.steps: list[dict[str, t.Any]] = []
        self.looks: list[dict[str, t.Any]] = []
        self._read("started")
        self._pass(BEFORE, MEMBERS)
        self._read("checked")
        for batch, name in enumerate(MEMBERS, 1):
            others = [one for one in MEMBERS if one != name]
            for step, seconds, serve in (("drain", DRAIN, others), ("activate", ACTIVATE, others), ("return", RETURN, MEMBERS)):
                began = self.now
                for place, (kind, count) in self.plant.items():
                    if place == (name, step):
                        self._lose(name, kind, count)
                self._pass(seconds, serve)
                self.steps.append({"name": step, "started": began, "finished": self.now, "result": "succeeded", "members": [name], "batch": batch})
                if step != "activate":
                    self._read(step)
            self._pass(VERIFY, MEMBERS)
            self._read("checked")
            look = _evidence.compose(None, self.samples, steps=self.steps, **asked)
            for dummy in range(6):
                if not look["suspected"] or look["verdict"] != "clean":
                    break
                # As a check does: it looks on until the errors have lasted, or have not.
                self._pass(1.0, MEMBERS)
                self._read("checked")
                look = _evidence.compose(None, self.samples, steps=self.steps, **asked)
            self.looks.append(look)

    def _pass(self, seconds: float, serve: t.Sequence[str]) -> None:
        for dummy in range(round(seconds / TICK)):
            for name in serve:
                count = poisson(RATE * TICK / len(serve), self.draw)
                rates = self.world(name, self.now, self.seed)
                lost = {kind: min(count, poisson(count * rate, self.draw)) for kind, rate in rates.items()}
                self._add(name, count - sum(lost.values()))
                for kind, number in lost.items():
                    self._lose(name, kind, number)
            self.now += TICK

    def _add(self, name: str, count: int, answered: str = "2xx") -> None:
        self.row["requests"] += count
        self.members[name]["requests"] += count
        if answered:
            self.row["responses"][answered] += count

    def _lose(self, name: str, kind: str, count: int) -> None:
        self._add(name, count, {"app_errors": "5xx", "own_errors": "5xx", "refused": "4xx", "truncated": "2xx", "unanswered": ""}[kind])
        whole, own = COLUMNS[kind]
        if whole:
            self.row[whole] += count
        self.members[name][own] = self.members[name].get(own, 0) + count

    def _read(self, at: str) -> None:
        row = {**self.row, "responses": dict(self.row["responses"]), "pools": {"shop": {"members": {name: dict(own) for name, own in self.members.items()}}}}
        self.samples.append({"time": self.now, "balancer": "lb1", "at": at, "counters": [row], "kernel": {}})


@pytest.mark.claim("noise-takes-no-deploy-back")
@pytest.mark.parametrize("name", NOISE)
def test_noise_takes_no_deploy_back(name: str) -> None:
    for seed in range(DEPLOYS):
        for look in Deploy(NOISE[name], seed, judge_4xx=True).looks:
            assert look["verdict"] == "clean", (name, seed, look["sentence"])
    assert (look["balance"]["background"] == "") is (not {"own_errors", "truncated", "unanswered"} & set(NOISE[name]("app1", 0.0, 1)))


@pytest.mark.claim("each-planted-loss-is-seen")
@pytest.mark.parametrize("kind, step", list(itertools.product(LOSSES, ("drain", "return"))))
def test_one_loss_where_the_deploy_moves_something_is_seen_at_once(kind: str, step: str) -> None:
    for seed in range(5):
        deploy = Deploy(NOISE["500s, 1 %"], seed, {("app2", step): (kind, 1)})
        assert [look["verdict"] for look in deploy.looks] == ["clean", "lost", "lost", "lost"]
        entry, = deploy.looks[-1]["attributed"]
        assert (entry["member"], entry["count"], entry["kind"]) == ("app2", 1, _evidence.KINDS[kind])


@pytest.mark.parametrize("kind, member, asked, verdict", [
    # An event stream that its application ends without its last chunk.
    ("truncated", "app2", 3, "clean"),
    # One more than there were streams, another member's, and what no stream's end looks like.
    ("truncated", "app2", 2, "lost"), ("truncated", "app3", 3, "lost"), ("unanswered", "app2", 3, "lost"), ("own_errors", "app2", 3, "lost"),
])
def test_streams_that_their_application_was_asked_to_end_are_no_losses(kind: str, member: str, asked: int, verdict: str) -> None:
    deploy = Deploy(steady(), 1, {(member, "activate"): (kind, 3)})
    for step in deploy.steps:
        if (step["name"], step["members"]) == ("drain", ["app2"]):
            step["asked"] = {"app2": asked}
    found = _evidence.compose(None, deploy.samples, steps=deploy.steps)
    assert found["verdict"] == verdict and found["balance"]["streams_asked"] == asked, found["sentence"]
    assert "(%d streams left to the application to end)" % asked in found["sentence"]


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_a_move_are_seen_beside_those_that_happen_all_the_time(kind: str) -> None:
    found = [Deploy(steady(**{kind: 0.01}), seed, {("app2", "drain"): (kind, 25)}).looks[1] for seed in range(20)]
    assert sum(look["verdict"] == "lost" for look in found) >= 19
    assert all(15 <= look["balance"]["lost"] <= 30 for look in found if look["verdict"] == "lost")


def failing(kind: str) -> World:
    """A release with which a fifth of the answers are of this kind, on each member from its turn on."""
    def world(member: str, now: float, deploy: int) -> Rates:
        number = MEMBERS.index(member)
        return {kind: 0.2 if now >= BEFORE + number * (DRAIN + ACTIVATE + RETURN + VERIFY) + DRAIN + ACTIVATE else 0.002}
    return world


@pytest.mark.parametrize("kind", ["app_errors", "refused"])
def test_a_release_that_fails_is_found_on_its_first_member(kind: str) -> None:
    """The other three members dilute a fifth of its requests to one of twenty."""
    found = [[look["verdict"] for look in Deploy(failing(kind), seed, judge_4xx=True).looks] for seed in range(20)]
    assert sum("degraded" in looks[:2] for looks in found) >= 19, found


@pytest.mark.claim("rise-of-4xx-is-told")
def test_a_rise_of_refusals_is_told_and_decides_nothing_unless_that_is_asked_for() -> None:
    deploy = Deploy(failing("refused"), 0)
    last = deploy.looks[-1]
    assert last["verdict"] == "clean" and last["sentence"].startswith("No request was lost: "), last["sentence"]
    told = [note for note in last["notes"] if note.startswith("answers with a 4xx became more frequent: ")]
    assert len(told) == 1 and last["sentence"].endswith("; %s." % told[0]), last["sentence"]
    judged = _evidence.compose(None, deploy.samples, steps=deploy.steps, judge_4xx=True)
    assert judged["rollback"] and judged["sentence"] == "The application got worse: %s." % told[0].partition(": ")[2]


@pytest.mark.claim("each-4xx-is-judged-by-itself")
def test_where_the_statuses_are_known_a_rise_of_one_is_seen_beside_many_of_another() -> None:
    """A tenth of the answers have always been a 404; the release refuses four of a hundred besides, which is no rise of all 4xx."""
    deploy = Deploy(steady(), 0)
    for sample in deploy.samples:
        row = sample["counters"][0]
        for own in row["pools"]["shop"]["members"].values():
            later = max(0, own["requests"] - 200) // 25
            own.update(status_404=own["requests"] // 10, status_403=later, refused=own["requests"] // 10 + later)
    told = _evidence.compose(None, deploy.samples, steps=deploy.steps)
    assert told["verdict"] == "clean" and "; answers with a 403 became more frequent: " in told["sentence"], told["sentence"]
    assert "a 404" not in told["sentence"] and "a 4xx" not in told["sentence"]
    judged = _evidence.compose(None, deploy.samples, steps=deploy.steps, judge_4xx=True)
    assert judged["rollback"] and " real requests were answered with a 403, 0 of " in judged["sentence"], judged["sentence"]


def test_a_first_release_has_no_refusals_to_be_compared_with() -> None:
    deploy = Deploy(steady(refused=0.5), 0)
    del deploy.samples[:2]
    found = _evidence.compose(None, deploy.samples, steps=deploy.steps, first=True, judge_4xx=True)
    assert found["verdict"] == "clean" and not found["suspected"], found["sentence"]
