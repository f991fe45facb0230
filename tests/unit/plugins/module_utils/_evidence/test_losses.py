# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of deploys in worlds full of noise, by their counters: none may be called worse for it, and each loss of the deploy's own has to be seen.

A world is a line: what a member's requests come to, second by second, and what else goes on meanwhile. The deploy rolls over four members, one at a
time, or gives their requests to four others: all at once, or by shares.
"""

from __future__ import annotations

import collections
import itertools
import math
import random
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence.placing import LOSSES
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import counters as _haproxy_counters

MEMBERS = ("app1", "app2", "app3", "app4")
IDLE = ("app5", "app6", "app7", "app8")
POOLS = {**dict.fromkeys(MEMBERS, "shop"), **dict.fromkeys(IDLE, "green")}
# Seconds: until the first move, and of each step of a batch.
BEFORE, DRAIN, ACTIVATE, RETURN, VERIFY, SWITCH = 8.0, 1.0, 2.0, 1.0, 0.5, 0.5
TICK = 0.5
RATE = 100.0
# Of a hundred requests, how many the idle side gets, step by step.
SHARES = {"blue_green": {"switch": 100}, "canary": {"share 10 %": 10, "share 50 %": 50, "share 100 %": 100}}
STRATEGIES = ("rolling", *SHARES)

# Of a member at a time: the share of requests that end in each way; "held" is the share of those that wait until the member goes on.
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


class Noise(t.NamedTuple):
    """A world, and what goes on around its requests."""

    world: World
    # How often a reading of the counters has a request in it that is half counted, since a thread of the balancer did not get its processor. On an idle
    # machine with 250 requests a second that was one of a hundred.
    half_counted: float = 0.0
    # When an operator reloads the balancer, and whether the old process holds something until the end.
    reload: float | None = None
    stays: bool = False
    # Whether no member can be named for what is unanswered.
    nameless: bool = False


A_LITTLE = steady(app_errors=0.01, own_errors=0.01, truncated=0.01, unanswered=0.01)
NOISE: dict[str, Noise] = {
    "nothing": Noise(steady()),
    "500s, 0.1 %": Noise(steady(app_errors=0.001)), "500s, 1 %": Noise(steady(app_errors=0.01)), "500s, 5 %": Noise(steady(app_errors=0.05)),
    "404s, 20 %": Noise(steady(refused=0.2)),
    "the balancer's 502s, 1 %": Noise(steady(own_errors=0.01)), "the balancer's 502s, 2 %": Noise(steady(own_errors=0.02)),
    "truncated, 2 %": Noise(steady(truncated=0.02)), "truncated, 4 %": Noise(steady(truncated=0.04)),
    "unanswered, 2 %": Noise(steady(unanswered=0.02)),
    "each member stumbles for a second every 40": Noise(bursts(40, 1, app_errors=0.5)),
    "for two seconds every 120": Noise(bursts(120, 2, app_errors=0.5)),
    "a member's process hiccups every 40": Noise(bursts(40, 1, app_errors=0.2, refused=0.2)),
    "everything a little": Noise(A_LITTLE),
    # As while its memory is cleaned up: nobody is answered meanwhile, and then everybody.
    "each member stands still for a second every 10": Noise(bursts(10, 1, held=1.0)),
    "the balancer lacks processors": Noise(steady(), half_counted=0.05), "it lacks them, and everything a little": Noise(A_LITTLE, half_counted=0.05),
    "unanswered, 2 %, and nobody knows by whom": Noise(steady(unanswered=0.02), nameless=True),
    "everything a little, and nobody knows by whom": Noise(A_LITTLE, nameless=True),
    "an operator reloads": Noise(steady(), reload=BEFORE + 1.5), "an operator reloads before anything moves": Noise(steady(), reload=BEFORE - 1),
    "an operator reloads, and the old process stays": Noise(A_LITTLE, reload=BEFORE + 1.5, stays=True),
}
DEPLOYS = 45
# Draws in which a loss that happens all the time came late, or in a heap.
AWKWARD = (5049, 10112, 10384)
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
    """The counters of one deploy, read as a deploy reads them: after each drain and each return, or after each change of shares."""

    def __init__(self, noise: Noise, seed: int, plant: t.Mapping[tuple[str, str], tuple[str, int]] | None = None, strategy: str = "rolling",
                 **asked: t.Any) -> None:
        self.noise, self.seed, self.draw, self.plant, self.asked = noise, seed, random.Random(seed), plant or {}, asked
        self.now, self.received = 0.0, 0
        self.old: dict[str, t.Any] | None = None
        self._begin_worker(1)
        self.samples: list[dict[str, t.Any]] = []
        self.steps: list[dict[str, t.Any]] = []
        self.looks: list[dict[str, t.Any]] = []
        self._read("started")
        self._pass(BEFORE, MEMBERS)
        self._read("checked")
        if strategy == "rolling":
            self._roll()
        else:
            self._switch(SHARES[strategy])

    def _roll(self) -> None:
        for batch, name in enumerate(MEMBERS, 1):
            others = [one for one in MEMBERS if one != name]
            for step, seconds, serve in (("drain", DRAIN, others), ("activate", ACTIVATE, others), ("return", RETURN, MEMBERS)):
                if step == "return":
                    # A moment before it begins.
                    self._read(step)
                self._step(step, seconds, serve, members=[name], batch=batch)
                if step != "activate":
                    self._read(step)
            self._look(MEMBERS)

    def _switch(self, shares: t.Mapping[str, int]) -> None:
        self._step("activate", ACTIVATE, MEMBERS, members=list(IDLE), batch=1, pools=["green"])
        self._look(MEMBERS)
        # As a deploy waits before its switch.
        self._pass(math.ceil(_losses.patience(self.received, self.now)), MEMBERS)
        serve: t.Sequence[str] = MEMBERS
        for step, share in shares.items():
            # While it is changed, some still go by the old shares.
            after = MEMBERS * (100 - share) + IDLE * share
            self._step(step, SWITCH, [*serve, *after] if len(serve) == len(after) else [*serve * 100, *after], members=[], batch=None)
            self._read(step)
            serve = after
            self._look(serve)
        self._pass(RETURN, serve)
        self._look(serve)

    def _step(self, name: str, seconds: float, serve: t.Sequence[str], **about: t.Any) -> None:
        began = self.now
        for (member, step), (kind, count) in self.plant.items():
            if step == name and (not about["members"] or member in about["members"]):
                self._lose(member, kind, count)
        self._pass(seconds, serve)
        self.steps.append({"name": name, "started": began, "finished": self.now, "result": "succeeded", **about})

    def _look(self, serve: t.Sequence[str]) -> None:
        self._pass(VERIFY, serve)
        look = self._judge()
        for dummy in range(8):
            if not (look["hasty"] or (look["suspected"] and look["verdict"] == "clean")):
                break
            # As a check does: it looks on until the errors have lasted, or have not, and whether they come where nobody has moved anything.
            self._pass(1.0, serve)
            look = self._judge()
        self.looks.append(look)

    def _judge(self) -> dict[str, t.Any]:
        """As a check does: what looks unanswered is looked at again."""
        moment = f"checked {len(self.samples)}"
        for dummy in range(3):
            self._read("checked", moment=moment)
            found = _evidence.compose(None, self.samples, steps=self.steps, **self.asked)
            if not self.noise.half_counted or not found["balance"]["unanswered"]:
                break
        return found

    def _begin_worker(self, worker: int) -> None:
        self.row: dict[str, t.Any] = {
            "worker": worker, "current": True, "requests": 0, "responses": {"2xx": 0, "4xx": 0, "5xx": 0}, "open": 0, "client_aborts": 0, "server_aborts": 0,
            "server_4xx": 0, "server_5xx": 0, "faults": 0}
        self.members: dict[str, dict[str, int]] = {name: {"requests": 0} for name in POOLS}
        if self.noise.half_counted:
            # Somebody is always being answered.
            self._hold("app1", 2)

    def _pass(self, seconds: float, serve: t.Sequence[str]) -> None:
        shares = collections.Counter(serve)
        for dummy in range(round(seconds / TICK)):
            if self.noise.reload is not None and self.old is None and self.now >= self.noise.reload:
                self.old = {**self._whole_row(), "current": False}
                self._begin_worker(2)
            for name, share in shares.items():
                count = poisson(RATE * TICK * share / len(serve), self.draw)
                rates = self.noise.world(name, self.now, self.seed)
                lost = {kind: min(count, poisson(count * rate, self.draw)) for kind, rate in rates.items() if kind != "held"}
                if rates.get("held"):
                    self._hold(name, count)
                    continue
                if not self.noise.half_counted:
                    self._hold(name, -self.members[name].get("open", 0))
                self._add(name, count - sum(lost.values()))
                for kind, number in lost.items():
                    self._lose(name, kind, number)
            self.now += TICK

    def _hold(self, name: str, count: int) -> None:
        """Requests that wait for their answers; fewer than none are answered now."""
        self.row["open"] += count
        self.members[name]["open"] = self.members[name].get("open", 0) + count
        if count > 0:
            self._add(name, count, "")
        else:
            self.row["responses"]["2xx"] -= count

    def _add(self, name: str, count: int, answered: str = "2xx") -> None:
        self.received += count
        self.row["requests"] += count
        self.members[name]["requests"] += count
        if answered:
            self.row["responses"][answered] += count

    def _lose(self, name: str, kind: str, count: int) -> None:
        self._add(name, count, {"app_errors": "5xx", "own_errors": "5xx", "refused": "4xx", "truncated": "2xx", "unanswered": ""}[kind])
        whole, own = COLUMNS[kind]
        if whole:
            self.row[whole] += count
        if not (own == "missing" and self.noise.nameless):
            self.members[name][own] = self.members[name].get(own, 0) + count
        if kind == "own_errors":
            # The member gave no answer.
            self.members[name]["missing"] = self.members[name].get("missing", 0) + count

    def _whole_row(self) -> dict[str, t.Any]:
        pools: dict[str, t.Any] = {pool: {"members": {}} for pool in POOLS.values()}
        for name, own in self.members.items():
            pools[POOLS[name]]["members"][name] = dict(own)
        return {**self.row, "responses": dict(self.row["responses"]), "pools": pools}

    def _rows(self) -> list[dict[str, t.Any]]:
        row = self._whole_row()
        if self.draw.random() < self.noise.half_counted:
            # It has begun, and is not open yet; or it has been answered, and is still open.
            row["open"] += self.draw.choice((-1, 1))
        return [row, *([self.old] if self.old and self.noise.stays else [])]

    def _read(self, at: str, **more: t.Any) -> None:
        rows = _haproxy_counters.settled(self._rows, sleep=lambda seconds: None) if self.noise.half_counted else self._rows()
        self.samples.append({"time": self.now, "balancer": "lb1", "at": at, "counters": rows, "kernel": {}, **more})


@pytest.mark.claim("noise-takes-no-deploy-back")
@pytest.mark.parametrize("name, strategy", list(itertools.product(NOISE, STRATEGIES)))
def test_noise_takes_no_deploy_back(name: str, strategy: str) -> None:
    for seed in (*range(DEPLOYS if strategy == "rolling" else DEPLOYS // 3), *AWKWARD):
        for look in Deploy(NOISE[name], seed, strategy=strategy, judge_4xx=True).looks:
            assert look["verdict"] == "clean", (name, seed, look["sentence"])
    assert (look["balance"]["background"] == "") is (not {"own_errors", "truncated", "unanswered"} & set(NOISE[name].world("app1", 0.0, 1)))
    assert look["balance"]["complete"] is (NOISE[name].reload is None or NOISE[name].stays)


@pytest.mark.claim("each-planted-loss-is-seen")
@pytest.mark.parametrize("kind, step", list(itertools.product(LOSSES, ("drain", "return"))))
def test_one_loss_where_the_deploy_moves_something_is_seen_at_once(kind: str, step: str) -> None:
    for seed in range(5):
        deploy = Deploy(NOISE["500s, 1 %"], seed, {("app2", step): (kind, 1)})
        assert [look["verdict"] for look in deploy.looks] == ["clean", "lost", "lost", "lost"]
        entry, = deploy.looks[-1]["attributed"]
        assert (entry["member"], entry["count"], entry["kind"]) == ("app2", 1, _evidence.KINDS[kind])


@pytest.mark.claim("each-planted-loss-is-seen")
@pytest.mark.parametrize("kind, member, strategy", list(itertools.product(LOSSES, ("app2", "app6"), SHARES)))
def test_one_loss_on_either_side_while_requests_change_sides_is_seen_at_once(kind: str, member: str, strategy: str) -> None:
    step = list(SHARES[strategy])[-1]
    for seed in range(5):
        deploy = Deploy(NOISE["500s, 1 %"], seed, {(member, step): (kind, 1)}, strategy)
        assert [look["verdict"] for look in deploy.looks] == ["clean"] * len(SHARES[strategy]) + ["lost", "lost"]
        entry, = deploy.looks[-1]["attributed"]
        assert (entry["member"], entry["count"], entry["kind"], entry["step"]) == (member, 1, _evidence.KINDS[kind], step)


@pytest.mark.parametrize("kind, member, asked, verdict", [
    # An event stream that its application ends without its last chunk.
    ("truncated", "app2", 3, "clean"),
    # One more than there were streams, another member's, and what no stream's end looks like. (What comes after the member's return is the release's.)
    ("truncated", "app2", 2, "lost"), ("truncated", "app3", 3, "lost"), ("unanswered", "app2", 3, "lost"), ("own_errors", "app2", 3, "lost"),
])
def test_streams_that_their_application_was_asked_to_end_are_no_losses(kind: str, member: str, asked: int, verdict: str) -> None:
    deploy = Deploy(Noise(steady()), 1, {(member, "activate"): (kind, 3)})
    for step in deploy.steps:
        if (step["name"], step["members"]) == ("drain", ["app2"]):
            step["asked"] = {"app2": asked}
    found = _evidence.compose(None, deploy.samples, steps=deploy.steps)
    assert found["verdict"] == verdict and found["balance"]["streams_asked"] == asked, found["sentence"]
    short = min(3, asked) if (kind, member) == ("truncated", "app2") else 0
    told = ", %d of them cut short by it" % short if short else ""
    assert "(%d streams left to the application to end%s)" % (asked, told) in found["sentence"], found["sentence"]
    assert verdict == "lost" or "background" not in found["sentence"], found["sentence"]


def cut_on(member: str, deploy: Deploy, cut: int, shown: int | None) -> dict[str, t.Any]:
    """The evidence of a deploy that cut so many connections of a member's, of which so many show as losses; None where nobody tells."""
    detail = {"cut": cut, **({} if shown is None else {"cut_by": {member: shown}})}
    events = [{"time": 9.0, "step": "drain", "event": "finished", "members": [member], "detail": detail}]
    for step in deploy.steps:
        if (step["name"], step["members"]) == ("drain", [member]):
            step.update({"cut": cut} if shown is None else {"cut": cut, "cut_by": {member: shown}})
    return _evidence.compose(None, deploy.samples, events, steps=deploy.steps)


