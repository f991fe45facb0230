# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import random
import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import driver as _nginx
from ansible_collections.zero.downtime.plugins.module_utils._nginx import mirror as _nginx_mirror

NOW = 1795964630
POOLS = ("blue", "green")


@pytest.fixture
def world(nginx_world):
    world = nginx_world
    for number, pool in enumerate(POOLS, 1):
        (world.directory / f"{pool}.upstream.conf").write_text(f"upstream {pool} {{\n    server 192.0.2.{number}:80; # app1\n}}\n", encoding="utf-8")
    world.location = "proxy_pass http://blue;"
    world.includes = True

    def configuration():
        lines = _nginx_mirror.lines(str(world.directory), POOLS) if world.includes else ["server {", "location / {", "}", "}"]
        text = " ".join(lines).replace("location / {", "location / { " + world.location)
        return f"# configuration file /etc/nginx/nginx.conf:\nhttp {{ include {world.directory}/*.conf; {text} }}\n"

    world.nginx.run = lambda argv, timeout: (1, "", world.refuses) if world.refuses and "-t" in argv else (0, configuration(), "")
    world.config = lambda: _nginx_config.parse(configuration())
    world.wall = NOW
    return world


def mirror(world, share=10, check_mode=False, **options):
    params = {name: option.get("default") for name, option in _nginx_mirror.mirror_spec().items()}
    request = _nginx_mirror.request_of({**params, "share": share, "mirrors": {"blue": "green"}, **options}, check_mode)
    return _nginx_mirror.Mirror(world.nginx, request, lambda: world.now, lambda: world.wall).run()


def files(world):
    return sorted(name for name in os.listdir(world.directory) if "green" in name and "upstream" not in name)


FILES = ["green.mirror-location", "green.mirror-server", "shadow-green.conf"]


def test_begun_once_and_ended_once(world):
    assert mirror(world, check_mode=True)["changed"] is True and files(world) == [] and world.reloaded == 0
    found = mirror(world)
    assert found["changed"] is True and files(world) == FILES and world.reloaded == 1
    assert len(found["diff"]["after"]) == 3 and not found["diff"]["before"]
    assert mirror(world)["changed"] is False and world.reloaded == 1
    (world.directory / "green.mirror-log").write_text("200 0.01\n200 0.02\n504 5.0\n- 0.0\n\n", encoding="ascii")
    ended = mirror(world, 0)
    assert ended["changed"] is True and ended["statuses"] == {"0": 1, "200": 2, "504": 1} and ended["requests"] == 4
    assert files(world) == ["green.mirror-log"] and world.reloaded == 2
    assert mirror(world, 0)["changed"] is False and world.reloaded == 2
    # A new one counts from its beginning.
    mirror(world)
    assert mirror(world, 0)["requests"] == 0


def test_it_is_begun_anew_when_half_of_its_time_is_over(world):
    mirror(world, lasts=100.0)
    world.wall += 49
    assert mirror(world, lasts=100.0)["changed"] is False
    world.wall += 10
    assert mirror(world, lasts=100.0)["changed"] is True
    text = (world.directory / "shadow-green.conf").read_text(encoding="utf-8")
    assert _nginx_mirror.until(text) == NOW + 159
    assert mirror(world, 20, lasts=100.0)["changed"] is True


def test_what_nginx_reads(world):
    mirror(world, 25, mirror_timeout=1.5, mirror_limit=7)
    conf, server, location = ((world.directory / name).read_text(encoding="utf-8") for name in ("shadow-green.conf", *FILES[1::-1]))
    assert "25% 1;" in conf and "proxy_read_timeout 1500ms;" in conf and "7;" in conf and "proxy_pass http://green$request_uri;" in conf
    assert conf.count("{") == conf.count("}") and server.count("{") == server.count("}")
    # What a user could wait for is as short as a relay in the same process allows.
    assert re.findall(r"timeout (\w+);", server) == ["50ms"] * 3
    assert "mirror /zero-downtime-mirror-green;" in location and "location = /zero-downtime-mirror-green {" in server
    # The first server at an address answers whoever names none.
    assert sorted(["revision.conf", "shadow-api.conf", "shadow-0.conf"])[0] == "revision.conf"


def test_two_pools_never_share_a_variable():
    assert _nginx_mirror.names("a-b")["name"] != _nginx_mirror.names("a_b")["name"]
    assert re.fullmatch(r"\w+", _nginx_mirror.names("a.b-c")["name"])


def test_nginx_that_refuses_gets_the_old_files_back(world):
    world.refuses = "nginx: [emerg] unknown directive \"empty_gif\""
    with pytest.raises(DowntimeError, match="unknown directive"):
        mirror(world)
    assert files(world) == []
    world.refuses = ""
    mirror(world)
    before = {name: (world.directory / name).read_text(encoding="utf-8") for name in FILES}
    world.refuses = "nginx: [emerg] no"
    with pytest.raises(DowntimeError, match="no"):
        mirror(world, 50)
    assert before == {name: (world.directory / name).read_text(encoding="utf-8") for name in FILES}


