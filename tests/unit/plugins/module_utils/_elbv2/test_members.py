# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import members, options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Throttled
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


class Scripted:
    """An API that knows one target group; what was not planned fails.

    :param states: what each look at the targets finds, the last one for ever; an exception is raised.
    """

    region = "eu-west-1"

    def __init__(self, states: list[t.Any], delay: int = 30, slow_start: int = 0) -> None:
        self.states, self.told = states, {
            "deregistration_delay.timeout_seconds": delay,
            "slow_start.duration_seconds": slow_start,
        }
        self.calls: list[tuple[str, list[str]]] = []

    def groups(self, names):
        assert names == ["shop"]
        return [
            {
                "TargetGroupName": "shop",
                "TargetGroupArn": "arn:shop",
                "TargetType": "ip",
                "LoadBalancerArns": ["arn:lb"],
            }
        ]

    def attributes(self, arn):
        return self.told

    def health(self, arn):
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(found, Exception):
            raise found
        return [
            {"Target": {"Id": f"10.0.0.{last}", "Port": 80}, "TargetHealth": {"State": state}}
            for last, state in found.items()
        ]

    def call(self, operation, TargetGroupArn, Targets):
        assert operation in ("register_targets", "deregister_targets") and TargetGroupArn == "arn:shop"
        self.calls.append((operation, [target["Id"] for target in Targets]))
        return {}


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


NAMES = {f"app{last}": f"10.0.0.{last}:80" for last in (1, 2, 3)}
ALL = {1: "healthy", 2: "healthy", 3: "healthy"}


def run(api, names, state, check=False, **given):
    time = Time()
    params = _spec.check(
        {"members": names, "state": state, "pools": [{"name": "shop", "members": NAMES}], **given},
        options.members_spec(),
    )
    return members.run(params, check, api, time, time.sleep, lambda: 0.5), time


def test_a_drain_waits_for_the_delay_with_growing_pauses_and_then_holds():
    api = Scripted([ALL, *[{**ALL, 1: "draining"}] * 12, {2: "healthy", 3: "healthy"}])
    found, time = run(api, ["app1"], "drained", timeout=60)
    assert api.calls == [("deregister_targets", ["10.0.0.1"])] and found["changed"]
    # As a tenth of the delay at most; the last one is the hold.
    assert time.slept[:3] == pytest.approx([0.5, 0.7, 0.98]) and max(time.slept[:-1]) == 3.0 and time.slept[-1] == 5.0


def test_a_return_waits_for_the_slow_start():
    api = Scripted([{2: "healthy", 3: "healthy"}, {**ALL, 1: "initial"}, ALL], slow_start=45)
    found, time = run(api, ["app1"], "active", timeout=60)
    assert found["changed"] and time.slept == [0.5, 45.0]
    with pytest.raises(
        DowntimeError, match="timeout is 45 s, and target group shop says that 45 s are what its targets need"
    ):
        run(Scripted([{2: "healthy", 3: "healthy"}], slow_start=45), ["app1"], "active", timeout=45)


def test_who_waits_is_not_stopped_by_an_api_that_is_asked_too_often():
    api = Scripted([ALL, Throttled("too often"), {2: "healthy", 3: "healthy"}])
    assert run(api, ["app1"], "drained")[0]["changed"]
    with pytest.raises(
        DowntimeError, match="app1 should have left after 55 s, but too often; app1 was deregistered in shop"
    ):
        run(Scripted([ALL, Throttled("too often")]), ["app1"], "drained")


def test_the_floor_counts_what_is_registered_by_others_too():
    api = Scripted([{**ALL, 9: "healthy"}])
    with pytest.raises(DowntimeError, match="of the 4 members of target group shop 4 have to serve"):
        run(api, ["app1"], "drained", min_active="80%")
    assert run(api, ["app1"], "drained", check=True, min_active="75%")[0]["changed"] and api.calls == []


@pytest.mark.parametrize(
    "options_given, words",
    [
        ({"weight": 5}, "weight is 5; none is accepted"),
        ({"timeout_action": "cut"}, "timeout_action is cut; fail is accepted"),
        ({"streams": "leave"}, "streams is 'leave'"),
        ({"hold": -1}, "hold is -1"),
        ({"members": ["app9"]}, "members names app9; target group shop has app1, app2, app3"),
        ({"pools": []}, "pools is empty"),
    ],
)
def test_what_is_no_move_is_refused(options_given, words):
    given = {"names": ["app1"], **options_given}
    names = given.pop("members", given.pop("names"))
    with pytest.raises(DowntimeError, match=words):
        run(Scripted([ALL]), names, "drained", **given)