@pytest.mark.parametrize("shown", [3, None])
def test_streams_that_were_cut_are_told_once(shown: int | None) -> None:
    found = cut_on("app2", Deploy(Noise(steady()), 1, {("app2", "drain"): ("truncated", 3)}), 3, shown)
    assert found["verdict"] == "clean" and "(3 more cut on purpose)" in found["sentence"] and "background" not in found["sentence"], found["sentence"]


@pytest.mark.parametrize("kind", LOSSES)
def test_streams_that_were_cut_or_asked_excuse_no_loss_of_what_comes_after_them(kind: str) -> None:
    """The release loses three requests as it comes back, on a member of which many streams were ended."""
    deploy = Deploy(Noise(steady()), 1, {("app2", "return"): (kind, 3)})
    cut = cut_on("app2", deploy, 20, 20)
    assert (cut["verdict"], cut["balance"]["lost"]) == ("lost", 3), cut["sentence"]
    for step in deploy.steps:
        if step.pop("cut_by", None):
            step["asked"] = {"app2": 20}
    asked = _evidence.compose(None, deploy.samples, steps=deploy.steps)
    assert (asked["verdict"], asked["balance"]["lost"]) == ("lost", 3), asked["sentence"]


@pytest.mark.parametrize("ended", [{"asked": {"app2": 20}}, {"cut": 20, "cut_by": {"app2": 20}}, {"cut": 20}], ids=["asked", "cut", "cut by nobody knows whom"])
def test_streams_that_are_ended_on_the_way_back_excuse_nothing_that_was_lost_before(ended: dict[str, t.Any]) -> None:
    """A release that loses three requests as it comes back, and whose streams are ended as the deploy goes back."""
    deploy = Deploy(Noise(steady()), 1, {("app2", "return"): ("truncated", 3)})
    deploy._step("back_drain", DRAIN, [name for name in MEMBERS if name != "app2"], members=["app2"], batch=2)
    deploy.steps[-1].update(ended)
    deploy._read("back_drain")
    found = _evidence.compose(None, deploy.samples, steps=deploy.steps)
    assert (found["verdict"], found["balance"]["lost"], found["balance"]["streams_cut_short"]) == ("lost", 3, 0), found["sentence"]


