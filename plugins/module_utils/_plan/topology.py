# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second of the plan's four steps: what the application stands on. Pure. Private to the collection."""

from __future__ import annotations

import dataclasses
import os
import typing as t
import uuid

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.inputs import Inputs
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

Hosts = t.Dict[str, t.Dict[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Stands:
    """Where releases run: by side, each member's place.

    :param by_side: the members of each side, as L(plan.member) or L(plan.platform) tells them.
    :param traffic: C(deploy_traffic) less its secrets, with what the driver has to know of the members.
    :param own_traffic: the same as each member has it, where the driver's calls run on members.
    """

    sides: tuple[str, ...]
    by_side: t.Mapping[str, Hosts]
    traffic: dict[str, t.Any]
    own_traffic: t.Mapping[str, dict[str, t.Any]]
    members: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Topology:
    """What the application stands on.

    :param stands: where releases run.
    :param traffic: C(deploy_traffic) less its secrets, for whoever asks or moves: without the balancers left out.
    :param endpoints: where the driver's calls go to.
    :param without: endpoints that are left out, each proven not to serve.
    :param lock: where lock and journal lie, and this run's key.
    :param hooks: the task files of this run, by hook, with the names of their tasks.
    """

    stands: Stands
    traffic: dict[str, t.Any]
    endpoints: tuple[str, ...]
    without: tuple[str, ...]
    lock: dict[str, t.Any]
    hooks: t.Mapping[str, tuple[str, list[str]]]
    warnings: tuple[str, ...] = ()

    def pools_of(self, side: str) -> list[str]:
        return [pool["name"] for pool in _plan.live_pools(self.traffic, side)]

    def traffic_of(self, driver: _drivers.Driver, side: str) -> dict[str, t.Any]:
        """C(deploy_traffic) for whoever asks or moves one side alone."""
        if "pools" not in driver.traffic_spec:
            return self.traffic
        return {**self.traffic, "pools": _plan.live_pools(self.traffic, side)}

    @property
    def whole_sides(self) -> dict[str, dict[str, t.Any]]:
        """What has to be known of both sides where one of them may be stopped; nothing where there is one."""
        if len(self.stands.sides) < 2:
            return {}
        return {side: _plan.side_of(self.stands.by_side[side], _plan.live_pools(self.traffic, side))
                for side in self.stands.sides}


def on_hosts(inputs: Inputs, sides: t.Sequence[str], own: t.Mapping[str, t.Mapping[str, t.Any]],
             address: t.Callable[[str], str]) -> Stands:
    """Where releases run on members that are hosts of the inventory.

    :param own: each member's variables, checked.
    :param address: where a member answers.
    """
    driver = inputs.driver
    by_side = {side: {name: _plan.member(name, checked, side, address(name)) for name, checked in own.items()}
               for side in sides}
    traffic_of = {name: checked["deploy_traffic"] for name, checked in own.items()}
    own_traffic = {name: _plan.without_secrets(traffic, driver.traffic_spec) for name, traffic in traffic_of.items()
                   } if driver.runs_on == "members" else {}
    if inputs.moves:
        for hosts in by_side.values():
            _plan.distinct_addresses(hosts)
    return Stands(tuple(sides), by_side, _traffic(inputs, sides, by_side), own_traffic, tuple(own),
                  tuple(_plan.differing(driver, traffic_of)))


def on_platform(inputs: Inputs, sides: t.Sequence[str], endpoint: str) -> Stands:
    """Where releases run on a platform with members of its own: it stands where members would."""
    by_side: dict[str, Hosts] = {side: {} for side in sides}
    by_side[sides[0]][endpoint] = _plan.platform(endpoint, inputs.checked)
    return Stands(tuple(sides), by_side, _traffic(inputs, sides, by_side), {}, (endpoint,), ())


def _traffic(inputs: Inputs, sides: t.Sequence[str], by_side: t.Mapping[str, Hosts]) -> dict[str, t.Any]:
    driver = inputs.driver
    traffic = _plan.without_secrets(inputs.checked["deploy_traffic"], driver.traffic_spec)
    if len(sides) > 1 and "counted_pools" in driver.traffic_spec:
        # Every reading counts the requests of both sides, whichever of them a call is about.
        traffic["counted_pools"] = [pool["name"] for pool in traffic["pools"]]
    return driver.complete(traffic, _plan.with_all_ports(by_side)) if driver.complete else traffic


def goes_on_without(without: t.Sequence[str]) -> list[str]:
    """What is to be said of endpoints that are left out."""
    if not without:
        return []
    left = agreeing(without, "does not serve, and the deploy goes on without it; status names it until it agrees",
                    "do not serve, and the deploy goes on without them; status names them until they agree")
    return [f"{left} with the others again"]


def brings_lock(driver: _drivers.Driver, checked: t.Mapping[str, t.Any]) -> bool:
    """Whether the driver keeps lock and journal itself, as C(deploy_traffic) has it."""
    return bool(not checked["deploy_state_hosts"] and driver.lock_args and driver.lock_args(dict(checked["deploy_traffic"])))


def keepers(driver: _drivers.Driver, endpoints: t.Sequence[str], members: t.Sequence[str], controller: str, has_own: bool) -> list[str]:
    """Where lock and journal lie where C(deploy_state_hosts) names no hosts: as close to what moves as can be.

    :param has_own: whether the driver keeps them itself.
    """
    if driver.runs_on == "balancers" or has_own:
        return list(endpoints)
    return [controller] if driver.has_platform else list(members[:1])


def lock_of(checked: t.Mapping[str, t.Any], driver: _drivers.Driver, hosts: t.Sequence[str],
            without: t.Collection[str]) -> dict[str, t.Any]:
    """Where lock and journal lie, and the key by which this run's moves are known. A driver may bring a place of its own.

    :param hosts: those that keep them.
    :param without: endpoints that are left out.
    """
    left = [name for name in hosts if name not in without]
    if not left:
        raise DowntimeError(f"deploy_state_hosts is '{checked['deploy_state_hosts']}', and deploy_without leaves none of them")
    directory = os.path.normpath(checked["deploy_state_dir"])
    if not os.path.isabs(directory):
        raise DowntimeError(f"deploy_state_dir is '{checked['deploy_state_dir']}'; an absolute path is accepted")
    name = _lock.name_of(checked["deploy_app"], checked["deploy_environment"])
    own = {}
    if brings_lock(driver, checked):
        own = {"driver": f"{driver.collection}.{driver.name}", "path": name,
               "traffic": _plan.without_secrets(checked["deploy_traffic"], driver.traffic_spec)}
    return {"hosts": left, "directory": directory, "name": name, "path": os.path.join(directory, name + ".lock"), **own,
            "break": checked["deploy_lock_break"],
            # A name that a person gave may be given twice, as by a job that is tried again.
            "key": uuid.uuid4().hex}
