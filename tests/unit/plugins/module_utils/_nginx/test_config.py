# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config

DIR = "/etc/nginx/zero-downtime"
MAIN = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;
events {{ worker_connections 768; }}
{more}
http {{
    log_format odd '"$request" {{ # not a comment }}';
    {inside}
    keepalive_timeout {keepalive};
    include /etc/nginx/sites-enabled/*;
}}

"""
SITE = """\
# configuration file /etc/nginx/sites-enabled/shop:
server {
    listen 80;
    location / { proxy_pass http://shop; }
}
"""
INCLUDE = f"include {DIR}/*.conf;"
UPSTREAM = f"# configuration file {DIR}/shop.upstream.conf:\nupstream shop {{\n    server 192.0.2.11:8000; # app1\n}}\n"


def dump(inside=INCLUDE, more="", site=SITE, rest=UPSTREAM, keepalive="0"):
    return MAIN.format(inside=inside, more=more, keepalive=keepalive) + site + rest


def lint(text, pools=None, existing=("shop",), slowest=60.0):
    return _nginx_config.lint(_nginx_config.parse(text), DIR, {"shop": {}} if pools is None else pools, existing, slowest)


@pytest.mark.claim("nginx-idle-connections-warned")
def test_idle_connections_that_a_reload_closes_are_told():
    found = lint(dump(keepalive="75s"))
    assert [(finding["level"], finding["setting"]) for finding in found] == [("warning", "keepalive_timeout")]
    assert found[0]["lines"][0] == "http { keepalive_timeout 0; }"
    assert lint(dump(keepalive="75s; keepalive_min_timeout 10s")) == []
    # What the server of the application says is enough.
    assert lint(dump(keepalive="75s", site=SITE.replace("listen 80;", "listen 80; keepalive_timeout 0s;"))) == []


@pytest.mark.parametrize("http, server, expected", [
    ("", "", 60), ("client_header_timeout 10s;", "", 10), ("client_header_timeout 10s;", "client_header_timeout 1m 30s;", 90),
    ("client_header_timeout 2m;", "client_header_timeout 5s;", 120), ("", "client_header_timeout 5s;", 60), ("", "client_header_timeout 2m;", 120)])
def test_how_long_a_connection_may_be_silent_is_what_the_most_patient_server_allows(http, server, expected):
    text = dump(inside=INCLUDE + http, site=SITE.replace("listen 80;", "listen 80; " + server))
    assert _nginx_config.parse(text).silence() == expected


@pytest.mark.claim("nginx-silence-is-told")
def test_silent_connections_that_outlast_every_request_are_told():
    found = lint(dump(), slowest=5.0)
    assert [(finding["level"], finding["setting"]) for finding in found] == [("info", "client_header_timeout")]
    assert "takes 65 s while there are streams (slowest_request is 5)" in found[0]["text"], found
    assert lint(dump(inside=INCLUDE + " client_header_timeout 5s;"), slowest=5.0) == []


@pytest.mark.parametrize("text, expected", [("30", 30), ("30s", 30), ("1m 30s", 90), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("soon", None), ("", None)])
def test_times(text, expected):
    assert _nginx_config.seconds(text) == expected


def test_words_blocks_and_files():
    config = _nginx_config.parse(dump())
    assert config.files == ["/etc/nginx/nginx.conf", "/etc/nginx/sites-enabled/shop", f"{DIR}/shop.upstream.conf"]
    assert config.all("log_format")[0].words == ("log_format", "odd", '"$request" { # not a comment }')
    # What an included file has is inside the blocks around the include.
    assert config.all("proxy_pass")[0].inside == (("http",), ("server",), ("location", "/"))
    assert config.upstreams() == {"shop": [f"{DIR}/shop.upstream.conf"]}
    assert config.uses("shop") and not config.uses("sho")


def test_a_careful_configuration_has_no_findings():
    assert lint(dump()) == []
    assert lint(dump(more="worker_shutdown_timeout 1m;")) == []


@pytest.mark.parametrize("inside, good", [
    (INCLUDE, True), (f'include "{DIR}/*.conf";', True), ("include zero-downtime/*.conf;", True), (f"include {DIR}/*;", True),
    (f"include {DIR}/shop.upstream.conf;", False), ("", False), (f"# {INCLUDE}", False),
])
def test_the_include_line(inside, good):
    assert _nginx_config.parse(dump(inside)).reads(DIR) is good
    found = [finding for finding in lint(dump(inside)) if finding["setting"] == "include"]
    assert bool(found) is not good
    if found:
        assert found[0]["level"] == "error" and found[0]["lines"] == [f"http {{ include {DIR}/*.conf; }}"]


def test_an_include_outside_of_http_does_not_count():
    assert not _nginx_config.parse(dump(inside="", more=INCLUDE)).reads(DIR)


def test_old_workers_must_not_be_ended_too_soon():
    found = lint(dump(more="worker_shutdown_timeout 10s;"))
    assert [(finding["level"], finding["setting"]) for finding in found] == [("error", "worker_shutdown_timeout")]
    assert "is 10 s, and a request may take 60 s" in found[0]["text"] and found[0]["lines"] == ["worker_shutdown_timeout 60s;"]


def test_an_upstream_elsewhere_has_to_be_moved():
    found = lint(dump(inside=INCLUDE + " upstream shop { server 192.0.2.11:8000; }", rest=""), {"shop": {"app1": "192.0.2.11:8000"}}, ())
    assert [(finding["level"], finding["setting"]) for finding in found] == [("error", "upstream")]
    assert "is in /etc/nginx/nginx.conf" in found[0]["text"]
    assert found[0]["lines"][-3:] == ["upstream shop {", "    server 192.0.2.11:8000; # app1", "}"]


def test_an_upstream_without_a_file_is_written_by_the_first_deploy():
    found = lint(dump(site="", rest=""), {"shop": {"app1": "192.0.2.11:8000"}}, ())
    assert [(finding["level"], finding["setting"]) for finding in found] == [("info", "upstream")]
    assert "the first deploy writes" in found[0]["text"]
    assert "are not known here" in lint(dump(site="", rest=""), existing=())[0]["text"]


def test_an_upstream_that_nobody_uses():
    assert [finding["setting"] for finding in lint(dump(site=""))] == ["proxy_pass"]
    # By a variable it may be any.
    assert lint(dump(site=SITE.replace("http://shop", "http://$pool"))) == []


def test_requests_that_are_sent_twice():
    found = lint(dump(inside=INCLUDE + " proxy_next_upstream error timeout non_idempotent;"))
    assert [(finding["level"], finding["setting"]) for finding in found] == [("warning", "proxy_next_upstream")]
