# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.plugin_utils import _connection_groups
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries

ACTION = types.SimpleNamespace(_play_context=types.SimpleNamespace(timeout=10))


@pytest.fixture
def asked(monkeypatch):
    """Who was asked for what, with which arguments, and by which word a sentence names it."""
    found = []

    def run_on(action, hosts, module, args_for, task_vars, what="balancer", timeout=None, on_result=None):
        assert timeout == _fanout.limit(action, _fanout.QUESTION)
        found.extend((what, host, module, args_for(host)) for host in hosts)
        return {host: {} for host in hosts}

    monkeypatch.setattr(_fanout, "run_on", run_on)
    # app1 and app2 are one machine.
    monkeypatch.setattr(_connection_groups, "group", lambda action, hosts, task_vars: [one for one in (
        [host for host in hosts if host != "app3"], [host for host in hosts if host == "app3"]) if one])
    return found


def test_balancers_are_asked_what_the_driver_asks_them(asked):
    driver = _drivers.load("haproxy")
    traffic = {"socket": "/s", "pools": [{"name": "shop"}]}
    assert _queries.balancers(ACTION, driver, traffic, ["lb1", "lb2"], {}) == {name: {"pools": []} for name in ("lb1", "lb2")}
    assert asked == [("balancer", name, "zero.downtime.haproxy_info", driver.info_args(traffic)) for name in ("lb1", "lb2")]


def test_a_driver_that_tells_nothing_asks_nobody(asked):
    assert _queries.balancers(ACTION, _drivers.load("none"), {}, ["localhost"], {}) == {} and asked == []


@pytest.mark.claim("status-changes-nothing")
def test_locks_and_members(asked):
    _queries.locks(ACTION, {"hosts": ["lb2", "lb1"], "directory": "/d", "name": "shop", "path": "/d/shop.lock"}, {})
    _queries.members(ACTION, {"app1": {"root": "/srv", "slot": "blue", "url": None}, "app2": {"root": "/srv", "slot": "blue"},
                              "app3": {"root": "/opt", "slot": "current"}}, {})
    observed = {"state": "observed", "directory": "/d", "name": "shop"}
    assert asked == [("state host", "lb1", "zero.downtime.lock", observed), ("state host", "lb2", "zero.downtime.lock", observed),
                     ("member", "app1", "zero.downtime.releases", {"state": "observed", "members": [
                         {"name": "app1", "root": "/srv", "slot": "blue"}, {"name": "app2", "root": "/srv", "slot": "blue"}]}),
                     ("member", "app3", "zero.downtime.releases", {"state": "observed", "members": [{"name": "app3", "root": "/opt", "slot": "current"}]})]


def test_each_members_answer_is_its_own(asked, monkeypatch):
    answers = {"app1": {"done": {"app1": {"active": {"label": "1"}}, "app2": {"failed": True, "msg": "root /srv is no directory"}}},
               "app3": {"failed": True, "unreachable_host": True, "msg": "member app3 cannot be reached: no route"}}
    monkeypatch.setattr(_fanout, "run_on", lambda action, hosts, *args, **more: {host: answers[host] for host in hosts})
    found = _queries.members(ACTION, {name: {"root": "/srv", "slot": "blue"} for name in ("app1", "app2", "app3")}, {})
    assert found["app1"] == {"active": {"label": "1"}} and found["app2"]["msg"] == "root /srv is no directory"
    assert found["app3"]["unreachable_host"] and list(found) == ["app1", "app2", "app3"]


def test_of_a_side_that_nobody_counts_its_members_hosts_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, t.Any] = {}

    def run(action: t.Any, hosts: list[str], module: str, args_for: t.Any, task_vars: t.Any, what: str = "") -> dict[str, t.Any]:
        asked.update({host: (module, args_for(host)) for host in hosts})
        entry = {"listens": True, "open": 1, "clients": {"192.0.2.9": 1}, "requests": 2, "idle_s": 3.0, "recent": {}, "unknown": None}
        return {host: {"members": [{"name": side, **entry} for side in ("blue", "green")]} for host in hosts}

    monkeypatch.setattr(_queries, "_run", run)
    place = {"server": "app1", "address": "192.0.2.21", "port": 80, "access_log": None}
    plan = {"members": ["app1"], "health": {"path": "/ready?deep=1"}, "whole_traffic": {"ignored_paths": ["/metrics"]},
            "sides": {side: {"pools": [f"shop_{side}"], "hosts": {"app1": place}} for side in ("blue", "green")}}
    infos = {"name www in zone shop.example": {"split": {"blue": 100, "green": 0}, "pools": []}}
    found = _queries.watched(t.cast(t.Any, None), _drivers.load("rfc2136"), plan, infos, {})
    module, given = asked["app1"]
    assert module == "zero.downtime.clients" and given["ignored"] == ["/ready", "/metrics"]
    assert given["members"] == [{"name": side, "address": "192.0.2.21", "port": 80} for side in ("blue", "green")]
    (info,) = found.values()
    assert [(pool["name"], pool["idle_s"], pool["members"][0]["in_flight"]) for pool in info["pools"]] == [("shop_blue", 3.0, 1), ("shop_green", 3.0, 1)]
    # Where balancers count, they alone do.
    assert _queries.watched(t.cast(t.Any, None), _drivers.load("haproxy"), plan, infos, {}) is infos
