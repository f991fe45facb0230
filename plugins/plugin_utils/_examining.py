# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at everything that a deploy needs, and changes nothing. Private to the collection.

Each rule is the one by which a deploy would be refused. What is asked together is asked once, of all hosts at the same
time. Nothing that is found ends it: what cannot be known without what is wrong is passed over, and says so.
"""

from __future__ import annotations

import collections
import functools
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import doctor as _doctor
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import status as _status
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis.checks import Checks
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, called, named, told_to
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._finding import MISSING_FILE
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._health import readiness as _readiness
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import observation as _observation
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import check_names
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling
from ansible_collections.zero.downtime.plugins.plugin_utils import _artifact_transfer
from ansible_collections.zero.downtime.plugins.plugin_utils import _excluded_balancers
from ansible_collections.zero.downtime.plugins.plugin_utils import _inventory, _reaching
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._planner import Planner

Answers = t.Dict[str, t.Dict[str, t.Any]]

# Seconds within which a member that runs has to pass its check once.
ANSWER = 5
PLAN, RELEASES, GATE, EVIDENCE = (
    f"{_drivers.COLLECTION}.{name}" for name in ("plan", "releases", "health_gate", "evidence")
)


class Examination:
    """One look at an application.

    :param action: the running action, in whose process nothing may be changed (check mode).
    :param members: the inventory names of the application's members.
    """

    def __init__(
        self, action: ActionBase, members: t.Sequence[str], task_vars: dict[str, t.Any], commands: _doctor.Commands
    ) -> None:
        self.action, self.members, self.task_vars, self.commands = action, list(members), task_vars, commands
        self.checks = Checks(list(_drivers.STRATEGIES))
        self.variables = _inventory.Variables(action, task_vars)
        self.advice: list[dict[str, t.Any]] = []
        self.checked: dict[str, t.Any] = {}
        self.by_side: dict[str, dict[str, dict[str, t.Any]]] = {}
        self.traffic: dict[str, t.Any] = {}
        self.balancers: list[str] = []
        # What each balancer, member's host and state host answered, less those that did not.
        self.told: Answers = {}
        # Of balancers, also those that lack some of the pools; and which pools those are.
        self.seen: Answers = {}
        self.lacking: dict[str, list[str]] = {}
        self.infos: Answers = {}
        self.examined: Answers = {}
        self.locks: Answers = {}
        self.lock: dict[str, t.Any] = {}
        self.without: list[str] = []
        self.staged: Answers = {}
        # Of which side the release was looked for.
        self.staged_side = ""
        self.serving = ""
        # Whether no member serves yet; None as long as nobody can tell.
        self.first: bool | None = None
        # As the plan has it, once every balancer has all members; whom somebody has out; and whom nobody took out and
        # who does not serve.
        self.capacity: dict[str, t.Any] | None = None
        self.held: list[str] = []
        self.dead: list[str] = []
        # Those of them that have a line of their own.
        self.told_dead: set[str] = set()

    # -- in order ------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        if not self.configuration():
            return
        self.on_controller()
        if self.driver.has_platform:
            self.of_platform()
            return
        self.of_balancers()
        self.of_sides()
        self.of_state_hosts()
        self.of_hosts()
        self.of_serving()
        self.of_floor()
        self.of_health()
        self.of_artifact()
        self.of_evidence()
        self.leftovers()
        self.plans()

    @property
    def idle(self) -> list[str]:
        """The strategies that need two sides."""
        return [name for name in self.driver.strategies if _drivers.strategy(name).SIDE == "idle"]

    @property
    def sides(self) -> list[str]:
        return list(self.by_side)

    def sub(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """What another action of the collection returns, in check mode."""
        return self.plugin(name, **args).run(task_vars=self.task_vars)

    def plugin(self, name: str, **args: t.Any) -> t.Any:
        action = self.action
        task = action._task.copy()
        task.args = args
        return action._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=action._connection,
            play_context=action._play_context,
            loader=action._loader,
            templar=action._templar,
            shared_loader_obj=action._shared_loader_obj,
        )

    # -- what is written -----------------------------------------------------------------------------------------------
    def configuration(self) -> bool:
        """Whether the variables tell enough to go on."""
        refusals: list[str] = []

        def refused(error: DowntimeError) -> None:
            if str(error) not in refusals:
                refusals.append(str(error))

        own = {}
        driver: _drivers.Driver | None = None
        try:
            stands = _inventory.spokesman(self.variables, self.task_vars)
            values = self.variables.of(stands)
            # A release is only looked for where one is named.
            self.verb = "deploy" if values.get("deploy_release") else "rollback"
            for name in sorted({name for host in self.members or [stands] for name in self.variables.names(host)}):
                with told_to(refused):
                    self.advice += [
                        {"balancer": None, "level": "warning", "setting": name, "text": text, "lines": []}
                        for text in check_names([name])
                    ]
            self.checked, driver = _plan.check_application(values, self.verb, refused)
            # Nobody asks whether hosts can be pushed to, or whether a platform's members can be moved.
            self.checks.strategies = [
                name for name in _drivers.STRATEGIES if name in driver.strategies or not (driver.has_platform or name == "push")
            ]
            if driver.has_platform:
                self.members = _inventory.hosts_of(driver, self.checked["deploy_traffic"], [], self.task_vars)
            elif not self.members:
                raise DowntimeError(
                    "the play has no members; hosts: localhost,<members> is needed, and deploy_hosts names the members"
                )
            for name in self.members if not driver.has_platform else ():
                own[name], dummy = _plan.check_application(
                    {**values, **self.variables.of(name, _inventory.PER_MEMBER)}, self.verb, refused
                )
            self.advice += [
                {"balancer": None, "level": "warning", "setting": "deploy_traffic", "text": text, "lines": []}
                for text in _plan.differing(driver, {name: one["deploy_traffic"] for name, one in own.items()})
            ]
            self.driver = driver
            for side in _plan.sides_of(self.checked["deploy_traffic"], _going_on.DEFAULT):
                self.by_side[side] = {}
                for name in self.members:
                    with told_to(refused):
                        self.by_side[side][name] = (
                            _plan.platform(name, self.checked)
                            if driver.has_platform
                            else _plan.member(name, own[name], side, self.variables.address(name))
                        )
                with told_to(refused):
                    _plan.distinct_addresses(self.by_side[side])
                with told_to(refused):
                    _plan.distinct_servers(self.by_side[side])
        except (DowntimeError, AnsibleError) as error:
            refused(DowntimeError(" ".join(str(error).split())))
        for text in refusals:
            self.checks.wrong("configuration", None, text, _doctor.variable(text))
        if driver and not refusals:
            self.checks.well(
                "configuration",
                None,
                f"the variables of {self.checked['deploy_app']} ({self.checked['deploy_environment']}) fit: "
                f"{self.members[0] if driver.has_platform else f'{len(self.members)} members'}, driver {driver.name}, "
                f"strategy {self.checked['deploy_strategy']}",
            )
        beyond = [name for name in self.checks.strategies if driver and name not in driver.strategies]
        if driver and beyond:
            self.checks.passed_over(
                "strategy", None, f"driver {driver.name} carries {', '.join(driver.strategies)} only", beyond
            )
        # Members whose variables are refused would be looked at in the wrong place.
        fit = [name for name in self.members if self.by_side and all(name in hosts for hosts in self.by_side.values())]
        if not driver or not fit or not (driver.has_platform or self.checked["deploy_artifact"]["root"]):
            self.checks.passed_over("everything else", None, "can be looked at when the configuration fits")
            return False
        self.members = fit
        self.by_side = {side: {name: hosts[name] for name in fit} for side, hosts in self.by_side.items()}
        return True

    def on_controller(self) -> None:
        """What the controller itself has to have: hooks, a place for records, and batches that can be made."""
        checks, checked = self.checks, self.checked
        self.planner = Planner(self.plugin(PLAN), self.task_vars, "doctor")
        self.planner.this = self._this()
        for name, path in (checked["deploy_hooks"] or {}).items():
            if path:
                found = checks.tried(
                    "hook",
                    None,
                    [f"deploy_hooks: {{{name}: FILE}}"],
                    functools.partial(self.planner.hook, name, path),
                )
                if found:
                    checks.well("hook", None, f"{name} is {found[0]}")
        place = _events.records_in(checked["deploy_records_dir"])
        if checks.tried(
            "records",
            None,
            [f"install -d {place}, or deploy_records_dir: another directory"],
            lambda: self.planner.prove_records(place) or place,
        ):
            checks.well("records", None, f"{place} can be written")
        checks.tried(
            "batches",
            None,
            _doctor.variable("deploy_batches"),
            lambda: _plan.batches(self.members, checked["deploy_batches"]),
        )

    # -- a platform ----------------------------------------------------------------------------------------------------
    def of_platform(self) -> None:
        """What stands in place of balancers and hosts: whether the platform answers, what it runs, and whether it has the release."""
        checks, driver, (name,) = self.checks, self.driver, self.members
        self.traffic = _plan.without_secrets(self.checked["deploy_traffic"], driver.traffic_spec)
        self.balancers, self.serving = [name], self.sides[0]
        asked = functools.partial(_queries.platform, self.action, driver, self.traffic, self.checked["deploy_app"], self.task_vars)
        found = asked()[name]
        if found.get("failed"):
            checks.wrong("platform", None, named("platform", name, found), [f"deploy_traffic: {{driver: {driver.name}, …}}  # in the inventory"])
            self.of_state_hosts()
            return
        self.examined = {name: found}
        self.first = not found["active"]
        runs = f"runs {_outcome.label_of(found['active'])}" if found["active"] else "runs no release yet"
        checks.well("platform", None, f"{name} answers, and {runs}")
        if found["pending"]:
            text = f"{name} is being brought to {_outcome.label_of(found['pending'])}"
            checks.wrong("platform", None, text, [f"{self.commands.playbook('status')}  # says when that has ended"])
        self.of_state_hosts()
        if self.lock.get("hosts") == [_inventory.CONTROLLER]:
            checks.passed_over("state_dir", None, f"{_plan.ALONE}; deploy_state_hosts names hosts that all of them reach")
        self.of_health()
        if release := self.checked["deploy_release"]:
            found = asked(release=str(release))[name]
            self.staged, self.staged_side = {name: found}, self.serving
            if found.get("release"):
                checks.well("artifact", None, f"{name} has {release}")
        self.of_evidence()
        self.leftovers()
        self.plans()

    # -- balancers -----------------------------------------------------------------------------------------------------
    def of_balancers(self) -> None:
        """Sockets and rights, pools, and the names of the members in them."""
        checks, driver = self.checks, self.driver
        traffic = _plan.without_secrets(self.checked["deploy_traffic"], driver.traffic_spec)
        if len(self.sides) > 1 and "counted_pools" in driver.traffic_spec:
            traffic["counted_pools"] = [pool["name"] for pool in traffic["pools"]]
        if driver.complete:
            traffic = driver.complete(traffic, _plan.with_all_ports(self.by_side))
        # For the lines of a second side: servers that are no members have no second slot.
        traffic["members"] = sorted({host["server"] for hosts in self.by_side.values() for host in hosts.values()})
        self.traffic = traffic
        self.balancers = (
            checks.tried(
                "balancer",
                None,
                ["deploy_traffic: {balancers: GROUP}, a group of the inventory"],
                lambda: _inventory.hosts_of(driver, traffic, self.members, self.task_vars),
            )
            or []
        )
        if not driver.info or driver.info_args is None:
            checks.passed_over("balancer", None, f"driver {driver.name} has none that could be asked")
            return
        self.without = list(
            checks.tried(
                "balancer",
                None,
                _doctor.variable("deploy_without"),
                lambda: _excluded_balancers.named(self.checked["deploy_without"], self.balancers, driver.runs_on),
            )
            or ()
        )
        for host in self.without:
            checks.passed_over("balancer", host, "is left out by deploy_without")
        asked = [host for host in self.balancers if host not in self.without]
        self.infos = _queries.balancers(self.action, driver, traffic, asked, self.task_vars)
        for host, result in self.infos.items():
            if result.get("failed"):
                result = self._apart(host, result)
            else:
                self.told[host] = result
            if not result.get("failed"):
                self._of_answer(host, result)

    def _apart(self, host: str, result: dict[str, t.Any]) -> dict[str, t.Any]:
        """Of a balancer that failed: whether it is the balancer that is wrong, or only some of the pools; what it
        has of the others.
        """
        text = named("balancer", host, result)
        pools = self.traffic.get("pools") or []
        if result.get("unreachable_host") or result.get("silent") or not pools:
            self.checks.wrong(
                "balancer",
                host,
                text + _excluded_balancers.hint(host, result, self.balancers, self._this()),
                self._mend(host, result),
            )
            return result
        bare = self._ask(host, [])
        if bare.get("failed"):
            self.checks.wrong("balancer", host, text, self._mend(host, result))
            return result
        found: list[dict[str, t.Any]] = []
        for pool in pools:
            alone = self._ask(host, [pool])
            if alone.get("failed"):
                self.lacking.setdefault(host, []).append(pool["name"])
                self.checks.wrong("pool", host, named("balancer", host, alone), _doctor.pool(pool["name"]))
            else:
                found += alone["pools"]
        return {
            **bare,
            "pools": found,
            "findings": [entry for entry in bare.get("findings", []) if entry["setting"] != "split"],
        }

    def _mend(self, host: str, result: t.Mapping[str, t.Any]) -> list[str]:
        return _doctor.balancer(self.driver.name, self.traffic, host, result, self.commands)

    def _ask(self, host: str, pools: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        traffic = {**self.traffic, "pools": pools}
        traffic.pop("counted_pools", None)
        return _queries.balancers(self.action, self.driver, traffic, [host], self.task_vars)[host]

    def _of_answer(self, host: str, result: dict[str, t.Any]) -> None:
        self.seen[host] = result
        version = f" {result['version']}" if result.get("version") else ""
        errors = [finding for finding in result.get("findings", []) if finding["level"] == "error"]
        self.checks.well("balancer", host, f"{self.driver.name}{version} answers")
        for finding in errors:
            self.checks.wrong(
                "balancer",
                host,
                f"{finding['setting']}: {finding['text']}",
                finding["lines"] or _doctor.variable(finding["text"]),
            )
        for finding in result.get("findings", []):
            if finding["setting"] == MISSING_FILE:
                # No deploy reads it, so none is kept; the balancer's next start does.
                mend = _doctor.missing_file(_status.written(host, finding), finding["lines"])
                self.checks.wrong("file", host, finding["text"], mend, [])
            elif finding["level"] != "error":
                self.advice.append({**finding, "balancer": host})
        sides = {pool["name"]: pool.get("side") for pool in self.traffic.get("pools") or []}
        for pool in result["pools"]:
            hosts = self.by_side[sides.get(pool["name"]) or self.sides[0]]
            before = len(self.checks.found)
            for name, member in hosts.items():
                self.checks.tried(
                    "server",
                    host,
                    _doctor.server(pool["name"], member),
                    functools.partial(_plan.check_server, pool, host, name, member["server"]),
                )
            if len(self.checks.found) == before:
                self.checks.well("pool", host, _doctor.servers(pool, hosts))

    # -- sides ---------------------------------------------------------------------------------------------------------
    def of_sides(self) -> None:
        """What blue/green and canary need beside what rolling does."""
        checks, driver = self.checks, self.driver
        if not self.idle:
            return
        splits = [finding for finding in self.advice if finding["setting"] == "split"]
        lines = list(dict.fromkeys(line for finding in splits for line in finding["lines"])) or _doctor.second_side(
            driver.name
        )
        lacking = _plan.lacks_side(self.checked["deploy_traffic"])
        if lacking:
            checks.wrong("second_side", None, f"a second side needs {lacking}", lines, self.idle)
        if len(self.sides) < 2:
            self.serving = self.sides[0]
            return
        self.serving = _plan.most_served([result["split"] for result in self.told.values() if result.get("split")])
        if not self._all_told():
            checks.passed_over("second_side", None, f"which side serves cannot be told {self._before()}")
            return
        before = len(checks.found)
        unknown = _plan.blind(self.told)
        if unknown:
            checks.wrong("second_side", None, unknown, lines, self.idle)
        for strategy in driver.strategies:
            if not unknown or strategy not in self.idle:
                checks.tried(
                    "second_side",
                    None,
                    self.commands.put_right(),
                    functools.partial(_plan.serving_side, self.sides, self.told, strategy, self._served),
                    [strategy],
                )
        if len(checks.found) == before:
            idle = next(side for side in self.sides if side != self.serving)
            checks.well("second_side", None, f"{self.serving} serves, and {idle} is idle")

    def _served(self) -> str | None:
        lock = self._lock_of()
        return self.planner.served(lock) if lock else None

    # -- lock ----------------------------------------------------------------------------------------------------------
    def _lock_of(self) -> dict[str, t.Any]:
        if not self.lock:
            self.lock = (
                self.checks.tried(
                    "state_dir",
                    None,
                    _doctor.variable("deploy_state_hosts"),
                    lambda: self.planner.lock(
                        self.checked, self.driver, self.balancers, self.members, self.without
                    ),
                )
                or {}
            )
        return self.lock

    def of_state_hosts(self) -> None:
        """Whether the lock's place can be written, and whether the lock is free."""
        checks, lock = self.checks, self._lock_of()
        if not lock or not lock["hosts"]:
            return
        self.locks = _queries.locks(self.action, lock, self.task_vars, "examined")
        for host, result in self.locks.items():
            if result.get("unreachable_host") and self.infos.get(host, {}).get("unreachable_host"):
                checks.passed_over("state_dir", host, "cannot be reached, either")
                continue
            if result.get("failed"):
                checks.wrong(
                    "state_dir", host, named("state host", host, result), self.commands.unreachable(host, result)
                )
                continue
            for entry in result["checks"]:
                checks.take(entry, host)
            self._of_lock(host, result)

    def _this(self) -> dict[str, t.Any]:
        """What a command names that runs the deploy which is looked at."""
        said = {"deploy_release": self.checked["deploy_release"]}
        return {"verb": self.verb, "app": self.checked["deploy_app"], "said": said}

    def _of_lock(self, host: str, result: dict[str, t.Any]) -> None:
        held = result.get("lock")
        app, environment = self.checked["deploy_app"], self.checked["deploy_environment"]
        if held and _lock_holder.dead(held):
            self.checks.wrong(
                "lock",
                host,
                f"{_lock.told(held)} has the lock, and its controller has died; the next deploy takes it over",
                self.commands.again(),
                [],
            )
        elif held and self.lock["break"]:
            self.checks.wrong(
                "lock",
                host,
                f"{_lock.told(held)} has the lock, and deploy_lock_break takes it from it",
                self.commands.again(),
                [],
            )
        elif held:
            refusal = _lock_holder.refusal({**self._this(), "environment": environment}, host, held)
            mend = ["wait for it, or end that process"] if _lock_holder.alive(held) else self.commands.broken()
            self.checks.wrong("lock", host, refusal, mend)
        else:
            self.checks.well("lock", host, f"nobody has the lock of {app} ({environment})")
            if result.get("journal"):
                self.checks.wrong(
                    "lock", host, "a deploy before did not end, by its journal", self.commands.again(), []
                )

    # -- members -------------------------------------------------------------------------------------------------------
    def of_hosts(self) -> None:
        """Rights, room, and what runs the release, on each member's host."""
        checks = self.checks
        for number, side in enumerate(self.sides):
            answers = _queries.members(self.action, self._running(side), self.task_vars, "examined")
            self.examined = answers if side == (self.serving or self.sides[0]) else self.examined or answers
            away = [name for name, result in answers.items() if result.get("unreachable_host")]
            for name, result in answers.items():
                if result.get("failed"):
                    kind = "member" if result.get("unreachable_host") else "release_root"
                    allowed = result.get("unreachable_host") and len(away) <= self.checked["deploy_max_absent"]
                    if number == 0 or kind != "member":
                        checks.wrong(
                            kind,
                            name,
                            named("member", name, result),
                            self.commands.unreachable(name, result),
                            [] if allowed else None,
                        )
                    continue
                for entry in result["checks"]:
                    # Root and room are the host's, whichever the side.
                    if number == 0 or entry["name"] == "service":
                        what = (
                            f"{side}: {entry['text']}"
                            if len(self.sides) > 1 and entry["name"] == "service"
                            else entry["text"]
                        )
                        checks.take({**entry, "text": what}, name)
                if not self.by_side[side][name]["service"]:
                    checks.passed_over(
                        "service", name, "deploy_service names nothing that runs the release: the hooks have to"
                    )

    def _running(self, side: str) -> dict[str, dict[str, t.Any]]:
        """The members of a side as the module takes them."""
        return {
            name: {
                **host,
                "running": (
                    {key: value for key, value in host["running"].items() if value is not None}
                    if host["running"]
                    else None
                ),
            }
            for name, host in self.by_side[side].items()
        }

    def of_serving(self) -> None:
        """Whether any member serves, as far as somebody can tell."""
        side = self.serving or self.sides[0]
        if not self.driver.info:
            hosts = self.by_side[side]
            self.dead = [] if self.checked["deploy_health"].get("from") else _reaching.refusing(hosts)
            self.first = len(self.dead) == len(hosts)
            return
        pools = [pool["name"] for pool in _plan.live_pools(self.traffic, side)]
        entries = [
            entry
            for result in self.seen.values()
            for pool in result["pools"]
            if pool["name"] in pools
            for entry in pool["members"]
        ]
        if any(entry["full"] for entry in entries):
            self.first = False
        elif self._all_told():
            self.first = True

        if self._all_told() and not any(check["name"] == "server" for check in self.checks.found):
            self.capacity, held = _observation.capacity_of(
                self.driver,
                self.by_side,
                self.traffic,
                self.told,
                _observation.Sides(side, side, True),
                self.checked["deploy_min_active"],
            )
            self.held = [name for name in self.by_side[side] if name in held]
            self.dead = _rolling.dead({"capacity": self.capacity, "held": self.held}, self.by_side[side])

    def _all_told(self) -> bool:
        """Whether every balancer that is not left out has answered as it has to."""
        return len(self.told) == len(self.balancers) - len(self.without)

    def _before(self) -> str:
        """What has to come before that, for a sentence."""
        if len(self.seen) < len(self.balancers) - len(self.without) or not self.lacking:
            return "before every balancer answers"
        lacks = "; ".join(f"{called(host)} lacks the pool {', '.join(names)}" for host, names in self.lacking.items())
        return f"as long as {lacks}"

    def of_floor(self) -> None:
        """Whether the floor leaves room for a member that is out."""
        checks, min_active = self.checks, self.checked["deploy_min_active"]
        if not self.driver.info:
            return
        capacity = self.capacity
        if capacity is None:
            checks.passed_over("floor", None, "cannot be told before every balancer has all members")
            return

        def rule() -> str:
            _plan.check_floor(capacity, min_active)
            if capacity["first"] and not any(self._active(name) for name in self.members):
                return "no member serves yet, so the next deploy is a first one"
            if capacity["first"]:
                return "no member serves now, so there is no floor to keep"
            return f"{capacity['tightest']} (deploy_min_active {min_active})"

        text = checks.tried("floor", None, _doctor.variable("deploy_min_active"), rule, ["rolling"])
        if not text:
            return
        release = next((active for name in self.members if (active := self._active(name))), None)
        if capacity["most"] is None or capacity["most"] > 0 or (capacity["first"] and not release):
            checks.well("floor", None, text)
            return
        hosts, out = self.by_side[self.serving or self.sides[0]], self._begun()[0]
        left = [name for name in self.held if hosts[name]["server"] in out]
        held = [name for name in self.held if name not in left]
        said, mend = self.commands.no_room(self.dead, left, held, release, len(self.sides) > 1)
        checks.wrong("floor", None, text + said, mend, [])

    def of_health(self) -> None:
        """Ask what runs now, as a gate would ask."""
        checks, health = self.checks, self.checked["deploy_health"]
        hosts = self.by_side[self.serving or self.sides[0]]
        if not health.get("path"):
            if not any(check["text"].startswith("deploy_health.path") for check in checks.found):
                checks.passed_over("health", None, "deploy_health.path is not set, so nobody is asked")
            return
        asked = []
        for name, host in hosts.items():
            active = self._active(name)
            if active or self.first is False:
                digest = {"digest": active["digest"]} if active and health.get("header") else {}
                asked.append({"name": name, "url": host["url"], **digest})
            elif self.first:
                checks.passed_over("health", name, "runs no release yet")
            else:
                checks.passed_over(
                    "health", name, f"has no release, and whether it serves cannot be told {self._before()}"
                )
        if not asked:
            return
        result = self.sub(
            GATE,
            members=asked,
            passes=1,
            interval=health["interval"],
            timeout=ANSWER,
            on_failure="report",
            status=health["status"],
            **{key: health[key] for key in ("body", "header", "from") if health.get(key)},
        )
        if not result.get("members"):
            checks.wrong(
                "health",
                health.get("from"),
                str(result.get("msg")),
                self.commands.unreachable(health.get("from") or "localhost", result),
            )
        for entry in result.get("members") or ():
            self._of_answer_of(entry, hosts[entry["name"]]["url"])

    def _of_answer_of(self, entry: dict[str, t.Any], url: str) -> None:
        """What one member's readiness check answered, by the rules of the plan."""
        checks, health, name = self.checks, self.checked["deploy_health"], entry["name"]
        active = self._active(name)
        idle = self.checked["deploy_strategy"] in self.idle
        if entry["ok"]:
            with_header = f" with {health['header']} {str(entry['digest'])[:12]}" if health.get("header") else ""
            checks.well("health", name, f"{health['path']} {entry['detail']}{with_header}")
        elif name in self.dead and active:
            checks.wrong("health", name, f"does not serve now ({entry['detail']}); {_doctor.ANEW}", self._anew(name), [])
            self.told_dead.add(name)
        elif entry.get("unproven"):
            text = f"what runs now {_proof.lacking('deploy', health['header'])}"
            checks.wrong("health", name, text, _doctor.health(url, entry), [])
        elif entry["digest"] and active and _health.plain_digest(entry["digest"]) != active["digest"]:
            checks.wrong("health", name, f"{url}: {entry['detail']}", _doctor.health(url, entry))
        else:
            text = f"what runs now {_readiness.unready('deploy', idle, health, entry)}"
            checks.wrong("health", name, text, _doctor.health(url, entry), [])

    def _active(self, name: str) -> t.Any:
        """The release that a member has, as its host says; None where it has none, or its host does not say."""
        return (self.examined.get(name) or {}).get("active")

    def _anew(self, name: str) -> list[str]:
        """What begins a dead member anew."""
        hosts = self.by_side[self.serving or self.sides[0]]
        return self.commands.begin_anew(name, hosts[name], self.examined[name]["active"], len(self.sides) > 1)

    def of_artifact(self) -> None:
        """Stage the release in check mode: its digest, its place, and whether it can be had."""
        checks, release = self.checks, self.checked["deploy_release"]
        if not release:
            checks.passed_over(
                "artifact",
                None,
                f"no release is named; {self.commands.playbook('doctor', deploy_release='LABEL')} looks at its checksum "
                "and its place, too",
            )
            return
        side = self.staged_side = self._side_of(self.checked["deploy_strategy"])
        reached = [name for name in self.members if not (self.examined.get(name) or {}).get("failed")]
        if not reached:
            checks.passed_over("artifact", None, "no member's host can be asked for it")
            return
        artifact = {
            key: value
            for key, value in self.checked["deploy_artifact"].items()
            if key not in ("root", "headers") and value is not None
        }
        result = self.sub(
            RELEASES,
            state="staged",
            release=release,
            artifact=artifact,
            secrets=True,
            on_failure="report",
            members=[
                {"name": name, **{key: self.by_side[side][name][key] for key in ("root", "slot")}} for name in reached
            ],
        )
        self.staged = result.get("members") or {}
        if result.get("problems"):
            # What is wrong with an artifact, each member says; it is mended once.
            failed: dict[str, t.Any] = next((one for one in self.staged.values() if one.get("failed")), result)
            there = bool(failed.get("unlisted")) and self._lies_there(artifact)
            told = _outcome.together({name: str(one["msg"]) for name, one in self.staged.items() if one.get("failed")})
            checks.wrong(
                "artifact", None, told or str(result["msg"]), _doctor.artifact(artifact, str(release), failed, there)
            )
        found = next((entry["release"] for entry in self.staged.values() if entry.get("release")), None)
        if found and not result.get("problems"):
            here = [name for name, entry in self.staged.items() if not entry.get("changed")]
            where = "staged on every member already" if len(here) == len(self.staged) else "can be had"
            checks.well("artifact", None, f"{release} is sha256 {found['digest']}, and {where}")

    def _lies_there(self, artifact: t.Mapping[str, t.Any]) -> bool:
        """Whether an artifact is seen from this controller."""
        place = str(artifact.get("url") or artifact.get("src") or "")
        if not place or artifact.get("remote_src"):
            return False
        try:
            if _artifact.is_url(place):
                headers = self.checked["deploy_artifact"].get("headers")
                _artifact.probe(place, headers, ANSWER)
            else:
                _artifact_transfer.Sender(self.action).find(place, "artifact.src")
        except DowntimeError:
            return False
        return True

    def _side_of(self, strategy: str) -> str:
        """The side that gets the release."""
        serving = self.serving or self.sides[0]
        return next((side for side in self.sides if side != serving), serving) if strategy in self.idle else serving

    # -- from outside --------------------------------------------------------------------------------------------------
    def of_evidence(self) -> None:
        """One request at the public address, by the probe: name, connection, certificate, answer."""
        checks, checked = self.checks, self.checked
        url = checked["deploy_evidence_url"]
        if not url:
            checks.passed_over(
                "evidence",
                None,
                "deploy_evidence_url is not set: no probe asks the public address, so a deploy lacks one of its "
                "lines of evidence",
            )
            return
        options = {
            "url": url,
            "connect_to": checked["deploy_evidence_connect_to"],
            "ca_path": checked["deploy_evidence_ca_path"],
        }
        result = self.sub(
            EVIDENCE,
            state="started",
            expect_serving=self._serves(),
            validate_certs=checked["deploy_evidence_validate_certs"],
            http2=checked["deploy_evidence_http2"],
            paths=checked["deploy_evidence_paths"],
            health_header=checked["deploy_health"]["header"] or "x-release",
            **{key: value for key, value in options.items() if value},
        )
        asked = result.get("asked") or {}
        shown = _doctor.shown(url)
        answers = f"{shown} answers {asked.get('status')} over {asked.get('protocol')}"
        if _probe.lacks_http2(checked["deploy_evidence_http2"], url):
            answers += "; for HTTP/2 the controller's Python would need the library hpack"
        if result.get("failed"):
            checks.wrong("evidence", None, str(result["msg"]), _doctor.evidence(checked, result))
        elif asked.get("ok"):
            checks.well("evidence", None, answers)
        elif asked.get("status"):
            checks.passed_over("evidence", None, f"{answers}, as it may while no release serves")
        else:
            checks.wrong(
                "evidence",
                None,
                f"deploy_evidence_url {shown} does not answer: {asked.get('detail') or asked.get('kind')}",
                _doctor.evidence(checked, result),
            )

    def _serves(self) -> bool:
        """Whether an answer of a release is expected; where no balancer can tell, wherever a member has one."""
        return any(result.get("active") for result in self.examined.values()) if self.first is None else not self.first

    # -- what was left -------------------------------------------------------------------------------------------------
    def leftovers(self) -> None:
        """What status would name, less what has been named here."""
        side = self.serving or self.sides[0]
        hosts = self.by_side[side]
        pools = [pool["name"] for pool in _plan.live_pools(self.traffic, side)]
        whole = {name: _plan.side_of(self.by_side[name], _plan.live_pools(self.traffic, name)) for name in self.sides}
        plan = {
            "app": self.checked["deploy_app"],
            "environment": self.checked["deploy_environment"],
            "members": self.members,
            "balancers": self.balancers,
            "servers": {name: host["server"] for name, host in hosts.items()},
            "without": self.without,
            "side_problem": None,
            "sides": whole,
        }
        serving = {
            host: {**info, "pools": [pool for pool in info["pools"] if pool["name"] in pools]}
            for host, info in self.told.items()
        }
        status = _status.build(
            plan,
            self.examined,
            serving,
            {host: found for host, found in self.locks.items() if not found.get("failed")},
            _lock_holder.dead,
        )
        for other in self.sides:
            if other != side and self.told:
                _status.add_idle(status, plan, self.told, other)
        found = [
            entry
            for entry in status["watch"]
            if entry["kind"] in _doctor.LEFT and not (entry["kind"] == "dead" and self.told_dead.issuperset(entry["who"]))
        ]
        run = collections.Counter(str(row["release"] or row["digest"]) for row in status["members"] if row["digest"])
        named = self.checked["deploy_release"]
        releases = [named] if named else [label for label, _count in run.most_common()]
        unfinished = bool((self._begun()[1] or {}).get("release"))
        for entry in found:
            self.checks.wrong("leftovers", None, entry["text"], self.commands.left(entry, releases, unfinished), [])
        if not found:
            dead = [name for name in self.dead if self._active(name)]
            well = "nothing is half done" if self.driver.has_platform else _doctor.nothing_left(dead)
            self.checks.well("leftovers", None, well)

    # -- the last word -------------------------------------------------------------------------------------------------
    def plans(self) -> None:
        """Make the plan of each strategy that nothing bars so far, as a deploy would: whatever that refuses is
        told, too.
        """
        checks = self.checks
        for strategy in checks.ready():
            if self.checked["deploy_shadow"] and self.verb == "deploy":
                checks.tried(
                    "shadow",
                    None,
                    _doctor.variable("deploy_shadow"),
                    functools.partial(_shadow.check, self.checked["deploy_shadow"], self.driver, strategy),
                    [strategy],
                )
        for strategy in checks.ready():
            result = self.sub(PLAN, state="resolved", verb=self.verb, strategy=strategy)
            if result.get("failed"):
                checks.wrong("plan", None, str(result["msg"]), _doctor.variable(str(result["msg"])), [strategy])
            else:
                self._laid_out(strategy, result["plan"])

    def _laid_out(self, strategy: str, plan: dict[str, t.Any]) -> None:
        """Go on with a plan as far as a deploy does before anything moves."""
        plan = {**plan, "verb": "deploy"}
        out, interrupted = self._begun()
        ended = [self.commands.playbook("rollback", deploy_strategy="rolling") + " undoes it"]
        whole = functools.partial(_plan.serves_whole, plan, out, interrupted)
        self.checks.tried("plan", None, ended, whole, [strategy])
        staged = self.staged if self._side_of(strategy) == self.staged_side else {}
        everywhere = all((self.examined.get(name) or {}).get("active") for name in self.members)
        if not staged and strategy == "rolling" and everywhere:
            # Without a release, one that nobody runs stands for it: it moves all members, whatever each of them runs.
            staged = {name: {**result, "release": _doctor.ANY} for name, result in self.examined.items()}
        if staged:
            orphans = [name for name, server in plan["servers"].items() if server in out and name in plan["held"]]
            # The dead and those that a deploy left out count as back, and whom a person took out does not.
            held = [name for name in plan["held"] if name not in orphans]
            plan = {**plan, "held": held}
            rule = functools.partial(_drivers.strategy(strategy).lay_out, plan, staged, orphans, interrupted)
            mend = [self.commands.brought_back(held)] if held and strategy == "rolling" else []
            self.checks.tried("plan", None, mend + _doctor.variable("deploy_min_active"), rule, [strategy])

    def _begun(self) -> tuple[list[str], dict[str, t.Any] | None]:
        """The servers that a deploy before left out, and what it had set out to do, as the next one finds it."""
        told = {host: found for host, found in self.locks.items() if not found.get("failed")}
        out = sorted({server for found in told.values() for server in _lock.out_of(found.get("journal") or [])})
        lock = next((found["lock"] for found in told.values() if found.get("lock")), None)
        return out, _lock.interrupted_of(_lock.journal_of(told)) or _lock.unmoved(lock)
