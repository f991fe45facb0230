# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS stage is as the real thing: its states, its refusals, what requests meet, and the form of its answers."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

import botocore.awsrequest
import botocore.session
import pytest
from botocore.exceptions import ClientError
from haproxy_load import Load
from haproxy_stage import get
from limits import wait_until
from members_stage import MembersStage
from targets import MOST

# What a load balancer has to carry, and who would notice a loss.
LOAD: dict[str, t.Any] = {"keepalive": 2, "fresh": 2, "posts": 3, "pause": 0.02}


def aimed(stage: MembersStage, *names: str) -> list[dict[str, t.Any]]:
    return [{"Id": "10.0.0.1", "Port": stage.ports[name]} for name in names]


@pytest.mark.claim("elbv2-stage-is-as-real")
def test_a_target_drains_for_as_long_as_its_group_says_and_is_checked_before_it_serves(stage: MembersStage) -> None:
    aws, group = stage.aws, stage.aws.arn("shop-blue")
    seen: list[str] = []

    def state() -> str:
        found = stage.states()["app1"]
        seen.extend([found] if seen[-1:] != [found] else [])
        return found

    assert state() == "healthy"
    aws.client.deregister_targets(TargetGroupArn=group, Targets=aimed(stage, "app1"))
    wait_until(lambda: state() == "unused", "it has left")
    aws.client.register_targets(TargetGroupArn=group, Targets=aimed(stage, "app1"))
    wait_until(lambda: state() == "healthy", "it is back")
    assert seen == ["healthy", "draining", "unused", "initial", "healthy"]
    # By id *and* port: the others of the same address were nobody's business.
    assert stage.states()["app2"] == "healthy"


def test_a_target_that_fails_its_checks_gets_no_requests(stage: MembersStage) -> None:
    stage.kill("app2")
    wait_until(lambda: stage.states()["app2"] == "unhealthy", "its checks fail")
    place = f"127.0.0.1:{stage.ports['app2']}"
    wait_until(lambda: place not in stage.aws.traffic.serving()["shop-blue"], "it gets no requests")
    assert get(stage.url)[0] == 200


def test_targets_of_a_group_that_nobody_forwards_to_stay_unused(stage: MembersStage) -> None:
    arn = stage.aws.group("nobodys", 8000)
    stage.aws.register("nobodys", stage.target("new1"))
    described = stage.aws.client.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"][0]
    assert described["TargetHealth"]["State"] == "unused" and described["TargetHealth"]["Reason"] == "Target.NotInUse"
    stage.aws.client.delete_target_group(TargetGroupArn=arn)


@pytest.mark.parametrize("weight, refused", [(-1, True), (1000, True), (999, False), (0, False)])
def test_weights_beyond_those_of_aws_are_refused(stage: MembersStage, weight: int, refused: bool) -> None:
    action = stage.aws.forward({"shop-blue": 100, "shop-green": weight})
    try:
        stage.aws.client.modify_listener(ListenerArn=stage.listener_arn, DefaultActions=[action])
        assert not refused
    except ClientError as error:
        assert refused and error.response["Error"]["Code"] == "ValidationError"


def test_weights_decide_who_gets_requests(stage: MembersStage) -> None:
    action = stage.aws.forward({"shop-blue": 30, "shop-green": 90})
    stage.aws.client.modify_listener(ListenerArn=stage.listener_arn, DefaultActions=[action])
    wait_until(lambda: b"new" in get(stage.url)[1], "green gets some")
    answers = [get(stage.url)[1] for dummy in range(200)]
    green = sum(b'"new' in answer for answer in answers)
    # Three of four; with 200 draws, fewer than 120 or more than 180 come once in millions of runs.
    assert 120 < green < 180


def test_an_address_of_the_loopback_and_an_unknown_instance_are_refused(stage: MembersStage) -> None:
    for ident in ("127.0.0.1", "8.8.8.8", "no-address"):
        with pytest.raises(ClientError, match="ValidationError"):
            stage.aws.client.register_targets(TargetGroupArn=stage.aws.arn("shop-blue"), Targets=[{"Id": ident}])


def test_more_targets_than_a_group_may_have_are_refused_and_places_of_those_who_left_are_free(
    stage: MembersStage,
) -> None:
    aws, arn = stage.aws, stage.aws.group("many", 8000)
    for first in (1, 101):
        aws.register("many", *(f"10.0.9.{first + number}" for number in range(MOST)))
        assert len(aws.states("many")) == MOST
        with pytest.raises(ClientError, match="TooManyTargets"):
            aws.register("many", "10.0.8.1")
        # Nobody forwards there, so nothing has to drain.
        gone = [{"Id": ident.partition(":")[0]} for ident in aws.states("many")]
        aws.client.deregister_targets(TargetGroupArn=arn, Targets=gone)
        assert aws.states("many") == {}
    aws.client.delete_target_group(TargetGroupArn=arn)
    assert get(stage.url)[0] == 200


