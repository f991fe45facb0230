# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Target groups as the API tells of them, and the words of the collection for the states of their targets. Private to
the collection.

A target is known by its id *and* its port: one instance may serve on several.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

if t.TYPE_CHECKING:
    from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api

INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
# The word for each state of a target that is registered. One that is not has left.
WORDS = {
    "healthy": "active",
    "unavailable": "active",
    "initial": "down",
    "unhealthy": "down",
    "unused": "down",
    "draining": "draining",
    "unhealthy.draining": "down",
}
OUT = "drained"
NOT_REGISTERED = "Target.NotRegistered"
DELAY, SLOW_START = "deregistration_delay.timeout_seconds", "slow_start.duration_seconds"
# What is said where nothing is counted.
UNCOUNTED = "Elastic Load Balancing counts requests for CloudWatch alone, minutes later, which nobody asks here"

Target = t.Tuple[str, t.Optional[int]]


def as_target(text: str, port: int | None) -> Target | None:
    """The id and the port in C(i-0123456789abcdef0:8000) or C(10.0.0.1:8000), with C(port) where it has none; None
    where it is another name."""
    found = re.fullmatch(r"\[(.*)\](?::(\d+))?|([^:]*)(?::(\d+))?", text)
    name, own = (found[1] or found[3], found[2] or found[4]) if found else (text, None)
    if INSTANCE.fullmatch(name or ""):
        return str(name), int(own) if own else port
    try:
        return str(ipaddress.ip_address(name or "")), int(own) if own else port
    except ValueError:
        return None


def written(target: Target) -> str:
    """A target as C(as_target) reads it."""
    ident, port = target
    name = f"[{ident}]" if ":" in ident else ident
    return f"{name}:{port}" if port else name


@dataclasses.dataclass(frozen=True)
class Group:
    """One target group.

    :param known: the target of each member, by the member's name.
    :param states: state and reason of each registered target.
    :param delay: seconds that a target drains. :param slow_start: seconds until it has its full share, once it is
        healthy.
    """

    name: str
    arn: str
    side: str | None
    delay: float
    slow_start: float
    known: dict[str, Target]
    states: dict[Target, tuple[str, str, str]]
    zone: str | None = None
    in_use: bool = True

    def state(self, member: str) -> tuple[str, str, str]:
        """State, code of the reason, and the reason in the API's words."""
        return self.states.get(self.known[member], ("unused", NOT_REGISTERED, ""))

    def registered(self, member: str) -> bool:
        return self.known[member] in self.states

    def entry(self, member: str) -> dict[str, t.Any]:
        """One member, as every driver has it."""
        state, reason, _told = self.state(member)
        word = OUT if reason == NOT_REGISTERED else WORDS.get(state, "down")
        return {
            "name": member,
            "address": written(self.known[member]),
            "state": word,
            "weight": None,
            "in_flight": None,
            "full": word == "active",
            "known": state != "initial",
        }

    def told(self, member: str) -> str:
        """How a member stands, for a sentence, in the API's own words."""
        state, reason, words = self.state(member)
        return f"{member} is {state}" + (f" ({words or reason})" if words or reason else "")


def look(api: Api, pools: t.Sequence[t.Mapping[str, t.Any]]) -> list[Group]:
    """The target groups of that name as they are now. Raises DowntimeError for one that is not there, or cannot have
    members."""
    names = [pool["name"] for pool in pools]
    found = {group["TargetGroupName"]: group for group in api.groups(names)}
    return [_group(api, pool, found[pool["name"]]) for pool in pools]


def again(api: Api, group: Group) -> Group:
    """The same group, with the states of its targets as they are now."""
    return dataclasses.replace(group, states=_states(api, group.arn))


def _group(api: Api, pool: t.Mapping[str, t.Any], told: t.Mapping[str, t.Any]) -> Group:
    kind, port = told.get("TargetType", "instance"), pool.get("port") or told.get("Port")
    if kind not in ("instance", "ip"):
        raise DowntimeError(f"target group {pool['name']} is of target type {kind}; instance and ip are accepted")
    states = _states(api, told["TargetGroupArn"])
    known = {}
    for name, text in (pool.get("members") or {}).items():
        target = as_target(str(text), port)
        if target is None:
            raise DowntimeError(
                f"the target of member {name} in target group {pool['name']} is '{text}'; the id of an instance or an"
                " IP address is accepted, with :port where it is another one than the group's"
            )
        if (INSTANCE.fullmatch(target[0]) is not None) != (kind == "instance"):
            needed = (
                "the id of its instance, such as i-0123456789abcdef0, is" if kind == "instance" else "its IP address is"
            )
            raise DowntimeError(
                f"target group {pool['name']} has targets of the type {kind}, and member {name} is {written(target)}"
                f" there; {needed} needed as server in deploy_traffic.pools"
            )
        known[name] = target
    # Whoever else is registered counts, too.
    mine = set(known.values())
    known.update({written(target): target for target in states if target not in mine})
    attributes = api.attributes(told["TargetGroupArn"])
    return Group(
        pool["name"],
        told["TargetGroupArn"],
        pool.get("side"),
        float(attributes.get(DELAY) or 0),
        float(attributes.get(SLOW_START) or 0),
        known,
        states,
        pool.get("availability_zone"),
        bool(told.get("LoadBalancerArns")),
    )


def _states(api: Api, arn: str) -> dict[Target, tuple[str, str, str]]:
    return {
        (one["Target"]["Id"], one["Target"].get("Port")): (
            one["TargetHealth"]["State"],
            one["TargetHealth"].get("Reason") or "",
            one["TargetHealth"].get("Description") or "",
        )
        for one in api.health(arn)
    }