@pytest.mark.parametrize("options, sentence", [
    ({"share": -1}, "share is -1; a whole percentage from 0 to 100"),
    ({"mirrors": {}}, "mirrors is empty"),
    ({"mirrors": {"blue": "blue"}}, "a mirror to itself would answer each request twice"),
    ({"mirrors": {"blue": "green", "green": "red"}}, "mirrors has blue: green, and requests of green are the ones that serve"),
    ({"mirrors": {"blue": "a b"}}, "pool 'a b' is no name for an upstream"),
    ({"mirrors": {"blue": "red"}}, "no server and no location includes the mirror's file of pool red; these lines are needed: server {"),
    ({"lasts": 0}, "lasts is 0; seconds from 1 to 86400"),
    ({"mirror_timeout": 0}, "mirror_timeout is 0; seconds from 0.001 to 600"),
    ({"mirror_limit": 0}, "mirror_limit is 0"),
    ({"timeout": -1}, "timeout is -1"),
])
def test_bad_options(world, options, sentence):
    with pytest.raises(DowntimeError) as error:
        mirror(world, **options)
    assert sentence in str(error.value) and files(world) == [] and not world.reloaded


@pytest.mark.claim("mirror-to-itself-refused")
def test_a_mirror_to_those_that_serve_is_refused(world):
    world.location = "proxy_pass http://green/app;"
    with pytest.raises(DowntimeError, match="passes its requests to green itself"):
        mirror(world)
    world.location = "proxy_pass http://$pool;"
    (world.directory / "green.upstream.conf").write_text("upstream green {\n    server 192.0.2.1:80; # app1\n}\n", encoding="utf-8")
    with pytest.raises(DowntimeError, match="pools blue and green share the server 192.0.2.1:80"):
        mirror(world)
    (world.directory / "green.upstream.conf").unlink()
    with pytest.raises(DowntimeError, match="pool 'green' has no file"):
        mirror(world)
    assert not world.reloaded


SPLIT = """split_clients "$request_id" $shop_drawn {{ {shares} }} map "$cookie_side" $shop_side {{ {pins} default $shop_drawn; }}
map $shop_side $shop_pool {{ green green; default blue; }}"""


@pytest.mark.parametrize("shares, pins, refused", [
    ("* blue;", "", False),
    ("* green;", "", True),
    ("5% green; * blue;", "", True),
    ("* blue;", "green green;", True),
])
def test_what_a_split_sends_to_the_idle_side_is_seen_through_its_variables(world, shares, pins, refused):
    world.location = "proxy_pass http://$shop_pool;"
    (world.directory / "shop.split.conf").write_text("", encoding="utf-8")
    run = world.nginx.run
    world.nginx.run = lambda argv, timeout: (run(argv, timeout)[0], run(argv, timeout)[1].replace("http {", "http { " + SPLIT.format(shares=shares, pins=pins)),
                                             "")
    if refused:
        with pytest.raises(DowntimeError, match="passes its requests to green itself"):
            mirror(world)
    else:
        assert mirror(world)["changed"] is True


@pytest.mark.claim("mirror-lines-are-named")
def test_the_doctor_prints_the_lines_and_names_a_mirror_that_was_left(world):
    assert not _nginx_mirror.lint(world.nginx, world.config(), POOLS)
    world.includes = False
    found, = _nginx_mirror.lint(world.nginx, world.config(), POOLS)
    assert found["level"] == "info" and f"        include {world.directory}/green.mirror-location*;" in found["lines"]
    assert not _nginx_mirror.lint(world.nginx, world.config(), ["blue"]) and not _nginx_mirror.lint(world.nginx, world.config(), ["shop", "api"])
    world.includes = True
    mirror(world, lasts=100.0)
    assert "copied to green for another 60 s" in _nginx_mirror.lint(world.nginx, world.config(), POOLS, lambda: NOW + 40)[0]["text"]
    assert "which has ended" in _nginx_mirror.lint(world.nginx, world.config(), POOLS, lambda: NOW + 140)[0]["text"]


@pytest.mark.parametrize("seed", range(30))
def test_moments_match_all_numbers_of_the_span_and_no_other(seed):
    chance = random.Random(seed)
    low = chance.randint(1000, 9999)
    high = chance.randint(low, 9999)
    pattern = re.compile("|".join(_nginx_mirror.moments(low, high)))
    assert [number for number in range(1000, 10000) if pattern.fullmatch(str(number))] == list(range(low, high + 1))


def test_options_out_of_deploy_traffic():
    pools = [{"name": "blue", "side": "blue", "port": 1}, {"name": "green", "side": "green", "port": 2}]
    args = _nginx.mirror_args({"upstreams_dir": "/x", "access_log": "/y", "pools": pools}, "green")
    assert args == {"upstreams_dir": "/x", "mirrors": {"blue": "green"}}
    assert _nginx.mirror_args({"pools": pools}, "blue") == {"mirrors": {"green": "blue"}}
    with pytest.raises(DowntimeError, match="pools has 0 of side green and 1 of the other one"):
        _nginx.mirror_args({"pools": pools[:1]}, "green")
    assert _drivers.load("nginx").shadows == ["mirror", "replay"]
