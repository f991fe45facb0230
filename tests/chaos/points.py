# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the crash sweep kills the controller, and how it goes on: each point is a fact that can be observed, never a time."""

from __future__ import annotations

import itertools
import typing as t

from controller import Fact, after, ended, event, file, flagged, idle_side, journal, linked, locked, record, shares_journal, unlocked


class Point(t.NamedTuple):
    """One kill.

    C(verb): what is killed: deploy (of a new release), rollback (to the one before), bad (a deploy that is on its way back: of a release that never
    gets ready, or, as a canary, of one that answers with errors). C(kill): process or tree. C(resume): deploy or rollback, or, of a bad release,
    before: a deploy of what served. C(elsewhere): by a controller that cannot know whether the holder is dead. C(strategy): of blue/green and canary,
    the side that served before is stopped at the end; retire is the playbook that does so later.
    """
    name: str
    verb: str
    fact: t.Callable[[], Fact]
    kill: str
    resume: str
    elsewhere: bool
    locked: bool
    in_short: bool
    strategy: str = "rolling"


def _batch(number: int) -> dict[str, t.Callable[[], Fact]]:
    """The steps of a batch of two members."""
    first = ("app1", "app3")[number - 1]
    return {
        f"batch {number}: drain begins": lambda: event("drain", "started", number),
        f"batch {number}: drain in the journal": lambda: journal("drained", number),
        f"batch {number}: drained": lambda: event("drain", "finished", number),
        f"batch {number}: activation begins": lambda: event("activate", "started", number),
        f"batch {number}: link moved": lambda: linked(first),
        f"batch {number}: activated": lambda: event("activate", "finished", number, nth=2),
        f"batch {number}: gate begins": lambda: event("gate", "started", number),
        f"batch {number}: gate passed": lambda: event("gate", "finished", number),
        f"batch {number}: return begins": lambda: event("return", "started", number),
        f"batch {number}: return in the journal": lambda: journal("active", number),
        f"batch {number}: returned": lambda: event("return", "finished", number),
    }


# A plan that is made holds no lock, and a last module that outlives its controller may still give it back: there is nothing to take over.
UNLOCKED = {"planned", "about to unlock", "unlocked"}

# claim: crash-sweep
STEPS: dict[str, t.Callable[[], Fact]] = {
    "planned": lambda: event("plan", "finished"),
    "locked": lambda: locked,
    "evidence begins": lambda: file("probe-config.json"),
    "evidence runs": lambda: file("progress.json"),
    "staging begins": lambda: event("stage", "started"),
    "staged": lambda: event("stage", "finished", nth=4),
    "baseline begins": lambda: event("verify", "started"),
    "baseline noted": lambda: event("verify", "finished"),
    **_batch(1),
    "batch 1: verified": lambda: event("verify", "finished", 1),
    **_batch(2),
    "verification begins": lambda: event("verify", "started", nth=2),
    "verified": lambda: event("verify", "finished", nth=2),
    "evidence closed": lambda: file("evidence.json"),
    "record written": lambda: record(".json"),
    "about to unlock": lambda: record(".html"),
    "unlocked": lambda: unlocked,
}

BACK: dict[str, t.Callable[[], Fact]] = {
    "drain begins": lambda: event("back_drain", "started", 1),
    "drain in the journal": lambda: journal("drained", 2),
    "drained": lambda: event("back_drain", "finished", 1),
    "activation begins": lambda: event("back_activate", "started", 1),
    "link moved": lambda: linked("app1", turn=2),
    "activated": lambda: event("back_activate", "finished", 1, nth=2),
    "gate begins": lambda: event("back_gate", "started", 1),
    "gate passed": lambda: event("back_gate", "finished", 1),
    "return begins": lambda: event("back_return", "started", 1),
    "return in the journal": lambda: journal("active"),
    "returned": lambda: event("back_return", "finished", 1),
}

# Of blue/green: the idle side gets the release in one batch, the switch, and the end of the side that served before.
SIDES: dict[str, t.Callable[[], Fact]] = {
    "locked": lambda: locked,
    "staged": lambda: event("stage", "finished", nth=4),
    "drain begins": lambda: event("drain", "started", 1),
    "drain in the journal": lambda: journal("drained"),
    "drained": lambda: event("drain", "finished", 1),
    "activation begins": lambda: event("activate", "started", 1),
    "link moved": lambda: linked("app1", slot=idle_side()),
    "activated": lambda: event("activate", "finished", 1, nth=4),
    "return begins": lambda: event("return", "started", 1),
    "return in the journal": lambda: journal("active"),
    "returned": lambda: event("return", "finished", 1),
    "gate begins": lambda: event("gate", "started"),
    "gate passed": lambda: event("gate", "finished"),
    "switch begins": lambda: event("switch", "started"),
    "switch in the journal": shares_journal,
    "switched": lambda: event("switch", "finished"),
    "verified": lambda: event("verify", "finished", nth=2),
    "between switch and stop": lambda: file("evidence.json"),
    "stop begins": lambda: event("retire", "started"),
    # Before the deploy the idle side may be stopped, too.
    "one member stopped": lambda: after(event("retire", "started"), ended("app1")),
    "stopped": lambda: event("retire", "finished", nth=4),
    "record written": lambda: record(".json"),
}
RETIRE: dict[str, t.Callable[[], Fact]] = {
    "locked": lambda: locked,
    "one member stopped": lambda: ended("app1"),
}