def test_streams_that_the_application_did_not_end_and_the_deploy_cut_are_told_once() -> None:
    deploy = Deploy(Noise(steady()), 1, {("app2", "drain"): ("truncated", 9)})
    for step in deploy.steps:
        if (step["name"], step["members"]) == ("drain", ["app2"]):
            step["asked"] = {"app2": 23}
    found = cut_on("app2", deploy, 9, 9)
    assert found["verdict"] == "clean" and (found["balance"]["cut"], found["balance"]["streams_cut_short"]) == (9, 0), found["sentence"]
    assert "(9 more cut on purpose) (23 streams left to the application to end)" in found["sentence"], found["sentence"]


def test_connections_that_were_cut_and_reset_are_taken_once_though_they_show_twice() -> None:
    """Six were cut: three of them show as unanswered and as truncated, three as truncated only."""
    deploy = Deploy(Noise(steady()), 1, {("app2", "drain"): ("truncated", 6)})
    for sample in deploy.samples:
        for row in sample["counters"]:
            counts = row["pools"]["shop"]["members"].get("app2") or {}
            if counts.get("cut_short") == 6:
                row["requests"] += 3
                counts.update(requests=counts["requests"] + 3, missing=counts.get("missing", 0) + 3)
    found = cut_on("app2", deploy, 6, 6)
    assert (found["verdict"], found["balance"]["lost"]) == ("clean", 0), found["sentence"]
    fewer = cut_on("app2", deploy, 5, 5)
    assert (fewer["verdict"], fewer["balance"]["lost"]) == ("lost", 1), fewer["sentence"]
    assert sum(entry["count"] for entry in fewer["attributed"]) == 1, fewer["attributed"]


