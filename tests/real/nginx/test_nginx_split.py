# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of blue and green on a real nginx: nothing is lost when they change, they are what they say, and users stay where they are."""

from __future__ import annotations

import http.client
import json
import re
import socket
import stat
import time

import pytest
from haproxy_stage import get, wait_until
from nginx_load import load

from ansible_collections.zero.downtime.plugins.module_utils._driver.split import NotSet
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

POOLS = {"shop_blue": ["b1", "b2"], "shop_green": ["g1", "g2"]}
SIDED = [{"name": "shop_blue", "side": "blue"}, {"name": "shop_green", "side": "green"}]
BLUE, GREEN, CANARY = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}, {"blue": 95, "green": 5}
MANY = 1000


@pytest.fixture
def sides(stage):
    """A balancer with both sides; blue has all of it."""
    return lambda **options: stage(POOLS, split="shop", **options)


def count(balancer, number, headers=None):
    """How many of C(number) requests each side answered, on one connection."""
    found = {"blue": 0, "green": 0}
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
    for _number in range(number):
        connection.request("GET", "/", headers=headers or {})
        answer = connection.getresponse()
        found["blue" if json.loads(answer.read())["name"].startswith("b") else "green"] += 1
        assert answer.status == 200
    connection.close()
    return found


@pytest.mark.claim("split-nginx-no-loss")
def test_a_dozen_flips_under_load_lose_nothing_and_the_usual_ways_do(sides, split, info, tmp_path):
    balancer = sides()
    with load(balancer, tmp_path) as report:
        for number in range(13):
            wanted = BLUE if number % 2 else GREEN
            done = split(balancer, wanted)
            assert done["changed"] and done["shares"] == wanted
            time.sleep(0.1)
    assert report["failures"] == {} and report["sent"] > 100, report["losses"]
    assert count(balancer, 50) == {"blue": 0, "green": 50}
    # Whoever edits the file and starts nginx anew.
    with load(balancer, tmp_path) as naive:
        balancer.split_file.write_text(balancer.split_file.read_text(encoding="utf-8").replace("* green", "* blue"), encoding="utf-8")
        balancer.restart()
    assert naive["failed"] > 0
    # Whoever switches first, and starts the other side then.
    split(balancer, BLUE)
    for name in POOLS["shop_green"]:
        balancer.kill(name)
    with load(balancer, tmp_path) as early:
        balancer.split_file.write_text(balancer.split_file.read_text(encoding="utf-8").replace("* blue", "* green"), encoding="utf-8")
        balancer.reload()
        for name in POOLS["shop_green"]:
            balancer.start_app(name)
    assert early["failed"] > 0


def test_shares_are_what_they_say_and_each_pool_is_counted(sides, split, info):
    balancer = sides()
    seen = {"blue": 0, "green": 0}
    for green, low, high in ((0, 0, 0), (5, 20, 90), (50, 420, 580), (100, MANY, MANY)):
        split(balancer, {"blue": 100 - green, "green": green})
        found = count(balancer, MANY)
        assert low <= found["green"] <= high, found
        seen = {side: seen[side] + found[side] for side in seen}
    get(balancer.url + "/slow?ms=300")
    get(balancer.url + "/?fault=500")
    wait_until(lambda: sum(pool["requests"] for pool in info(balancer)["counters"][0]["pools"].values()) >= 4 * MANY + 2, "all are in the log")
    counted = info(balancer)["counters"][0]
    blue, green = (counted["pools"][f"shop_{side}"] for side in ("blue", "green"))
    # One is the stage's own, when it began.
    assert (blue["requests"], green["requests"]) == (seen["blue"] + 1, seen["green"] + 2) and counted["requests"] == blue["requests"] + green["requests"]
    assert (blue["errors"], green["errors"]) == (0, 1) and 300 <= green["time_ms"] and green["average_ms"] is None