# Of a canary only what blue/green has not: its shares, what is said of them, and the way back of one that is withdrawn.
CANARY: dict[str, t.Callable[[], Fact]] = {
    "share begins": lambda: event("share 50 %", "started"),
    "share in the journal": shares_journal,
    "share set": lambda: event("share 50 %", "finished"),
    "judge begins": lambda: event("judge 50 %", "started"),
    "judged": lambda: event("judge 50 %", "finished"),
    "all in the journal": lambda: shares_journal(2),
    "all set": lambda: event("share 100 %", "finished"),
    "stop begins": lambda: event("retire", "started"),
}
CANARY_ROLLBACK: dict[str, t.Callable[[], Fact]] = {
    "all in the journal": shares_journal,
    "all set": lambda: event("share 100 %", "finished"),
}
WITHDRAWN: dict[str, t.Callable[[], Fact]] = {
    "judged": lambda: event("judge 50 %", "failed"),
    "flag is off": lambda: flagged,
    "back in the journal": lambda: shares_journal(2),
    "back set": lambda: event("back_switch", "finished"),
    "drain begins": lambda: event("back_drain", "started", 1),
    "link moved": lambda: linked("app1", turn=2, slot=idle_side()),
}

# claim: canary-killed-in-the-middle
# One of each kind: every verb, both kinds of kill, most ways to go on, and a controller that has to break the lock; of blue/green, between the switch
# and the end of the side that served before; of a canary, while both sides serve.
SHORT = {"deploy, batch 1: drain in the journal", "rollback, batch 2: link moved", "bad, going back: return begins", "blue/green deploy, stop begins",
         "canary deploy, judge begins"}


def _points() -> t.Iterator[Point]:
    for verb, steps in (("deploy", STEPS), ("rollback", STEPS), ("bad", BACK)):
        # Ways to go on whose number has no factor in common with that of the kills, so that all pairs come up.
        kills = itertools.cycle(["process", "tree"])
        ways = itertools.cycle(["deploy", "rollback", "before"] if verb == "bad" else [verb, verb, "deploy" if verb == "rollback" else "rollback"])
        for number, (step, fact) in enumerate(steps.items()):
            name = f"{verb}, going back: {step}" if verb == "bad" else f"{verb}, {step}"
            # A plan leaves no trace outside its controller: going back from there is an ordinary rollback, not a resumption. Neither does a run
            # that has given its lock back, and a rollback after a rollback goes one release further.
            way = {"planned": verb, "unlocked": "deploy"}.get(step, next(ways))
            yield Point(name, verb, fact, next(kills), way, number % 5 == 3 and step not in UNLOCKED, step not in UNLOCKED, name in SHORT)


def _in_turn(points: list[Point]) -> list[Point]:
    """A rollback after a deploy, so that most of them have something to go back to already; the bad ones last."""
    turns = itertools.zip_longest(*([point for point in points if point.verb == verb] for verb in ("deploy", "rollback")))
    return [point for turn in turns for point in turn if point] + [point for point in points if point.verb == "bad"]


def _of_sides() -> t.Iterator[Point]:
    """A rollback starts a side again whose links lead to the right release already; a playbook that only stops a side moves nothing back."""
    for verb, steps in (("deploy", SIDES), ("rollback", {step: fact for step, fact in SIDES.items() if step != "link moved"}), ("retire", RETIRE)):
        kills = itertools.cycle(["tree", "process"])
        ways = itertools.cycle([verb] if verb == "retire" else [verb, verb, "deploy" if verb == "rollback" else "rollback"])
        for number, (step, fact) in enumerate(steps.items()):
            name = f"blue/green {verb}, {step}"
            yield Point(name, verb, fact, next(kills), next(ways), number % 5 == 3 and verb != "retire", True, name in SHORT, "blue_green")


def _of_canary() -> t.Iterator[Point]:
    for verb, steps in (("deploy", CANARY), ("rollback", CANARY_ROLLBACK), ("bad", WITHDRAWN)):
        kills = itertools.cycle(["process", "tree"])
        ways = itertools.cycle({"deploy": ["rollback", "deploy", "rollback"], "rollback": ["rollback", "deploy"],
                                "bad": ["deploy", "rollback", "before"]}[verb])
        for number, (step, fact) in enumerate(steps.items()):
            name = f"canary withdrawn, {step}" if verb == "bad" else f"canary {verb}, {step}"
            yield Point(name, verb, fact, next(kills), next(ways), number % 5 == 3, True, name in SHORT, "canary")


# Those of one strategy after those of the other: what there is to go back to is another thing with each.
_SIDES = list(_of_sides())
POINTS = _in_turn(list(_points())) + _in_turn(_SIDES) + [point for point in _SIDES if point.verb == "retire"] + _in_turn(list(_of_canary()))