def test_websockets_that_were_cut_excuse_nothing_and_what_was_cut_is_nobodys_place() -> None:
    """Twelve were cut, seven of them WebSockets, whose end no counter calls a loss; two requests were lost besides."""
    deploy = Deploy(Noise(steady()), 1, {("app2", "drain"): ("truncated", 5), ("app2", "return"): ("truncated", 2)})
    found = cut_on("app2", deploy, 12, 5)
    assert (found["verdict"], found["balance"]["lost"]) == ("lost", 2), found["sentence"]
    assert [(entry["count"], entry["step"]) for entry in found["attributed"]] == [(2, "return")], found["attributed"]


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_a_move_are_seen_beside_those_that_happen_all_the_time(kind: str) -> None:
    found = [Deploy(Noise(steady(**{kind: 0.01})), seed, {("app2", "drain"): (kind, 25)}).looks[1] for seed in range(20)]
    assert sum(look["verdict"] == "lost" for look in found) >= 19
    assert all(15 <= look["balance"]["lost"] <= 30 for look in found if look["verdict"] == "lost")


def test_losses_that_name_no_member_are_seen_beside_those_that_happen_all_the_time() -> None:
    """It takes more of them: they are held against the requests of all members."""
    noise = Noise(steady(unanswered=0.01), nameless=True)
    found = [Deploy(noise, seed, {("app2", "drain"): ("unanswered", 50)}).looks[1] for seed in range(20)]
    assert sum(look["verdict"] == "lost" for look in found) >= 19


