# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import lint as _haproxy_lint


def read(text, tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    return config.read([str(path)])


@pytest.mark.parametrize("text, value", [
    ("5s", 5), ("100ms", 0.1), ("250", 0.25), ("2m", 120), ("1h", 3600), ("1d", 86400), ("500us", 0.0005), ("5 s", None), ("", None),
])
def test_seconds(text, value):
    assert config.seconds(text) == value


def test_inheritance(tmp_path):
    found = read("""
defaults one
    mode http
    option redispatch
    timeout server 5s
defaults two from one
    no option redispatch
backend a from one
    default-server check
    server s1 10.0.0.1:80
    server s2 10.0.0.1:80 no-check
    server-template web 1-3 10.0.0.9:80 track a/s1
backend b
    timeout server 7s
""", tmp_path)
    a, b = found.pools["a"], found.pools["b"]
    assert a.option("redispatch") and a.mode == "http" and a.timeout("server") == 5
    assert not b.option("redispatch") and b.mode == "http" and b.timeout("server") == 7
    assert config.flag(a.servers["s1"], "check") and not config.flag(a.servers["s2"], "check")
    assert config.word_after(a.servers["web3"], "track") == "a/s1"


def test_what_the_mover_has_to_know(tmp_path):
    found = read("""
frontend f
    option idle-close-on-response
backend a
    cookie SRV insert
backend b
    stick on src
backend c
    stick-table type ip size 1k
    server s1 10.0.0.1:80 on-marked-down shutdown-sessions
""", tmp_path)
    assert found.sticky == {"a", "b"} and found.cuts == {("c", "s1")} and found.lingers


def test_pure_stats_frontends(tmp_path):
    found = read("""
frontend metrics
    http-request use-service prometheus-exporter if { path /metrics }
    stats uri /stats
listen stats
    stats enable
listen shop
    stats enable
    server s1 10.0.0.1:80
frontend both
    stats uri /stats
    default_backend shop
""", tmp_path)
    assert found.pure_stats == {"metrics", "stats"}


def test_a_directory_in_order_and_a_missing_file(tmp_path):
    (tmp_path / "2.cfg").write_text("backend b\n    server s 10.0.0.1:80\n")
    (tmp_path / "1.cfg").write_text("defaults\n    mode http\n")
    (tmp_path / "x.txt").write_text("backend no\n")
    found = config.read([str(tmp_path)])
    assert list(found.pools) == ["b"] and found.pools["b"].mode == "http"
    with pytest.raises(OSError):
        config.read([str(tmp_path / "nope.cfg")])


def test_quotes_and_comments(tmp_path):
    found = read('backend "a b" # comment\n    http-check send hdr Host "x # y"\n    server s\\ 1 10.0.0.1:80 # check\n', tmp_path)
    assert found.pools["a b"].lines[0][-1] == "x # y" and found.pools["a b"].servers == {"s 1": []}


def test_splits_are_found_with_conditions_names_and_several_frontends(tmp_path):
    found = read("""
frontend plain
    http-request set-var(txn.green) str(shop),map_str_int(/etc/s.map,0)
    http-request set-var(txn.draw) rand(100)
    acl shop hdr(host) shop.example
    acl draws var(txn.draw),sub(txn.green) -m int lt 0
    use_backend shop_green if shop draws
    use_backend shop_blue if shop
    default_backend rest
frontend tls
    http-request set-var(txn.green) str(shop),map_str_int(/etc/s.map,0)
    http-request set-var(txn.draw) req.cook(user),xxh32,mod(100)
    use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }
    default_backend shop_blue
frontend other
    http-request set-var(txn.green) str(api),map_str_int(/etc/s.map)
    http-request set-var(txn.draw) rand(1000)
    use_backend api_green if { var(txn.draw),sub(txn.green) -m int lt 0 }
    default_backend api
""", tmp_path)
    assert len(found.splits) == 1, "a draw out of 1000 makes no percents"
    split = found.splits[0]
    assert (split.map, split.key, split.default, split.frontends, split.sticky) == ("/etc/s.map", "shop", 0, ["plain", "tls"], True)
    assert split.pools == {"blue": ["shop_blue"], "green": ["shop_green"]}
    assert [finding["setting"] for finding in _haproxy_lint.of_split(found, ["shop_blue", "shop_green"], list(found.frontends))] == ["split"]


TOGETHER = """
global
    expose-experimental-directives
    shm-stats-file /haproxy
frontend front
    guid fe:front
    bind :80
backend shop
    guid be:shop
    server app1 10.0.0.1:80 check guid srv:app1
    server app2 10.0.0.2:80 check
backend api
    server app1 10.0.0.1:81
listen both
    guid both
    bind :81
"""


def test_what_workers_count_together_has_a_name_of_its_own(tmp_path):
    found = read(TOGETHER, tmp_path)
    assert found.counted_together == {("front", "FRONTEND"), ("shop", "BACKEND"), ("shop", "app1"), ("both", "FRONTEND"), ("both", "BACKEND")}
    # A name alone shares nothing.
    assert read(TOGETHER.replace("    shm-stats-file /haproxy\n", ""), tmp_path).counted_together == set()
