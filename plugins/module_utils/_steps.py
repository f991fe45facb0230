# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a deploy, by the names that its events have: what people call each, and what it moves.

Private to the collection. Evidence, report and probe go by this one table: a step that is not in it moves nothing to them,
so whoever moves something is refused a step that is not in it. It imports nothing: the probe is a process of its own.
"""

from __future__ import annotations

import typing as t

# What a step moves: the members that it names, all of them at once, or nobody.
MEMBERS, ALL, NOBODY = "members", "all", "nobody"
# How the name of a step begins that gives the idle side a share: "share 25 %".
SHARE = "share "


class Step(t.NamedTuple):
    """One step.

    :param name: as the events have it; one that begins with C(back_) is of the way back.
    :param title: in the report.
    :param doing: for a sentence, when something happened; C({who}) stands for its members.
    :param moves: C(MEMBERS), C(ALL) or C(NOBODY).
    :param admits: whether it brings into traffic what was not in it before.
    :param returns: whether its members are in traffic again when it has ended.
    """

    name: str
    title: str
    doing: str
    moves: str = NOBODY
    admits: bool = False
    returns: bool = False


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("plan", "plan", "while the deploy was planned"),
        Step("lock", "lock", "while the lock was taken"),
        Step("gates", "gates", "during the gates"),
        Step("stage", "stage", "while the release was staged"),
        Step("clear", "clear", "while requests were taken off the side that gets the release", ALL),
        Step("drain", "drain", "while {who} drained", MEMBERS),
        Step("activate", "activate", "while {who} changed release", MEMBERS),
        Step("gate", "health gate", "during the check of {who}", MEMBERS),
        Step("return", "return", "while {who} came back", MEMBERS, admits=True, returns=True),
        Step("streams", "end streams", "while the streams of {who} were ended", MEMBERS),
        Step("mirror", "mirror", "while requests were copied"),
        Step("shadow", "shadow", "while the releases were compared"),
        Step("shorten", "shorten the TTL", "while resolvers were told to ask again soon", ALL),
        Step("switch", "switch", "while traffic was switched", ALL, admits=True),
        Step("lengthen", "restore the TTL", "while resolvers were told to ask as seldom as before", ALL),
        Step("push", "push", "while {who} brought its members to the release", ALL, admits=True),
        Step("verify", "verify", "while the deploy was verified"),
        Step("retire", "stop the old side", "while the old side was stopped"),
        Step("record", "record", "while the record was written"),
        Step("back_switch", "switch (back)", "while traffic was switched back", ALL),
        Step("back_push", "push (back)", "while {who} brought its members back", ALL),
        Step("back_drain", "drain (back)", "while {who} drained, going back", MEMBERS),
        Step("back_activate", "activate (back)", "while {who} went back to the old release", MEMBERS),
        Step("back_gate", "health gate (back)", "during the check of {who}, going back", MEMBERS),
        Step("back_return", "return (back)", "while {who} came back with the old release", MEMBERS, returns=True),
    )
}


def moving(*what: str) -> tuple[str, ...]:
    """The names of the steps that move this."""
    return tuple(step.name for step in STEPS.values() if step.moves in what)


def is_move(name: str) -> bool:
    """Whether a step moves something."""
    return name.startswith(SHARE) or (name in STEPS and STEPS[name].moves != NOBODY)


def admits(name: str) -> bool:
    """Whether a step brings into traffic what was not in it before."""
    return name.startswith(SHARE) or (name in STEPS and STEPS[name].admits)


def of_all(name: str) -> bool:
    """Whether a step moves all members at once."""
    return is_move(name) and name not in moving(MEMBERS)


def meets_users(name: str) -> bool:
    """Whether users meet the release by a step for all of them at once."""
    return admits(name) and of_all(name)


def returns(name: str) -> bool:
    """Whether the members of a step are in traffic again when it has ended."""
    return name in STEPS and STEPS[name].returns


def goes_back(name: str) -> bool:
    """Whether a step is of the way back."""
    return name.startswith("back_")


def doing(name: str, who: str | None) -> str:
    """When something happened, for a sentence."""
    return STEPS[name].doing.format(who=who or "members") if name in STEPS else f"during {name}"
