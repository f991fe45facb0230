# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import lint as _haproxy_lint

BACKENDS = """
defaults
    mode http
backend rest
    server r 192.0.2.9:80
backend shop
    server app1 192.0.2.1:8000
"""
DRAW = "{ var(txn.shop_draw),sub(txn.shop_green) -m int lt 0 }"
HOSTS = "# names\nshop.example shop\nwww.shop.example shop\napi.example api\n"


def lacking(rules, tmp_path, maps=None, pool="shop"):
    """What is said about the second side of a pool, with these rules in the frontend."""
    path = tmp_path / "haproxy.cfg"
    path.write_text("\n    ".join([BACKENDS + "frontend front", *rules, "default_backend rest"]) + "\n")
    found = config.read([str(path)])
    return found, _haproxy_lint.of_split(found, [pool], ["front"], (maps or {}).get)


def applied(finding, rules, tmp_path, pool="shop"):
    """The configuration with the lines of a finding, each at its place."""
    rules, plain = list(rules), 0
    for line in finding["lines"]:
        place, dummy, rule = line.partition(": ")
        if place == "frontend front":
            rules.insert(plain, rule)
            plain += 1
        elif place.startswith("frontend front, before '"):
            rules.insert(rules.index(place.partition(" before '")[2][:-1]), rule)
        elif place.startswith("frontend front, after"):
            rules.append(rule)
    return lacking(rules, tmp_path, pool=pool)


@pytest.mark.parametrize(
    "rule, conditions",
    [
        ("if is_shop", f"is_shop {DRAW}"),
        ("if { hdr(host) shop.example } { path_beg /a }", f"{{ hdr(host) shop.example }} {{ path_beg /a }} {DRAW}"),
        (
            "if is_shop or { path_beg /shop } !is_api || www",
            f"is_shop {DRAW} or {{ path_beg /shop }} !is_api {DRAW} or www {DRAW}",
        ),
        ("unless is_api", f"!is_api {DRAW}"),
        ("unless is_api !{ path /x } or old", f"!is_api !old {DRAW} or {{ path /x }} !old {DRAW}"),
    ],
)
def test_a_pool_behind_a_condition_gets_its_second_side_before_it(tmp_path, rule, conditions):
    rules = ["acl is_shop hdr(host) shop.example", "use_backend api if is_api", f"use_backend shop {rule}"]
    dummy, found = lacking(rules, tmp_path)
    assert (
        f"frontend front, before 'use_backend shop {rule}': use_backend shop_green if {conditions}" in found[0]["lines"]
    )
    assert f"requests come to it by 'use_backend shop {rule}' of frontend front" in found[0]["text"]
    split, again = applied(found[0], rules, tmp_path)
    assert [one.pools for one in split.splits] == [{"blue": ["shop"], "green": ["shop_green"]}]
    assert "blue/green and canary work" in again[0]["text"]


@pytest.mark.parametrize(
    "rules, match, keys",
    [
        (
            ["use_backend %[req.hdr(host),lower,map(/etc/hosts.map,rest)]"],
            "req.hdr(host),lower,map(/etc/hosts.map,rest)",
            "'shop.example shop', 'www.shop.example shop'",
        ),
        (
            [
                "http-request set-var(txn.pool) req.hdr(host),map(/etc/hosts.map)",
                "use_backend %[var(txn.pool)] if { var(txn.pool) -m found }",
            ],
            "var(txn.pool)",
            "'shop.example shop', 'www.shop.example shop'",
        ),
        (
            ["use_backend %[req.hdr(host),map(/etc/none.map,shop)]"],
            "req.hdr(host),map(/etc/none.map,shop)",
            "what it lacks",
        ),
    ],
)
def test_a_pool_that_a_map_names_gets_its_second_side_before_the_rule(tmp_path, rules, match, keys):
    dummy, found = lacking(rules, tmp_path, {"/etc/hosts.map": HOSTS})
    own = rules[-1].partition(" if ")[2]
    condition = " ".join(part for part in (f"{{ {match} -m str shop }}", own, DRAW) if part)
    assert f"frontend front, before '{rules[-1]}': use_backend shop_green if {condition}" in found[0]["lines"]
    assert keys in found[0]["text"]
    split, again = applied(found[0], rules, tmp_path)
    assert [one.pools for one in split.splits] == [{"blue": ["shop"], "green": ["shop_green"]}]
    assert "blue/green and canary work" in again[0]["text"]


