# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes targets out of target groups and brings them back. Private to the collection.

A target that is deregistered gets no new requests, and has its group's deregistration delay to answer those that it
has; then Elastic Load Balancing cuts what is left. So the delay is the drain: whoever wants longer ones sets it. All
targets of a group go in one call.
"""

from __future__ import annotations

import random
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of, no_streams
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api, Throttled, client_of
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.lock import fence
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.targets import (
    UNCOUNTED,
    Group,
    again,
    as_target,
    look,
)
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.waiting import Waiting
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import with_notes

SERVES = ("healthy", "unavailable")


def run(
    params: t.Mapping[str, t.Any],
    check_mode: bool,
    api: Api | None = None,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
    draw: t.Callable[[], float] = random.random,
) -> dict[str, t.Any]:
    """What the module elbv2_members returns.

    Raises DowntimeError where something is refused, before anything was moved; after that the sentence says which
    members were.
    """
    _check(params)
    with fence(params, check_mode) as memory:
        move = Move(params, check_mode, api or Api(client_of(params)), clock, sleep, draw)
        return with_notes(move.run(), memory)


def _check(params: t.Mapping[str, t.Any]) -> None:
    """Refuse what needs no look at anything."""
    if not params["members"]:
        raise DowntimeError("members is empty; at least one member is accepted")
    if not params["pools"]:
        raise DowntimeError("pools is empty; at least one target group is accepted")
    for name in ("timeout", "hold"):
        if params[name] < 0:
            raise DowntimeError(f"{name} is {params[name]}; seconds from 0 on are accepted")
    if params.get("weight") is not None:
        raise DowntimeError(
            f"weight is {params['weight']}; none is accepted, since the targets of a group have none of their own"
        )
    if params["timeout_action"] == "cut":
        raise DowntimeError(
            "timeout_action is cut; fail is accepted, since Elastic Load Balancing itself cuts what is left after the"
            " deregistration delay"
        )
    no_streams(params.get("streams"))
    floor_of(params["min_active"], 1)


class Move:
    """One move of members in all of their groups."""

    def __init__(
        self,
        params: t.Mapping[str, t.Any],
        check_mode: bool,
        api: Api,
        clock: t.Callable[[], float],
        sleep: t.Callable[[float], None],
        draw: t.Callable[[], float],
    ) -> None:
        self.params, self.check_mode, self.api = params, check_mode, api
        self.wanted, self.members = params["state"], list(params["members"])
        self.clock, self.sleep, self.draw = clock, sleep, draw
        self.moved: dict[str, list[str]] = {}

    def run(self) -> dict[str, t.Any]:
        began = self.clock()
        before = [self._with_asked(group) for group in look(self.api, self.params["pools"])]
        self._refuse_unknown(before)
        to_move = {group.arn: [name for name in self.members if self._has_to_move(group, name)] for group in before}
        self._refuse(before, to_move)
        after = before
        if not self.check_mode:
            try:
                after = self._move(before, to_move)
            except DowntimeError as error:
                raise self._with_moved(error) from error
        entries = [self._entry(group, name) for group in after for name in self.members]
        changed = any(to_move.values())
        was = {group.name: {name: self._word(group, name) for name in self.members} for group in before}
        is_now = {
            group.name: {
                name: self.wanted if name in to_move[group.arn] or self._is_there(group, name) else word
                for name, word in was[group.name].items()
            }
            for group in before
        }
        return {
            "changed": changed,
            "waited": round(self.clock() - began, 3),
            "floor": "enforced",
            "members": entries,
            "counters": [],
            "counters_before": [],
            "uncounted": UNCOUNTED,
            "notes": [],
            "diff": {"before": was, "after": is_now},
        }

    # -- what is there -------------------------------------------------------------------------------------------------
    def _with_asked(self, group: Group) -> Group:
        """The group with members that are named by their target itself."""
        pool = next(pool for pool in self.params["pools"] if pool["name"] == group.name)
        if not pool.get("members"):
            for name in self.members:
                target = as_target(name, pool.get("port"))
                if target:
                    group.known.setdefault(name, target)
        return group

    def _refuse_unknown(self, groups: t.Sequence[Group]) -> None:
        for group in groups:
            unknown = [name for name in self.members if name not in group.known]
            if unknown:
                raise DowntimeError(
                    f"members names {', '.join(unknown)}; target group {group.name} has"
                    f" {', '.join(group.known) or 'none'}"
                )

    def _has_to_move(self, group: Group, name: str) -> bool:
        state = group.state(name)[0]
        registered = group.registered(name)
        if self.wanted == "active":
            # One that is still draining would be gone in the end: it is registered again.
            return not registered or state == "draining"
        return registered and state != "draining"

    def _is_there(self, group: Group, name: str) -> bool:
        """Whether nothing has to be done, and nothing is left to wait for."""
        state = group.state(name)[0]
        return state in SERVES if self.wanted == "active" else not group.registered(name) or self.wanted == "down"

    def _word(self, group: Group, name: str) -> str:
        word = str(group.entry(name)["state"])
        # Who is out is so in the words that were asked for: the API knows one way of being out.
        return self.wanted if self.wanted == "down" and word in ("drained", "draining") else word

    def _entry(self, group: Group, name: str) -> dict[str, t.Any]:
        entry = group.entry(name)
        entry["state"] = self.wanted if self.check_mode else self._word(group, name)
        return {
            **entry,
            "pool": group.name,
            "drained_by": "deregistered" if self.wanted == "drained" else None,
            "cut": 0,
        }

    # -- what is refused -----------------------------------------------------------------------------------------------
    def _refuse(self, groups: t.Sequence[Group], to_move: t.Mapping[str, t.Sequence[str]]) -> None:
        for group in groups:
            moving = to_move[group.arn]
            if self.wanted == "active":
                if moving and not group.in_use:
                    raise DowntimeError(
                        f"no listener forwards to target group {group.name}, so its targets are not checked and get no"
                        " requests; the target group is needed in a listener's or a rule's action, if only with the"
                        " weight 0"
                    )
                self._refuse_short(
                    moving,
                    group,
                    group.slow_start,
                    "its targets need for their full share (slow_start.duration_seconds)",
                )
                continue
            self._refuse_floor(group)
            if self.wanted == "drained":
                self._refuse_short(
                    moving,
                    group,
                    group.delay + self.params["hold"],
                    f"a drain takes (deregistration_delay.timeout_seconds is {group.delay:g}, hold"
                    f" {self.params['hold']:g})",
                )

    def _refuse_short(self, moving: t.Sequence[str], group: Group, needed: float, what: str) -> None:
        if moving and needed and self.params["wait"] and self.params["timeout"] <= needed:
            raise DowntimeError(
                f"timeout is {self.params['timeout']} s, and target group {group.name} says that {needed:g} s are what"
                f" {what}; a timeout above {needed:g} is accepted; nothing was moved"
            )

    def _refuse_floor(self, group: Group) -> None:
        floor = floor_of(self.params["min_active"], len(group.known))
        full = {name for name in group.known if group.entry(name)["full"]}
        if self.check_mode:
            full |= set(self.params.get("restored") or ()) & set(group.known)
        left = full - set(self.members)
        # Who does not serve may always be taken out.
        if len(left) < floor and len(left) < len(full):
            raise DowntimeError(
                f"min_active is '{self.params['min_active']}': of the {len(group.known)} members of target group"
                f" {group.name} {floor} have to serve, and without {', '.join(self.members)} {len(left)} would; nothing"
                " was moved"
            )

    # -- what is done --------------------------------------------------------------------------------------------------
    def _move(self, groups: t.Sequence[Group], to_move: t.Mapping[str, t.Sequence[str]]) -> list[Group]:
        for group in groups:
            if to_move[group.arn]:
                operation = "register_targets" if self.wanted == "active" else "deregister_targets"
                self.api.call(
                    operation,
                    TargetGroupArn=group.arn,
                    Targets=[self._target(group, name) for name in to_move[group.arn]],
                )
                self.moved[group.name] = list(to_move[group.arn])
        if not self.params["wait"] or self.wanted == "down":
            return [again(self.api, group) for group in groups]
        return self._wait(groups)

    def _target(self, group: Group, name: str) -> dict[str, t.Any]:
        ident, port = group.known[name]
        # Where a target outside of the VPC was registered by its zone, it is again.
        zone = {"AvailabilityZone": group.zone} if group.zone and self.wanted == "active" else {}
        return {"Id": ident, **({"Port": port} if port else {}), **zone}

    def _wait(self, groups: t.Sequence[Group]) -> list[Group]:
        """Until all of them have the state, and the load balancer's nodes have followed."""
        slow_start = max(group.slow_start for group in groups)
        # Some nodes of a load balancer follow later than the API says.
        behind = slow_start if self.wanted == "active" else self.params["hold"]
        expected = slow_start if self.wanted == "active" else max(group.delay for group in groups)
        limit = max(0.0, self.params["timeout"] - behind)
        waiting = Waiting(limit, expected, self.clock, self.sleep, self.draw)
        at_once = True
        while True:
            try:
                groups = [again(self.api, group) for group in groups]
                late = [
                    f"{group.told(name)} in target group {group.name}"
                    for group in groups
                    for name in self.members
                    if not self._is_there(group, name)
                ]
            except Throttled as error:
                late = [str(error)]
            if not late:
                break
            at_once = False
            if waiting.over:
                what = "serve" if self.wanted == "active" else "have left"
                raise DowntimeError(f"{', '.join(self.members)} should {what} after {limit:g} s, but {'; '.join(late)}")
            waiting.pause()
        if self.moved or not at_once:
            waiting.hold(behind)
        return list(groups)

    def _with_moved(self, error: DowntimeError) -> DowntimeError:
        """A failure behind the first call says what has been done."""
        if not self.moved:
            return error
        done = "registered" if self.wanted == "active" else "deregistered"
        names = list(dict.fromkeys(name for moved in self.moved.values() for name in moved))
        told = DowntimeError(f"{error}; {agreeing(names, 'was', 'were')} {done} in {', '.join(self.moved)} before that")
        told.details = error.details
        return told


IN_PROCESS = options.members_spec, run
