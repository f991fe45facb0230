# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._artifact import releases as _releases
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def call(members: list[dict[str, t.Any]], **options: t.Any) -> dict[str, t.Any]:
    params = {name: None for name in _releases.SHARED}
    return _releases.run({**params, "state": "activated", "members": members, **options})


def test_a_members_own_options_stand_in_place_of_those_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(params: dict[str, t.Any], check_mode: bool, world: t.Any) -> dict[str, t.Any]:
        seen[params["root"]] = (params["release"], params["restart"], params["state"])
        return {"changed": False}

    monkeypatch.setattr(_release, "run", run)
    call([{"name": "a", "root": "/a", "restart": None}, {"name": "b", "root": "/b", "release": "1", "restart": True}], release="2", restart=False)
    assert seen == {"/a": ("2", False, "activated"), "/b": ("1", True, "activated")}


@pytest.mark.claim("batch-in-one-task")
def test_members_are_worked_on_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=20)

    def run(params: dict[str, t.Any], check_mode: bool, world: t.Any) -> dict[str, t.Any]:
        # One after the other, the first would wait for the second for ever.
        both.wait()
        return {"changed": True}

    monkeypatch.setattr(_release, "run", run)
    assert call([{"name": "a", "root": "/a"}, {"name": "b", "root": "/b"}])["changed"]


def test_one_that_fails_does_not_keep_the_others_from_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(params: dict[str, t.Any], check_mode: bool, world: t.Any) -> dict[str, t.Any]:
        if params["root"] == "/refused":
            raise DowntimeError("root /refused is no directory")
        if params["root"] == "/broken":
            raise KeyError("digest")
        return {"changed": True}

    monkeypatch.setattr(_release, "run", run)
    found = call([{"name": name, "root": "/" + name} for name in ("refused", "broken", "good")])
    assert found["changed"] and found["done"]["good"] == {"changed": True}
    assert found["done"]["refused"]["failed"] and found["done"]["refused"]["msg"] == "root /refused is no directory"
    assert found["done"]["broken"]["failed"] and "KeyError" in found["done"]["broken"]["exception"]


def test_each_option_of_one_release_is_an_option_here() -> None:
    mine = {*_releases.argument_spec(), *_releases.member_spec()}
    assert set(_release.argument_spec()) <= mine


@pytest.mark.claim("host-time-follows-its-task")
@pytest.mark.parametrize("args, expected", [
    ({"state": "observed", "lock_timeout": 1.0, "members": [{"name": "a"}]}, 1.0),
    ({"state": "staged", "lock_timeout": 1.0, "members": [{"name": "a"}], "artifact": {"deadline": 10.0}}, 21.0),
    ({"state": "activated", "lock_timeout": 1.0, "members": [{"name": "a", "service": {"timeout": 5.0}, "running": {"timeout": 3.0}}, {"name": "b"}]}, 14.0),
    ({"state": "stopped", "lock_timeout": 1.0, "members": [{"name": "a", "service": {"timeout": 5.0}}]}, 11.0),
])
def test_how_long_a_host_may_take_follows_from_its_options(args: dict[str, t.Any], expected: float) -> None:
    assert _releases.longest(args) == expected


def test_of_earlier_batches_only_what_the_outcome_asks_for_is_handed_on():
    done = {"changed": True, "active": {"label": "2.0.0"}, "releases": [{"label": "1.0.0"}], "failed": False}
    lost = {"failed": True, "msg": "app2 cannot be reached", "unreachable_host": True, "exception": "a traceback"}
    assert _releases.told_on({"app1": done, "app2": lost, "app3": {"changed": False, "kept": True}}) == {
        "app1": {"changed": True},
        "app2": {"changed": False, "failed": True, "msg": "app2 cannot be reached", "unreachable_host": True},
        "app3": {"changed": False, "kept": True}}
