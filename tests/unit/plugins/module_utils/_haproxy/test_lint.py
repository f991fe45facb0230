# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import lint as _haproxy_lint

GOOD = """
global
    hard-stop-after 5m
    server-state-file /var/lib/haproxy/state   # kept
defaults base
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch 1
    option httpchk GET /ready
    option idle-close-on-response
    retry-on conn-failure empty-response
    load-server-state-from-file global
    default-server inter 1s fastinter 200ms rise 2
frontend front
    bind :80
    default_backend shop
backend shop
    http-request disable-l7-retry unless METH_GET
    server app1 10.0.0.1:80 check weight 100
    server app2 10.0.0.2:80 check weight 100
"""


def read(text, tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    return config.read([str(path)])


def lint(text, tmp_path):
    found = read(text, tmp_path)
    return {finding["setting"]: finding for finding in _haproxy_lint.lint(found, list(found.pools), list(found.frontends))}


def test_a_good_configuration_has_no_findings(tmp_path):
    assert lint(GOOD, tmp_path) == {}


@pytest.mark.claim("doctor-names-lines-of-memory", "lint-of-haproxy")
@pytest.mark.parametrize("old, new, setting, level, line", [
    ("    option redispatch 1\n", "", "option redispatch", "warning", "option redispatch 1"),
    ("mode http", "mode http\n    retries 0", "retries", "warning", "retries 3"),
    ("    http-request disable-l7-retry unless METH_GET\n", "", "retry-on", "error", "http-request disable-l7-retry unless METH_GET"),
    ("    retry-on conn-failure empty-response\n", "", "retry-on", "info", "http-request disable-l7-retry unless METH_GET"),
    ("    timeout server 60s\n", "", "timeout server", "warning", "timeout server 60s"),
    ("    timeout connect 5s\n", "", "timeout connect", "warning", "timeout connect 5s"),
    ("    timeout client 60s\n", "", "timeout client", "warning", "timeout client 60s"),
    ("10.0.0.2:80 check", "10.0.0.2:80", "check", "warning", "option httpchk GET /ready"),
    ("    option httpchk GET /ready\n", "", "option httpchk", "warning", "option httpchk GET /ready"),
    ("    option idle-close-on-response\n", "", "option idle-close-on-response", "info", "option idle-close-on-response"),
    ("inter 1s fastinter 200ms", "inter 10s", "inter", "info", "default-server inter 2s fastinter 500ms downinter 500ms"),
    ("weight 100", "weight 100 slowstart 30s", "slowstart", "info", None),
    ("weight 100", "weight 1", "weight", "info", "default-server weight 100"),
    ("weight 100", "weight 100 agent-check agent-port 9", "agent-check", "info", None),
    ("weight 100", "weight 100 on-marked-down shutdown-sessions", "on-marked-down", "warning", None),
    ("bind :80", "bind :80\n    use_backend %[str(a),map(/etc/a.map,shop)]", "map", "info", None),
    ("backend shop", "backend shop\n    cookie S insert", "cookie or stick", "info", None),
    ("    hard-stop-after 5m\n", "", "hard-stop-after", "info", "global: hard-stop-after 10m"),
    ("    load-server-state-from-file global\n", "", "server-state-file", "warning", "defaults: load-server-state-from-file global"),
    ("backend shop", "backend shop\n    mode tcp", "mode", "info", None),
])
def test_each_risk_is_found_and_nothing_else(tmp_path, old, new, setting, level, line):
    assert old in GOOD
    found = lint(GOOD.replace(old, new), tmp_path)
    assert list(found) == [setting]
    assert found[setting]["level"] == level
    assert line is None or line in found[setting]["lines"]


def test_the_second_backend_is_the_first_with_other_ports(tmp_path):
    found = read("""
defaults web
    mode http
frontend front
    default_backend shop
backend shop
    id 7
    option httpchk GET /ready
    http-request set-header x-note "two  words # here" if { path '/it"s' }
    default-server check inter 1s
    server app1 192.0.2.1:8000 id 3 weight 10
    server app2 app2.example
    server-template more 1-3 shop.example:8000 resolvers dns
""", tmp_path)
    lines = _haproxy_lint.of_split(found, ["shop"], ["front"])[0]["lines"]
    backend = [line.partition(": ")[2] for line in lines if line.startswith("backend shop_green from web: ")]
    assert backend == ["option httpchk GET /ready", "http-request set-header x-note 'two  words # here' if { path '/it\"s' }", "default-server check inter 1s",
                       "server app1 192.0.2.1:GREEN_PORT weight 10", "server app2 app2.example:GREEN_PORT",
                       "server-template more 1-3 shop.example:GREEN_PORT resolvers dns"]
    assert "(GREEN_PORT is the port of each member's second slot)" in lines


def test_a_server_that_is_no_member_keeps_its_address(tmp_path):
    found = read("""
defaults
    mode http
frontend front
    default_backend shop
backend shop
    server app1 192.0.2.1:8000 check
    server holding 192.0.2.9:9000 id 4 check backup
""", tmp_path)

    def servers(members):
        lines = _haproxy_lint.of_split(found, ["shop"], ["front"], members=members)[0]["lines"]
        return [line.partition(": server ")[2] for line in lines if ": server " in line]

    assert servers(["app1"]) == ["app1 192.0.2.1:GREEN_PORT check", "holding 192.0.2.9:9000 check backup"]
    # Where nobody has said who the members are, each may be one.
    assert servers(None) == ["app1 192.0.2.1:GREEN_PORT check", "holding 192.0.2.9:GREEN_PORT check backup"]


def test_the_lines_of_a_second_side_are_a_split(tmp_path):
    text = GOOD
    lacking = _haproxy_lint.of_split(read(text, tmp_path), ["shop"], ["front"])
    assert "rolling works, blue/green and canary need these lines" in lacking[0]["text"]
    lines = [line.partition(": ")[2] for line in lacking[0]["lines"] if line.startswith("frontend front: ")]
    found = read(text.replace("    default_backend shop\n", "".join(f"    {line}\n" for line in lines) + "    default_backend shop\n"), tmp_path)
    assert found.splits[0].pools == {"blue": ["shop"], "green": ["shop_green"]} and found.splits[0].key == "shop"
    assert "blue/green and canary work" in _haproxy_lint.of_split(found, ["shop"], ["front"])[0]["text"]
    assert "map" not in {finding["setting"] for finding in _haproxy_lint.lint(found, ["shop"], ["front"])}


@pytest.mark.claim("init-state-and-reloads")
@pytest.mark.parametrize("state, remembers, warned", [
    ("fully-down", False, True), ("down", False, True), ("fully-up", False, False), ("fully-down", True, False),
])
def test_members_that_a_reload_begins_as_down(tmp_path, state, remembers, warned):
    text = GOOD.replace("rise 2", f"rise 2 init-state {state}")
    found = lint(text if remembers else text.replace("    load-server-state-from-file global\n", ""), tmp_path)
    assert ("init-state" in found) == warned
    if warned:
        assert found["init-state"]["level"] == "warning" and "every member of pool shop down" in found["init-state"]["text"]
        assert "defaults: load-server-state-from-file global" in found["init-state"]["lines"]


def test_counters_that_workers_share_are_named(tmp_path):
    found = lint(GOOD.replace("global\n", "global\n    shm-stats-file /h\n", 1).replace("bind :80", "guid front\n    bind :80"), tmp_path)
    assert list(found) == ["shm-stats-file"] and found["shm-stats-file"]["level"] == "warning"
