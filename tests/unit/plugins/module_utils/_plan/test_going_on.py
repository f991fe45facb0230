# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on

OLD, NEW = {"digest": "o" * 64, "label": "1.0.0"}, {"digest": "n" * 64, "label": "2.0.0"}
ROLLBACK = "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_strategy="


def killed(strategy: str | None = "canary", verb: str = "deploy", **more: t.Any) -> dict[str, t.Any]:
    idle = strategy != "rolling"
    return {"verb": verb, "strategy": strategy, "release": NEW["digest"], "label": "2.0.0", "serving": "blue",
            "side": "green" if idle else "blue", "before": {}, "deploy_id": "d1", **more}


def last(strategy: str = "blue_green", verb: str = "deploy") -> dict[str, t.Any]:
    return {"verb": verb, "strategy": strategy, "deploy_id": "d0", "release": NEW, "origin": OLD, "time": 1.0}


@pytest.mark.parametrize("verb, given, interrupted, before, found", [
    # Nothing was left: a deploy has the default, and a rollback undoes the last deploy as it was made.
    ("deploy", None, None, None, "rolling"),
    ("deploy", None, None, last(), "rolling"),
    ("rollback", None, None, None, "rolling"),
    ("rollback", None, None, last("rolling"), "rolling"),
    ("rollback", None, None, last("blue_green"), "blue_green"),
    ("rollback", None, None, last("canary"), "blue_green"),
    ("rollback", "canary", None, last("blue_green"), "canary"),
    ("rollback", "rolling", None, last("blue_green"), "rolling"),
    # Something was left: it is gone on with, or undone in one switch.
    ("deploy", None, killed("canary"), None, "canary"),
    ("rollback", None, killed("canary"), last("rolling"), "blue_green"),
    ("rollback", None, killed("rolling"), last("blue_green"), "rolling"),
    ("rollback", None, killed("rolling", "restart"), last("blue_green"), "rolling"),
    # A journal without the name tells it by the side.
    ("rollback", None, killed(None), None, "blue_green"),
    ("rollback", None, {"verb": "deploy", "release": None, "label": None, "before": {}}, None, "rolling"),
    # One switch is as good as another.
    ("rollback", "canary", killed("blue_green"), None, "canary"),
    ("deploy", "blue_green", killed("canary"), None, "blue_green"),
    ("deploy", "blue_green", killed("rolling"), None, "blue_green"),
    ("rollback", "blue_green", killed("rolling", "restart"), None, "blue_green"),
])
def test_the_strategy(verb: str, given: str | None, interrupted: t.Any, before: t.Any, found: str) -> None:
    assert _going_on.strategy(verb, "shop", given, None, interrupted, before) == found


@pytest.mark.parametrize("interrupted, begun", [
    (None, False), (killed("canary"), True), (killed("blue_green"), True), (killed("blue_green", "rollback"), True), (killed(None), True),
    # What serves may be half restarted, or half moved: a restart ends the one and refuses the other.
    (killed("rolling", "restart"), False), (killed("rolling"), False),
])
def test_what_moved_the_idle_side_is_gone_on_with_without_a_restart_before(interrupted: t.Any, begun: bool) -> None:
    assert _going_on.begun(interrupted) is begun


@pytest.mark.claim("contradicting-strategy-refused")
@pytest.mark.parametrize("verb, given, interrupted, words", [
    ("rollback", "rolling", killed("canary"), [
        "'rolling'", "the deploy to 2.0.0 (d1) by canary", ROLLBACK + "blue_green undoes it",
        "-e deploy_release=2.0.0 -e deploy_strategy=canary goes on with it"]),
    ("deploy", "rolling", killed("blue_green"), ["'rolling'", "by blue_green", ROLLBACK + "blue_green undoes it"]),
    ("rollback", "rolling", killed("blue_green", "rollback"), [
        "the rollback to 2.0.0 (d1) by blue_green", ROLLBACK + "blue_green ends it"]),
    ("rollback", "blue_green", killed("rolling"), ["'blue_green'", "by rolling", ROLLBACK + "rolling undoes it"]),
])
def test_one_that_contradicts_what_was_left_is_refused_naming_both(
        verb: str, given: str, interrupted: t.Any, words: list[str]) -> None:
    with pytest.raises(DowntimeError) as refused:
        _going_on.strategy(verb, "shop", given, None, interrupted, None)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize("verb", ["deploy", "rollback", "restart"])