def test_another_rule_costs_nobody_a_request(stage: MembersStage) -> None:
    """The stage's HAProxy is reloaded for it."""
    worker = stage.aws.traffic.worker
    with Load(stage.port, **LOAD) as load:
        before = worker()
        rule = stage.aws.client.create_rule(
            ListenerArn=stage.listener_arn,
            Priority=20,
            Conditions=[{"Field": "path-pattern", "Values": ["/green*"]}],
            Actions=[stage.aws.forward({"shop-green": 1})],
        )["Rules"][0]["RuleArn"]
        wait_until(lambda: worker() != before, "the load balancer has followed")
        # The worker from before may still take a connection that waited for it.
        wait_until(lambda: b'"new' in get(f"{stage.url}/green")[1], "requests follow the rule")
        load.more(50)
        assert b'"new' in get(f"{stage.url}/green")[1] and b'"app' in get(f"{stage.url}/other")[1]
        stage.aws.client.delete_rule(RuleArn=rule)
        load.more(50)
    assert load.failures == []


NAIVE = {
    "without a word to the load balancer": lambda stage: None,
    "right after it was deregistered": lambda stage: stage.aws.client.deregister_targets(
        TargetGroupArn=stage.aws.arn("shop-blue"), Targets=aimed(stage, "app3")
    ),
}


@pytest.mark.parametrize("way", NAIVE)
def test_an_application_that_is_stopped_too_early_loses_requests(stage: MembersStage, way: str) -> None:
    with Load(stage.port, **LOAD) as load:
        load.more(50)
        assert load.failures == []
        NAIVE[way](stage)
        stage.kill("app3")
        wait_until(lambda: load.failures, "somebody lost a request")


ANSWERS: dict[str, t.Callable[[MembersStage], dict[str, t.Any]]] = {
    "describe_load_balancers": lambda stage: {"Names": ["shop"]},
    "describe_listeners": lambda stage: {"ListenerArns": [stage.listener_arn]},
    "describe_rules": lambda stage: {"ListenerArn": stage.listener_arn},
    "describe_target_groups": lambda stage: {"Names": ["shop-blue"]},
    "describe_target_group_attributes": lambda stage: {"TargetGroupArn": stage.aws.arn("shop-blue")},
    "describe_target_health": lambda stage: {"TargetGroupArn": stage.aws.arn("shop-blue")},
    "register_targets": lambda stage: {"TargetGroupArn": stage.aws.arn("shop-blue"), "Targets": aimed(stage, "app1")},
    "deregister_targets": lambda stage: {
        "TargetGroupArn": stage.aws.arn("shop-green"),
        "Targets": aimed(stage, "new1"),
    },
    "modify_listener": lambda stage: {
        "ListenerArn": stage.listener_arn,
        "DefaultActions": [stage.aws.forward({"shop-blue": 100, "shop-green": 0})],
    },
}


@pytest.mark.parametrize("operation", ANSWERS)
def test_answers_are_of_the_form_that_aws_describes(stage: MembersStage, operation: str) -> None:
    bodies: list[bytes] = []
    client = botocore.session.Session().create_client("elbv2", **_keys(stage))
    client.meta.events.register("before-parse.*", lambda response_dict, **dummy: bodies.append(response_dict["body"]))
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    getattr(client, operation)(**ANSWERS[operation](stage))
    (body,) = bodies
    root = ET.fromstring(body)
    assert _plain(root.tag) == f"{model.name}Response"
    (result,) = [child for child in root if _plain(child.tag) == f"{model.name}Result"] or [root]
    assert _unlike(result, model.output_shape, model.name) == []


def _keys(stage: MembersStage) -> dict[str, t.Any]:
    access = stage.access()
    return {
        "region_name": access["region"],
        "endpoint_url": access["endpoint_url"],
        "aws_access_key_id": access["access_key"],
        "aws_secret_access_key": access["secret_key"],
    }


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _unlike(element: ET.Element, shape: t.Any, where: str) -> list[str]:
    """What the service's model does not know of, or has otherwise."""
    if shape.type_name == "structure":
        found = []
        for child in element:
            name = _plain(child.tag)
            if name == "ResponseMetadata":
                continue
            if name not in shape.members:
                found.append(f"{where} has {name}")
                continue
            found += _unlike(child, shape.members[name], f"{where}.{name}")
        return found
    if shape.type_name == "list":
        return [wrong for child in element for wrong in _unlike(child, shape.member, f"{where}[]")]
    text = element.text or ""
    if shape.type_name == "integer" and not text.lstrip("-").isdigit():
        return [f"{where} is {text!r}, no whole number"]
    if getattr(shape, "enum", None) and text not in shape.enum:
        return [f"{where} is {text!r}, and the model has {', '.join(shape.enum)}"]
    return []