def test_the_part_of_a_name_that_a_rule_adds_is_none_of_the_maps(tmp_path):
    dummy, found = lacking(
        ["use_backend sh%[req.hdr(x-pool),map(/etc/p.map)]"], tmp_path, {"/etc/p.map": "a op\nb ow\n"}
    )
    assert (
        any("{ req.hdr(x-pool),map(/etc/p.map) -m str op }" in line for line in found[0]["lines"])
        and "'a op'" in found[0]["text"]
    )


def test_where_a_rule_leads_that_nobody_can_tell_is_said(tmp_path):
    dummy, found = lacking(["use_backend %[req.hdr(x-pool)]"], tmp_path)
    assert (
        found[0]["lines"] == []
        and "where 'use_backend %[req.hdr(x-pool)]' of frontend front leads is not known here" in found[0]["text"]
    )
    dummy, found = lacking(
        ["use_backend %[req.hdr(host),map(/etc/hosts.map)]"], tmp_path, {"/etc/hosts.map": "api.example api\n"}
    )
    assert found[0]["lines"] == []


def test_the_default_pool_is_split_after_all_other_rules_and_two_splits_share_no_variable(tmp_path):
    rules = ["use_backend shop if is_shop"]
    dummy, found = lacking(rules, tmp_path, pool="rest")
    assert (
        "frontend front, after its last use_backend: use_backend rest_green if { var(txn.draw),sub(txn.green) -m "
        "int lt 0 }" in found[0]["lines"]
    )
    text = (
        (tmp_path / "haproxy.cfg")
        .read_text()
        .replace(
            "use_backend shop if is_shop",
            "\n    ".join(line.partition(": ")[2] for line in found[0]["lines"] if line.startswith("frontend front")),
        )
    )
    (tmp_path / "haproxy.cfg").write_text(text + "    use_backend shop if is_shop\n")
    lines = _haproxy_lint.of_split(config.read([str(tmp_path / "haproxy.cfg")]), ["shop"], ["front"])[0]["lines"]
    # haproxy warns of such a rule behind a use_backend, and of one behind a redirect.
    first = "use_backend rest_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"
    assert f"frontend front, before '{first}': http-request set-var(txn.shop_draw) rand(100)" in lines


@pytest.mark.parametrize(
    "rules, place",
    [
        (["use_backend api if is_api", "use_backend rest if is_rest"], ", before 'use_backend api if is_api'"),
        (["redirect scheme https if !{ ssl_fc }", "use_backend api if is_api"], ", before 'redirect scheme https if !{ ssl_fc }'"),
        (["http-request deny if { path /x }"], ""),
    ],
)
def test_the_draw_is_made_before_the_first_rule_that_haproxy_warns_of(tmp_path, rules, place):
    dummy, found = lacking(rules, tmp_path, pool="rest")
    drawn = [line.partition(": ") for line in found[0]["lines"] if "http-request set-var" in line]
    assert [where for where, dummy, _rule in drawn] == [f"frontend front{place}"] * 2, found
    again, split = applied(found[0], rules, tmp_path, "rest")
    assert again.splits[0].pools == {"blue": ["rest"], "green": ["rest_green"]} and "blue/green and canary work" in split[0]["text"]


def test_a_second_pool_that_is_there_already_only_lacks_its_rules(tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        BACKENDS.replace("backend shop", "backend shop_blue") + "backend shop_green\n    server app1 192.0.2.1:8001\n"
        "frontend front\n    default_backend shop_blue\n"
    )
    lines = _haproxy_lint.of_split(config.read([str(path)]), ["shop_blue"], ["front"])[0]["lines"]
    assert lines[-1] == "frontend front: use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"


def test_in_tcp_mode_there_are_no_lines(tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "defaults\n    mode tcp\nfrontend front\n    default_backend shop\nbackend shop\n    server a 192.0.2.1:1\n"
    )
    found = _haproxy_lint.of_split(config.read([str(path)]), ["shop"], ["front"])
    assert found[0]["lines"] == [] and "frontend front is in TCP mode" in found[0]["text"]
