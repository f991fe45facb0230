# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types

import pytest
import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.action import evidence as action
from ansible_collections.zero.downtime.plugins.modules import evidence as twin
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout


def test_the_documentation_tells_the_same_options():
    documented = yaml.safe_load(twin.DOCUMENTATION)["options"]
    assert set(documented) == set(action.SPEC)
    for name, option in action.SPEC.items():
        assert documented[name]["type"] == option["type"]
        assert documented[name].get("default") == option.get("default")
        assert documented[name].get("required", False) == option.get("required", False)
        assert documented[name].get("choices") == option.get("choices")


ASKED = {"lb1": {"pools": [{"name": "b", "members": [{"name": "app1", "state": "active"}, {"name": "app2", "state": "down"},
                                                     {"name": "app9", "state": "down", "status": "absent"}]}]},
         "lb2": {"failed": True, "msg": "balancer lb2 cannot be reached"}}
POOLS = [{"name": "b", "side": "blue", "port": 80}, {"name": "g", "side": "green", "port": 80}]


@pytest.mark.claim("failed-deploy-asks-who-serves")
@pytest.mark.parametrize("args, asked", [
    ({"failed": True}, True), ({"failed": False}, False), ({"failed": True, "pools": []}, False), ({"failed": True, "state": "checked"}, False),
    ({"failed": True, "driver": "none", "traffic": {}}, None),
])
def test_when_a_deploy_failed_every_balancer_is_asked_once_who_serves(monkeypatch, args, asked):
    result, calls = stopped(monkeypatch, args)
    assert not result.get("failed"), result
    assert calls == ([("zero.downtime.haproxy_info", ["lb1", "lb2"], ["b", "g"])] if asked else [])
    assert result.get("seen") == ({"lb1": {"b": {"app1": "active", "app2": "down"}}, "lb2": None} if asked else None)


@pytest.mark.claim("failed-deploy-asks-who-serves")
def test_evidence_that_cannot_be_kept_keeps_nobody_from_asking_who_serves(monkeypatch):
    def gone(keeper):
        raise NotADirectoryError(20, "Not a directory")

    monkeypatch.setattr(action.Keeper, "stopped", gone)
    result, dummy = stopped(monkeypatch, {"run_dir": "/records/r1"})
    assert result["failed"] and result["msg"] == "the evidence in run_dir /records/r1 cannot be kept: Not a directory"
    assert result["seen"]["lb1"] == {"b": {"app1": "active", "app2": "down"}}


def stopped(monkeypatch, args):
    """What the end of the evidence returned, and the calls to balancers that it took."""
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    calls = []

    def run_on(action, hosts, module, args_for, task_vars, **options):
        calls.append((module, sorted(hosts), [pool["name"] if isinstance(pool, dict) else pool for pool in args_for("lb1")["pools"]]))
        return {host: dict(ASKED[host]) for host in hosts}

    monkeypatch.setattr(_fanout, "run_on", run_on)
    one = action.ActionModule.__new__(action.ActionModule)
    traffic = {"balancers": "lbs", "socket": "/s", "pools": POOLS[:1]}
    one._task = types.SimpleNamespace(args={"state": "stopped", "driver": "haproxy", "traffic": traffic, "pools": POOLS, **args}, check_mode=False)
    one._play_context = types.SimpleNamespace(timeout=10)
    return one.run(task_vars={"hostvars": {}, "groups": {"lbs": list(ASKED)}}), calls
