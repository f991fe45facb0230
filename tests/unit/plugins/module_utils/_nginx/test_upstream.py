# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import upstream as _nginx_upstream

TEXT = """\
# ours
upstream shop {   # the shop
    zone shop 64k;

    server 192.0.2.11:8000 weight=3 max_fails=2; # app1, the old one
\tserver 192.0.2.12:8000;#app2
    server [2001:db8::3]:8000 weight=2 down;  # app3
    server 192.0.2.14:8000 backup; # spare
    keepalive 16;
}
"""


def parse(text=TEXT, members=None):
    return _nginx_upstream.parse("shop", "/etc/nginx/zd/shop.upstream.conf", text, members)


def test_what_is_read():
    upstream = parse()
    assert [(server.name, server.address, server.weight, server.down, server.backup) for server in upstream.servers] == [
        ("app1", "192.0.2.11:8000", 3, False, False), ("app2", "192.0.2.12:8000", 1, False, False), ("app3", "[2001:db8::3]:8000", 2, True, False),
        ("spare", "192.0.2.14:8000", 1, False, True)]
    assert upstream.serving() == ["app1", "app2"]
    assert upstream.text == TEXT


@pytest.mark.claim("nginx-only-down-and-weight")
def test_only_down_and_weight_change():
    out = parse().out(["app2", "app3"])
    assert out.text == TEXT.replace("server 192.0.2.12:8000;#app2", "server 192.0.2.12:8000 down;#app2")
    assert out.out(["app2"]) == out
    back = out.into(["app2", "app3"])
    assert back.text == TEXT.replace(" down;", ";")
    heavy = back.into(["app3", "app2"], 7)
    assert "server [2001:db8::3]:8000 weight=7;  # app3" in heavy.text and "server 192.0.2.12:8000 weight=7;#app2" in heavy.text
    assert heavy.into(["app3"], 7) == heavy


def test_members_are_known_by_name_by_address_or_by_host():
    text = "upstream shop {\n    server 192.0.2.11:8000;\n    server app2:8000;\n    server 192.0.2.99:1; # app3\n    server 192.0.2.14; # four\n}\n"
    members = {"app1": "192.0.2.11:8000", "app2": "192.0.2.12:8000", "app3": "192.0.2.13:8000", "app4": "192.0.2.14:80"}
    upstream = parse(text, members)
    assert [server.name for server in upstream.servers] == ["app1", "app2", "app3", "app4"]
    # What the file says is where requests go, whatever the inventory says.
    assert upstream.address("app3") == "192.0.2.99:1"
    assert [server.name for server in parse(text).servers] == ["192.0.2.11", "app2", "app3", "four"]


def test_a_member_without_a_line_gets_one_when_it_comes_in():
    members = {"app1": "192.0.2.11:8000", "app2": "192.0.2.12:8000"}
    first = _nginx_upstream.fresh("shop", "/x/shop.upstream.conf", members)
    assert not first.exists and first.names == ["app1", "app2"] and first.serving() == [] and first.address("app2") == "192.0.2.12:8000"
    assert first.out(["app1"]) == first
    one = first.into(["app1"])
    assert one.text == _nginx_upstream.HEADER + "upstream shop {\n    server 192.0.2.11:8000; # app1\n}\n"
    assert one.names == ["app1", "app2"] and one.serving() == ["app1"]
    both = one.into(["app1", "app2"], 5)
    assert both.text.endswith("    server 192.0.2.11:8000 weight=5; # app1\n    server 192.0.2.12:8000 weight=5; # app2\n}\n")
    assert both.into(["app2"], 5) == both


@pytest.mark.claim("nginx-unknown-server-refused")
def test_a_server_that_may_be_a_member_is_not_added_a_second_time():
    text = "upstream shop {\n    server shop-one.internal:8000;\n}\n"
    with pytest.raises(DowntimeError, match=r"has shop-one.internal:8000, which is no known member, and lacks app1 \(192.0.2.11:8000\).*; # app1'"):
        parse(text, {"app1": "192.0.2.11:8000"})
    # Foreign servers beside all of ours are left alone.
    both = text.replace("}", "    server 192.0.2.11:8000;\n}")
    assert parse(both, {"app1": "192.0.2.11:8000"}).names == ["shop-one.internal", "app1"]


@pytest.mark.parametrize("text, word", [
    ("upstream shop { server 192.0.2.11:8000; }\n", "line 1"),
    ("upstream shop {\n    server 192.0.2.11:8000; server 192.0.2.12:8000;\n}\n", "line 2"),
    ("upstream shop {\n    server 192.0.2.11:8000\n        down;\n}\n", "line 2"),
    ("upstream api {\n}\n", "line 1 has the upstream 'api'; the upstream shop is accepted"),
    ("upstream shop {\n}\nserver { listen 80; }\n", "line 3"),
    ("upstream shop {\n", "no whole upstream shop"),
    ("", "no whole upstream shop"),
    ("upstream shop {\n    server 127.0.0.1:1;\n    server 127.0.0.1:2;\n}\n", r"two servers 127.0.0.1 \(lines 2 and 3\)"),
])
def test_a_file_of_another_form_is_refused(text, word):
    with pytest.raises(DowntimeError, match=word):
        parse(text)


@pytest.mark.parametrize("address, place", [
    ("192.0.2.1:8000", ("192.0.2.1", 8000)), ("app1", ("app1", 80)), ("[2001:db8::1]:81", ("2001:db8::1", 81)), ("[2001:db8::1]", ("2001:db8::1", 80)),
    ("unix:/run/app.sock", None), ("2001:db8::1", None),
])
def test_addresses(address, place):
    assert _nginx_upstream.host_port(address) == place
