# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver elbv2 against the stage: what the suite of all drivers cannot know to ask."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest
from asked import SIDES, blue, move, recording, share, tell
from haproxy_load import Load
from haproxy_stage import get
from limits import wait_until
from members_stage import MembersStage

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import client as client_file
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import client_of
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

REPO = pathlib.Path(__file__).resolve().parents[3]
CANARY = {"blue": 95, "green": 5}
LIGHT: dict[str, t.Any] = {"keepalive": 2, "fresh": 1, "posts": 2, "pause": 0.03}


def moves(stage: MembersStage) -> list[str]:
    """The calls that changed something."""
    return [call for call in stage.aws.api.calls if not call.startswith("Describe")]


def refused(ask: t.Callable[[], t.Any]) -> str:
    with pytest.raises(DowntimeError) as found:
        ask()
    assert "\n" not in str(found.value)
    return str(found.value)


# -- members -----------------------------------------------------------------------------------------------------------


@pytest.mark.claim("elbv2-one-call-a-batch", "elbv2-draining-comes-back")
def test_a_batch_is_one_call_and_one_that_still_drains_is_registered_again(stage: MembersStage) -> None:
    with Load(stage.port, **LIGHT) as load:
        begun = move(stage, ["app1", "app2"], "drained", wait=False)
        assert begun["changed"] and {member["state"] for member in begun["members"]} == {"draining"}
        back = move(stage, ["app1", "app2"], "active")
        assert back["changed"] and stage.states()["app1"] == stage.states()["app2"] == "healthy"
    assert moves(stage) == ["DeregisterTargets", "RegisterTargets"] and load.failures == []
    again = move(stage, ["app1", "app2"], "active")
    assert not again["changed"] and len(moves(stage)) == 2


def test_several_target_groups_and_instances_move_together(stage: MembersStage) -> None:
    aws, port = stage.aws, stage.ports["app1"]
    ident = aws.instance("10.0.0.1")
    aws.group("twins", 8000, kind="instance")
    action = aws.forward({"shop-blue": 100, "shop-green": 0, "twins": 0})
    aws.client.modify_listener(ListenerArn=stage.listener_arn, DefaultActions=[action])
    aws.register("twins", f"{ident}:{port}")
    try:
        pools = [*blue(stage), {"name": "twins", "members": {"app1": f"{ident}:{port}"}}]
        wait_until(lambda: aws.states("twins") == {f"{ident}:{port}": "healthy"}, "the instance is healthy")
        out = move(stage, ["app1"], "drained", pools=pools)
        assert [(one["pool"], one["address"], one["state"]) for one in out["members"]] == [
            ("shop-blue", stage.target("app1"), "drained"),
            ("twins", f"{ident}:{port}", "drained"),
        ]
        assert moves(stage)[-2:] == ["DeregisterTargets"] * 2 and aws.states("twins") == {}
        move(stage, ["app1"], "active", pools=pools)
        assert aws.states("twins") == {f"{ident}:{port}": "healthy"} and stage.states()["app1"] == "healthy"
        wrong = [{"name": "twins", "members": {"app1": stage.target("app1")}}]
        assert "has targets of the type instance, and member app1 is 10.0.0.1" in refused(
            lambda: move(stage, ["app1"], "active", pools=wrong)
        )
    finally:
        back = aws.forward({"shop-blue": 100, "shop-green": 0})
        aws.client.modify_listener(ListenerArn=stage.listener_arn, DefaultActions=[back])
        aws.client.delete_target_group(TargetGroupArn=aws.arn("twins"))


def test_a_time_out_that_no_drain_can_keep_is_refused_before_anything_moves(stage: MembersStage) -> None:
    sentence = refused(lambda: move(stage, ["app1"], "drained", timeout=1))
    assert "timeout is 1 s" in sentence and "deregistration_delay.timeout_seconds is 1, hold 0.5" in sentence
    assert "above 1.5 is accepted" in sentence and moves(stage) == []


def test_a_group_that_nobody_forwards_to_takes_no_member_back(stage: MembersStage) -> None:
    arn = stage.aws.group("nobodys", 8000)
    pools = [{"name": "nobodys", "members": {"app1": stage.target("app1")}}]
    assert "no listener forwards to target group nobodys" in refused(
        lambda: move(stage, ["app1"], "active", pools=pools)
    )
    stage.aws.client.delete_target_group(TargetGroupArn=arn)


