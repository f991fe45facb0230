# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deploy over several hosts, each a directory here. What one of them does is the module's own."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.action import deploy_lock
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _planner

HOSTS = ["lb2", "lb1", "lb3"]
OPTIONS: dict[str, t.Any] = {
    "holder": {}, "over": None, "force": False, "timeout": 1, "clean": False, "without": [], "joined": [],
    "shares": None, "last": None,
}


class Hosts:
    """Three hosts that keep the lock, and a controller's tasks on them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.asked: list[tuple[str, str]] = []

    def run_on(self, _action: t.Any, hosts: list[str], _module: str, args_for: t.Callable[[str], dict[str, t.Any]],
               *_rest: t.Any, **_more: t.Any) -> dict[str, dict[str, t.Any]]:
        found = {}
        for host in hosts:
            options = {**OPTIONS, **args_for(host), "directory": str(self.root / host)}
            self.asked.append((host, options["state"]))
            found[host] = _lock.run(options, False)
        return found

    def task(self, state: str, deploy_id: str) -> dict[str, t.Any]:
        action = deploy_lock.ActionModule.__new__(deploy_lock.ActionModule)
        action._task = types.SimpleNamespace(args={}, check_mode=False)
        action._play_context = types.SimpleNamespace(timeout=10)
        lock = {"hosts": HOSTS, "directory": "/state", "name": "production-shop", "break": False, "key": deploy_id}
        the_plan = {"deploy_id": deploy_id, "verb": "deploy", "app": "shop", "environment": "production",
                    "balancers": [], "lock": lock}
        return action.act({"state": state, "plan": the_plan, "clean": True, "shares": None}, {})

    def lock(self, host: str) -> _lock.Lock:
        return _lock.Lock(str(self.root / host), "production-shop")

    def holders(self) -> dict[str, str | None]:
        locks = {host: self.lock(host).read() for host in HOSTS}
        return {host: lock and lock["deploy_id"] for host, lock in locks.items()}


@pytest.fixture
def hosts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    found = Hosts(tmp_path)
    monkeypatch.setattr(_fanout, "run_on", found.run_on)
    return found


@pytest.mark.claim("lock-all-or-none")
def test_it_is_taken_on_every_host_in_order_and_given_back(hosts: Hosts) -> None:
    assert hosts.task("acquired", "first")["changed"]
    assert hosts.holders() == dict.fromkeys(HOSTS, "first")
    assert hosts.asked == [("lb1", "acquired"), ("lb2", "acquired"), ("lb3", "acquired")]
    ended = hosts.task("released", "first")
    assert ended["changed"] and ended["warnings"] == []
    assert hosts.holders() == dict.fromkeys(HOSTS)


def test_whose_lock_was_taken_after_his_last_move_is_told_so_at_the_end(hosts: Hosts) -> None:
    hosts.task("acquired", "first")
    hosts.lock("lb2").acquire("theirs", {"controller": "elsewhere", "pid": 7, "user": "ops"}, force=True)
    warned = hosts.task("released", "first")["warnings"]
    assert len(warned) == 1 and warned[0].startswith("state host lb2: the lock was not this deploy's any more when it ended"), warned
    assert hosts.holders() == {"lb1": None, "lb2": "theirs", "lb3": None}


@pytest.mark.claim("lock-all-or-none")
@pytest.mark.parametrize("taken", HOSTS)
def test_who_does_not_get_all_of_them_keeps_none(hosts: Hosts, taken: str) -> None:
    # Nobody can prove this one dead: it runs on another controller.
    hosts.lock(taken).acquire("theirs", {"controller": "elsewhere", "pid": 7, "user": "ops"})
    refused = hosts.task("acquired", "first")
    assert refused["failed"]
    assert f"shop (production) is locked on {taken} by deploy theirs of ops on elsewhere (process 7)" in refused["msg"]
    assert hosts.holders() == {host: "theirs" if host == taken else None for host in HOSTS}


@pytest.mark.claim("state-hosts-and-dir")
@pytest.mark.parametrize("driver, given, kept_by", [
    ("haproxy", None, ["lb1", "lb2"]), ("healthcheck", None, ["app1"]), ("none", None, ["app1"]),
    ("haproxy", "keepers", ["k1", "k2"]),
])
def test_who_keeps_it(driver: str, given: str | None, kept_by: list[str]) -> None:
    planner = _planner.Planner.__new__(_planner.Planner)
    checked = {"deploy_app": "shop", "deploy_environment": "production", "deploy_state_hosts": given,
               "deploy_state_dir": "/srv/state/", "deploy_lock_break": False}
    inventory = {"groups": {"keepers": ["k1", "k2"]}, "hostvars": {}}
    planner.task_vars = inventory
    found = planner.lock(checked, _drivers.load(driver), ["lb1", "lb2"], ["app1", "app2"], [])
    # What tells it from another one of the same name is made up anew for each deploy.
    assert len(found.pop("key")) == 32
    assert found == {"hosts": kept_by, "directory": "/srv/state", "name": "production-shop",
                     "path": "/srv/state/production-shop.lock", "break": False}
