# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan asks of members and logs once it knows which side serves. Private to the collection."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._health import readiness as _readiness
from ansible_collections.zero.downtime.plugins.module_utils._judge import metrics as _metrics
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.inputs import Inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan.observation import Answers, Sides
from ansible_collections.zero.downtime.plugins.module_utils._plan.topology import Hosts, Topology
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _payload, _queries

# Seconds that a member may take to say what it runs.
LOOK = 2.0
# Seconds between two readings of the counters at least, to see how many requests there are.
COUNTED = 3.0


class Examination:
    """Asks members, logs and counters for what the plan needs beyond who serves."""

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], inputs: Inputs, topology: Topology, sides: Sides) -> None:
        self.action, self.task_vars = action, task_vars
        self.inputs, self.topology, self.sides = inputs, topology, sides

    def headers(self, capacity: t.Mapping[str, t.Any]) -> tuple[dict[str, list[str]], list[str]]:
        """Who sends the header of its release now, and who is ready without it, on the side that gets the release; and
        what is to be said of those that serve. Nobody is asked where nothing serves yet."""
        verb, health = self.inputs.verb, self.inputs.checked["deploy_health"]
        serving_side, side = self.sides.both
        headers: dict[str, list[str]] = {"sent": [], "lacking": []}
        if not self.inputs.moves or capacity["first"] or not health.get("path"):
            return headers, []
        by_side = self.topology.stands.by_side
        asked = dict.fromkeys(self.sides.both) if health.get("header") else [serving_side]
        answers = {one: self._looked(by_side[one], health) for one in asked}
        # Of a side that is not touched, and where no balancer can be asked, all of them.
        serving = capacity.get("serving") or by_side[serving_side]
        serve = [answer for answer in answers[serving_side]
                 if answer["name"] in serving and answer["name"] not in capacity.get("down", ())]
        _readiness.check_restart(verb, health, serve)
        warnings = _readiness.warnings(verb, side != serving_side, health, serve)
        if health.get("header"):
            headers = _proof.sorted_out(answers[side], health["status"])
            lacking = _proof.sorted_out(serve, health["status"])["lacking"]
            warnings += [_proof.warning(verb, health["header"], lacking)] if lacking else []
        return headers, warnings

    def _looked(self, hosts: Hosts, health: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """What each member's readiness check answers now, asked once from where it is asked in the deploy."""
        members = [{"name": name, "url": host["url"]} for name, host in hosts.items() if host["url"]]
        given = {"members": members, "passes": 1, "timeout": 1, "status": health["status"], "header": health["header"],
                 "body": health.get("body"), "on_failure": "report"}
        given = {name: value for name, value in given.items() if value is not None}
        if health.get("from"):
            results = _fanout.run_on(self.action, [health["from"]], f"{_drivers.COLLECTION}.health_gate",
                                     lambda _host: given, self.task_vars, what="host")
            return results[health["from"]].get("members", [])
        return _health.look(_spec.check(given, _health.argument_spec()), LOOK)

    def shadow(self, answers: Answers) -> dict[str, t.Any]:
        """What the shadow has to know; the logs are really read, so that one without requests is found before anything
        moves."""
        checked, traffic, by_side = self.inputs.checked, self.topology.traffic, self.topology.stands.by_side
        live, idle = ((_plan.live_pools(traffic, side)[0]["name"], by_side[side]) for side in self.sides.both)
        found = {**checked["deploy_shadow"], "targets": _shadow.targets(answers, live, idle),
                 "backends": [pool["name"] for pool in traffic["pools"]], "release_header": checked["deploy_health"]["header"]}
        if found["method"] == "replay":
            if not found["host"] and self.inputs.public:
                found["host"] = self.inputs.public.authority
            self._read_logs(found)
        return found

    def _read_logs(self, shadow: t.Mapping[str, t.Any]) -> None:
        name = f"{_drivers.COLLECTION}.replay"

        def work(args: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
            # In a process of its own, which ends with this.
            self.action._task.check_mode = True
            return _payload.execute(self.action, name, args, variables)

        try:
            answers = _fanout.run_on(self.action, list(shadow["targets"]), name, lambda host: _shadow.replay_args(shadow, host),
                                     self.task_vars, work=work, timeout=_fanout.limit(self.action, _fanout.QUESTION))
            _shadow.without_quiet(answers)
        except DowntimeError as error:
            raise DowntimeError(f"deploy_shadow.log cannot be used: {error}") from error

    def rate(self, canary: t.Mapping[str, t.Any], probe: float, answers: Answers, read_at: t.Mapping[str, float]) -> float | None:
        """Requests a second by which a canary will be judged: those of the users now, by a second reading of the counters,
        and those of the probe. None where the counters cannot be read.

        :param probe: requests a second that the probe makes.
        :param answers: the first reading, and C(read_at), when it was made.
        """
        if canary["errors"] == "probe":
            return probe
        began = max(read_at.values())
        time.sleep(max(0.0, began + COUNTED - time.time()))
        again = _queries.balancers(self.action, self.inputs.driver, self.topology.traffic, list(answers), self.task_vars)
        if any(result.get("failed") for result in again.values()):
            return None
        readings = iter((answers, again))
        pools = {"canary": [], "baseline": self.topology.pools_of(self.sides.serving)}
        source = _metrics.Balancers(lambda: {host: result.get("counters") or [] for host, result in next(readings).items()},
                                    pools, True, False)
        source.begin()
        return source.look()["baseline"]["requests"] / max(COUNTED, time.time() - began) + probe