def failing(kind: str) -> World:
    """A release with which a fifth of the answers are of this kind, on each member from its turn on."""
    def world(member: str, now: float, deploy: int) -> Rates:
        number = MEMBERS.index(member)
        return {kind: 0.2 if now >= BEFORE + number * (DRAIN + ACTIVATE + RETURN + VERIFY) + DRAIN + ACTIVATE else 0.002}
    return world


@pytest.mark.parametrize("kind", ["app_errors", "refused"])
def test_a_release_that_fails_is_found_on_its_first_member(kind: str) -> None:
    """The other three members dilute a fifth of its requests to one of twenty."""
    found = [[look["verdict"] for look in Deploy(Noise(failing(kind)), seed, judge_4xx=True).looks] for seed in range(20)]
    assert sum("degraded" in looks[:2] for looks in found) >= 19, found


@pytest.mark.claim("losses-that-go-on-are-counted")
@pytest.mark.parametrize("kind", LOSSES)
def test_what_a_release_loses_is_counted_to_the_end_wherever_the_deploy_has_brought_it(kind: str) -> None:
    """Also behind the return of its members, while the deploy moves others or nobody."""
    for seed in range(10):
        deploy = Deploy(Noise(failing(kind)), seed)
        found = deploy._judge()
        last = deploy.samples[-1]["counters"][0]
        whole = last["requests"] - sum(last["responses"].values()) - last["open"] if kind == "unanswered" else last[
            {"truncated": "server_aborts", "own_errors": "faults"}[kind]]
        assert found["verdict"] == "lost" and 0.95 * whole <= found["balance"]["lost"] <= whole, (seed, whole, found["sentence"])


