# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver.split import NotSet
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import split as _nginx_split
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Worker
from ansible_collections.zero.downtime.plugins.module_utils._nginx.shares import Split
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

BLUE, GREEN, CANARY = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}, {"blue": 95, "green": 5}
SIDES = {"blue": ["shop_blue"], "green": ["shop_green"]}


@pytest.fixture
def world(nginx_world):
    for side in SIDES:
        servers = "    server 192.0.2.1:1; # app1\n    server 192.0.2.2:1; # app2\n    server 192.0.2.3:1 backup; # app3\n"
        nginx_world.write(f"upstream shop_{side} {{\n{servers}}}\n", f"shop_{side}.upstream.conf")
    nginx_world.dead = set()
    return nginx_world


def split(world, shares=None, memory=None, check_mode=False, min_active="0", sides=None, config=None, **options):
    place = _nginx_split.locate(world.nginx, SIDES if sides is None else sides, ["shop_blue", "shop_green"], **options)
    splitter = _nginx_split.Splitter(world.nginx, place, shares, {}, min_active, 5, "/ready", check_mode, config, lambda: world.now, memory,
                                     lambda address, path: "it is dead" if address in world.dead else "")
    return splitter.run()


def test_shares_are_predicted_set_once_and_read_back(world):
    predicted = split(world, CANARY, check_mode=True)
    assert predicted["changed"] and world.read("shop.split.conf") is None and not world.reloaded
    done = split(world, CANARY)
    assert done["changed"] and done["diff"] == predicted["diff"] and done["found"] is None and done["shares"] == CANARY == done["kept"]
    assert "5% green;" in world.read("shop.split.conf") and world.splits == {"shop": 5} and world.reloaded == 1
    assert done["worker"] == {"revision": world.serves} and done["variables"] == ["$shop_pool"] and done["notes"] == []
    again = split(world, CANARY)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"] and world.reloaded == 1
    read = split(world)
    assert not read["changed"] and read["shares"] == CANARY == read["found"] and read["notes"] == []
    # What a move of members writes anew still says it.
    world.nginx.apply([])
    assert world.splits == {"shop": 5} and split(world)["shares"] == CANARY


def test_what_the_user_is_drawn_by_is_kept_until_it_is_changed(world):
    split(world, CANARY, by="$cookie_user", pin="$http_x")
    assert split(world, GREEN)["changed"] and '"$cookie_user"' in world.read("shop.split.conf") and "$http_x" in world.read("shop.split.conf")
    assert split(world, GREEN, pin="")["changed"] and "$http_x" not in world.read("shop.split.conf")
    assert split(world, GREEN, by="$request_id")["changed"] and "cookie" not in world.read("shop.split.conf")


def test_the_file_was_edited(world):
    split(world, BLUE)
    text = world.read("shop.split.conf")
    world.write(text.replace("* blue", "50% green;\n* blue"), "shop.split.conf")
    told = split(world)
    # Nobody has seen whether nginx was reloaded since.
    assert told["shares"] is None and told["kept"] == {"blue": 50, "green": 50} and "nobody can say which shares it goes by" in told["notes"][0]
    assert split(world, BLUE)["changed"] and split(world)["shares"] == BLUE
    # Something else was edited: the shares are not in doubt.
    world.write(world.read("shop_blue.upstream.conf") + "# ours\n", "shop_blue.upstream.conf")
    assert split(world)["shares"] == BLUE and split(world)["notes"] == []
    world.write("server { }", "shop.split.conf")
    with pytest.raises(DowntimeError, match="shop.split.conf is not as it was written"):
        split(world)


def test_a_reload_that_is_pending(world):
    split(world, BLUE)
    loaded, serves = dict(world.splits), world.serves
    split(world, GREEN)
    # A module that was killed between writing and reloading.
    world.splits, world.serves = loaded, serves
    told = split(world)
    assert told["shares"] == BLUE and told["kept"] == GREEN and "nginx uses blue 100, green 0" in told["notes"][0]
    assert split(world, GREEN)["changed"] and world.splits == {"shop": 100}
    world.serves = ""
    assert split(world)["shares"] == GREEN  # it still answers of the split
    world.splits = {}
    assert split(world)["shares"] is None


