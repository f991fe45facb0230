# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import shares as _nginx_shares
from ansible_collections.zero.downtime.plugins.module_utils._nginx.shares import Split

PAIRS = (("shop_blue", "shop_green"),)
PLAIN = Split("shop", "/zd/shop.split.conf", PAIRS, 5)
USERS = dataclasses.replace(PLAIN, by="$cookie_user", pin="$http_x_side", pairs=(*PAIRS, ("api-v2.blue", "api-v2.green")))


def lines(split):
    return split.text.splitlines()[1:]


def test_the_draw_yields_a_side_and_the_side_a_pool():
    assert lines(PLAIN) == ['split_clients "$request_id" $shop_side {', "    5% green;", "    * blue;", "}",
                            "map $shop_side $shop_pool {", "    green shop_green;", "    default shop_blue;", "}"]
    assert PLAIN.shares == {"blue": 95, "green": 5} and PLAIN.pools == {"blue": ["shop_blue"], "green": ["shop_green"]}


@pytest.mark.claim("split-nginx-pins")
@pytest.mark.parametrize("green, side", [(0, "blue"), (100, "green")])
def test_nginx_takes_no_share_of_nothing_and_all_is_no_share(green, side):
    split = dataclasses.replace(USERS, green=green)
    assert f'split_clients "$shop_key" $shop_drawn {{\n    * {side};\n}}' in split.text
    # Nobody is sent to a side that has no share, whatever he says.
    assert 'map "$http_x_side" $shop_side {\n    default $shop_drawn;\n}' in split.text


def test_users_without_a_cookie_are_drawn_by_their_requests_and_some_are_pinned():
    assert 'map "$cookie_user" $shop_key {\n    "" $request_id;\n    default "$cookie_user";\n}' in USERS.text
    assert 'map "$http_x_side" $shop_side {\n    blue blue;\n    green green;\n    default $shop_drawn;\n}' in USERS.text
    assert list(USERS.variables) == ["$shop_pool", "$api_v2_pool"]


@pytest.mark.parametrize("split", [PLAIN, USERS, dataclasses.replace(PLAIN, pin="$cookie_side"), dataclasses.replace(PLAIN, by="$remote_addr")])
@pytest.mark.parametrize("green", [0, 1, 50, 99, 100])
def test_what_is_written_is_read_back(split, green):
    split = dataclasses.replace(split, green=green)
    assert _nginx_shares.parse(split.name, split.path, split.text) == split
    assert _nginx_shares.green_of("shop", "/x", "# ours\n" + split.text.replace("    ", "\t")) == green


@pytest.mark.parametrize("old, new", [
    ("5% green", "105% green"), ("5% green", "0.5% green"), ("* blue", "* green"), ("split_clients", "map"), ("$shop_side $shop_pool", "$other $shop_pool"),
    ("default shop_blue", "other shop_blue"), ("green shop_green;", "green shop_green; hostnames;"), ("}", "} server { listen 80; }"),
])
def test_what_is_not_as_it_was_written_has_no_shares(old, new):
    text = PLAIN.text.replace(old, new, 1)
    assert text != PLAIN.text and _nginx_shares.green_of("shop", "/x", text) is None
    with pytest.raises(DowntimeError, match="/x is not as it was written, so its shares cannot be told; without that file, setting the shares writes it anew"):
        _nginx_shares.parse("shop", "/x", text)


@pytest.mark.parametrize("options, word", [
    ({"by": "user"}, "split_by is 'user'; a text with a variable of nginx in it, such as .request_id, .remote_addr or .cookie_user, is accepted"),
    ({"by": '$a"; x'}, "split_by is"), ({"by": "$a{b"}, "split_by is"), ({"by": "$1"}, "split_by is"),
    ({"pin": "$a$b"}, "split_pin is '.a.b'; one variable of nginx"), ({"pin": "green"}, "split_pin is 'green'"),
    ({"pairs": (("a;b", "g"),)}, "pool 'a;b' is no name for an upstream"),
    ({"pairs": (("a-b", "g"), ("a.b", "h"))}, "the pools a-b, a.b of side blue would share the variable .a_b_pool; names that differ in a letter or digit"),
])
def test_bad_options(options, word):
    with pytest.raises(DowntimeError, match=word):
        _nginx_shares.check(dataclasses.replace(PLAIN, **options))


def test_names():
    assert [_nginx_shares.base_of(pool) for pool in ("shop_blue", "shop-blue", "shop.blue", "shopblue", "shop", "blue")] == ["shop"] * 5 + ["blue"]
    assert _nginx_shares.variable("9to5", "pool") == "$_9to5_pool"
    assert _nginx_shares.check(USERS) is USERS
