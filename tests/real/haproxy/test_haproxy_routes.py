# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that a condition or a map leads to gets its second side by the printed lines, and nobody else's requests
go another way.
"""

from __future__ import annotations

import http.client
import json
import pathlib
import subprocess

import haproxy_lines
import pytest
from haproxy_stage import HAPROXY

POOLS = {"rest": ["r1"], "shop": ["app1", "app2"], "api": ["a1"]}
BLUE, GREEN = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}
# Who answers for each name before anything is split.
FIRST = {
    "shop.example": {"app1", "app2"},
    "www.shop.example": {"app1", "app2"},
    "api.example": {"a1"},
    "other.example": {"r1"},
}

WAYS = {
    "conditions": [
        "acl is_api hdr(host) api.example",
        "use_backend api if is_api",
        "use_backend shop if { hdr(host) shop.example } !is_api or { hdr_beg(host) www.shop }",
    ],
    "unless": [
        "acl is_api hdr(host) api.example",
        "acl is_other hdr(host) other.example",
        "use_backend api if is_api",
        "use_backend shop unless is_api or is_other",
    ],
    "map": ["use_backend %[req.hdr(host),lower,map({map})]"],
    "variable": ["http-request set-var(txn.pool) req.hdr(host),lower,map({map},rest)", "use_backend %[var(txn.pool)]"],
}


def answers(balancer) -> dict[str, set[str]]:
    """The members that answer twelve requests for each name."""
    found: dict[str, set[str]] = {}
    for host in FIRST:
        for _number in range(12):
            connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            assert answer.status == 200
            found.setdefault(host, set()).add(json.loads(answer.read())["name"])
            connection.close()
    return found


@pytest.mark.claim("second-side-behind-rules")
@pytest.mark.parametrize("way", WAYS)
def test_the_printed_lines_split_what_rules_lead_to_and_nothing_else(stage, info, split, tmp_path, way):
    hosts = tmp_path / "hosts.map"
    hosts.write_text("shop.example shop\nwww.shop.example shop\napi.example api\n", encoding="ascii")
    second = {name: f"{name}-green" for name in POOLS["shop"]}
    balancer = stage(
        {**POOLS, "spare": list(second.values())},
        frontend_lines=[line.replace("{map}", str(hosts)) for line in WAYS[way]],
    )
    assert answers(balancer) == FIRST
    lacking = next(found for found in info(balancer, pools=["shop"])["findings"] if found["setting"] == "split")
    assert "rolling works, blue/green and canary need these lines and a reload" in lacking["text"]
    assert (
        not way.startswith(("map", "var"))
        or f"{hosts}: 'shop.example shop', 'www.shop.example shop'" in lacking["text"]
    ), lacking

    haproxy_lines.apply(pathlib.Path(balancer.config), lacking["lines"], lambda member: balancer.ports[second[member]])
    checked = subprocess.run([HAPROXY, "-c", "-f", balancer.config], capture_output=True, text=True, check=True)
    assert "will still be processed before" not in checked.stdout + checked.stderr, checked
    balancer.reload()
    there = info(balancer, pools=["shop", "shop_green"])
    assert there["split"]["blue"] == 100 and there["split"]["pools"] == {"blue": ["shop"], "green": ["shop_green"]}
    assert (
        "blue/green and canary work"
        in next(found for found in there["findings"] if found["setting"] == "split")["text"]
    )
    assert answers(balancer) == FIRST
    split(balancer, GREEN, pools=["shop", "shop_green"])
    assert answers(balancer) == {
        **FIRST,
        "shop.example": set(second.values()),
        "www.shop.example": set(second.values()),
    }
    split(balancer, BLUE, pools=["shop", "shop_green"])
    assert answers(balancer) == FIRST