@pytest.mark.parametrize("kind", LOSSES)
def test_the_places_of_losses_have_as_many_as_the_sum(kind: str) -> None:
    for seed in range(10):
        found = Deploy(Noise(steady(**{kind: 0.02})), seed, {("app2", "drain"): (kind, 40)}).looks[1]
        assert found["verdict"] == "lost" and sum(entry["count"] for entry in found["attributed"]) == found["balance"]["lost"], found["sentence"]


@pytest.mark.claim("rise-of-4xx-is-told")
def test_a_rise_of_refusals_is_told_and_decides_nothing_unless_that_is_asked_for() -> None:
    deploy = Deploy(Noise(failing("refused")), 0)
    last = deploy.looks[-1]
    assert last["verdict"] == "clean" and last["sentence"].startswith("No request was lost: "), last["sentence"]
    told = [note for note in last["notes"] if note.startswith("answers with a 4xx became more frequent: ")]
    assert len(told) == 1 and last["sentence"].endswith("; %s." % told[0]), last["sentence"]
    judged = _evidence.compose(None, deploy.samples, steps=deploy.steps, judge_4xx=True)
    assert judged["rollback"] and judged["sentence"] == "The application got worse: %s." % told[0].partition(": ")[2]


@pytest.mark.claim("each-4xx-is-judged-by-itself")
def test_where_the_statuses_are_known_a_rise_of_one_is_seen_beside_many_of_another() -> None:
    """A tenth of the answers have always been a 404; the release refuses four of a hundred besides, which is no rise of all 4xx."""
    deploy = Deploy(Noise(steady()), 0)
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
    deploy = Deploy(Noise(steady(refused=0.5)), 0)
    del deploy.samples[:2]
    found = _evidence.compose(None, deploy.samples, steps=deploy.steps, first=True, judge_4xx=True)
    assert found["verdict"] == "clean" and not found["suspected"], found["sentence"]
