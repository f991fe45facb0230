# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The third of the plan's four steps: how things stand, by what was answered. Pure. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._finding import FORWARD, MISSING_FILE, with_lines
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.inputs import Inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan.topology import Hosts, Topology

Answers = t.Mapping[str, t.Mapping[str, t.Any]]
OUT = ("drained", "draining")


@dataclasses.dataclass(frozen=True)
class Sides:
    """Which side serves and which one a run is about.

    :param side: the one that gets the release, or that the verb moves.
    :param agree: whether all endpoints send every request to C(serving), also after a reload.
    :param problem: what is not as it should be, for a verb that only looks.
    """

    side: str
    serving: str
    agree: bool
    problem: str | None = None

    @property
    def both(self) -> tuple[str, str]:
        return self.serving, self.side


@dataclasses.dataclass(frozen=True)
class Observation:
    """How things stand.

    :param answers: what each endpoint that can be asked said.
    :param sides: which side serves, and which one the run is about.
    :param own: what the strategy adds to the plan.
    :param capacity: whether anything serves, and how many members may be out at a time.
    :param held: members that somebody took out.
    :param findings: what the endpoints' configurations have to say.
    :param headers: who sends the header of its release now, and who does not.
    :param notes: what is to be said of members that serve, for the record as well.
    :param shadow: what a shadow has to know.
    """

    answers: Answers
    sides: Sides
    own: t.Mapping[str, t.Any]
    capacity: dict[str, t.Any]
    held: tuple[str, ...] = ()
    findings: tuple[dict[str, t.Any], ...] = ()
    headers: t.Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shadow: dict[str, t.Any] | None = None
    warnings: tuple[str, ...] = ()


def sides_to_look_at(answers: Answers, app: str) -> Sides:
    """Which side most requests go to, also where nobody may deploy."""
    serving = _plan.most_served([result["split"] for result in answers.values() if result.get("split")])
    return Sides(serving, serving, True, next((problem for problem in _plan.side_problems(answers, app) if problem), None))


def sides_to_move(inputs: Inputs, topology: Topology, answers: Answers, began: t.Callable[[], str | None]) -> Sides:
    """Which side serves, and which one gets the release. Raises DowntimeError where nobody can tell.

    :param began: the side that served when a deploy began that has not ended.
    """
    sides = topology.stands.sides
    # Of requests on both sides that no journal knows of, a person says where they belong.
    wanted = inputs.checked["deploy_side"] if inputs.verb == "rollback" else None
    serving, agree = _plan.serving_side(sides, answers, inputs.strategy, lambda: began() or wanted, inputs.app)
    side = next(other for other in sides if other != serving) if inputs.idle else serving
    return Sides(side, serving, agree)


def of_the_run(inputs: Inputs, topology: Topology, found: Sides) -> Sides:
    """The sides where a person has named the one that C(drain) or C(activate) moves."""
    named, sides = inputs.checked["deploy_side"], topology.stands.sides
    if not named or inputs.verb not in ("drain", "activate"):
        return found
    if named not in sides:
        has = ", ".join(sides) if len(sides) > 1 else "none with a side"
        raise DowntimeError(f"deploy_side is '{named}', and deploy_traffic.pools has no pool of that side; it has {has}")
    return dataclasses.replace(found, side=named)


def are_counted(answers: Answers) -> bool:
    """Whether every endpoint counts the requests of the pools."""
    return bool(answers) and all(any(row.get("pools") for row in result.get("counters") or ())
                                 for result in answers.values())


def added_by_strategy(inputs: Inputs, answers: Answers) -> dict[str, t.Any]:
    """What the strategy adds to the plan."""
    planned = getattr(_drivers.strategy(inputs.strategy), "planned", None)
    return planned(inputs.checked, are_counted(answers)) if planned else {}


class Members(t.NamedTuple):
    """What the endpoints say of the members."""

    capacity: dict[str, t.Any]
    held: tuple[str, ...]
    findings: tuple[dict[str, t.Any], ...]


def look(inputs: Inputs, topology: Topology, answers: Answers, sides: Sides) -> Members:
    """The capacity, the members that somebody has out, and the findings. Raises DowntimeError for a member that an
    endpoint does not have."""
    if inputs.looks:
        return Members({"first": False, "most": None, "tightest": ""}, (), ())
    findings = tuple({**finding, "balancer": endpoint} for endpoint, result in answers.items()
                     for finding in result.get("findings", []))
    by_side = topology.stands.by_side
    capacity, held = capacity_of(inputs.driver, by_side, topology.traffic, answers, sides, inputs.checked["deploy_min_active"])
    return Members(capacity, tuple(name for name in by_side[sides.side] if name in held), findings)


