# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import driver as _haproxy
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import split as _haproxy_split

TRAFFIC = {"balancers": "shop_lb", "socket": "/run/admin.sock", "master_socket": "/run/master.sock", "frontends": ["front"],
           "pools": [{"name": "shop_blue", "port": 8000, "side": "blue"}, {"name": "shop_green", "side": "green"}]}


def test_driver_is_found_and_takes_its_traffic():
    driver = _drivers.load("haproxy")
    assert driver.runs_on == "balancers" and driver.info and driver.strategies == ["rolling", "blue_green", "canary"]
    traffic = _spec.check(TRAFFIC, driver.traffic_spec, "deploy_traffic.")
    args = driver.member_args(traffic, ["app1"])
    assert args["members"] == ["app1"] and args["pools"] == ["shop_blue", "shop_green"] and args["master_socket"] == "/run/master.sock"
    assert set(args) <= set(_haproxy_options.members_spec())
    assert set(driver.info_args(traffic)) <= set(_haproxy_options.info_spec())
    # Who the members are, where whoever asks knows it.
    assert "members" in _haproxy_options.info_spec() and "members" not in driver.info_args(traffic)
    assert driver.info_args({**traffic, "members": ["app1"]}) == {**driver.info_args(traffic), "members": ["app1"]}
    split = driver.split_args(traffic, "shop")
    assert set(split) <= set(_haproxy_split.split_spec()) and split["sides"] == {"blue": ["shop_blue"], "green": ["shop_green"]} and split["app"] == "shop"


@pytest.mark.parametrize("change, sentence", [
    ({"soket": "x"}, "did you mean socket"),
    ({"balancers": None}, "balancers is missing"),
    ({"pools": None}, "pools is missing"),
    ({"pools": [{"port": 1}]}, "name is missing"),
    ({"pools": [{"name": "a", "side": "red"}]}, "accepted are blue, green"),
    ({"old_workers": "kill"}, "accepted are wait, ignore"),
    ({"socket_timeout": "soon"}, "a number is accepted"),
])
def test_bad_traffic(change, sentence):
    with pytest.raises(DowntimeError, match=sentence):
        _spec.check({**TRAFFIC, **change}, _haproxy.DRIVER.traffic_spec, "deploy_traffic.")


def test_socket_command_serves_the_master_only_with_the_placeholder():
    params = {name: option.get("default") for name, option in _haproxy_options.info_spec().items()}
    params.update(master_socket="/run/master.sock", socket_command=["sudo", "socat", "-", "/run/admin.sock"])
    assert _haproxy_options.balancer_of(params).master.command is None
    params["socket_command"] = ["sudo", "socat", "-", "{socket}"]
    assert _haproxy_options.balancer_of(params).master.command == ["sudo", "socat", "-", "/run/master.sock"]
