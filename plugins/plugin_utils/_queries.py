# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions that several actions ask: balancers, state hosts, members. Nothing is changed by them. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._driver import clients as _clients
from ansible_collections.zero.downtime.plugins.module_utils._driver import push as _push_options
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.plugin_utils import _connection_groups
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _fanout, _inventory, _store

Results = t.Dict[str, t.Dict[str, t.Any]]
TaskVars = t.Dict[str, t.Any]
# Reads the counters of every balancer: (run_dir, at, moment) -> samples.
Sampler = t.Callable[..., t.List[t.Dict[str, t.Any]]]


def balancers(action: ActionBase, driver: _drivers.Driver, traffic: dict[str, t.Any], hosts: t.Sequence[str], task_vars: TaskVars,
              on_result: t.Callable[[str, dict[str, t.Any]], None] | None = None) -> Results:
    """What each balancer has, by the driver's module C(info); nothing where the driver has none."""
    if not driver.info or driver.info_args is None:
        return {}
    options = driver.info_args(_credentials.whole(action, driver, traffic, task_vars))
    results = _run(action, hosts, driver.module("info"), lambda _host: dict(options), task_vars, on_result=on_result)
    # Who knows sides only tells no pools.
    return {host: result if result.get("failed") else {"pools": [], **result} for host, result in results.items()}


def watched(action: ActionBase, driver: _drivers.Driver, plan: t.Mapping[str, t.Any], infos: Results, task_vars: TaskVars) -> Results:
    """C(infos) with what each side gets, where the hosts of its members alone can tell: open connections and the requests of their access logs."""
    if not driver.watched or not plan.get("sides"):
        return infos
    sides = plan["sides"]
    paths = [plan["health"].get("path"), *(plan["whole_traffic"].get("ignored_paths") or ())]
    ignored = [path.partition("?")[0] for path in paths if path]

    def args_for(name: str) -> dict[str, t.Any]:
        places = {side: found["hosts"][name] for side, found in sides.items() if name in found["hosts"]}
        return {"ignored": ignored, "members": [{"name": side, **{key: host[key] for key in ("address", "port", "access_log") if host.get(key)}}
                                                for side, host in places.items()]}

    answers = _run(action, plan["members"], f"{_drivers.COLLECTION}.clients", args_for, task_vars, what="member")
    pools = _clients.pools(sides, answers)
    return {host: info if info.get("failed") else {**info, "pools": pools} for host, info in infos.items()}


def sampler(action: ActionBase, driver: _drivers.Driver, traffic: dict[str, t.Any], task_vars: TaskVars) -> Sampler | None:
    """What reads every balancer's counters at the same time, and keeps them; None for a driver whose balancers tell none."""
    if not driver.info or driver.info_args is None:
        return None
    hosts = _inventory.hosts_of(driver, traffic, [], task_vars)

    def sample(run_dir: str | None, at: str, moment: str | None = None) -> list[dict[str, t.Any]]:
        found: list[dict[str, t.Any]] = []
        balancers(action, driver, traffic, hosts, task_vars,
                  on_result=lambda host, result: found.append(_balance.append(run_dir, host, result, at, moment)))
        return found

    return sample


def locks(action: ActionBase, lock: t.Mapping[str, t.Any], task_vars: TaskVars, state: str = "observed") -> Results:
    """The lock, the journal and what else the state hosts keep; with C(state) C(examined) also whether a lock could be taken."""
    return _store.ask(action, lock, {"state": state}, task_vars, _fanout.QUESTION)


def platform(action: ActionBase, driver: _drivers.Driver, traffic: dict[str, t.Any], app: str, task_vars: TaskVars,
             release: str | None = None) -> Results:
    """What a platform has of releases, as a member's host would say it; with C(release) also whether it has that one."""
    if driver.push_args is None:
        raise DowntimeError(f"driver is '{driver.name}', which hands no releases to a platform")
    own = driver.push_args(_credentials.whole(action, driver, traffic, task_vars), app)
    options = {"state": "observed", **({"release": release} if release else {}), **own}
    hosts = _inventory.hosts_of(driver, traffic, [], task_vars)
    found = _run(action, hosts, driver.module("push"), lambda _host: dict(options), task_vars, what="platform")
    return {host: result if result.get("failed") else _push_options.told(result) for host, result in found.items()}


def members(action: ActionBase, hosts: t.Mapping[str, t.Mapping[str, t.Any]], task_vars: TaskVars, state: str = "observed") -> Results:
    """What each member's host has of releases, asked as a deploy asks: one call for each machine. C(hosts) has the C(root) and C(slot) of each.

    With C(state) C(examined) also what stands in a release's way, for which C(hosts) has the C(service) and what is C(running), too.
    """
    fields = ("root", "slot", "service", "running") if state == "examined" else ("root", "slot")
    machines = {names[0]: names for names in _connection_groups.group(action, list(hosts), task_vars)}
    answers = _run(action, list(machines), f"{_drivers.COLLECTION}.releases", lambda first: {
        "state": state, "members": [{"name": name, **{field: hosts[name][field] for field in fields if hosts[name].get(field) is not None}}
                                    for name in machines[first]],
    }, task_vars, what="member")
    found = {name: _connection_groups.own(answers[first], first, name) for first, names in machines.items() for name in names}
    return {name: found[name] for name in hosts}


def _run(action: ActionBase, hosts: t.Sequence[str], module: str, args_for: t.Callable[[str], dict[str, t.Any]], task_vars: TaskVars,
         **options: t.Any) -> Results:
    return _fanout.run_on(action, hosts, module, args_for, task_vars, timeout=_fanout.limit(action, _fanout.QUESTION), **options)
