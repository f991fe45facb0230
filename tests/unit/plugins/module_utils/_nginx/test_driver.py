# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import driver as _nginx
from ansible_collections.zero.downtime.plugins.module_utils._nginx import info as _nginx_info
from ansible_collections.zero.downtime.plugins.module_utils._nginx import members as _nginx_members
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options
from ansible_collections.zero.downtime.plugins.module_utils._nginx import split as _nginx_split

SHOP = "upstream shop {\n    server 127.0.0.1:1; # app1\n    server unix:/run/app2.sock down; # app2\n}\n"


@pytest.fixture
def world(nginx_world):
    world = nginx_world
    world.write(SHOP)
    world.configuration = (f"# configuration file /etc/nginx/nginx.conf:\nhttp {{ keepalive_timeout 0; include {world.directory}/*.conf; "
                           "server { location / { proxy_pass http://shop; } } }\n")
    world.nginx.run = lambda argv, timeout: (0, world.configuration, "")
    return world


def params(spec, **options):
    return {**{name: option.get("default") for name, option in spec.items()}, **options}


def move(world, **options):
    return _nginx_members.move(params(_nginx_options.members_spec(), **{"members": ["app1"], "state": "down", **options}), nginx=world.nginx)


def test_the_driver_is_known_by_one_name():
    driver = _drivers.load("nginx")
    assert (driver.runs_on, driver.info, driver.module("members")) == ("balancers", True, "zero.downtime.nginx_members")
    assert {"rolling", "blue_green"} <= set(driver.strategies)


def test_options_out_of_deploy_traffic():
    traffic = _spec.check({"balancers": "lb", "probe_path": "/ready", "reload_command": ["systemctl", "reload", "nginx"],
                           "pools": [{"name": "shop", "port": 8000, "side": "blue"}, {"name": "api", "members": {"app1": "192.0.2.9:1"}}]},
                          _nginx.DRIVER.traffic_spec)
    hosts = {"one": {"server": "app1", "address": "192.0.2.11", "ports": {"shop": 8000}},
             "two": {"server": "app2", "address": "2001:db8::2", "ports": {"shop": 8001}}}
    known = _nginx.complete(traffic, hosts)
    assert [pool["members"] for pool in known["pools"]] == [{"app1": "192.0.2.11:8000", "app2": "[2001:db8::2]:8001"}, {"app1": "192.0.2.9:1"}]
    # Checked once more by whoever hands them on.
    known = _spec.check(known, _nginx.DRIVER.traffic_spec)
    args = _nginx.member_args(known, ["app1"])
    assert args["pools"] == [{"name": "shop", "side": "blue", "members": known["pools"][0]["members"]}, {"name": "api", "members": {"app1": "192.0.2.9:1"}}]
    assert set(args) <= set(_nginx_options.members_spec()) and args["reload_command"] == ["systemctl", "reload", "nginx"]
    assert set(_nginx.info_args(known)) <= set(_nginx_options.info_spec())
    shares = _nginx.split_args(known, "shop")
    assert shares["app"] == "shop" and shares["pools"] == args["pools"] and set(shares) <= set(_nginx_options.split_spec())


@pytest.mark.parametrize("options, word", [
    ({"upstreams_dir": "zd"}, "upstreams_dir is 'zd'; an absolute path is accepted"),
    ({"slowest_request": 0}, "slowest_request is 0; seconds above 0 are accepted"),
    ({"reload_timeout": -1.0}, "reload_timeout is -1; seconds above 0 are accepted"),
    ({"revision_listen": "127.0.0.1"}, "revision_listen is '127.0.0.1'"),
    ({"revision_listen": "127.0.0.1:70000"}, "revision_listen is '127.0.0.1:70000'"),
    ({"probe_path": "ready"}, "probe_path is 'ready'"),
    ({"nginx_command": []}, "nginx_command is empty"),
    ({"members": []}, "members is empty"),
    ({"timeout": -1}, "timeout is -1"),
    ({"pools": [{"name": "shop", "members": {"app1": "unix:/x"}}]}, "pools: shop: members: app1 is 'unix:/x'; an address with a port"),
])
def test_bad_options(options, word):
    with pytest.raises(DowntimeError, match=word):
        _nginx_members.move(params(_nginx_options.members_spec(), **{"members": ["app1"], "state": "drained", **options}))


