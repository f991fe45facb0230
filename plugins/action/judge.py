# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watch a release at one share of the requests, and judge it beside the old one."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, named
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._judge import metrics as _metrics
from ansible_collections.zero.downtime.plugins.module_utils._judge.prometheus import Prometheus
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries
from ansible_collections.zero.downtime.plugins.plugin_utils._evidence_keeper import SPEC, Keeper
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

SIDES: dict[str, t.Any] = {side: {"type": "raw"} for side in _metrics.SIDES}
PROGRESS = "progress.json"


class ActionModule(PlayAction):
    SPEC = {
        "canary": {"type": "dict", "default": {}},
        "share": {"type": "int", "required": True, "minimum": 1},
        "driver": {"type": "str", "required": True},
        "traffic": {"type": "dict", "required": True},
        "pools": {"type": "dict", "options": SIDES, "default": {}},
        "releases": {"type": "dict", "options": SIDES, "default": {}},
        "label": {"type": "str"},
        "sticky": {"type": "bool", "default": False},
        "max_failed": {"type": "int", "default": 0, "minimum": 0},
        "run_dir": {"type": "path"},
        "step": {"type": "str", "default": "judge"},
    }

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            if args["share"] > 99:
                raise DowntimeError(f"share is {args['share']}; 1 to 99 are accepted, since beyond that nothing is left to compare with")
            return self._judge(args, task_vars)
        except OSError as error:
            return {"failed": True, "msg": f"what the judge looked at in run_dir {self._task.args.get('run_dir')} cannot be kept: {error.strerror or error}"}

    def _judge(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        driver = _drivers.load(args["driver"])
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        counted = driver.info and driver.info_args is not None
        probing = bool((_events.load(args["run_dir"], "probe-config.json") or {}).get("url"))
        canary = _canary.check(args["canary"], "asked" if probing or self._task.check_mode else None, counted, "canary")
        sources = self._sources(args, canary, driver, traffic, task_vars)
        if self._task.check_mode:
            # Nobody gets a share now, so all there is to see is whether those who will be asked answer.
            for source in sources:
                source.begin()
            return {"changed": False, "verdict": None, "reasons": [], "share": args["share"]}
        kept = _events.load(args["run_dir"], _events.CANARY) or {"steps": [], "looks": []}
        clock = _events.clock(args["run_dir"])
        began = clock()
        _events.append(args["run_dir"], args["step"], "started")
        # Requests that were lost are nobody's to judge: the evidence allows for so many, and no more.
        evidence = Keeper(_spec.check({"state": "checked", "run_dir": args["run_dir"], "max_failed": args["max_failed"]}, SPEC),
                          _queries.sampler(self, driver, traffic, task_vars), self._task.check_mode)
        found, looks = _canary.watch(sources, canary, args["share"], kept["looks"], lambda: evidence.lost(args["step"]), sticky=args["sticky"])
        go_on = found["verdict"] == "pass" or (found.get("deadline") and canary["at_deadline"] == "go_on")
        reason = None if go_on else _canary.told(found, args["label"])
        if args["run_dir"]:
            step = {**found, "started": round(began, 3), "finished": round(clock(), 3)}
            # Of a look at a smaller share only the counts are needed later.
            counts = [{**look, **{side: {name: value for name, value in look[side].items() if name != "metrics"} for side in _metrics.SIDES}} for look in looks]
            _probe.write_json(os.path.join(args["run_dir"], _events.CANARY), {"steps": [*kept["steps"], step], "looks": [*kept["looks"], *counts]})
        _events.append(args["run_dir"], args["step"], "finished" if go_on else "failed", **({"reason": reason} if reason else {}))
        result = {"changed": False, "failed": not go_on, **found}
        if reason:
            result["msg"] = reason
        elif found["verdict"] != "pass":
            result["warnings"] = [f"nothing could be said at {args['share']} % of the requests after {found['waited']:.0f} s, and deploy_canary.at_deadline "
                                  f"is go_on: {' '.join(found['reasons'])}"]
        return result

    def _sources(self, args: dict[str, t.Any], canary: dict[str, t.Any], driver: _drivers.Driver, traffic: dict[str, t.Any],
                 task_vars: dict[str, t.Any]) -> list[_metrics.Source]:
        sources: list[_metrics.Source] = []
        if "balancer" in (canary["errors"], canary["latency"]):
            pools = {side: args["pools"].get(side) or [] for side in _metrics.SIDES}
            sources.append(_metrics.Balancers(lambda: self._counters(driver, traffic, task_vars), pools,
                                              canary["errors"] == "balancer", canary["latency"] == "balancer"))
        if "probe" in (canary["errors"], canary["latency"]) and not self._task.check_mode:
            sources.append(_metrics.Asked(lambda: _events.load(args["run_dir"], PROGRESS), args["releases"],
                                          canary["errors"] == "probe", canary["latency"] == "probe"))
        queries = {name: rule["query"] for name, rule in canary["metrics"].items() if rule["query"]}
        if queries:
            words = {side: {"side": side, "pool": "|".join(args["pools"].get(side) or []), "release": args["releases"].get(side) or ""}
                     for side in _metrics.SIDES}
            server = self._prometheus(canary["prometheus"], task_vars)
            sources.append(_metrics.Queries(lambda query, start, end: server.series(query, start, end, canary["interval"]), queries, words, time.time,
                                            canary["interval"], [name for name in queries if canary["metrics"][name]["nodata"] == "pass"]))
        return sources

    def _counters(self, driver: _drivers.Driver, traffic: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, list[dict[str, t.Any]]]:
        results = _queries.balancers(self, driver, traffic, _inventory.hosts_of(driver, traffic, [], task_vars), task_vars)
        failed = [named("balancer", host, result) for host, result in results.items() if result.get("failed")]
        if failed:
            raise DowntimeError(f"the canary cannot be judged: {'; '.join(failed)}")
        return {host: result.get("counters") or [] for host, result in results.items()}

    def _prometheus(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Prometheus:
        headers = options["headers"]
        if headers is None:
            # A plan leaves secrets out, since it is shown: they are read here, from the members' variables.
            headers = (_credentials.of_member(self, _canary.NAME, task_vars).get("prometheus") or {}).get("headers")
        return Prometheus(options["url"], headers=headers, timeout=options["timeout"], validate_certs=options["validate_certs"], ca_path=options["ca_path"],
                          name="deploy_canary.prometheus.url")
