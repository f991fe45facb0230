# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drivers: what each technology can do and where its calls run. Private to the collection.

A driver is a room C(_<name>) of C(module_utils) with a file C(driver.py) that ends with a C(DRIVER), its modules, and its name in C(NAMES).
A dotted name, C(namespace.collection.name), is a driver of another collection: the same room, or a file C(_<name>.py), and modules there.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _written
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

NAMES = ("elbv2", "haproxy", "healthcheck", "nginx", "none", "rfc2136")

# Which capability of a driver carries which strategy. A strategy is a role of its name, and a file C(<strategy>.py) of the room C(_strategy) with
# C(SIDE), the side that gets the release (C(live) or C(idle)), and C(lay_out), which turns what staging found into batches. Optional are
# C(outcome), its own words for how it ended, and C(planned), what it adds to the plan.
STRATEGIES = {"rolling": "members", "blue_green": "split", "canary": "split", "push": "push"}
# Those that need shares for both sides at the same time.
IN_PARTS = ("canary",)

COLLECTION = "zero.downtime"

# What drivers with balancers have in common in deploy_traffic. Their modules know nothing of it, so it is described here.
BALANCERS: dict[str, t.Any] = {"type": "raw", "required": True, "description":
                               "Group, host or list of hosts of the inventory that are the balancers. All of them are moved together."}
POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True, "description": "Name of the pool, as the balancer's configuration has it."},
    "port": {"type": "int", "description":
             "Port that the members serve this pool on. That of the first pool is where C(deploy_health) asks, unless it names another one."},
    "side": {"type": "str", "choices": ["blue", "green"], "description": "Side of the application that the pool belongs to, where it has two."},
    "server": {"type": "str", "description":
               "Name of the member in this pool, where it is not the name that the inventory has for the host. It is worked out for each host, so it may be "
               "one of its variables."},
}


