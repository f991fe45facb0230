# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import mover as _haproxy_mover
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._judge import prometheus as _prometheus
from ansible_collections.zero.downtime.plugins.module_utils._nginx import pools as _nginx_pools
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan


@pytest.mark.parametrize("url, shown", [
    ("https://user:s3cret@art.example/shop.tar.gz?token=abc#x", "https://art.example/shop.tar.gz"),
    ("https://s3cret@art.example", "https://art.example"),
    ("https://user:p@ss@art.example/a@b", "https://art.example/a@b"),
    ("https://art.example:99999/x", "https://art.example:99999/x"),
    ("https://[::1/x", "https://[::1/x"),
    ("user:s3cret@art.example", "art.example"),
    ("https://user:s3/cret@art.example/x", "https://…"),
    ("https://user:s3?cret@art.example/x", "https://…"),
    ("https://user:s3#cret@art.example/x", "https://…"),
    ("https://art.example:8443/@scope/x", "https://art.example:8443/@scope/x"),
    ("https://art.example/@scope/x", "https://art.example/@scope/x"),
    ("/search?q=s3cret", "/search"),
    ("/a/path", "/a/path"),
])
def test_an_address_is_shown_without_what_is_secret_in_it(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize("url", ["http://user:s3cret@shop.example/", "ftp://user:s3cret@shop.example/", "http://user:s3cret@shop.example:99999/",
                                 "http://user:s3cret@/", "http://user:s3cret@[::1/", "ftp://shop.example/?token=s3cret", "http:///?token=s3cret",
                                 "http://shop.example:x/?token=s3cret", "http://shop.example/?to ken=s3cret", "http://user:s3cret/@shop.example/",
                                 "http://shop.example/?token=s3crét", "http://shop.example:0/?token=s3cret", "http://[::1/?token=s3cret"])
@pytest.mark.claim("no-secret-of-an-address")
def test_a_probe_that_refuses_an_address_does_not_tell_its_password(url):
    with pytest.raises(_probe.BadConfig) as refused:
        _probe.parse_target(url)
    assert "s3cr" not in str(refused.value) and "s3cr" not in repr(refused.value.__cause__)


BAD_PORT = "http://user:s3cret/@app1.example/?token=s3cret"
HEALTH = {name: option.get("default") for name, option in _health.argument_spec().items()}


def ask_members(**options):
    _health.parse({**HEALTH, "members": [{"name": "app1", "url": "http://app1.example/ready"}], **options})


@pytest.mark.parametrize("refused", [
    lambda: ask_members(members=[{"name": "app1", "url": BAD_PORT}]),
    lambda: ask_members(members=[{"name": "app1", "url": "http://app1.example/re ady?token=s3cret"}]),
    lambda: ask_members(smoke=[{"path": "search?token=s3cret"}]),
    lambda: _artifact.check_url("artifact.url", BAD_PORT),
    lambda: _artifact.check_url("artifact.url", "ftp://art.example/x?token=s3cret"),
    lambda: _artifact.digest_of_label([("a" * 64, "other.tar.gz")], "1.0.0", "https://art.example/1.0.0.tgz?token=s3cret",
                                      "https://art.example/S?token=s3cret"),
    lambda: _prometheus.Prometheus("https://prometheus.example/?token=s3cret"),
    lambda: _prometheus.Prometheus(BAD_PORT),
    lambda: _plan.member("app1", {"deploy_traffic": {"pools": [{"name": "shop", "port": 8000}]}, "deploy_service": None, "deploy_slot": None,
                                  "deploy_health": {"path": "ready?token=s3cret", "scheme": "http", "header": None}}, "blue", "192.0.2.1"),
])
def test_no_refusal_tells_the_secret_of_an_address(refused):
    with pytest.raises(DowntimeError) as caught:
        refused()
    assert "s3cret" not in str(caught.value)


def test_what_an_address_answers_is_told_without_its_secret():
    """Of sentences about members that were asked: by the probes of both balancers, and by the gate."""
    refuses = "127.0.0.1:1"
    assert "s3cret" not in _haproxy_mover.probe(refuses, "/ready?token=s3cret")
    assert "s3cret" not in _nginx_pools.probe(refuses, "/ready?token=s3cret")
    gate = _health.run({**HEALTH, "members": [{"name": "app1", "url": "http://127.0.0.1:1/ready?token=s3cret"}], "timeout": 1})
    assert gate["failed"] and "s3cret" not in repr(gate)
    moved = _health.judge(_health.Answer(302, {"location": "https://u:s3cret@x/login?token=s3cret"}), _health.Target("app1", "http://x/"), _health.Check())
    assert "s3cret" not in moved[1] and "https://x/login" in moved[1]


def test_the_probes_account_names_the_address_without_its_query(tmp_path):
    account = _probe.Probe({"url": "http://shop.example:8080/start?token=s3cret", "run_dir": str(tmp_path)}).account()
    assert account["url"] == "http://shop.example:8080/start" and "s3cret" not in repr(account)
