# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's four steps, from variables and answers to what the roles have."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

import pytest
import yaml

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan import inputs as _inputs
from ansible_collections.zero.downtime.plugins.module_utils._plan import observation as _observation
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan import topology as _topology
from ansible_collections.zero.downtime.plugins.module_utils._plan.resolved import Plan
from ansible_collections.zero.downtime.plugins.modules import plan as module

MEMBERS = ("app1", "app2", "app3")
POOLS = [{"name": "shop_blue", "side": "blue", "port": 8000}, {"name": "shop_green", "side": "green", "port": 8001}]


def application(**changes: t.Any) -> dict[str, t.Any]:
    values = {
        "deploy_app": "shop", "deploy_hosts": "shop_app", "deploy_release": "2.0.0", "deploy_strategy": "blue_green",
        "deploy_artifact": {"root": "/srv/shop", "url": "https://art.example/shop.tar.gz", "headers": {"x-key": "s3cret"}},
        "deploy_service": {side: {"unit": f"shop-{side}.service"} for side in ("blue", "green")},
        "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "pools": POOLS},
        "deploy_health": {"path": "/ready"}, "deploy_evidence_url": "http://shop.example/",
    }
    return {**values, **changes}


def inputs_of(verb: str = "deploy", **changes: t.Any) -> _inputs.Inputs:
    values = application(**changes)
    checked, driver = _plan.check_application(values, verb)
    checked, strategy = _inputs.of_verb(verb, checked, driver)
    return _inputs.Inputs(verb=verb, checked=checked, values=values, driver=driver, members=MEMBERS, said={},
                          strategy=strategy, last=None, public=_inputs.public_of(checked),
                          started=datetime.datetime.fromtimestamp(1_800_000_000, datetime.timezone.utc))


def topology_of(inputs: _inputs.Inputs) -> _topology.Topology:
    sides = _plan.sides_of(inputs.checked["deploy_traffic"], inputs.strategy, inputs.app)
    own = {name: inputs.checked for name in inputs.members}
    stands = _topology.on_hosts(inputs, sides, own, lambda name: f"192.0.2.{name[-1]}")
    return _topology.Topology(stands=stands, traffic=stands.traffic, endpoints=("lb1", "lb2"), without=(),
                              lock=_topology.lock_of(inputs.checked, inputs.driver, ["lb1", "lb2"], ()), hooks={})


def answer(green: int = 0, **states: str) -> dict[str, t.Any]:
    """What a balancer says that sends so many percent of the requests to green."""
    def members(side: str) -> list[dict[str, t.Any]]:
        found = {name: states.get(name, "active") if side == "blue" else "down" for name in MEMBERS}
        return [{"name": name, "state": state, "full": state == "active", "weight": 100, "backup": False}
                for name, state in found.items()]

    pools = [{"name": pool["name"], "members": members(str(pool["side"]))} for pool in POOLS]
    shares = {"blue": 100 - green, "green": green}
    return {"split": {**shares, "kept": shares}, "pools": pools, "counters": [{"pools": [{"requests": 1}]}], "findings": []}


def observed(inputs: _inputs.Inputs, topology: _topology.Topology, **answers: dict[str, t.Any]) -> _observation.Observation:
    sides = _observation.sides_to_move(inputs, topology, answers, lambda: None)
    look = _observation.look(inputs, topology, answers, sides)
    return _observation.Observation(answers=answers, sides=sides, own=_observation.added_by_strategy(inputs, answers),
                                    capacity=look.capacity, held=look.held, findings=look.findings)


def plan_of(inputs: _inputs.Inputs, **answers: dict[str, t.Any]) -> Plan:
    topology = topology_of(inputs)
    found = observed(inputs, topology, **(answers or {"lb1": answer(), "lb2": answer()}))
    return Plan(inputs=inputs, topology=topology, observation=found, deploy_id="20270115T080000Z-production-shop-abc123",
                records_dir="/records", run_dir=None, evidence_rate=20.0)


