# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resolve and check everything before anything moves (C(state=resolved)), then lay out the batches (C(state=batched)). Before all that, whether an
earlier run has left something on the idle side (C(state=looked))."""

from __future__ import annotations

import datetime
import functools
import os
import time
import typing as t
import uuid

from ansible.errors import AnsibleError
from ansible.playbook.helpers import load_list_of_tasks
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.zero.downtime.plugins.module_utils import _commands, _spec
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing, named, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._finding import MISSING_FILE, with_lines
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._health import readiness as _readiness
from ansible_collections.zero.downtime.plugins.module_utils._judge import canary_times as _canary_times
from ansible_collections.zero.downtime.plugins.module_utils._judge import metrics as _metrics
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import check_names
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.plugin_utils import _excluded_balancers
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _inventory, _payload, _reaching, _records_place, _whole_run
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._quiet import without_quiet
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded

display = Display()

POLL = 0.2
# Seconds that a member may take to say what it runs.
LOOK = 2.0
# Seconds between two readings of the counters at least, to see how many requests there are.
COUNTED = 3.0

SPEC = {
    "state": {"type": "str", "choices": ["resolved", "batched", "looked"], "default": "resolved"},
    "verb": {"type": "str", "choices": list(_plan.VERBS), "default": "deploy"},
    "strategy": {"type": "str", "choices": list(_drivers.STRATEGIES)},
    "plan": {"type": "dict"},
    "staged": {"type": "dict"},
    "locked": {"type": "dict", "default": {}},
}

# What somebody gives for one run, and has to give again in a command that goes on with it.
SAID = ("deploy_release", "deploy_strategy", "deploy_side", "deploy_members")
# As well, but only where it was given on the command line: an inventory has it for each run.
SAID_THERE = ("deploy_streams",)


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        try:
            _whole_run.check(self._task.get_play())
            args = _spec.check(self._task.args, SPEC)
            if args["state"] == "looked":
                return self._looked_back(task_vars)
            if args["state"] == "resolved":
                plan = self._resolve(args["verb"], task_vars, args["strategy"])
                _events.append(plan["run_dir"], "plan", "finished")
            else:
                plan = self._batch(args["plan"], args["staged"], args["locked"])
        except DowntimeError as error:
            return {"failed": True, "msg": str(error)}
        warnings = plan["warnings"] if args["state"] == "resolved" else [
            *(f"{name} cannot be reached and serves nobody: it is left out, and keeps what it runs" for name in plan["absent"]), *_stay_out(plan),
            *_lost_late(plan, args["locked"])]
        return {"changed": False, "plan": plan, "run_dir": plan["run_dir"], "warnings": warnings}

    def _resolve(self, verb: str, task_vars: dict[str, t.Any], instead: str | None = None) -> dict[str, t.Any]:
        """C(instead) is a strategy in place of that of the variables, for whoever asks what else would work."""
        # Before any balancer is asked: the balance sheet begins with what they say.
        started = datetime.datetime.now(datetime.timezone.utc)
        self._read_at: dict[str, float] = {}
        members = [host for host in task_vars["ansible_play_hosts_all"] if host != _inventory.CONTROLLER]
        variables = _inventory.Variables(self, task_vars)
        chosen = {"deploy_strategy": instead} if instead else {}
        stands = _inventory.spokesman(variables, task_vars)
        values = {**variables.of(stands), **chosen}
        # A typing error in one host's variables counts as much as one in a group's.
        warnings = check_names({name for member in members or [stands] for name in variables.names(member)})
        checked, driver = _plan.check_application(values, verb)
        if driver.has_platform:
            # It stands where members would.
            members = _inventory.hosts_of(driver, checked["deploy_traffic"], [], task_vars)
        elif not members:
            raise DowntimeError("the play has no members; hosts: localhost,<members> is needed, and deploy_hosts names the members")
        if isinstance(values.get("deploy_release"), float):
            warnings.append(f"deploy_release is the number {checked['deploy_release']}, and of 2.10 a number keeps 2.1; put the label in quotes")
        missing = [] if driver.has_platform else [
            host for host in _inventory.group(checked["deploy_hosts"], "deploy_hosts", task_vars) if host not in members]
        if missing:
            raise DowntimeError(f"the play lacks {', '.join(missing)} of deploy_hosts '{checked['deploy_hosts']}'; "
                                "a deploy is for all members, so no --limit is accepted")

        if verb in _plan.SHIFTS:
            # In the order in which they are needed, the first in a moment.
            movers = [driver.module("push")] if driver.has_platform else [f"{_drivers.COLLECTION}.releases", driver.module("members")]
            _fanout.prepare(self, [*([driver.module("info")] if driver.info else []), f"{_drivers.COLLECTION}.lock", *movers], task_vars)
        app = checked["deploy_app"]
        there = task_vars["hostvars"]._variable_manager.extra_vars
        said = {name: values[name] for name in (*SAID, *(name for name in SAID_THERE if name in there)) if values.get(name) is not None}
        # For commands that run this once more.
        self._this = {"verb": verb, "app": app, "said": said}
        last = None
        if verb in ("deploy", "rollback") and not instead:
            checked["deploy_strategy"], last = self._goes_on(verb, checked, said, driver, members, task_vars)
            if checked["deploy_strategy"] not in (said.get("deploy_strategy"), _going_on.DEFAULT, _plan.only_strategy(driver)):
                warnings.append(f"deploy_strategy is not set: it is {checked['deploy_strategy']}, by what was deployed before")
        if verb == "deploy" and checked["deploy_shadow"]:
            checked["deploy_shadow"] = _shadow.check(checked["deploy_shadow"], driver, checked["deploy_strategy"])
        # A restart is for what serves; only a release goes to the idle side.
        strategy = checked["deploy_strategy"] if verb in ("deploy", "rollback") else _plan.of_live(driver)
        _plan.check_verb(verb, driver)
        try:
            sides = _plan.sides_of(checked["deploy_traffic"], strategy, app)
        except DowntimeError as error:
            raise DowntimeError(f"{error}{self._lines(values, checked, driver, members, variables, task_vars)}") from error
        by_side: dict[str, dict[str, t.Any]] = {side: {} for side in sides}
        hooks: dict[str, tuple[str, list[str]]] = {}
        own_traffic, traffic_of = {}, {}
        for name in members if driver.has_platform else ():
            by_side[sides[0]][name] = _plan.platform(name, checked)
        for name in members if not driver.has_platform else ():
            own, _driver = _plan.check_application({**values, **variables.of(name, _inventory.PER_MEMBER)}, verb)
            traffic_of[name] = own["deploy_traffic"]
            if driver.runs_on == "members":
                own_traffic[name] = _plan.without_secrets(own["deploy_traffic"], driver.traffic_spec)
            for side in sides:
                by_side[side][name] = _plan.member(name, own, side, variables.address(name))
        warnings += _plan.differing(driver, traffic_of)
        if verb in _plan.SHIFTS:
            for side in sides:
                _plan.distinct_addresses(by_side[side])
            hooks = {name: self._hook(name, path, task_vars) for name, path in checked["deploy_hooks"].items() if path}
            checked["deploy_hooks"] = {name: hooks[name][0] if name in hooks else None for name in checked["deploy_hooks"]}

        traffic = _plan.without_secrets(checked["deploy_traffic"], driver.traffic_spec)
        if len(sides) > 1 and "counted_pools" in driver.traffic_spec:
            # Every reading counts the requests of both sides, whichever of them a call is about.
            traffic["counted_pools"] = [pool["name"] for pool in traffic["pools"]]
        if driver.complete:
            traffic = driver.complete(traffic, _plan.with_all_ports(by_side))
        balancers = _inventory.hosts_of(driver, traffic, members, task_vars)
        looking = verb in ("status", "retire")
        # What stops a side has to know all balancers that may use it; one that is dead is left out, as by a deploy, with the same proof.
        only_told = verb == "status"
        without = self._without(checked, driver, traffic, balancers, variables, only_told, task_vars)
        if without and not only_told:
            # Whoever is given this plan's traffic, evidence and moves alike, sees the others only.
            balancers = [name for name in balancers if name not in without]
            traffic = {**traffic, "balancers": balancers}
            left = agreeing(without, "does not serve, and the deploy goes on without it; status names it until it agrees",
                            "do not serve, and the deploy goes on without them; status names them until they agree")
            warnings.append(f"{left} with the others again")
        lock = self._lock(checked, driver, balancers, members, [] if only_told else without, task_vars)
        if driver.has_platform and verb in _plan.SHIFTS and lock["hosts"] == [_inventory.CONTROLLER]:
            warnings.append(_plan.ALONE)
        told = self._ask(driver, traffic, balancers, checked["deploy_ready_timeout"], looking, len(sides) > 1, task_vars)
        side_problem = None
        if looking and len(sides) > 1:
            # Whoever only looks has to see also what nobody may deploy on.
            serving_side, agree = _plan.most_served([result["split"] for result in told.values() if result.get("split")]), True
            side_problem = next((problem for problem in _plan.side_problems(told, app) if problem), None)
        else:
            # Of requests on both sides that no journal knows of, a person says where they belong.
            wanted = checked["deploy_side"] if verb == "rollback" else None
            try:
                serving_side, agree = _plan.serving_side(sides, told, strategy, lambda: self._served(lock, task_vars) or wanted, app)
            except DowntimeError as error:
                # Where somebody is about to move the shares, he is the reason, and nobody should set them by hand.
                raise DowntimeError(self._at_work(checked, lock, task_vars) or str(error)) from error
        side = serving_side
        if _drivers.strategy(strategy).SIDE == "idle":
            side = next(other for other in sides if other != serving_side)
        if checked["deploy_side"] and verb in ("drain", "activate"):
            if checked["deploy_side"] not in sides:
                raise DowntimeError(f"deploy_side is '{checked['deploy_side']}', and deploy_traffic.pools has no pool of that side; it has "
                                    f"{', '.join(sides) if len(sides) > 1 else 'none with a side'}")
            side = checked["deploy_side"]
        hosts = by_side[side]
        whole_traffic = traffic
        if "pools" in driver.traffic_spec:
            traffic = {**traffic, "pools": _plan.live_pools(traffic, side)}
        pools = [pool["name"] for pool in traffic.get("pools") or []]
        planned = getattr(_drivers.strategy(strategy), "planned", None)
        counted = bool(told) and all(any(row.get("pools") for row in result.get("counters") or ()) for result in told.values())
        own = planned(checked, counted) if planned else {}
        whole_sides = {name: _plan.side_of(by_side[name], _plan.live_pools(whole_traffic, name)) for name in sides} if len(sides) > 1 else {}
        capacity, held, findings = self._look(driver, whole_traffic, told, by_side, side, serving_side, checked["deploy_min_active"], looking)
        if driver.has_platform and verb in _plan.SHIFTS:
            capacity = self._of_platform(driver, traffic, checked, lock, task_vars)
        elif not driver.tells_members and verb in ("deploy", "rollback") and not checked["deploy_health"].get("from"):
            # No balancer can be asked, so the members are.
            serve = by_side[serving_side]
            capacity = _reaching.capacity(driver.name, serve, _reaching.refusing(serve), checked["deploy_min_active"])
            capacity = capacity if side == serving_side else _plan.unbound(capacity)
        if not looking:
            _plan.distinct_servers(hosts)
        warnings += [f"{finding['setting']}: {finding['text']}" + (with_lines(finding["lines"]) if finding["setting"] == MISSING_FILE else "")
                     for finding in findings if finding["level"] == "warning"]
        errors = [finding["text"] for finding in findings if finding["level"] == "error"]
        if errors and verb in _plan.SHIFTS:
            raise DowntimeError("; ".join(errors))
        public = None
        if checked["deploy_evidence_url"]:
            public = _public(checked)
        elif verb in _plan.SHIFTS:
            warnings.append("deploy_evidence_url is not set: no probe asks the public address, so this deploy lacks one of its three lines of evidence")

        headers, of_serving = self._headers(checked, verb, by_side, (serving_side, side), capacity, task_vars)
        warnings += of_serving

        shadow = None
        if verb == "deploy" and checked["deploy_shadow"] and capacity["first"]:
            warnings.append("deploy_shadow is set, but no member serves, so there is nothing to compare the release with")
        elif verb == "deploy" and checked["deploy_shadow"]:
            shadow = self._shadow(checked, told, by_side, (serving_side, side), whole_traffic, task_vars)
        if verb == "deploy" and "canary" in own and not capacity["first"]:
            own["sticky"] = any((result.get("split") or {}).get("sticky") for result in told.values())
            rate = self._rate(own["canary"], checked, driver, whole_traffic, told, _plan.live_pools(whole_traffic, serving_side), task_vars)
            if rate is not None:
                probe = _canary.evidence_rate(own, checked["deploy_evidence_rate"])
                own["telling"] = _canary_times.told(own["canary"], rate, probe if own["canary"]["latency"] == "probe" else None)
                warnings += [f"deploy_canary.steps is {own['canary']['steps']}, and {own['telling']['warning']}"] if own["telling"]["warning"] else []
        if verb in _plan.SHIFTS:
            _plan.check_floor(capacity, checked["deploy_min_active"])
        _plan.batches(members, checked["deploy_batches"])
        deploy_id = _plan.given_id(checked, verb) or _plan.name_of(
            started.strftime("%Y%m%dT%H%M%SZ"), checked["deploy_environment"], checked["deploy_app"], uuid.uuid4().hex[:6])
        records_dir = _events.records_in(checked["deploy_records_dir"])
        given, run_dir = deploy_id, None
        if verb in _plan.SHIFTS:
            deploy_id, run_dir = self._run_dir(records_dir, deploy_id, told, started.timestamp())
            for text in of_serving:
                _events.append(run_dir, "plan", "note", text=text)
        if deploy_id != given:
            warnings.append(f"deploy_id is '{given}', which another deploy has that runs or did not end; this one is {deploy_id}")
        return {
            "deploy_id": deploy_id, "verb": verb, "app": checked["deploy_app"], "environment": checked["deploy_environment"], "said": said, "last": last,
            "strategy": strategy, "driver": checked_driver(values), "side": side, "serving_side": serving_side,
            "sides_agree": agree, "side_problem": side_problem,
            "serving_pools": [pool["name"] for pool in _plan.live_pools(whole_traffic, serving_side)],
            "serving_slots": {name: host["slot"] for name, host in by_side[serving_side].items()}, "pools": pools, "balancers": balancers,
            "platform": members[0] if driver.has_platform else None, "push_timeout": checked["deploy_push_timeout"],
            "traffic": traffic, "whole_traffic": whole_traffic, "own_traffic": own_traffic, "members": members, "hosts": hosts,
            "servers": {name: host["server"] for name, host in hosts.items()},
            # What is restarted is what serves, also before a canary, whose release is named in the same run.
            "release": None if verb == "restart" else checked["deploy_release"] or ("previous" if verb == "rollback" else None),
            # Less its secrets, which each host's task reads for itself.
            "artifact": {key: _artifact.shown(value) for key, value in checked["deploy_artifact"].items()
                         if key not in ("root", "headers") and value is not None}
            if verb in ("deploy", "activate") else None,
            "health": {**checked["deploy_health"], "smoke": _plan.smoke_of(checked["deploy_health"], public)}, "hooks": checked["deploy_hooks"],
            "batch_sizes": checked["deploy_batches"], "batch_pause": checked["deploy_batch_pause"], "min_active": checked["deploy_min_active"],
            "capacity": capacity, "drain_timeout": checked["deploy_drain_timeout"],
            **_plan.drain_actions(checked, driver.cuts, verb), "ready_timeout": checked["deploy_ready_timeout"], "soak": checked["deploy_soak"],
            "streams": _plan.of_streams(checked, traffic, driver, strategy, verb, told),
            "evidence": {"url": checked["deploy_evidence_url"], "rate": _canary.evidence_rate(own, checked["deploy_evidence_rate"]),
                         "paths": checked["deploy_evidence_paths"], "max_slowdown": checked["deploy_evidence_max_slowdown"],
                         "judge_4xx": checked["deploy_evidence_judge_4xx"], "max_failed": checked["deploy_evidence_max_failed"],
                         "connect_to": checked["deploy_evidence_connect_to"],
                         "streams": _plan.streams(checked["deploy_evidence_methods"]), "validate_certs": checked["deploy_evidence_validate_certs"],
                         "ca_path": checked["deploy_evidence_ca_path"], "http2": checked["deploy_evidence_http2"]},
            "shadow": shadow, "records_dir": records_dir, "run_dir": run_dir,
            "keep": checked["deploy_keep_releases"], "pinned": checked["deploy_pinned"], "chosen": checked["deploy_members"],
            "lock": lock, "without": without,
            "sides": whole_sides, "retire": _plan.retirement(checked, strategy, verb, whole_sides),
            "held": held if verb in _plan.SHIFTS else [], "max_absent": checked["deploy_max_absent"],
            # So that a failure can name the hook whose task it was.
            "hook_tasks": {name: {"file": path, "tasks": tasks} for name, (path, tasks) in hooks.items()},
            # Only these need tasks of the members' own within a batch.
            "hooks_on_members": bool(checked["deploy_hooks"]["restart"] or checked["deploy_hooks"]["after_activate"]),
            "headers": headers,
            "findings": findings, "warnings": warnings, "started": started.timestamp(), **own,
        }

    def _goes_on(self, verb: str, checked: dict[str, t.Any], said: t.Mapping[str, t.Any], driver: _drivers.Driver, members: list[str],
                 task_vars: dict[str, t.Any]) -> tuple[str, dict[str, t.Any] | None]:
        """The strategy, and the last deploy that ended well: by what was set, and what state hosts know of deploys before."""
        lock, interrupted, last = self._left(checked, driver, members, task_vars)
        try:
            named = checked["deploy_release"] or checked["deploy_side"]
            given = said.get("deploy_strategy") or (_going_on.SWITCH if verb == "rollback" and checked["deploy_side"] else _plan.only_strategy(driver))
            return _going_on.strategy(verb, checked["deploy_app"], given, named, interrupted, last), last
        except DowntimeError as error:
            # Where somebody is at it, he is the reason.
            raise DowntimeError(self._at_work(checked, lock, task_vars) or str(error)) from error

    def _left(self, checked: dict[str, t.Any], driver: _drivers.Driver, members: list[str],
              task_vars: dict[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any] | None, dict[str, t.Any] | None]:
        """The lock, what was left unfinished, and the last that ended well, where an application has two sides."""
        lock: dict[str, t.Any] = {}
        interrupted = last = None
        if len({pool.get("side") for pool in checked["deploy_traffic"].get("pools") or ()} & set(_plan.SIDES)) == len(_plan.SIDES):
            # With one side there is one way.
            balancers = _inventory.hosts_of(driver, checked["deploy_traffic"], members, task_vars)
            left_out = _excluded_balancers.named(checked["deploy_without"], balancers, driver.runs_on)
            lock = self._lock(checked, driver, balancers, members, list(left_out), task_vars)
            answers = _queries.locks(self, lock, task_vars)
            interrupted, last = _lock.interrupted_of(_lock.journal_of(answers)), _lock.newest(answers)
        return lock, interrupted, last

    def _looked_back(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Whether a run that has not ended moved the idle side: the next one goes on there, and nobody restarts what serves before."""
        members = [host for host in task_vars["ansible_play_hosts_all"] if host != _inventory.CONTROLLER]
        variables = _inventory.Variables(self, task_vars)
        checked, driver = _plan.check_application(variables.of(_inventory.spokesman(variables, task_vars)), "deploy")
        interrupted = self._left(checked, driver, members, task_vars)[1]
        begun = _going_on.begun(interrupted)
        return {"changed": False, "begun": begun, "warnings": [
            f"{_going_on.told(interrupted)} has not ended: this one goes on from there, and what serves is not restarted before"
        ] if interrupted and begun else []}

    def _lines(self, values: dict[str, t.Any], checked: dict[str, t.Any], driver: _drivers.Driver, members: list[str],
               variables: _inventory.Variables, task_vars: dict[str, t.Any]) -> str:
        """For a sentence, the lines that give the application a second side, as far as a balancer can tell them."""
        own = {name: _plan.check_application({**values, **variables.of(name, _inventory.PER_MEMBER)}, "status")[0] for name in members}
        servers = {pool.get("server") or name for name, one in own.items() for pool in one["deploy_traffic"].get("pools") or ()}
        traffic = {**_plan.without_secrets(checked["deploy_traffic"], driver.traffic_spec), "members": sorted(servers)}
        answers = _queries.balancers(self, driver, traffic, _inventory.hosts_of(driver, traffic, members, task_vars), task_vars)
        lines = [line for result in answers.values() for finding in result.get("findings") or () if finding["setting"] == "split" for line in finding["lines"]]
        return f": {' | '.join(dict.fromkeys(lines))}" if lines else ""

    def _ask(self, driver: _drivers.Driver, traffic: dict[str, t.Any], balancers: list[str], ready_timeout: int, looking: bool, sides: bool,
             task_vars: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
        """What each balancer has; nothing where none can be asked.

        A status has to work when a balancer does not answer: it asks by itself, and needs to know beforehand only which of two sides serves.
        """
        if not driver.info or driver.info_args is None or (looking and not sides):
            return {}

        def ask() -> dict[str, dict[str, t.Any]]:
            return _queries.balancers(self, driver, traffic, balancers, task_vars, on_result=lambda host, _result: self._read_at.update({host: time.time()}))

        if looking:
            return {host: result for host, result in ask().items() if not result.get("failed")}
        results = self._known(ask, ready_timeout)
        failed = [named("balancer", host, result) + _excluded_balancers.hint(host, result, balancers, self._this)
                  for host, result in results.items() if result.get("failed")]
        if failed:
            raise DowntimeError("; ".join(failed))
        return results

    def _rate(self, canary: t.Mapping[str, t.Any], checked: t.Mapping[str, t.Any], driver: _drivers.Driver, traffic: dict[str, t.Any],
              told: t.Mapping[str, dict[str, t.Any]], pools: t.Sequence[t.Mapping[str, t.Any]], task_vars: dict[str, t.Any]) -> float | None:
        """Requests a second by which a canary will be judged: those of the users now, by a second reading of the counters, and those of the probe."""
        probe = _canary.evidence_rate({"canary": canary}, checked["deploy_evidence_rate"]) if checked["deploy_evidence_url"] else 0.0
        if canary["errors"] == "probe":
            return probe
        time.sleep(max(0.0, max(self._read_at.values()) + COUNTED - time.time()))
        again = _queries.balancers(self, driver, traffic, list(told), task_vars)
        if any(result.get("failed") for result in again.values()):
            return None
        readings = iter((told, again))
        source = _metrics.Balancers(lambda: {host: result.get("counters") or [] for host, result in next(readings).items()},
                                    {"canary": [], "baseline": [pool["name"] for pool in pools]}, True, False)
        source.begin()
        return source.look()["baseline"]["requests"] / max(COUNTED, time.time() - max(self._read_at.values())) + probe

    def _look(self, driver: _drivers.Driver, traffic: dict[str, t.Any], told: dict[str, dict[str, t.Any]], by_side: dict[str, dict[str, t.Any]], side: str,
              serving_side: str, min_active: str, looking: bool) -> tuple[dict[str, t.Any], list[str], list[dict[str, t.Any]]]:
        """The capacity, the members of C(side) that somebody has out, and the findings; every member is checked against what the balancers have."""
        if looking:
            return {"first": False, "most": None, "tightest": ""}, [], []
        hosts = by_side[side]
        findings = [{**finding, "balancer": balancer} for balancer, result in told.items() for finding in result.get("findings", [])]
        if not driver.tells_members:
            found = {**_plan.capacity({driver.name: [{"full": True} for _name in hosts]}, min_active), "first": False}
            return found if side == serving_side else _plan.unbound(found), [], findings
        pools = {}
        held, serving, ready, down = set(), set(), set(hosts), set(by_side[serving_side])
        serving_out = {}
        of_pool = {pool["name"]: pool.get("side") or side for pool in traffic["pools"]}
        for balancer, result in told.items():
            for pool in result["pools"]:
                have = {entry["name"]: entry for entry in pool["members"]}
                for name, host in by_side[of_pool[pool["name"]]].items():
                    _plan.check_server(pool, balancer, name, host["server"])
                if of_pool[pool["name"]] == side:
                    # Somebody took it out: it is staged and activated, and stays out.
                    held |= {name for name, host in hosts.items() if have[host["server"]]["state"] in ("drained", "draining")}
                    ready &= {name for name, host in hosts.items() if have[host["server"]]["full"]}
                if of_pool[pool["name"]] == serving_side:
                    down &= {name for name, host in by_side[serving_side].items() if have[host["server"]]["state"] == "down"}
                    serving |= {name for name, host in by_side[serving_side].items() if have[host["server"]]["state"] not in ("down", "drained")}
                    serving_out.update((name, host["server"]) for name, host in by_side[serving_side].items()
                                       if have[host["server"]]["state"] in ("drained", "draining"))
                    pools[f"pool {pool['name']} on {balancer}"] = _plan.regular(pool["members"])
        capacity = {**_plan.capacity(pools, min_active), "serving": sorted(serving), "ready": sorted(ready), "down": sorted(down & set(by_side[serving_side]))}
        if side != serving_side:
            capacity = _plan.unbound(capacity, serving_out)
        return capacity, [name for name in hosts if name in held], findings

    def _of_platform(self, driver: _drivers.Driver, traffic: dict[str, t.Any], checked: dict[str, t.Any], lock: dict[str, t.Any],
                     task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The capacity of a platform, which nobody is taken out of: whether it runs anything. Before anything is begun it has shown that it answers."""
        for name, result in _queries.platform(self, driver, traffic, checked["deploy_app"], task_vars).items():
            if result.get("failed"):
                # Where somebody is at it, he may be the reason.
                raise DowntimeError(self._at_work(checked, lock, task_vars) or named("platform", name, result))
            serving = [name] if result["active"] else []
        return {"first": not serving, "most": None, "tightest": "", "impossible": "", "serving": serving, "down": []}

    def _shadow(self, checked: dict[str, t.Any], told: dict[str, dict[str, t.Any]], by_side: dict[str, dict[str, t.Any]], sides: tuple[str, str],
                traffic: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What the shadow has to know; the logs are really read, so that one without requests is found before anything moves."""
        live, idle = ((_plan.live_pools(traffic, side)[0]["name"], by_side[side]) for side in sides)
        found = {**checked["deploy_shadow"], "targets": _shadow.targets(told, live, idle), "backends": [pool["name"] for pool in traffic["pools"]],
                 "release_header": checked["deploy_health"]["header"]}
        if found["method"] == "replay":
            if not found["host"] and checked["deploy_evidence_url"]:
                found["host"] = _probe.parse_target(checked["deploy_evidence_url"]).authority

            def work(args: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
                # In a process of its own, which ends with this.
                self._task.check_mode = True
                return _payload.execute(self, f"{_drivers.COLLECTION}.replay", args, variables)

            try:
                without_quiet(_fanout.run_on(self, list(found["targets"]), f"{_drivers.COLLECTION}.replay", lambda host: _shadow.replay_args(found, host),
                                             task_vars, work=work, timeout=_fanout.limit(self, _fanout.QUESTION)))
            except DowntimeError as error:
                raise DowntimeError(f"deploy_shadow.log cannot be used: {error}") from error
        return found

    def _headers(self, checked: dict[str, t.Any], verb: str, by_side: dict[str, dict[str, t.Any]], sides: tuple[str, str], capacity: dict[str, t.Any],
                 task_vars: dict[str, t.Any]) -> tuple[dict[str, list[str]], list[str]]:
        """Who sends the header of its release now, and who is ready without it, on the side that gets the release; and what is to be said of those
        that serve. Nobody is asked where nothing serves yet."""
        health, (serving_side, side) = checked["deploy_health"], sides
        headers: dict[str, list[str]] = {"sent": [], "lacking": []}
        if verb not in _plan.SHIFTS or capacity["first"] or not health.get("path"):
            return headers, []
        answers = {one: self._looked(by_side[one], health, task_vars) for one in (dict.fromkeys(sides) if health.get("header") else [serving_side])}
        # Of a side that is not touched, and where no balancer can be asked, all of them.
        serving = capacity.get("serving") or by_side[serving_side]
        serve = [answer for answer in answers[serving_side] if answer["name"] in serving and answer["name"] not in capacity.get("down", ())]
        _readiness.check_restart(verb, health, serve)
        warnings = _readiness.warnings(verb, side != serving_side, health, serve)
        if health.get("header"):
            headers = _proof.sorted_out(answers[side], health["status"])
            lacking = _proof.sorted_out(serve, health["status"])["lacking"]
            warnings += [_proof.warning(verb, health["header"], lacking)] if lacking else []
        return headers, warnings

    def _looked(self, hosts: dict[str, t.Any], health: dict[str, t.Any], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """What each member's readiness check answers now, asked once from where it is asked in the deploy."""
        given = {"members": [{"name": name, "url": host["url"]} for name, host in hosts.items() if host["url"]], "passes": 1, "timeout": 1,
                 "status": health["status"], "header": health["header"], "body": health.get("body"), "on_failure": "report"}
        given = {name: value for name, value in given.items() if value is not None}
        if health.get("from"):
            return _fanout.run_on(self, [health["from"]], f"{_drivers.COLLECTION}.health_gate", lambda _host: given, task_vars, what="host")[
                health["from"]].get("members", [])
        return _health.look(_spec.check(given, _health.argument_spec()), LOOK)

    def _without(self, checked: dict[str, t.Any], driver: _drivers.Driver, traffic: dict[str, t.Any], balancers: list[str],
                 variables: _inventory.Variables, looking: bool, task_vars: dict[str, t.Any]) -> list[str]:
        """The balancers that are left out, each proven not to serve. Where nothing moves (C(looking)), nothing needs a proof."""
        chosen = _excluded_balancers.named(checked["deploy_without"], balancers, driver.runs_on)
        if looking:
            return list(chosen)
        answers = _queries.balancers(self, driver, traffic, list(chosen), task_vars) if chosen else {}
        for name, port in chosen.items():
            public = _excluded_balancers.port_of(checked["deploy_evidence_url"], checked["deploy_evidence_connect_to"])
            _excluded_balancers.prove(name, answers.get(name), variables.address(name), port or public, self._this)
        return list(chosen)

    def _known(self, ask: t.Callable[[], dict[str, dict[str, t.Any]]], timeout: float) -> dict[str, dict[str, t.Any]]:
        """What the balancers say once they have checked every server: one that has just started calls servers UP that nobody has looked at."""
        end = time.monotonic() + timeout
        while True:
            results = ask()
            unknown = any(not entry.get("known", True) for result in results.values() for pool in result.get("pools", []) for entry in pool["members"])
            if not unknown or time.monotonic() > end:
                return results
            time.sleep(POLL)

    def _run_dir(self, records_dir: str, deploy_id: str, told: t.Mapping[str, dict[str, t.Any]], started: float) -> tuple[str, str | None]:
        """This run's name, and where its events and samples go. The records directory is proven writable here, before anything moves.

        Where the name is taken by a run that has not ended, the next free one is this run's: neither may write into the other's files.
        """
        try:
            _records_place.prove(records_dir)
            if self._task.check_mode:
                return deploy_id, None
            deploy_id, run_dir = _plan.free_name(deploy_id, lambda name: _made(os.path.join(records_dir, ".running", name)))
            _events.start_clock(run_dir)
            _events.append(run_dir, "plan", "started", now=lambda: started)
            for balancer, result in told.items():
                # The evidence begins with what the balancers have said, when they said it.
                _balance.append(run_dir, balancer, result, "started", now=functools.partial(self._read_at.get, balancer, started))
        except OSError as error:
            raise _records_place.refusal(records_dir, error, self._this) from error
        return deploy_id, run_dir

    def _hook(self, name: str, path: str, task_vars: dict[str, t.Any]) -> tuple[str, list[str]]:
        """Where a hook's file lies, and its tasks' names: beside the playbook, or below the directory that ansible-playbook was called in."""
        places = [os.path.join(place, path) for place in (self._loader.get_basedir(), os.getcwd())]
        found = next((os.path.abspath(place) for place in places if os.path.isfile(place)), None)
        if not found:
            raise DowntimeError(f"deploy_hooks.{name} is '{path}', which is no file here ({', '.join(dict.fromkeys(places))}); a file with tasks is accepted")
        try:
            # Ansible reads it once more when its turn comes; what it cannot read then ends the whole run, members that are out or not.
            tasks = load_list_of_tasks(self._loader.load_from_file(found), play=self._task.get_play(), loader=self._loader,
                                       variable_manager=task_vars["hostvars"]._variable_manager)
        except (AnsibleError, AssertionError) as error:
            raise DowntimeError(f"deploy_hooks.{name} is '{path}', which cannot be read as tasks: {' '.join(str(error).split())}") from error
        return found, _names_of(tasks)

    def _lock(self, checked: dict[str, t.Any], driver: _drivers.Driver, balancers: list[str], members: list[str], without: list[str],
              task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Which hosts keep the lock, and where."""
        hosts = balancers if driver.runs_on == "balancers" else [_inventory.CONTROLLER] if driver.has_platform else members[:1]
        if checked["deploy_state_hosts"]:
            hosts = _inventory.group(checked["deploy_state_hosts"], "deploy_state_hosts", task_vars)
        hosts = [name for name in hosts if name not in without]
        if not hosts:
            raise DowntimeError(f"deploy_state_hosts is '{checked['deploy_state_hosts']}', and deploy_without leaves none of them")
        directory = os.path.normpath(checked["deploy_state_dir"])
        if not os.path.isabs(directory):
            raise DowntimeError(f"deploy_state_dir is '{checked['deploy_state_dir']}'; an absolute path is accepted")
        name = _lock.name_of(checked["deploy_app"], checked["deploy_environment"])
        return {"hosts": hosts, "directory": directory, "name": name, "path": os.path.join(directory, name + ".lock"), "break": checked["deploy_lock_break"],
                # A name that a person gave may be given twice, as by a job that is tried again.
                "key": uuid.uuid4().hex}

    def _at_work(self, checked: dict[str, t.Any], lock: dict[str, t.Any], task_vars: dict[str, t.Any]) -> str | None:
        """The sentence about a deploy that holds the lock and may be alive."""
        if lock["break"]:
            return None
        held = {host: result["lock"] for host, result in _queries.locks(self, lock, task_vars).items() if result.get("lock")}
        return next((_lock_holder.refusal({**self._this, "environment": checked["deploy_environment"]}, host, found)
                     for host, found in held.items() if not _lock_holder.dead(found)), None)

    def _served(self, lock: dict[str, t.Any], task_vars: dict[str, t.Any]) -> str | None:
        """The side that served when a deploy began that has not ended, by its journal."""
        results = _queries.locks(self, lock, task_vars)
        return (_lock.interrupted_of(_lock.journal_of(results)) or {}).get("serving")

    def _batch(self, plan: dict[str, t.Any], staged: dict[str, t.Any], locked: dict[str, t.Any]) -> dict[str, t.Any]:
        _plan.serves_whole(plan, locked.get("out", []), locked.get("interrupted"))
        # What an earlier deploy took out nobody holds: this one brings it back.
        orphans = [name for name in plan["held"] if plan["servers"][name] in locked.get("out", [])]
        plan = {**plan, "held": [name for name in plan["held"] if name not in orphans]}
        if "serving" not in plan["capacity"]:
            # No balancer can be asked.
            away = [name for name, result in staged.items() if result.get("unreachable_host")]
            serving = _reaching.serving(plan["hosts"], plan["capacity"].get("down", ()), away)
            plan = {**plan, "capacity": {**plan["capacity"], "serving": serving}}
        plan = {**plan, **_drivers.strategy(plan["strategy"]).lay_out(plan, staged, orphans, locked.get("interrupted"))}
        plan = {**plan, "evidence": {**plan["evidence"], **_answers.known(plan)}}
        if plan.get("ended"):
            _events.append(plan["run_dir"], "plan", "note", served_before=True,
                           text=f"{plan['ended']['told']} had brought users {_outcome.label_of(plan['ended']['release'])}, and is ended by this run")
        if self._task.check_mode or display.verbosity:
            for line in describe(plan):
                display.display(line)
        return plan


def _public(checked: t.Mapping[str, t.Any]) -> _probe.Target:
    """Where the probe will ask, and that it can speak there what was chosen."""
    try:
        target = _probe.parse_target(checked["deploy_evidence_url"], checked["deploy_evidence_connect_to"])
    except _probe.BadConfig as error:
        url = f"deploy_evidence_url is '{shown_url(checked['deploy_evidence_url'])}'"
        raise DowntimeError(f"{url}: {error.reason}") from error
    try:
        _probe.http2_of(checked["deploy_evidence_http2"], target.scheme)
        _probe.check_paths(checked["deploy_evidence_paths"])
    except _probe.BadConfig as error:
        raise DowntimeError(f"deploy_evidence_{error}") from error
    return target


def _stay_out(plan: dict[str, t.Any]) -> list[str]:
    """Of members that a person took out; whom a deploy left out that did not end is known by now, and is none of them."""
    if not plan["held"]:
        return []
    side = None if _plan.lacks_side(plan["whole_traffic"]) else plan["side"]
    back = _commands.command("activate", plan["app"], deploy_side=side, deploy_members=plan["held"])
    were = agreeing(plan["held"], "was taken out of traffic before this deploy: it gets the release and stays out",
                    "were taken out of traffic before this deploy: they get the release and stay out")
    return [f"{were}; {back} brings {'it' if len(plan['held']) == 1 else 'them'} back"]


def _lost_late(plan: dict[str, t.Any], locked: t.Mapping[str, t.Any]) -> list[str]:
    """What was lost, of the requests that were open when the last deploy ended, by the time this one began: later nobody can tell.

    Where a deploy has died since, what it moved has changed the counters.
    """
    if not plan["run_dir"] or locked.get("taken_over") or locked.get("interrupted"):
        return []
    begun = {sample["balancer"]: sample for sample in _balance.read(plan["run_dir"]) if sample["at"] == "started"}
    late = _late.look(plan["records_dir"], plan["app"], plan["environment"], begun, write=True)
    return [late["sentence"]] if late and late["lost"] else []


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


def checked_driver(values: t.Mapping[str, t.Any]) -> str:
    return str(values["deploy_traffic"]["driver"])


def _anew(plan: t.Mapping[str, t.Any], members: t.Sequence[str]) -> str:
    """Of a batch: who does not serve now."""
    dead = [name for name in members if name in plan.get("not_serving", ())]
    told = "does not serve now, and is begun anew" if len(dead) == 1 else "do not serve now, and are begun anew"
    return f" ({', '.join(dead)} {told})" if dead else ""


def _of_streams(plan: t.Mapping[str, t.Any]) -> str:
    """What becomes of streams, as a step."""
    if plan["streams"]["mode"] == "cut":
        return "cut streams"
    return "have streams ended by the hook end_streams" if plan["hooks"].get("end_streams") else "have streams ended by the application's stop signal"


def describe(plan: t.Mapping[str, t.Any]) -> list[str]:
    """The plan as lines for a person."""
    release, previous = plan["release"], plan["previous"]
    lines = [f"Plan: {plan['verb']} {plan['app']} ({plan['environment']}) to {release['label']} ({release['digest'][:12]})"
             + (f" from {previous['label']} ({previous['digest'][:12]})" if previous else ", the first release")]
    if plan.get("platform"):
        return [*lines, f"  push by {plan['driver']}: {plan['platform']} brings its own members to it, within {plan['push_timeout']} s" if plan["batches"] else
                f"  {plan['platform']} runs this release already; nothing moves"]
    lines.append(f"  {plan['strategy']} by {plan['driver']} on {', '.join(plan['balancers'])}; floor {plan['min_active']}"
                 + (f"; no member serves {'now' if previous else 'yet'}" if plan["first"] else ""))
    lines += [f"  batch {batch['n']}: {', '.join(batch['members'])}{_anew(plan, batch['members'])}: drain at most {plan['drain_timeout']} s, "
              f"{_of_streams(plan) + ', ' if plan['streams']['out'] else ''}activate, "
              f"{plan['health']['passes'] if plan['health'].get('path') else 'no'} passes, return" for batch in plan["batches"]]
    if plan.get("switch"):
        small = [step for step in plan.get("steps") or () if step < 100]
        if small:
            lines.append(f"  {plan['switch']['to']} gets {', '.join(map(str, small))} % of the requests, is watched for "
                         f"{plan['canary']['step_time']:g} s or more at each share, and goes back as soon as it is worse")
            if plan.get("telling"):
                lines.append(f"  {_canary_times.line(plan['telling'])}")
        lines.append(f"  switch every request from {plan['switch']['from']} to {plan['switch']['to']}; {plan['switch']['from']} is left as it is")
        if plan["streams"]["behind"]:
            lines.append(f"  {_of_streams(plan)} on {plan['switch']['from']}, which is warm again then")
    elif not plan["batches"]:
        lines.append("  every member runs this release already; nothing moves")
    if (plan.get("retire") or {}).get("at_end"):
        lines.append(f"  stop the side that does not serve, once it has seen no request for {plan['retire']['idle_for']} s "
                     f"(at most {plan['drain_timeout']} s later)")
    return lines