def test_without_a_revision_the_file_counts(world):
    world.write(Split("shop", world.nginx.path("shop", ".split.conf"), (("shop_blue", "shop_green"),)).text, "shop.split.conf")
    told = split(world)
    assert told["shares"] == BLUE and "this driver has not reloaded nginx since it was written" in told["notes"][0]
    # The same where it has reloaded it for members only.
    world.write(world.read("shop.split.conf"), "later")
    os.unlink(world.directory / "shop.split.conf")
    world.nginx.apply([])
    os.rename(world.directory / "later", world.directory / "shop.split.conf")
    again = split(world)
    assert again["shares"] == BLUE and again["notes"][0] == told["notes"][0]
    assert split(world, BLUE)["changed"] and not split(world, BLUE)["changed"]


def test_nginx_refuses(world):
    split(world, BLUE)
    before = world.read("shop.split.conf")
    world.refuses = "nginx: [emerg] no\n"
    with pytest.raises(NotSet, match="so the old one was put back: .emerg. no; nginx uses blue 100, green 0") as caught:
        split(world, GREEN)
    assert caught.value.details["shares"] == BLUE and world.read("shop.split.conf") == before and world.splits == {"shop": 0}
    world.refuses = ""
    world.reloads = False
    with pytest.raises(NotSet, match="does not run the new configuration.*; nginx uses blue 100, green 0$") as caught:
        split(world, GREEN)
    assert caught.value.details["shares"] == BLUE and world.read("shop.split.conf") == before


def test_a_first_file_that_is_refused_is_gone_again(world):
    world.refuses = "nginx: [emerg] no\n"
    with pytest.raises(NotSet, match="which shares nginx uses is not known"):
        split(world, BLUE)
    assert sorted(os.listdir(world.directory)) == [".lock", "shop_blue.upstream.conf", "shop_green.upstream.conf"]


def test_nothing_is_sent_to_a_side_that_does_not_serve(world):
    split(world, BLUE)
    world.write(world.read("shop_green.upstream.conf").replace("server 192.0.2.1:1;", "server 192.0.2.1:1 down;"), "shop_green.upstream.conf")
    # Whether it is reloaded or not, the file's word counts; and it is loaded with the shares.
    with pytest.raises(NotSet, match=r"shares.green is 5, but of the 2 members of its pool shop_green only 1 serve .* \(app2\), and 2 have to") as caught:
        split(world, CANARY, min_active="100%")
    assert caught.value.details["shares"] == BLUE
    split(world, CANARY, min_active="50%")
    world.dead = {"192.0.2.2:1"}
    # Less is always allowed, and so is staying; to blue as well nothing is sent that nobody answers.
    with pytest.raises(NotSet, match="shares.blue is 100, .* only 1 serve .*app2 does not: it is dead; nothing was changed"):
        split(world, BLUE, min_active="2")
    with pytest.raises(NotSet, match="shares.green is 100, .* only 0 serve at full weight .none., and 1 have to"):
        split(world, GREEN, check_mode=True)
    assert not split(world, CANARY, min_active="100%")["changed"]
    split(world, BLUE)
    with pytest.raises(DowntimeError, match="min_active is 'many'"):
        split(world, BLUE, min_active="many")


def test_old_workers_that_stay_are_named_and_not_waited_for(world):
    world.stay = True
    done = split(world, BLUE)
    assert done["notes"] == ["nginx's workers from before the last change (201, 202) still answer what they had taken by then, by the shares from before"]
    assert 1 <= world.now < 2 and split(world)["notes"] == done["notes"]
    world.own = [Worker(9, "9", False)]
    assert split(world)["notes"] == []


def test_the_journal_knows_what_was_before(world):
    split(world, BLUE)
    noted = []
    split(world, GREEN, memory=Memory({}, {}, noted.append))
    assert noted == [{"shares_before": BLUE}]


def test_which_split_is_meant(world):
    with pytest.raises(DowntimeError, match="no split of shop_blue, shop_green was found in .*zd, which has none; pools of both sides"):
        split(world, BLUE, sides={})
    with pytest.raises(DowntimeError, match=r"the side blue has 1 pools \(shop_blue\) and green 2 \(a, b\); for each pool of blue one of green"):
        split(world, BLUE, sides={"blue": ["shop_blue"], "green": ["a", "b"]})
    with pytest.raises(DowntimeError, match="shop.split.conf does not exist, so there are no shares yet; setting them writes it"):
        split(world)
    split(world, BLUE)
    assert split(world, sides={})["shares"] == BLUE
    with pytest.raises(DowntimeError, match="the side green has pool shop_blue by deploy_traffic, but .*shop.split.conf gives it the share of blue"):
        split(world, BLUE, sides={"green": ["shop_blue"]})
    # A second application on the same nginx.
    world.write(Split("api", "/x", (("api", "api_green"),)).text, "api.split.conf")
    assert split(world)["shares"] == BLUE
    with pytest.raises(DowntimeError, match="has 2 splits that could be meant .api, shop.; the pools of one of them"):
        _nginx_split.locate(world.nginx, {})
    assert _nginx_split.locate(world.nginx, {}, app="api").pairs == (("api", "api_green"),)
    world.write("nonsense", "api.split.conf")
    assert split(world)["shares"] == BLUE
    with pytest.raises(DowntimeError, match="api.split.conf is not as it was written"):
        _nginx_split.locate(world.nginx, {"blue": ["api"], "green": ["api_green"]}, ["api", "api_green"])