@dataclasses.dataclass(frozen=True)
class Driver:
    """One technology that moves traffic.

    :param name: as the user writes it in C(deploy_traffic.driver).
    :param runs_on: where its modules run: C(balancers), C(members) (each member's own host) or C(controller).
    :param capabilities: of C(members), C(split), C(mirror), C(push).
    :param traffic_spec: argument spec of C(deploy_traffic), less C(driver).
    :param member_args: options of C(<driver>_members) from C(deploy_traffic) and the member names, where the driver has C(members).
    :param split_args: options of C(<driver>_split) from C(deploy_traffic) and the application's name, where the driver has C(split).
    :param mirror_args: options of C(<driver>_mirror) from C(deploy_traffic) and the side that gets the copies, where the driver has C(mirror).
    :param push_args: options of C(<driver>_push) from C(deploy_traffic) and the application's name, where the driver has C(push): a platform gets a
        release handed and brings its own members to it.
    :param request_log: whether its balancers can log requests in a way that C(replay) reads.
    :param info: whether C(<driver>_info) exists and tells counters.
    :param info_args: options of C(<driver>_info) from C(deploy_traffic).
    :param complete: C(deploy_traffic) with what the driver has to know of the members beside their names, out of the plan's C(hosts).
    :param default_floor: what stands in place of the default of C(deploy_min_active).
    :param tells_streams: whether C(<driver>_members) tells streams from requests (C(streams)).
    :param cuts: whether C(<driver>_members) can cut connections (C(timeout_action=cut)).
    :param endpoint: what the place is called where the calls run, where that is the controller: a phrase made from C(deploy_traffic) less its secrets, such
        as "target group shop-blue in eu-west-1", for sentences, tables and records. A platform that has members of its own stands by it where a member would.
    :param whole: whether it can only give all requests to one of the sides, as a name in DNS does: it carries blue/green then, and no canary.
    :param holds: where a split is set at one moment and effective at another, the seconds for which others may keep what they were told of the sides,
        from C(deploy_traffic). C(<driver>_split) has the options of C(slow_split_spec) then.
    :param split_timeout: seconds that C(<driver>_split) may take, from C(deploy_traffic), where that is not its C(timeout).
    :param lock_args: where the driver brings a place of its own for lock and journal, the options of C(<driver>_lock) from C(deploy_traffic), beside those
        of zero.downtime.lock, whose returns it has; empty where C(deploy_traffic) asks for none. It runs where the driver's other calls run, and what
        moves gets C(lock) and C(lock_key).
    :param watched: whether nobody counts what a side gets but the hosts of its members, which are asked before it is stopped.
    :param check: raises DowntimeError when C(deploy_traffic) and C(deploy_health) do not go together.
    """

    name: str
    runs_on: str
    capabilities: tuple[str, ...]
    traffic_spec: dict[str, t.Any]
    member_args: t.Callable[[dict[str, t.Any], list[str]], dict[str, t.Any]] | None = None
    info: bool = False
    split_args: t.Callable[[dict[str, t.Any], str | None], dict[str, t.Any]] | None = None
    mirror_args: t.Callable[[dict[str, t.Any], str], dict[str, t.Any]] | None = None
    push_args: t.Callable[[dict[str, t.Any], str | None], dict[str, t.Any]] | None = None
    request_log: bool = False
    info_args: t.Callable[[dict[str, t.Any]], dict[str, t.Any]] | None = None
    check: t.Callable[[dict[str, t.Any], dict[str, t.Any]], None] | None = None
    complete: t.Callable[[dict[str, t.Any], t.Mapping[str, t.Mapping[str, t.Any]]], dict[str, t.Any]] | None = None
    endpoint: t.Callable[[dict[str, t.Any]], str] | None = None
    default_floor: str | None = None
    cuts: bool = True
    tells_streams: bool = False
    whole: bool = False
    holds: t.Callable[[dict[str, t.Any]], int] | None = None
    split_timeout: t.Callable[[dict[str, t.Any]], int] | None = None
    lock_args: t.Callable[[dict[str, t.Any]], dict[str, t.Any]] | None = None
    watched: bool = False
    collection: str = COLLECTION

    def __post_init__(self) -> None:
        if {"members", "push"} <= set(self.capabilities):
            raise DowntimeError(f"driver {self.name} has the capabilities members and push; a platform brings its own members, so one of the two is accepted")
        if self.has_platform and not self.endpoint:
            raise DowntimeError(f"driver {self.name} hands releases to a platform, and names none; endpoint, a phrase that names it, is needed")

    def module(self, kind: str) -> str:
        """The full name of one of the driver's modules, C(members), C(split), C(push), C(info) or C(lock)."""
        return f"{self.collection}.{self.name}_{kind}"

    @property
    def strategies(self) -> list[str]:
        return [strategy for strategy, capability in STRATEGIES.items()
                if capability in self.capabilities and not (self.whole and strategy in IN_PARTS)]

    @property
    def has_platform(self) -> bool:
        """Whether the application stands on a platform that has members of its own: no host of the inventory is one."""
        return "push" in self.capabilities

    @property
    def tells_members(self) -> bool:
        """Whether it can be asked which members serve."""
        return self.info and self.info_args is not None and self.member_args is not None

    @property
    def shadows(self) -> list[str]:
        """How copies of real requests can reach the idle side."""
        return (["mirror"] if "mirror" in self.capabilities else []) + (["replay"] if self.request_log else [])


def strategy(name: str) -> t.Any:
    """The file of a strategy of C(STRATEGIES)."""
    return importlib.import_module(f"{path_of(COLLECTION)}._strategy.{name}")


def load_all() -> None:
    """Import every driver and strategy of this collection.

    Ansible loads an action plugin in its main process and forks a worker for each task. What the worker imports is lost with it, and code of
    collections is compiled anew each time: a twentieth of a second in each of a deploy's tasks.
    """
    for name in NAMES:
        _written.learn(load(name).traffic_spec)
    for name in STRATEGIES:
        strategy(name)


def found(path: str) -> t.Any:
    """The file of that dotted path; None where there is none. One that breaks raises."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(error.name + ".")):
            return None
        raise


def path_of(collection: str) -> str:
    """The dotted path of a collection's C(module_utils)."""
    return f"ansible_collections.{collection}.plugins.module_utils"


def load(name: str) -> Driver:
    """The driver of that name. Raises DowntimeError, naming the known ones, when there is none."""
    collection, dot, short = name.rpartition(".")
    if not dot:
        if short not in NAMES:
            raise DowntimeError(f"deploy_traffic.driver is '{name}'; accepted are {', '.join(NAMES)}, or namespace.collection.name of another collection's")
        collection = COLLECTION
    file = found(f"{path_of(collection)}._{short}.driver") or found(f"{path_of(collection)}._{short}")
    # A room of that name that has no driver is no driver.
    if not hasattr(file, "DRIVER"):
        raise DowntimeError(f"deploy_traffic.driver is '{name}', but no collection {collection} with such a driver is installed")
    return dataclasses.replace(file.DRIVER, collection=collection)
