# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import driver
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

BLUE, GREEN = {"name": "shop-blue", "side": "blue"}, {"name": "shop-green", "side": "green"}
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2"


def member(server, address, **ports):
    return {"server": server, "address": address, "ports": ports, "servers": dict.fromkeys(ports, server)}


def test_it_is_found_in_its_folder():
    found = _drivers.load("elbv2")
    assert found.runs_on == "controller" and found.strategies == ["rolling", "blue_green", "canary"]


def test_each_member_gets_its_target_in_each_group():
    members = {
        "app1": member("i-0123456789abcdef0", "192.0.2.1", shop=8000, admin=9000),
        "app2": member("app2", "192.0.2.2", shop=8000),
        "app3": member("10.0.0.3:81", "192.0.2.3", shop=8000),
    }
    found = driver.complete(
        {"pools": [{"name": "shop"}, {"name": "admin"}, {"name": "own", "members": {"x": "y"}}]}, members
    )
    assert [pool["members"] for pool in found["pools"]] == [
        {"i-0123456789abcdef0": "i-0123456789abcdef0:8000", "app2": "192.0.2.2:8000", "10.0.0.3:81": "10.0.0.3:81"},
        {"i-0123456789abcdef0": "i-0123456789abcdef0:9000"},
        {"x": "y"},
    ]


@pytest.mark.parametrize(
    "traffic, name",
    [
        ({"region": "eu-west-1", "pools": [{"name": "shop"}]}, "target group shop in eu-west-1"),
        ({"region": "eu-west-1", "pools": [BLUE, GREEN]}, "target groups shop-blue and shop-green in eu-west-1"),
        ({"pools": [BLUE, GREEN], "load_balancer": "shop", "listener": "443"}, "load balancer shop in eu-north-1"),
        ({"pools": [BLUE, GREEN], "listener": ARN}, "load balancer shop in eu-north-1"),
    ],
)
def test_it_has_a_name_that_people_know_it_by(traffic, name, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert driver.endpoint(traffic) == name


def test_what_needs_no_api_is_refused_without_one():
    with pytest.raises(DowntimeError, match="deploy_traffic.load_balancer is missing"):
        driver.check({"pools": [BLUE, GREEN], "hold": 5.0}, {})
    with pytest.raises(DowntimeError, match="deploy_traffic.hold is 30; seconds below 20 are accepted"):
        driver.check({"pools": [BLUE, GREEN], "rule": ARN, "hold": 30.0}, {})
    with pytest.raises(DowntimeError, match="deploy_traffic.secret_key is missing"):
        driver.check({"pools": [BLUE], "access_key": "a", "hold": 30.0}, {})
    driver.check({"pools": [BLUE, GREEN], "rule": ARN, "hold": 5.0}, {})
