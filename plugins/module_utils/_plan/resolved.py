# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last of the plan's four steps: all that a deploy has to know before anything moves. Pure. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.inputs import Inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan.observation import Observation
from ansible_collections.zero.downtime.plugins.module_utils._plan.topology import Topology


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that may begin. C(to_dict) is what the roles have; the module C(plan) documents it.

    :param deploy_id: the run's name.
    :param records_dir: where records lie on the controller.
    :param run_dir: where the run's events and samples go; None under check mode.
    :param evidence_rate: requests a second that the probe makes.
    """

    inputs: Inputs
    topology: Topology
    observation: Observation
    deploy_id: str
    records_dir: str
    run_dir: str | None
    evidence_rate: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, t.Any]:
        return {**self._run(), **self._sides(), **self._release(), **self._way(), **self._evidence(),
                **self.observation.own}

    def _run(self) -> dict[str, t.Any]:
        inputs, topology = self.inputs, self.topology
        return {
            "deploy_id": self.deploy_id, "verb": inputs.verb, "app": inputs.app,
            "environment": inputs.checked["deploy_environment"], "said": dict(inputs.said), "last": inputs.last,
            "strategy": inputs.strategy, "driver": inputs.driver_name,
            "records_dir": self.records_dir, "run_dir": self.run_dir, "started": inputs.started.timestamp(),
            "lock": topology.lock, "without": list(topology.without),
            "findings": list(self.observation.findings), "warnings": list(self.warnings),
        }

    def _sides(self) -> dict[str, t.Any]:
        """Where things stand, and what moves."""
        topology, found, stands = self.topology, self.observation, self.topology.stands
        side, serving = found.sides.side, found.sides.serving
        traffic = topology.traffic_of(self.inputs.driver, side)
        hosts = stands.by_side[side]
        return {
            "side": side, "serving_side": serving, "sides_agree": found.sides.agree, "side_problem": found.sides.problem,
            "serving_pools": topology.pools_of(serving),
            "serving_slots": {name: host["slot"] for name, host in stands.by_side[serving].items()},
            "pools": [pool["name"] for pool in traffic.get("pools") or []],
            "balancers": list(topology.endpoints),
            "platform": stands.members[0] if self.inputs.driver.has_platform else None,
            "traffic": traffic, "whole_traffic": topology.traffic, "own_traffic": dict(stands.own_traffic),
            "members": list(stands.members), "hosts": hosts,
            "servers": {name: host["server"] for name, host in hosts.items()},
            "sides": topology.whole_sides,
            "capacity": found.capacity, "held": list(found.held) if self.inputs.moves else [],
            "headers": dict(found.headers),
        }

    def _release(self) -> dict[str, t.Any]:
        """What is deployed, and when it is ready."""
        checked, verb = self.inputs.checked, self.inputs.verb
        named = checked["deploy_release"] or ("previous" if verb == "rollback" else None)
        artifact = {key: _artifact.shown(value) for key, value in checked["deploy_artifact"].items()
                    if key not in ("root", "headers") and value is not None}
        return {
            # What is restarted is what serves, also before a canary, whose release is named in the same run.
            "release": None if verb == "restart" else named,
            # Less its secrets, which each host's task reads for itself.
            "artifact": artifact if verb in ("deploy", "activate") else None,
            "health": {**checked["deploy_health"], "smoke": _plan.smoke_of(checked["deploy_health"], self.inputs.public)},
            "keep": checked["deploy_keep_releases"], "pinned": checked["deploy_pinned"],
        }

    def _way(self) -> dict[str, t.Any]:
        """How it moves there."""
        inputs, checked, topology = self.inputs, self.inputs.checked, self.topology
        hooks = {name: topology.hooks[name][0] if name in topology.hooks else None for name in checked["deploy_hooks"]
                 } if inputs.moves else checked["deploy_hooks"]
        return {
            "hooks": hooks,
            # So that a failure can name the hook whose task it was.
            "hook_tasks": {name: {"file": path, "tasks": tasks} for name, (path, tasks) in topology.hooks.items()},
            # Only these need tasks of the members' own within a batch.
            "hooks_on_members": bool(hooks["restart"] or hooks["after_activate"]),
            "batch_sizes": checked["deploy_batches"], "batch_pause": checked["deploy_batch_pause"],
            "min_active": checked["deploy_min_active"], "max_absent": checked["deploy_max_absent"],
            "chosen": checked["deploy_members"],
            "drain_timeout": checked["deploy_drain_timeout"],
            **_plan.drain_actions(checked, inputs.driver.cuts, inputs.verb),
            "ready_timeout": checked["deploy_ready_timeout"], "push_timeout": checked["deploy_push_timeout"],
            "soak": checked["deploy_soak"],
            "streams": _plan.of_streams(checked, topology.traffic_of(inputs.driver, self.observation.sides.side), inputs.driver,
                                        inputs.strategy, inputs.verb, self.observation.answers),
            "retire": _plan.retirement(checked, inputs.strategy, inputs.verb, topology.whole_sides, self._held_for()),
            "holds": inputs.driver.holds is not None,
        }

    def _held_for(self) -> int | None:
        """Seconds for which others may keep what they were told of the sides."""
        holds = self.inputs.driver.holds
        return holds(self.topology.traffic) if holds else None

    def _evidence(self) -> dict[str, t.Any]:
        checked = self.inputs.checked
        named = ("url", "paths", "max_slowdown", "judge_4xx", "max_failed", "connect_to", "validate_certs", "ca_path", "http2")
        return {
            "evidence": {**{name: checked[f"deploy_evidence_{name}"] for name in named}, "rate": self.evidence_rate,
                         "streams": _plan.streams(checked["deploy_evidence_methods"])},
            "shadow": self.observation.shadow,
        }