# -- shares ------------------------------------------------------------------------------------------------------------
@pytest.mark.claim("elbv2-only-the-weights")
def test_only_two_weights_of_a_rule_change(stage: MembersStage) -> None:
    client = stage.aws.client
    action = {**stage.aws.forward({"shop-blue": 7, "shop-green": 0}), "Order": 2}
    action["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": 20}
    oidc = {
        "Issuer": "https://id.example",
        "AuthorizationEndpoint": "https://id.example/a",
        "ClientId": "shop",
        "TokenEndpoint": "https://id.example/t",
        "UserInfoEndpoint": "https://id.example/u",
        "ClientSecret": "secret",
    }
    made = client.create_rule(
        ListenerArn=stage.listener_arn,
        Priority=10,
        Conditions=[{"Field": "path-pattern", "Values": ["/shop/*"]}],
        Actions=[{"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": oidc}, action],
    )["Rules"][0]

    def rule() -> t.Any:
        return client.describe_rules(RuleArns=[made["RuleArn"]])["Rules"][0]

    before = rule()
    done = share(stage, CANARY, rule="10", listener=str(stage.port))
    assert (done["found"], done["shares"]) == ({"blue": 100, "green": 0}, CANARY) and "for 20 s" in done["notes"][0]
    after = rule()
    groups = after["Actions"][1]["ForwardConfig"]["TargetGroups"]
    assert {one["TargetGroupArn"].split("/")[1]: one["Weight"] for one in groups} == {"shop-blue": 95, "shop-green": 5}
    for one in groups:
        one["Weight"] = {"shop-blue": 7, "shop-green": 0}[one["TargetGroupArn"].split("/")[1]]
    # What the stage was told to keep: AWS never tells a client's secret, and asks whether the one that it has stays.
    after["Actions"][0]["AuthenticateOidcConfig"].pop("UseExistingClientSecret")
    assert after == before
    # By its ARN alone, and once more: nothing is left to do.
    assert not share(stage, CANARY, rule=made["RuleArn"], load_balancer=None)["changed"]
    client.delete_rule(RuleArn=made["RuleArn"])


@pytest.mark.claim("elbv2-strangers-are-named")
@pytest.mark.parametrize("reads", [1, 2, 3], ids=["between two looks", "behind the change", "while it is followed"])
def test_a_stranger_who_changes_the_action_meanwhile_is_named(stage: MembersStage, reads: int) -> None:
    stranger = {"shop-blue": 50, "shop-green": 50}

    def interfere() -> None:
        action = stage.aws.forward(stranger)
        stage.aws.backend.modify_listener(stage.listener_arn, actions=[action])

    stage.aws.api.before("DescribeListeners", *[None] * reads, interfere)
    sentence = refused(lambda: share(stage, CANARY))
    assert "somebody else changed listener" in sentence and "blue 50, green 50" in sentence
    # Theirs stays: nobody writes over it.
    assert stage.aws.weights(stage.listener_arn) == stranger
    assert moves(stage).count("ModifyListener") == (reads > 1)


def test_green_gets_nothing_before_its_targets_are_healthy(stage: MembersStage) -> None:
    stage.kill("new1")
    wait_until(lambda: stage.states()["new1"] == "unhealthy", "it is seen")
    sentence = refused(lambda: share(stage, {"green": 100}, min_active="100%"))
    assert "of its pool shop-green only 1 serve at full weight (new2)" in sentence and moves(stage) == []


# -- an API that refuses -----------------------------------------------------------------------------------------------


def test_throttled_calls_are_made_again(stage: MembersStage) -> None:
    with Load(stage.port, **LIGHT) as load:
        stage.aws.api.throttle(3)
        assert move(stage, ["app1"], "drained")["changed"]
        stage.aws.api.throttle(2)
        assert move(stage, ["app1"], "active")["changed"]
    assert load.failures == [] and stage.states()["app1"] == "healthy"


def test_credentials_that_expire_half_way_end_in_one_sentence(stage: MembersStage) -> None:
    # Three looks, the move, and one look more.
    stage.aws.api.expire(5)
    sentence = refused(lambda: move(stage, ["app1"], "drained"))
    assert "DescribeTargetHealth was refused, since the credentials have expired (ExpiredToken)" in sentence
    assert sentence.endswith("app1 was deregistered in shop-blue before that")
    # With new ones it goes on from there.
    stage.aws.api.renew()
    assert move(stage, ["app1"], "active")["changed"] and get(stage.url)[0] == 200


def not_allowed(stage: MembersStage) -> t.Any:
    stage.aws.api.allow("DescribeTargetGroups")
    return tell(stage)