def capacity_of(driver: _drivers.Driver, by_side: t.Mapping[str, Hosts], traffic: t.Mapping[str, t.Any], answers: Answers,
                sides: Sides, min_active: str) -> tuple[dict[str, t.Any], set[str]]:
    """How many members may be out at a time, who serves, and which members of the run's side somebody has out. Raises
    DowntimeError for a member that an endpoint does not have."""
    if driver.tells_members:
        return _of_members(by_side, traffic, answers, sides, min_active)
    alone = _plan.capacity({driver.name: [{"full": True} for _name in by_side[sides.side]]}, min_active)
    found = {**alone, "first": False}
    return found if sides.side == sides.serving else _plan.unbound(found), set()


def _of_members(by_side: t.Mapping[str, Hosts], traffic: t.Mapping[str, t.Any], answers: Answers, sides: Sides,
                min_active: str) -> tuple[dict[str, t.Any], set[str]]:
    """The capacity of the pools that serve, and which members of the run's side somebody has out."""
    of_pool = {pool["name"]: pool.get("side") or sides.side for pool in traffic["pools"]}
    taken = _Members(by_side[sides.side], by_side[sides.serving])
    pools: dict[str, list[dict[str, t.Any]]] = {}
    for endpoint, result in answers.items():
        for pool in result["pools"]:
            have = {entry["name"]: entry for entry in pool["members"]}
            side = of_pool[pool["name"]]
            for name, host in by_side[side].items():
                _plan.check_server(pool, endpoint, name, host["server"])
            if side == sides.side:
                taken.of_run(have)
            if side == sides.serving:
                taken.of_serving(have)
                pools[f"pool {pool['name']} on {endpoint}"] = _plan.regular(pool["members"])
    capacity = {**_plan.capacity(pools, min_active), "serving": sorted(taken.serving), "ready": sorted(taken.ready),
                "down": sorted(taken.down & set(by_side[sides.serving]))}
    if sides.side != sides.serving:
        capacity = _plan.unbound(capacity, taken.serving_out)
    return capacity, taken.held


class _Members:
    """What becomes known of the members, endpoint by endpoint and pool by pool."""

    def __init__(self, hosts: Hosts, serving: Hosts) -> None:
        self.hosts, self.of_live = hosts, serving
        self.held: set[str] = set()
        self.serving: set[str] = set()
        self.ready, self.down = set(hosts), set(serving)
        self.serving_out: dict[str, str] = {}

    def of_run(self, have: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        # Somebody took it out: it is staged and activated, and stays out.
        self.held |= {name for name, host in self.hosts.items() if have[host["server"]]["state"] in OUT}
        self.ready &= {name for name, host in self.hosts.items() if have[host["server"]]["full"]}

    def of_serving(self, have: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        states = {name: have[host["server"]]["state"] for name, host in self.of_live.items()}
        self.down &= {name for name, state in states.items() if state == "down"}
        self.serving |= {name for name, state in states.items() if state not in ("down", "drained")}
        self.serving_out.update((name, self.of_live[name]["server"]) for name, state in states.items() if state in OUT)


def of_findings(inputs: Inputs, findings: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """What the configurations have to say. Raises DowntimeError where it would lose requests."""
    # Who goes back is held up by as little as can be.
    told = [{**finding, "level": "warning"} if finding["setting"] == FORWARD and inputs.verb == "rollback" else finding for finding in findings]
    errors = [finding["text"] for finding in told if finding["level"] == "error"]
    if errors and inputs.moves:
        raise DowntimeError("; ".join(errors))
    return [f"{finding['setting']}: {finding['text']}"
            + (with_lines(finding["lines"]) if finding["setting"] == MISSING_FILE else "")
            for finding in told if finding["level"] == "warning"]


def of_platform(serving: t.Sequence[str]) -> dict[str, t.Any]:
    """The capacity of a platform, which nobody is taken out of: whether it runs anything."""
    return {"first": not serving, "most": None, "tightest": "", "impossible": "", "serving": list(serving), "down": []}
