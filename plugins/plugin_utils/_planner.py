# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a plan: reads the inventory, asks who knows, and lets the rules of C(module_utils/_plan) say what follows.

Four steps, each of which has what the ones before found: inputs, topology, observation, plan. Private to the collection.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import time
import typing as t
import uuid

from ansible.errors import AnsibleError
from ansible.playbook.helpers import load_list_of_tasks
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, named
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._judge import canary_times as _canary_times
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import inputs as _inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan import observation as _observation
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan import topology as _topology
from ansible_collections.zero.downtime.plugins.module_utils._plan.inputs import Inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan.observation import Answers, Observation, Sides
from ansible_collections.zero.downtime.plugins.module_utils._plan.resolved import Plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.topology import Topology
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import check_names
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary
from ansible_collections.zero.downtime.plugins.plugin_utils import (
    _excluded_balancers,
    _fanout,
    _inventory,
    _lock_holder,
    _queries,
    _reaching,
    _records_place,
)
from ansible_collections.zero.downtime.plugins.plugin_utils._examination import Examination

# Seconds between two questions to a balancer that has not checked every server yet.
POLL = 0.2


class Planner:
    """Makes the plan of one run.

    :param action: the task that asks.
    :param verb: of C(VERBS).
    :param instead: a strategy in place of that of the variables, for whoever asks what else would work.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], verb: str, instead: str | None = None) -> None:
        self.action, self.task_vars, self.verb, self.instead = action, task_vars, verb, instead
        self.variables = _inventory.Variables(action, task_vars)
        # When each balancer was read.
        self.read_at: dict[str, float] = {}
        # For commands that run this once more.
        self.this: dict[str, t.Any] = {}

    def plan(self) -> dict[str, t.Any]:
        """The plan, once it may begin: its records have a place. Raises DowntimeError for what cannot work."""
        inputs = self.inputs()
        topology = self.topology(inputs)
        observation = self.observation(inputs, topology)
        return self.begun(inputs, topology, observation).to_dict()

    def begun_before(self) -> dict[str, t.Any] | None:
        """What a run that has not ended left unfinished."""
        stands = _inventory.spokesman(self.variables, self.task_vars)
        checked, driver = _plan.check_application(self.variables.of(stands), self.verb)
        return self._left(checked, driver, self._members())[1]

    # --- inputs

    def inputs(self) -> Inputs:
        """What the run was given, checked; and the strategy, for which state hosts may have to be asked."""
        # Before any balancer is asked: the balance sheet begins with what they say.
        started = datetime.datetime.now(datetime.timezone.utc)
        members = self._members()
        stands = _inventory.spokesman(self.variables, self.task_vars)
        values = {**self.variables.of(stands), **({"deploy_strategy": self.instead} if self.instead else {})}
        # A typing error in one host's variables counts as much as one in a group's.
        warnings = check_names({name for member in members or [stands] for name in self.variables.names(member)})
        checked, driver = _plan.check_application(values, self.verb)
        warnings += _inputs.of_release(values, checked)
        if not driver.has_platform:
            wanted = _inventory.group(checked["deploy_hosts"], "deploy_hosts", self.task_vars) if members else []
            _inputs.check_members(members, wanted, checked["deploy_hosts"])
        public = _inputs.public_of(checked)
        if self.verb in _plan.SHIFTS:
            self._prepare(driver)
            warnings += [] if public else [_inputs.NO_PROBE]
        said = _inputs.said_of(values, self.task_vars["hostvars"]._variable_manager.extra_vars)
        self.this = {"verb": self.verb, "app": checked["deploy_app"], "said": said}
        last = None
        if self.verb in ("deploy", "rollback") and not self.instead:
            strategy, last = self._goes_on(checked, said, driver, members)
            checked["deploy_strategy"] = strategy
            warnings += _inputs.chosen_before(strategy, said, driver)
        checked, strategy = _inputs.of_verb(self.verb, checked, driver)
        return Inputs(verb=self.verb, checked=checked, values=values, driver=driver, members=tuple(members), said=said,
                      strategy=strategy, last=last, public=public, started=started, warnings=tuple(warnings))

    def _members(self) -> list[str]:
        return [host for host in self.task_vars["ansible_play_hosts_all"] if host != _inventory.CONTROLLER]

    def _prepare(self, driver: _drivers.Driver) -> None:
        """Have the modules built that the deploy will need, in the order in which they are needed, the first in a moment."""
        release = f"{_drivers.COLLECTION}.releases"
        movers = [driver.module("push")] if driver.has_platform else [release, driver.module("members")]
        asked = [driver.module("info")] if driver.info else []
        _fanout.prepare(self.action, [*asked, f"{_drivers.COLLECTION}.lock", *movers], self.task_vars)

    def _goes_on(self, checked: dict[str, t.Any], said: t.Mapping[str, t.Any], driver: _drivers.Driver,
                 members: list[str]) -> tuple[str, dict[str, t.Any] | None]:
        """The strategy, and the last deploy that ended well: by what was set, and what state hosts know of deploys before."""
        lock, interrupted, last = self._left(checked, driver, members)
        try:
            release = checked["deploy_release"] or checked["deploy_side"]
            switch = _going_on.SWITCH if self.verb == "rollback" and checked["deploy_side"] else None
            given = said.get("deploy_strategy") or switch or _plan.only_strategy(driver)
            return _going_on.strategy(self.verb, checked["deploy_app"], given, release, interrupted, last), last
        except DowntimeError as error:
            # Where somebody is at it, that is the reason.
            raise DowntimeError(self._at_work(checked, lock) or str(error)) from error

    def _left(self, checked: dict[str, t.Any], driver: _drivers.Driver,
              members: list[str]) -> tuple[dict[str, t.Any], dict[str, t.Any] | None, dict[str, t.Any] | None]:
        """The lock, what was left unfinished, and the last that ended well, where an application has two sides."""
        pools = checked["deploy_traffic"].get("pools") or ()
        if {pool.get("side") for pool in pools} & set(_plan.SIDES) != set(_plan.SIDES):
            # With one side there is one way.
            return {}, None, None
        endpoints = _inventory.hosts_of(driver, checked["deploy_traffic"], members, self.task_vars)
        left_out = _excluded_balancers.named(checked["deploy_without"], endpoints, driver.runs_on)
        lock = self.lock(checked, driver, endpoints, members, list(left_out))
        answers = _queries.locks(self.action, lock, self.task_vars)
        return lock, _lock.interrupted_of(_lock.journal_of(answers)), _lock.newest(answers)

    # --- topology

    def topology(self, inputs: Inputs) -> Topology:
        """What the application stands on. Whoever is to be left out is asked for a proof."""
        checked, driver = inputs.checked, inputs.driver
        try:
            sides = _plan.sides_of(checked["deploy_traffic"], inputs.strategy, inputs.app)
        except DowntimeError as error:
            raise DowntimeError(f"{error}{self._lines_of_second_side(inputs)}") from error
        if driver.has_platform:
            (platform,) = _inventory.hosts_of(driver, checked["deploy_traffic"], [], self.task_vars)
            stands = _topology.on_platform(inputs, sides, platform)
        else:
            stands = _topology.on_hosts(inputs, sides, self._of_members(inputs, inputs.verb), self.variables.address)
        hooks = {name: self.hook(name, path) for name, path in checked["deploy_hooks"].items() if path} if inputs.moves else {}
        endpoints = _inventory.hosts_of(driver, stands.traffic, stands.members, self.task_vars)
        # What stops a side has to know all balancers that may use it; one that is dead is left out, as by a deploy, with
        # the same proof.
        only_told = inputs.verb == "status"
        without = self._without(inputs, stands.traffic, endpoints, only_told)
        traffic, warnings = stands.traffic, list(stands.warnings)
        if without and not only_told:
            # Whoever is given this plan's traffic, evidence and moves alike, sees the others only.
            endpoints = [name for name in endpoints if name not in without]
            traffic = {**traffic, "balancers": endpoints}
            warnings += _topology.goes_on_without(without)
        lock = self.lock(checked, driver, endpoints, stands.members, [] if only_told else without)
        if driver.has_platform and inputs.moves and lock["hosts"] == [_inventory.CONTROLLER]:
            warnings.append(_plan.ALONE)
        return Topology(stands=stands, traffic=traffic, endpoints=tuple(endpoints), without=tuple(without), lock=lock,
                        hooks=hooks, warnings=tuple(warnings))

    def _of_members(self, inputs: Inputs, verb: str) -> dict[str, dict[str, t.Any]]:
        """Each member's variables, checked."""
        own = {name: self.variables.of(name, _inventory.PER_MEMBER) for name in inputs.members}
        return {name: _plan.check_application({**inputs.values, **values}, verb)[0] for name, values in own.items()}

    def _lines_of_second_side(self, inputs: Inputs) -> str:
        """For a sentence, the lines that give the application a second side, as far as a balancer can tell them."""
        checked, driver = inputs.checked, inputs.driver
        servers = {pool.get("server") or name for name, own in self._of_members(inputs, "status").items()
                   for pool in own["deploy_traffic"].get("pools") or ()}
        traffic = {**_plan.without_secrets(checked["deploy_traffic"], driver.traffic_spec), "members": sorted(servers)}
        endpoints = _inventory.hosts_of(driver, traffic, inputs.members, self.task_vars)
        answers = _queries.balancers(self.action, driver, traffic, endpoints, self.task_vars)
        lines = [line for result in answers.values() for finding in result.get("findings") or ()
                 if finding["setting"] == "split" for line in finding["lines"]]
        return f": {' | '.join(dict.fromkeys(lines))}" if lines else ""

    def hook(self, name: str, path: str) -> tuple[str, list[str]]:
        """Where a hook's file lies, and its tasks' names: beside the playbook, or below the directory of the call."""
        action = self.action
        places = [os.path.join(place, path) for place in (action._loader.get_basedir(), os.getcwd())]
        found = next((os.path.abspath(place) for place in places if os.path.isfile(place)), None)
        if not found:
            raise DowntimeError(f"deploy_hooks.{name} is '{path}', which is no file here ({', '.join(dict.fromkeys(places))}); "
                                "a file with tasks is accepted")
        try:
            # Ansible reads it once more when its turn comes; what it cannot read then ends the whole run, members that are
            # out or not.
            tasks = load_list_of_tasks(action._loader.load_from_file(found), play=action._task.get_play(), loader=action._loader,
                                       variable_manager=self.task_vars["hostvars"]._variable_manager)
        except (AnsibleError, AssertionError) as error:
            raise DowntimeError(f"deploy_hooks.{name} is '{path}', which cannot be read as tasks: "
                                f"{' '.join(str(error).split())}") from error
        return found, _names_of(tasks)

    def _without(self, inputs: Inputs, traffic: dict[str, t.Any], endpoints: list[str], looking: bool) -> list[str]:
        """The balancers that are left out, each proven not to serve. Where nothing moves (C(looking)), nothing needs a proof."""
        checked, driver = inputs.checked, inputs.driver
        chosen = _excluded_balancers.named(checked["deploy_without"], endpoints, driver.runs_on)
        if looking or not chosen:
            return list(chosen)
        answers = _queries.balancers(self.action, driver, traffic, list(chosen), self.task_vars)
        public = _excluded_balancers.port_of(checked["deploy_evidence_url"], checked["deploy_evidence_connect_to"])
        for name, port in chosen.items():
            _excluded_balancers.prove(name, answers.get(name), self.variables.address(name), port or public, self.this)
        return list(chosen)

    def lock(self, checked: t.Mapping[str, t.Any], driver: _drivers.Driver, endpoints: t.Sequence[str],
             members: t.Sequence[str], without: t.Sequence[str]) -> dict[str, t.Any]:
        """Which hosts keep the lock, and where."""
        if checked["deploy_state_hosts"]:
            hosts = _inventory.group(checked["deploy_state_hosts"], "deploy_state_hosts", self.task_vars)
        else:
            has_own = _topology.brings_lock(driver, checked)
            hosts = _topology.keepers(driver, endpoints, members, _inventory.CONTROLLER, has_own)
        return _topology.lock_of(checked, driver, hosts, without)

    # --- observation

    def observation(self, inputs: Inputs, topology: Topology) -> Observation:
        """How things stand, by what endpoints and members answer now."""
        answers = self._answers(inputs, topology)
        if inputs.moves or inputs.verb == "drain":
            _plan.check_times(inputs.checked, answers)
        sides = _observation.of_the_run(inputs, topology, self._sides(inputs, topology, answers))
        own = _observation.added_by_strategy(inputs, answers)
        found = _observation.look(inputs, topology, answers, sides)
        capacity = self._capacity(inputs, topology, sides) or found.capacity
        if not inputs.looks:
            _plan.distinct_servers(topology.stands.by_side[sides.side])
        warnings = _observation.of_findings(inputs, found.findings)
        examined = Examination(self.action, self.task_vars, inputs, topology, sides)
        headers, notes = examined.headers(capacity)
        warnings += notes
        shadow = None
        if inputs.verb == "deploy" and inputs.checked["deploy_shadow"]:
            shadow = None if capacity["first"] else examined.shadow(answers)
            warnings += [] if shadow else ["deploy_shadow is set, but no member serves, so there is nothing to compare the release with"]
        if inputs.verb == "deploy" and "canary" in own and not capacity["first"]:
            own["sticky"] = any((result.get("split") or {}).get("sticky") for result in answers.values())
            warnings += self._times(inputs, topology, own, answers, examined)
        if inputs.moves:
            _plan.check_floor(capacity, inputs.checked["deploy_min_active"])
        _plan.batches(topology.stands.members, inputs.checked["deploy_batches"])
        return Observation(answers=answers, sides=sides, own=own, capacity=capacity, held=found.held, findings=found.findings,
                           headers=headers, notes=tuple(notes), shadow=shadow, warnings=tuple(warnings))

    def _answers(self, inputs: Inputs, topology: Topology) -> Answers:
        """What each endpoint has; nothing where none can be asked.

        A status has to work when a balancer does not answer: it asks by itself, and needs to know beforehand only which of
        two sides serves.
        """
        driver = inputs.driver
        if not driver.info or driver.info_args is None or (inputs.looks and len(topology.stands.sides) < 2):
            return {}

        def ask() -> _queries.Results:
            return _queries.balancers(self.action, driver, topology.traffic, list(topology.endpoints), self.task_vars,
                                      on_result=lambda host, _result: self.read_at.update({host: time.time()}))

        if inputs.looks:
            return {host: result for host, result in ask().items() if not result.get("failed")}
        results = _known(ask, inputs.checked["deploy_ready_timeout"])
        failed = [named("balancer", host, result)
                  + _excluded_balancers.hint(host, result, list(topology.endpoints), self.this)
                  for host, result in results.items() if result.get("failed")]
        if failed:
            raise DowntimeError("; ".join(failed))
        return results

    def _sides(self, inputs: Inputs, topology: Topology, answers: Answers) -> Sides:
        """Which side serves, and which one the run is about."""
        if inputs.looks and len(topology.stands.sides) > 1:
            # Whoever only looks has to see also what nobody may deploy on.
            found = _observation.sides_to_look_at(answers, inputs.app)
            other = next(side for side in topology.stands.sides if side != found.serving)
            return dataclasses.replace(found, side=other) if inputs.idle else found
        try:
            return _observation.sides_to_move(inputs, topology, answers, lambda: self.served(topology.lock))
        except DowntimeError as error:
            # Where somebody is about to move the shares, that is the reason, and nobody should set them by hand.
            raise DowntimeError(self._at_work(inputs.checked, topology.lock) or str(error)) from error

    def served(self, lock: dict[str, t.Any]) -> str | None:
        """The side that served when a deploy began that has not ended, by its journal."""
        results = _queries.locks(self.action, lock, self.task_vars)
        return (_lock.interrupted_of(_lock.journal_of(results)) or {}).get("serving")

    def _at_work(self, checked: t.Mapping[str, t.Any], lock: dict[str, t.Any]) -> str | None:
        """The sentence about a deploy that holds the lock and may be alive."""
        if lock["break"]:
            return None
        results = _queries.locks(self.action, lock, self.task_vars)
        held = {host: result["lock"] for host, result in results.items() if result.get("lock")}
        return next((_lock_holder.refusal({**self.this, "environment": checked["deploy_environment"]}, host, found)
                     for host, found in held.items() if not _lock_holder.dead(found)), None)

    def _capacity(self, inputs: Inputs, topology: Topology, sides: Sides) -> dict[str, t.Any] | None:
        """The capacity where no endpoint tells who serves; None where one does, or nobody has to know."""
        driver = inputs.driver
        if driver.has_platform and inputs.moves:
            return self._capacity_of_platform(inputs, topology, sides)
        asked_here = inputs.verb in ("deploy", "rollback") and not inputs.checked["deploy_health"].get("from")
        if driver.tells_members or not asked_here:
            return None
        serve = topology.stands.by_side[sides.serving]
        found = _reaching.capacity(driver.name, serve, _reaching.refusing(serve), inputs.checked["deploy_min_active"])
        return found if sides.side == sides.serving else _plan.unbound(found)

    def _capacity_of_platform(self, inputs: Inputs, topology: Topology, sides: Sides) -> dict[str, t.Any]:
        """Whether the platform runs anything. Before anything is begun it has shown that it answers."""
        serving: list[str] = []
        traffic = topology.traffic_of(inputs.driver, sides.side)
        for name, result in _queries.platform(self.action, inputs.driver, traffic, inputs.app, self.task_vars).items():
            if result.get("failed"):
                # Where somebody is at it, that may be the reason.
                raise DowntimeError(self._at_work(inputs.checked, topology.lock) or named("platform", name, result))
            serving += [name] if result["active"] else []
        return _observation.of_platform(serving)

    def _times(self, inputs: Inputs, topology: Topology, own: dict[str, t.Any], answers: Answers,
               examined: Examination) -> list[str]:
        """Add to the plan how long each share of a canary takes at the requests that come now; what is to be said of that."""
        canary, usual = own["canary"], inputs.checked["deploy_evidence_rate"]
        probe = _canary.evidence_rate(own, usual)
        rate = examined.rate(canary, probe if inputs.public else 0.0, answers, self.read_at)
        if rate is None:
            return []
        own["telling"] = _canary_times.told(canary, rate, probe if canary["latency"] == "probe" else None)
        warning = own["telling"]["warning"]
        return [f"deploy_canary.steps is {canary['steps']}, and {warning}"] if warning else []

    # --- plan

    def begun(self, inputs: Inputs, topology: Topology, observation: Observation) -> Plan:
        """The plan, with a name and a place for its records: from here on the run leaves traces."""
        checked = inputs.checked
        warnings = [*inputs.warnings, *topology.warnings, *observation.warnings]
        wanted = _plan.given_id(checked, inputs.verb) or _plan.name_of(
            inputs.started.strftime("%Y%m%dT%H%M%SZ"), checked["deploy_environment"], inputs.app, uuid.uuid4().hex[:6])
        plan = Plan(inputs=inputs, topology=topology, observation=observation, deploy_id=wanted,
                    records_dir=_events.records_in(checked["deploy_records_dir"]), run_dir=None,
                    evidence_rate=_canary.evidence_rate(observation.own, checked["deploy_evidence_rate"]))
        # What it refuses, it refuses before there is anything to clear away.
        plan.to_dict()
        deploy_id, run_dir = wanted, None
        if inputs.moves:
            deploy_id, run_dir = self._run_dir(plan)
            for text in observation.notes:
                _events.append(run_dir, "plan", "note", text=text)
        if deploy_id != wanted:
            warnings.append(f"deploy_id is '{wanted}', which another deploy has that runs or did not end; this one is {deploy_id}")
        return dataclasses.replace(plan, deploy_id=deploy_id, run_dir=run_dir, warnings=tuple(warnings))

    def prove_records(self, records_dir: str) -> None:
        """Raises DowntimeError where nothing can be written there."""
        try:
            _records_place.prove(records_dir)
        except OSError as error:
            raise _records_place.refusal(records_dir, error, self.this) from error

    def _run_dir(self, plan: Plan) -> tuple[str, str | None]:
        """This run's name, and where its events and samples go. The records directory is proven writable here, before
        anything moves.

        Where the name is taken by a run that has not ended, the next free one is this run's: neither may write into the
        other's files.
        """
        records_dir, started = plan.records_dir, plan.inputs.started.timestamp()
        self.prove_records(records_dir)
        try:
            if self.action._task.check_mode:
                return plan.deploy_id, None
            deploy_id, run_dir = _plan.free_name(plan.deploy_id, lambda name: _made(os.path.join(records_dir, ".running", name)))
            _events.start_clock(run_dir)
            _events.append(run_dir, "plan", "started", now=lambda: started)
            for balancer, result in plan.observation.answers.items():
                # The evidence begins with what the balancers have said, when they said it.
                _balance.append(run_dir, balancer, result, "started",
                                now=functools.partial(self.read_at.get, balancer, started))
        except OSError as error:
            raise _records_place.refusal(records_dir, error, self.this) from error
        return deploy_id, run_dir


def _known(ask: t.Callable[[], _queries.Results], timeout: float) -> _queries.Results:
    """What the balancers say once they have checked every server: one that has just started calls servers UP that nobody
    has looked at.

    :param timeout: seconds.
    """
    end = time.monotonic() + timeout
    while True:
        results = ask()
        unknown = any(not entry.get("known", True) for result in results.values() for pool in result.get("pools", [])
                      for entry in pool["members"])
        if not unknown or time.monotonic() > end:
            return results
        time.sleep(POLL)


def _names_of(tasks: t.Iterable[t.Any]) -> list[str]:
    """The names of tasks and of those in blocks; a task without one goes by its action."""
    found = []
    for task in tasks:
        if hasattr(task, "block"):
            found += _names_of([*task.block, *task.rescue, *task.always])
        else:
            found.append(task.name or task.action)
    return found


def _made(path: str) -> str | None:
    """The path of a directory that was made here; None where there is one already."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return None
    return path