@pytest.mark.claim("nginx-outlives-restarts")
def test_a_change_is_predicted_made_once_and_outlives_a_restart(sides, split, info):
    balancer = sides()
    balancer.split_file.chmod(0o640)
    before = balancer.split_file.read_bytes()
    found = info(balancer, pools=SIDED)["split"]
    assert (found["blue"], found["green"], found["file"]) == (100, 0, str(balancer.split_file)), "as a person wrote it"
    predicted = split(balancer, CANARY, check_mode=True)
    assert predicted["changed"] and balancer.split_file.read_bytes() == before
    done = split(balancer, CANARY)
    assert done["diff"] == predicted["diff"] and done["found"] == BLUE and done["kept"] == CANARY and done["counters"]
    assert stat.S_IMODE(balancer.split_file.stat().st_mode) == 0o640
    again = split(balancer, CANARY)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    balancer.restart()
    told = split(balancer)
    assert told["shares"] == CANARY == told["kept"] and told["notes"] == [] and info(balancer, pools=SIDED)["split"]["green"] == 5
    assert not split(balancer, CANARY)["changed"]


@pytest.mark.claim("split-nginx-unread-file")
def test_what_nginx_has_not_read_is_told_from_what_it_has(sides, split, info):
    balancer = sides()
    split(balancer, BLUE)
    edited = balancer.split_file.read_text(encoding="utf-8").replace("* blue", "30% green;\n    * blue")
    balancer.split_file.write_text(edited, encoding="utf-8")
    told = split(balancer)
    assert told["shares"] is None and told["kept"] == {"blue": 70, "green": 30}
    found = info(balancer, pools=SIDED)
    assert found["split"] is None and "nobody can say" in next(finding["text"] for finding in found["findings"] if finding["setting"] == "split")
    assert split(balancer, GREEN)["changed"] and split(balancer)["notes"] == [] and count(balancer, 20)["green"] == 20


@pytest.mark.claim("split-nginx-users-stay")
def test_clients_stay_on_their_side_and_new_ones_are_drawn(sides, split):
    balancer = sides()
    users = [f"u{number}" for number in range(60)]
    last = set()
    for green in (5, 30, 80):
        split(balancer, {"blue": 100 - green, "green": green}, split_by="$cookie_user", split_pin="$http_x_side")
        found = {user: count(balancer, 3, {"Cookie": f"user={user}"}) for user in users}
        assert all(3 in sides.values() for sides in found.values())
        greens = {user for user, sides in found.items() if sides["green"]}
        # Who is on green stays there when green gets more.
        assert last <= greens and (len(greens) > len(last) or green == 5)
        last = greens
    assert 20 < len(last) < 60
    # Hashed alike, all who have no cookie yet would be on one side.
    assert 700 < count(balancer, 1000)["green"] < 880
    assert count(balancer, 5, {"X-Side": "blue"})["blue"] == 5 and count(balancer, 5, {"X-Side": "green"})["green"] == 5
    split(balancer, BLUE)
    assert count(balancer, 5, {"X-Side": "green", "Cookie": f"user={min(last)}"})["blue"] == 5, "a side without a share gets nobody"