def test_a_move_looks_at_the_configuration_first(world):
    assert move(world)["changed"]
    world.configuration = "worker_shutdown_timeout 10s;".join(world.configuration.split("http", 1)[:1]) + "worker_shutdown_timeout 10s; http" \
        + world.configuration.split("http", 1)[1]
    with pytest.raises(DowntimeError, match="worker_shutdown_timeout is 10 s, and a request may take 60 s.*nothing was moved"):
        move(world)
    assert not move(world, slowest_request=10.0)["changed"]
    with pytest.raises(DowntimeError, match="a request may take 30 s"):
        move(world, slowest_request=10.0, state="drained", timeout=30)
    world.configuration = "# configuration file /etc/nginx/nginx.conf:\nhttp { }\n"
    with pytest.raises(DowntimeError, match="nginx does not read .*zd; 'include .*zd/.*.conf;' in its http block is needed"):
        move(world)


def info(world, **options):
    return _nginx_info.info(params(_nginx_options.info_spec(), **options), nginx=world.nginx)


def test_info_tells_what_is_written_and_who_answers(world):
    found = info(world)
    members = found["pools"][0]["members"]
    assert [(member["name"], member["state"], member["full"]) for member in members] == [("app1", "down", False), ("app2", "drained", False)]
    assert "did not answer" in found["pools"][0]["members"][0]["status"]
    assert found["counters"] == [] and "without access_log" in found["uncounted"] and found["unseen"] is None
    assert [finding["setting"] for finding in found["findings"]] == ["access_log", "split"] and found["revision"] is None and found["split"] is None
    move(world)
    assert info(world)["revision"] == world.serves
    world.serves = "aa-bb"
    assert "does not run the revision" in {finding["setting"]: finding["text"] for finding in info(world)["findings"]}["revision"]


def split(world, **options):
    pools = [{"name": "shop", "side": "blue"}, {"name": "shop_green", "side": "green"}]
    return _nginx_split.split(params(_nginx_options.split_spec(), **{"pools": pools, **options}), nginx=world.nginx)


def test_shares_are_set_where_a_reload_loses_nothing(world, monkeypatch):
    monkeypatch.setattr(_nginx_split, "silent", lambda *args: {})
    world.write(SHOP.replace(" down", ""))
    with pytest.raises(DowntimeError, match="shares is blue 5, green 0, which adds up to 5"):
        split(world, shares={"blue": 5})
    with pytest.raises(DowntimeError, match="timeout is -1"):
        split(world, timeout=-1)
    done = split(world, shares={"blue": 100})
    assert done["changed"] and done["counters"] == [] and "without access_log" in done["uncounted"] and "the shares move no request" in done["notes"][0]
    world.configuration = world.configuration.replace("http {", "worker_shutdown_timeout 1s; http {")
    with pytest.raises(DowntimeError, match="worker_shutdown_timeout is 1 s, and a request may take 60 s"):
        split(world, shares={"green": 100})
    assert split(world)["shares"] == {"blue": 100, "green": 0}
    world.configuration = "# configuration file /etc/nginx/nginx.conf:\nhttp { }\n"
    with pytest.raises(DowntimeError, match="nginx does not read"):
        split(world, shares={"green": 100})


def test_info_of_a_pool_that_is_still_to_come(world):
    found = info(world, pools=[{"name": "api", "members": {"app1": "192.0.2.11:8000"}}])
    assert [(member["name"], member["state"], member["status"]) for member in found["pools"][0]["members"]] == [("app1", "down", "absent")]
    assert [(finding["level"], finding["setting"]) for finding in found["findings"]] == [("info", "upstream"), ("warning", "access_log")]
    # Without addresses nobody knows who would be in it; the lines say how to begin.
    found = info(world, pools=[{"name": "api"}])
    assert found["pools"] == [] and "are not known here" in found["findings"][0]["text"]


def test_a_log_that_does_not_exist_yet_is_said(world, tmp_path):
    found = info(world, access_log=str(tmp_path / "none.log"))
    assert found["uncounted"] == f"{tmp_path}/none.log does not exist" and found["findings"][0]["setting"] == "access_log"