def config(text):
    return _nginx_config.parse(f"# configuration file /etc/nginx/nginx.conf:\nhttp {{ {text} }}\n")


def test_shares_that_move_nothing_are_said(world):
    assert "proxy_pass http://$shop_pool is needed" in split(world, BLUE, config=config("location / { proxy_pass http://shop_blue; }"))["notes"][0]
    for text in ("proxy_pass http://$shop_pool;", "proxy_pass http://${shop_pool}/x;", "set $x $shop_side;"):
        assert split(world, config=config(text))["notes"] == []
    assert split(world, config=config("proxy_pass http://$shop_pools;"))["notes"] != []


def look(world, text, sides=None, pools=("shop_blue", "shop_green")):
    found, told = _nginx_split.look(world.nginx, config(text), SIDES if sides is None else sides, pools)
    return found, [(one["level"], one["text"], one["lines"]) for one in told]


def test_the_doctor_says_what_is_lacking(world):
    none = {"blue": [], "green": []}
    assert look(world, "", none, ["shop"]) == (None, [])
    found, told = look(world, "proxy_pass http://shop;", none, ["shop"])
    assert found is None and told[0][1].startswith("pool shop has no second side: rolling works, blue/green and canary need these lines")
    assert told[0][2][-1] == "deploy_traffic.pools: [{name: shop, side: blue, port: …}, {name: shop_green, side: green, port: …}]"
    found, told = look(world, "proxy_pass http://shop_blue;")
    assert found is None and told[0][1].startswith("the sides of shop have no shares yet") and len(told) == 1
    assert told[0][2][-1] == "location / { proxy_pass http://$shop_pool; }  # in place of http://shop_blue" and "    * blue;" in told[0][2]
    split(world, CANARY, by="$remote_addr")
    found, told = look(world, "proxy_pass http://shop_blue;")
    assert found is None and [one[0] for one in told] == ["warning"] and "nothing passes requests by them" in told[0][1]
    found, told = look(world, "proxy_pass http://$shop_pool;")
    assert found == {**CANARY, "file": str(world.directory / "shop.split.conf"), "kept": CANARY, "pools": SIDES, "variables": ["$shop_pool"],
                     "by": "$remote_addr", "pin": None, "sticky": True}
    assert [one[0] for one in told] == ["info"] and "blue/green and canary work" in told[0][1] and "users stay on their side by $remote_addr" in told[0][1]
    world.write(world.read("shop.split.conf").replace("5%", "50%"), "shop.split.conf")
    found, told = look(world, "proxy_pass http://$shop_pool;")
    assert found is None and [one[0] for one in told] == ["warning"] and "nobody can say" in told[0][1]
    world.write("x", "shop.split.conf")
    found, told = look(world, "proxy_pass http://$shop_pool;")
    assert found is None and [one[0] for one in told] == ["warning"] and "is not as it was written" in told[0][1]


def test_a_pool_that_a_map_names_gets_its_second_side_in_the_map(world):
    none = {"blue": [], "green": []}
    text = "map $host $backend { default rest; shop.example shop; www.example shop; } map $host $other { a shop; } proxy_pass http://$backend;"
    found, told = look(world, text, none, ["shop"])
    assert found is None and told[0][1].startswith("pool shop has no second side")
    assert [line for line in told[0][2] if line.startswith(("map $host", "location"))] == [
        "map $host $backend { shop.example $shop_pool; }  # in place of: shop.example shop;",
        "map $host $backend { www.example $shop_pool; }  # in place of: www.example shop;"]
    # What no variable of a map leads to is left alone, as before.
    assert look(world, text, none, ["api"]) == (None, [])