@pytest.mark.claim("split-nginx-old-workers")
def test_an_old_worker_answers_what_it_had_taken_by_the_shares_from_before(sides, split):
    balancer = sides(workers=1)
    split(balancer, BLUE)

    def ask(connection, text="GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        connection.sendall(text.encode())
        return json.loads(connection.recv(65536).decode().partition("\r\n\r\n")[2])["name"][0]

    connections = [socket.create_connection(("127.0.0.1", balancer.port), 10) for _number in range(3)]
    kept, silent, half = connections
    assert ask(kept) == "b"
    half.sendall(b"GET / HT")
    # All three are the old worker's before the reload: it answers them in the order in which they came.
    assert count(balancer, 1)["blue"] == 1
    done = split(balancer, GREEN)
    assert "still answer what they had taken by then" in done["notes"][0] and done["waited"] < 8, "and nobody waits for it"
    assert count(balancer, 20)["green"] == 20
    # One that is idle is closed, one whose first request is still to come is not.
    assert kept.recv(100) == b""
    assert ask(silent) == "b" and ask(half, "TP/1.1\r\nHost: x\r\n\r\n") == "b"
    wait_until(lambda: split(balancer)["notes"] == [], "the old worker is gone")
    for connection in connections:
        connection.close()


def test_nothing_is_sent_to_a_side_that_does_not_serve(sides, split, move):
    balancer = sides()
    before = balancer.split_file.read_bytes()
    balancer.kill("g1")
    with pytest.raises(NotSet, match="of the 2 members of its pool shop_green only 1 serve at full weight .g2., and 2 have to .*; g1 does not: "):
        split(balancer, GREEN, min_active="100%")
    move(balancer, ["g2"], "drained", pools=[SIDED[1]])
    with pytest.raises(NotSet, match="only 0 serve at full weight .none., and 1 have to") as caught:
        split(balancer, CANARY, check_mode=True)
    assert caught.value.details["shares"] == BLUE and balancer.split_file.read_bytes() == before
    assert count(balancer, 20) == {"blue": 20, "green": 0}


def test_what_nginx_refuses_changes_nothing(sides, split):
    balancer = sides()
    split(balancer, BLUE)
    before = balancer.split_file.read_bytes()
    with pytest.raises(NotSet, match='so the old one was put back: .emerg. unknown "nonsense" variable; nginx uses blue 100, green 0') as caught:
        split(balancer, GREEN, split_by="$nonsense")
    assert caught.value.details["shares"] == BLUE and balancer.split_file.read_bytes() == before and split(balancer)["shares"] == BLUE
    with pytest.raises(DowntimeError, match="no split of other was found"):
        split(balancer, GREEN, pools=[{"name": "other"}])


@pytest.mark.claim("split-nginx-first-time")
def test_an_ordinary_nginx_gets_its_second_side_by_the_lines_of_the_doctor(stage, split, move, info):
    balancer = stage({"shop": ["app1", "app2"]})
    lines = next(finding for finding in info(balancer)["findings"] if finding["setting"] == "split")["lines"]
    assert info(balancer)["split"] is None
    # The file first, as it says.
    path = balancer.upstreams / "shop.split.conf"
    assert lines[0].startswith(f"file {path}, which zero.downtime.split writes")
    passing = next(line for line in lines if line.startswith("location"))
    pools = [{"name": "shop", "side": "blue"}, {"name": "shop_green", "side": "green", "members": {"app1": f"127.0.0.1:{balancer.ports['app1']}"}}]
    done = split(balancer, BLUE, pools=pools)
    assert path.read_text(encoding="utf-8").splitlines() == lines[1:lines.index(passing)] and "the shares move no request" in done["notes"][0]
    found = re.fullmatch(r"location / \{ (proxy_pass \S+;) \}  # in place of (http://shop)", passing)
    text = balancer.config.read_text(encoding="utf-8")
    balancer.config.write_text(text.replace(f"proxy_pass {found.group(2)};", found.group(1)), encoding="utf-8")
    balancer.reload()
    told = info(balancer, pools=pools)
    assert told["split"]["blue"] == 100 and "blue/green and canary work" in next(one["text"] for one in told["findings"] if one["setting"] == "split")
    # The first release of green makes its upstream; then it can get requests.
    with pytest.raises(NotSet, match="shares.green is 100, but of the 1 members of its pool shop_green only 0 serve"):
        split(balancer, GREEN, pools=pools)
    move(balancer, ["app1"], "active", pools=[{"name": "shop_green", "members": pools[1]["members"]}])
    assert split(balancer, GREEN, pools=pools)["notes"] == []
    assert {json.loads(get(balancer.url + "/")[1])["name"] for _number in range(10)} == {"app1"}


@pytest.mark.claim("second-side-in-a-map-of-nginx")
def test_a_pool_that_a_map_names_gets_its_second_side_by_the_printed_lines(stage, split, move, info):
    balancer = stage({"shop": ["app1", "app2"], "rest": ["r1"]})
    text = balancer.config.read_text(encoding="utf-8")
    mapped = "    map $host $backend { default rest; shop.example shop; }\n    server { listen"
    text = text.replace("    server { listen", mapped, 1).replace("proxy_pass http://shop;", "proxy_pass http://$backend;")
    balancer.config.write_text(text, encoding="utf-8")
    balancer.reload()

    def names(host):
        found = set()
        for _number in range(10):
            connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
            connection.request("GET", "/", headers={"Host": host})
            found.add(json.loads(connection.getresponse().read())["name"])
            connection.close()
        return found

    assert names("shop.example") == {"app1", "app2"} and names("other.example") == {"r1"}
    pools = [{"name": "shop", "side": "blue"}, {"name": "shop_green", "side": "green", "members": {"app1": f"127.0.0.1:{balancer.ports['app1']}"}}]
    lines = next(found for found in info(balancer, pools=[{"name": "shop"}])["findings"] if found["setting"] == "split")["lines"]
    split(balancer, BLUE, pools=pools)
    new, old = next(re.fullmatch(r"map \$host \$backend \{ (.*;) \}  # in place of: (.*;)", line) for line in lines if line.startswith("map $host")).groups()
    balancer.config.write_text(balancer.config.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    balancer.reload()
    told = info(balancer, pools=pools)
    assert told["split"]["blue"] == 100 and "blue/green and canary work" in next(one["text"] for one in told["findings"] if one["setting"] == "split")
    assert names("shop.example") == {"app1", "app2"} and names("other.example") == {"r1"}
    move(balancer, ["app1"], "active", pools=[{"name": "shop_green", "members": pools[1]["members"]}])
    split(balancer, GREEN, pools=pools)
    assert names("shop.example") == {"app1"} and names("other.example") == {"r1"}


def known(balancer):
    """The pools as a deploy names them, with the addresses of their members."""
    return [{**pool, "members": balancer.servers[pool["name"]]} for pool in SIDED]


@pytest.mark.claim("nginx-deleted-files")
def test_a_deleted_file_of_shares_is_named_with_the_lines_that_bring_it_back(sides, split, info):
    balancer = sides()
    split(balancer, CANARY)
    text = balancer.split_file.read_text(encoding="utf-8")
    balancer.split_file.unlink()
    with pytest.raises(DowntimeError, match="shop.split.conf was deleted, and nginx runs with it .blue 95, green 5.: its next start or reload fails") as caught:
        info(balancer, pools=known(balancer))
    assert caught.value.details["missing_file"] == str(balancer.split_file)
    for asked in (None, GREEN):
        with pytest.raises(DowntimeError, match="shop.split.conf was deleted"):
            split(balancer, asked, pools=known(balancer))
    assert not balancer.split_file.exists() and 0 < count(balancer, MANY)["green"] < 100
    lines = str(caught.value).partition("these lines bring it back: ")[2].split(" | ")
    assert "\n".join(lines) + "\n" == text
    balancer.split_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    balancer.reload()
    assert split(balancer)["shares"] == CANARY and info(balancer, pools=known(balancer))["split"]["green"] == 5


@pytest.mark.claim("nginx-deleted-files")
def test_a_deleted_file_of_a_pool_that_nginx_serves_by_keeps_its_members_from_being_moved(sides, split, move, info):
    """By a variable in proxy_pass nginx accepts a configuration without it, and goes on to send requests where the file had sent them."""
    balancer = sides()
    split(balancer, BLUE)
    path = balancer.upstream_file("shop_blue")
    path.unlink()
    assert count(balancer, 10)["blue"] == 10
    words = "shop_blue.upstream.conf was deleted, and nginx runs with it: nobody can tell who is out of traffic there"
    with pytest.raises(DowntimeError, match=words):
        move(balancer, ["b1"], "drained", pools=known(balancer))
    with pytest.raises(DowntimeError, match=words) as caught:
        info(balancer, pools=known(balancer))
    lines = str(caught.value).partition("bring it back: ")[2].split(" | ")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert move(balancer, ["b1"], "drained", pools=known(balancer))["changed"] and balancer.down("shop_blue") == {"b1"}
    # Of a pool that nobody asks for nothing is needed.
    balancer.upstream_file("shop_green").unlink()
    assert info(balancer, pools=known(balancer)[:1])["pools"][0]["name"] == "shop_blue"


def test_a_member_whose_line_was_removed_is_out_only_when_nginx_has_read_that(sides, split, move):
    balancer = sides()
    split(balancer, BLUE)
    path = balancer.upstream_file("shop_blue")
    path.write_text("".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if "# b1" not in line), encoding="utf-8")
    done = move(balancer, ["b1"], "drained", pools=known(balancer))
    assert done["changed"] and [row["state"] for row in done["members"]] == ["drained"]
    names = {json.loads(get(balancer.url + "/")[1])["name"] for _number in range(20)}
    assert names == {"b2"}
    assert not move(balancer, ["b1"], "drained", pools=known(balancer))["changed"]
