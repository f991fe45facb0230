# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout
from ansible_collections.zero.downtime.plugins.plugin_utils import _move

PROMISE = ", and app1 get no new requests until they are activated"


def merged(results: dict[str, dict[str, t.Any]], on_failure: str = "fail") -> dict[str, t.Any]:
    args = {"lock": {"hosts": []}, "on_failure": on_failure}
    return _move.Move(types.SimpleNamespace(), args, {}, "balancer").merged(results)  # type: ignore[arg-type]


def test_what_holds_until_somebody_brings_members_back_is_said_apart() -> None:
    found = merged({
        "lb1": {"failed": True, "msg": f"after 1 s not drained: shop/app1 (1 in flight); nothing was cut{PROMISE}", "until_back": PROMISE},
        "lb2": {"failed": True, "msg": "min_active is 9; 4 members are there"}})
    first = "balancer lb1: after 1 s not drained: shop/app1 (1 in flight); nothing was cut"
    second = "balancer lb2: deploy_min_active is 9; 4 members are there"
    assert found["failed"] and found["msg"] == f"{first}{PROMISE}; {second}"
    assert found["why"] == f"{first}; {second}" and found["problems"] == [first, second]


def test_a_move_that_went_well_has_nothing_to_say() -> None:
    found = merged({"lb1": {"changed": True}})
    assert found["problems"] == [] and not {"failed", "msg", "why"} & found.keys()


@pytest.mark.parametrize("step, moved", [("switch", False), ("back_switch", True), ("drain", False), ("back_drain", True)])
def test_a_state_host_that_is_lost_holds_up_the_way_there_and_not_the_way_back(monkeypatch: pytest.MonkeyPatch, step: str, moved: bool) -> None:
    ran = []

    def run_on(action: t.Any, hosts: t.Sequence[str], module: str, *_args: t.Any, **_more: t.Any) -> dict[str, dict[str, t.Any]]:
        ran.append(module)
        return {host: {"failed": True, "msg": "cannot be reached"} if module.endswith(".lock") else {"changed": True} for host in hosts}

    monkeypatch.setattr(_fanout, "run_on", run_on)
    action: t.Any = types.SimpleNamespace(_task=types.SimpleNamespace(check_mode=False), _play_context=types.SimpleNamespace(timeout=1))
    lock = {"hosts": ["keeper"], "directory": "/state", "name": "shop", "path": "/state/shop.lock", "key": "k"}
    args = {"lock": lock, "on_failure": "report", "run_dir": None, "step": step, "deploy_id": "d"}
    results = _move.Move(action, args, {}, "balancer").run(["lb1"], "acme.edge.lever_split", lambda _host: {"intent": None}, 1.0)
    assert ("acme.edge.lever_split" in ran) is moved and bool(results.get("keeper", {}).get("failed")) is not moved