@pytest.mark.parametrize("verb", ["deploy", "rollback"])
@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "canary"])
def test_the_plan_has_what_its_module_documents_and_no_more(verb: str, strategy: str) -> None:
    documented = yaml.safe_load(module.RETURN)["plan"]["contains"]
    found = plan_of(inputs_of(verb, deploy_strategy=strategy)).to_dict()
    only_batched = {name for name, about in documented.items() if "Only with O(state=batched)" in about["description"]}
    # What a strategy adds is its own.
    assert set(found) - {"canary"} == set(documented) - only_batched
    types = {"str": str, "list": list, "dict": dict, "int": int, "float": (int, float), "bool": bool}
    assert not [name for name, value in found.items() if name in documented and value is not None
                and not isinstance(value, types[documented[name]["type"]])]
    assert "s3cret" not in json.dumps(found)


def test_the_release_goes_to_the_side_that_does_not_serve() -> None:
    found = plan_of(inputs_of(), lb1=answer(100), lb2=answer(100)).to_dict()
    assert (found["serving_side"], found["side"], found["sides_agree"]) == ("green", "blue", True)
    assert found["pools"] == ["shop_blue"] and found["serving_pools"] == ["shop_green"]
    assert {host["slot"] for host in found["hosts"].values()} == {"blue"}
    assert [pool["name"] for pool in found["whole_traffic"]["pools"]] == ["shop_blue", "shop_green"]
    assert found["traffic"]["counted_pools"] == ["shop_blue", "shop_green"], "every reading counts both sides"


def test_a_member_that_somebody_took_out_on_one_balancer_is_held() -> None:
    found = plan_of(inputs_of(deploy_strategy="rolling"), lb1=answer(), lb2=answer(app2="drained")).to_dict()
    assert found["side"] == "blue" and found["held"] == ["app2"]
    assert found["capacity"]["ready"] == ["app1", "app3"] and found["capacity"]["serving"] == list(MEMBERS)
    assert found["capacity"]["most"] == 0, "on lb2 two of three serve, and the floor is half of three, rounded up"


def test_a_side_that_is_named_for_a_drain_is_the_one() -> None:
    inputs = inputs_of("drain", deploy_side="green")
    topology = topology_of(inputs)
    serves = observed(inputs, topology, lb1=answer()).sides
    assert _observation.of_the_run(inputs, topology, serves).both == ("blue", "green")
    alone = dataclasses.replace(topology, stands=dataclasses.replace(topology.stands, sides=("blue",)))
    with pytest.raises(DowntimeError, match="deploy_side is 'green', and deploy_traffic.pools has no pool of that side; it has none with a side"):
        _observation.of_the_run(inputs, alone, serves)


def test_an_error_in_a_configuration_refuses_what_moves_alone() -> None:
    findings = [{"level": "error", "setting": "retry-on", "text": "it sends requests again", "lines": []},
                {"level": "warning", "setting": "retries", "text": "it never tries again", "lines": ["retries 3"]}]
    with pytest.raises(DowntimeError, match="it sends requests again"):
        _observation.of_findings(inputs_of(), findings)
    assert _observation.of_findings(inputs_of("status"), findings) == ["retries: it never tries again"]


def test_what_is_in_the_way_of_a_release_holds_up_no_rollback() -> None:
    findings = [{"level": "error", "setting": "forward", "text": "ns2 gave no answer", "lines": []}]
    with pytest.raises(DowntimeError, match="ns2 gave no answer"):
        _observation.of_findings(inputs_of(), findings)
    assert _observation.of_findings(inputs_of("rollback"), findings) == ["forward: ns2 gave no answer"]


@pytest.mark.parametrize("wanted, words", [
    ([], "the play has no members"), (["app1", "app4"], "the play lacks app4 of deploy_hosts 'shop_app'"),
])
def test_a_play_that_lacks_members_is_refused(wanted: list[str], words: str) -> None:
    with pytest.raises(DowntimeError, match=words):
        _inputs.check_members(MEMBERS if wanted else [], wanted, "shop_app")


def test_what_was_given_for_the_run_is_said_again_and_streams_only_from_the_command_line() -> None:
    values = {"deploy_release": "2.0.0", "deploy_side": None, "deploy_streams": "ask", "deploy_soak": 3}
    assert _inputs.said_of(values, {}) == {"deploy_release": "2.0.0"}
    assert _inputs.said_of(values, {"deploy_streams"}) == {"deploy_release": "2.0.0", "deploy_streams": "ask"}
