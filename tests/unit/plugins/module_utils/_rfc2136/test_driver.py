# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import options

DRIVER = _drivers.load("rfc2136")
POOLS = [{"name": "shop_blue", "side": "blue", "port": 80}, {"name": "shop_green", "side": "green", "port": 80}]
TRAFFIC: dict[str, t.Any] = {
    "zone": "shop.example",
    "name": "www",
    "server": "ns1.shop.example",
    "key_name": "deploy",
    "key_secret": "c2VjcmV0",
    "sides": {"blue": ["192.0.2.1"], "green": ["192.0.2.2"]},
    "pools": POOLS,
}


def traffic(**more: t.Any) -> dict[str, t.Any]:
    return _spec.check({**TRAFFIC, **more}, DRIVER.traffic_spec, "deploy_traffic.")


def test_it_carries_blue_green_and_no_canary() -> None:
    assert DRIVER.strategies == ["blue_green"] and DRIVER.whole
    assert DRIVER.endpoint and DRIVER.endpoint(traffic()) == "name www in zone shop.example"


def test_its_modules_take_what_it_makes_of_deploy_traffic() -> None:
    given = traffic()
    assert DRIVER.split_args and DRIVER.info_args and DRIVER.lock_args
    split = _spec.check(DRIVER.split_args(given, "shop"), options.split_spec())
    assert (split["blue"], split["green"], split["app"]) == (["192.0.2.1"], ["192.0.2.2"], "shop")
    assert _spec.check(DRIVER.info_args(given), options.info_spec())["ttl"] == 300
    lock = _spec.check({**DRIVER.lock_args(given), "state": "observed", "name": "production-shop"}, options.lock_spec())
    assert lock["record"] == "www" and lock["key_secret"] == "c2VjcmV0"


def test_a_switch_may_take_what_the_times_to_live_take() -> None:
    given = traffic(ttl=600, effective_timeout=60)
    assert DRIVER.holds and DRIVER.split_timeout
    assert DRIVER.holds(given) == 600 and DRIVER.split_timeout(given) > 2 * 600 + 60


@pytest.mark.parametrize(
    "more, sentence",
    [
        (
            {"sides": {"blue": [], "green": ["192.0.2.2"]}},
            r"deploy_traffic.sides.blue is \[\]; IPv4 and IPv6 addresses",
        ),
        (
            {"sides": {"blue": ["192.0.2.1"], "green": ["192.0.2.1"]}},
            "deploy_traffic.sides has 192.0.2.1 for both sides",
        ),
        (
            {"sides": {"blue": ["a.example", "b.example"], "green": ["192.0.2.1"]}},
            "or one name .for a CNAME., are accepted",
        ),
        ({"server": "[2001:db8::1"}, "deploy_traffic.server is '.2001:db8::1'; a name or an address"),
        ({"servers": ["ns1:0"]}, "deploy_traffic.servers is 'ns1:0'; a name or an address"),
        ({"resolvers": ["a b"]}, "deploy_traffic.resolvers is 'a b'; a name or an address"),
        ({"ttl": 0}, "deploy_traffic.ttl is 0; seconds from 1 on are accepted"),
        ({"short_ttl": -1}, "deploy_traffic.short_ttl is -1; seconds from 0 on are accepted"),
        ({"effective_timeout": 0}, "deploy_traffic.effective_timeout is 0; seconds from 1 on are accepted"),
    ],
)
def test_what_cannot_work_is_refused_before_anybody_is_asked(more: dict[str, t.Any], sentence: str) -> None:
    assert DRIVER.check
    with pytest.raises(DowntimeError, match=sentence):
        DRIVER.check(traffic(**more), {})
    DRIVER.check(traffic(), {})