def test_a_command_that_ends_something_has_what_its_command_line_said_of_streams(verb: str) -> None:
    said = _going_on.intent(plan(verb=verb, said={"deploy_streams": "ask"}))
    commands = re.findall("ansible-playbook .*? -e deploy_streams=ask", _going_on.ways(said, "shop"))
    assert len(commands) == (2 if verb == "deploy" else 1), _going_on.ways(said, "shop")
    # What an inventory says holds for each run.
    assert "deploy_streams" not in _going_on.ways(_going_on.intent(plan(verb=verb, said={})), "shop")


def test_to_a_release_that_is_named_the_other_side_may_be_brought() -> None:
    assert _going_on.strategy("rollback", "shop", "blue_green", "1.0.0", killed("rolling"), None) == "blue_green"


def plan(**changes: t.Any) -> dict[str, t.Any]:
    return {"verb": "deploy", "strategy": "blue_green", "deploy_id": "d2", "release": NEW, "previous": OLD,
            "sides": {"blue": {}, "green": {}}, "going_back_to": {}, "switch": {"from": "blue", "to": "green", "home": False}, **changes}


@pytest.mark.parametrize("changes, kept", [
    ({}, True),
    ({"switch": None}, False),
    ({"switch": {"from": "green", "to": "blue", "home": True}}, False),
    ({"strategy": "rolling", "switch": None, "going_back_to": {"app1": OLD}}, True),
    # Members that were begun anew, and a restart, gave nobody another release.
    ({"strategy": "rolling", "switch": None, "going_back_to": {"app1": NEW}, "previous": NEW}, False),
    ({"verb": "restart", "strategy": "rolling", "switch": None, "going_back_to": {"app1": OLD}}, False),
    ({"verb": "rollback"}, True),
    ({"sides": {}, "strategy": "rolling", "switch": None, "going_back_to": {"app1": OLD}}, False),
])
def test_what_is_kept_of_a_deploy(changes: dict[str, t.Any], kept: bool) -> None:
    found = _going_on.kept(plan(**changes))
    assert (found is not None) is kept
    if found:
        assert (found["release"], found["origin"], found["deploy_id"]) == (NEW, OLD, "d2")


def test_a_deploy_that_ended_one_that_was_killed_is_kept_with_what_that_left() -> None:
    left = plan(switch=None, serving_side="green", side="blue")
    left["ended"] = _going_on.ended(left, killed("canary"), NEW, OLD)
    found = _going_on.kept(left)
    assert found == {"verb": "deploy", "strategy": "canary", "deploy_id": "d2", "release": NEW, "origin": OLD}
    # Whatever becomes of the idle side. One that failed leaves the journal, and so the next one ends what was left.
    assert _going_on.kept(left, "rolled_back") == found and _going_on.kept(left, "failed") is None
    # Should it die as well, the journal tells of the first.
    assert _going_on.intent(left) == {name: killed("canary")[name] for name in ("verb", "strategy", "release", "label", "serving", "side")}


def test_what_gave_users_no_release_is_not_ended_by_one_that_finds_its_release() -> None:
    finds = plan(switch=None, serving_side="blue", side="green")
    assert _going_on.ended(finds, None, NEW, OLD) is None
    # It had not switched, and what serves was there before.
    assert _going_on.ended(finds, killed("canary"), NEW, OLD) is None
    assert _going_on.ended(finds, killed("rolling", "restart"), NEW, OLD) is None
    switched = {**finds, "serving_side": "green"}
    assert _going_on.ended(switched, {**killed("canary"), "release": "x" * 64}, NEW, OLD) is None
    # A rolling one is undone as it was made, also where another strategy finds that nothing is left to do.
    rolled = {**killed("rolling"), "serving": "blue", "side": "blue", "before": {"app1": OLD["digest"]}}
    found = _going_on.ended(finds, rolled, NEW, None)
    assert found and (found["strategy"], found["origin"]["digest"]) == ("rolling", OLD["digest"])


@pytest.mark.parametrize("result", ["failed", "rolled_back"])
def test_nothing_is_kept_of_one_that_failed(result: str) -> None:
    assert _going_on.kept(plan(), result) is None and _going_on.kept({}, result) is None


def test_the_release_before_is_the_last_deploys_as_long_as_that_is_what_serves() -> None:
    assert _going_on.origin({"last": last()}, {NEW["digest"]}) == OLD["digest"]
    assert _going_on.origin({"last": last()}, {"x" * 64}) is None
    assert _going_on.origin({"last": last(verb="rollback")}, {NEW["digest"]}) is None
    assert _going_on.origin({"last": None}, {NEW["digest"]}) is None