WRONG: dict[str, tuple[t.Callable[[MembersStage], t.Any], str]] = {
    "region": (lambda stage: move(stage, ["app1"], "drained", region=None), "region is missing"),
    "credentials": (
        lambda stage: move(stage, ["app1"], "drained", access_key=None, secret_key=None),
        "no credentials of AWS were found",
    ),
    "unknown credentials": (lambda stage: tell(stage, access_key="AKIAUNKNOWN"), "does not know the credentials"),
    "no policy": (not_allowed, "not authorized to perform: elasticloadbalancing:DescribeTargetHealth"),
    "profile": (lambda stage: tell(stage, profile="nosuch"), "profile is 'nosuch'"),
    "endpoint": (lambda stage: tell(stage, endpoint_url="nowhere"), "endpoint_url is 'nowhere'"),
    "target group": (
        lambda stage: move(stage, ["app1"], "drained", pools=[{"name": "nosuch"}]),
        "no target group nosuch in eu-west-1",
    ),
    "one of two target groups": (
        lambda stage: move(stage, ["app1"], "drained", pools=[*blue(stage), {"name": "nosuch"}]),
        "no target group nosuch",
    ),
    "target": (
        lambda stage: move(stage, ["app9"], "drained"),
        "members names app9; target group shop-blue has app1, app2, app3",
    ),
    "weight": (lambda stage: share(stage, {"blue": 101}), "shares.blue is 101"),
    "load balancer": (lambda stage: share(stage, CANARY, load_balancer="nosuch"), "load_balancer is 'nosuch'"),
    "listener": (lambda stage: share(stage, CANARY, listener="1"), "listener is '1'"),
    "listener by ARN": (
        lambda stage: share(stage, CANARY, listener=stage.listener_arn[:-1]),
        "the ARN of a listener in eu-west-1 is accepted",
    ),
    "rule": (lambda stage: share(stage, CANARY, rule="77"), "rule is '77'; the priority of a rule of listener"),
    "no place": (lambda stage: share(stage, CANARY, load_balancer=None), "load_balancer is missing"),
    "a side in no action": (
        lambda stage: share(stage, CANARY, pools=[{**stage.groups(**SIDES)[0], "side": "green"}]),
        "the side blue has none",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_sentence_and_moves_nothing(stage: MembersStage, wrong: str, monkeypatch: t.Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    ask, words = WRONG[wrong]
    assert words in refused(lambda: ask(stage)) and moves(stage) == []


def test_without_boto3_it_says_what_is_missing(stage: MembersStage, monkeypatch: t.Any) -> None:
    monkeypatch.setattr(client_file, "MISSING", "No module named 'boto3'")
    assert "driver elbv2 needs boto3 on the controller" in refused(lambda: client_of(stage.access()))


# -- what it needs to be allowed ---------------------------------------------------------------------------------------


def documented(module: str) -> set[str]:
    """The actions that docs/elbv2.md says a module needs."""
    text = (REPO / "docs" / "elbv2.md").read_text(encoding="utf-8")
    row = re.search(rf"^\|`{module}`\|(.*)\|$", text, flags=re.MULTILINE)
    assert row, f"docs/elbv2.md has no row for {module}"
    return set(re.findall(r"`(elasticloadbalancing:\w+)`", row[1]))


def all_of(module: str, stage: MembersStage, calls: set[str]) -> None:
    """Everything that a module can be asked for."""
    api = recording(stage, calls)
    if module == "elbv2_members":
        move(stage, ["app1"], "drained", api=api)
        move(stage, ["app1"], "active", api=api)
    elif module == "elbv2_split":
        action = stage.aws.forward({"shop-blue": 100, "shop-green": 0})
        path = [{"Field": "path-pattern", "Values": ["/policy"]}]
        rule = stage.aws.backend.create_rule(stage.listener_arn, path, 11, [action]).arn
        try:
            share(stage, CANARY, api=api)
            share(stage, CANARY, api=api, rule="11")
        finally:
            stage.aws.backend.delete_rule(rule)
    else:
        tell(stage, api=api)
        tell(stage, api=api, rule="default", listener=stage.listener_arn)


@pytest.mark.claim("elbv2-least-policy")
@pytest.mark.parametrize("module", ["elbv2_members", "elbv2_split", "elbv2_info"])
def test_the_documented_policy_is_what_a_module_calls_and_all_that_it_needs(stage: MembersStage, module: str) -> None:
    allowed, calls = documented(module), set[str]()
    stage.aws.api.allow(*(action.partition(":")[2] for action in allowed))
    all_of(module, stage, calls)
    assert calls == allowed
