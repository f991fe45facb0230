# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of blue and green on a real HAProxy: nothing is lost when they change, they are what they say, and a reload keeps them."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import stat
import subprocess

import pytest
from haproxy_load import Load
from haproxy_stage import HAPROXY, ask, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

POOLS = {"shop_blue": ["b1", "b2"], "shop_green": ["g1", "g2"]}
BLUE, GREEN = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}
MANY = 2000


@pytest.fixture
def sides(stage, tmp_path):
    """A balancer with both sides; blue has all of it, and C(balancer.map) keeps the shares."""

    def start(draw="rand(100)", lines=(), **options):
        path = tmp_path / "split.map"
        path.write_text("# shares of green\nother   7\nshop 0\n", encoding="ascii")
        path.chmod(0o640)
        balancer = stage(POOLS, frontend_lines=[
            f"http-request set-var(txn.green) str(shop),map_str_int({path},0)", f"http-request set-var(txn.draw) {draw}",
            "use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }", *lines], **options)
        balancer.map = path
        return balancer

    return start


def name_of(answer: bytes) -> str:
    return json.loads(answer)["name"]


def count(port: int, number: int, headers: dict[str, str] | None = None) -> dict[str, int]:
    """How many of C(number) requests each side answered."""
    found = {"blue": 0, "green": 0}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _number in range(number):
        connection.request("GET", "/", headers=headers or {})
        answer = connection.getresponse()
        found["blue" if name_of(answer.read()).startswith("b") else "green"] += 1
        assert answer.status == 200
    connection.close()
    return found


def test_a_switch_and_a_dozen_flips_lose_nothing(sides, split):
    balancer = sides()
    with Load(balancer.port) as load:
        load.more(50)
        for number in range(13):
            wanted = BLUE if number % 2 else GREEN
            result = split(balancer, wanted)
            assert result["changed"] and result["shares"] == wanted and result["notes"] == []
            load.more(40)
    assert load.failures == [] and load.sent > 500
    assert count(balancer.port, 50) == {"blue": 0, "green": 50}


@pytest.mark.claim("split-shares-are-what-they-say")
@pytest.mark.parametrize("green, low, high", [(0, 0, 0), (5, 50, 160), (50, 850, 1150), (100, MANY, MANY)])
def test_shares_are_what_they_say(sides, split, green, low, high):
    balancer = sides()
    split(balancer, {"blue": 100 - green, "green": green})
    assert low <= count(balancer.port, MANY)["green"] <= high


@pytest.mark.claim("haproxy-cfg-is-never-written", "split-haproxy-kept-by-a-reload")
def test_a_change_is_predicted_made_once_and_kept_by_a_reload(sides, split, info):
    balancer = sides()
    wanted = {"blue": 95, "green": 5}
    before, config = balancer.map.read_bytes(), pathlib.Path(balancer.config).read_bytes()
    predicted = split(balancer, wanted, check_mode=True)
    assert predicted["changed"] and balancer.map.read_bytes() == before
    done = split(balancer, wanted)
    assert done["diff"] == predicted["diff"] and done["found"] == BLUE and done["kept"] == wanted
    assert done["counters"] and done["map"] == str(balancer.map) and done["key"] == "shop"
    assert balancer.map.read_text() == "# shares of green\nother   7\nshop 5\n" and stat.S_IMODE(balancer.map.stat().st_mode) == 0o640
    assert os.listdir(balancer.map.parent) == ["split.map"]
    assert pathlib.Path(balancer.config).read_bytes() == config, "haproxy.cfg is the team's"
    again = split(balancer, wanted)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    balancer.reload()
    read = split(balancer)
    assert not read["changed"] and read["shares"] == wanted == read["kept"] and read["notes"] == []
    found = info(balancer, pools=["shop_blue"])["split"]
    assert (found["blue"], found["green"], found["map"]) == (95, 5, str(balancer.map))
    assert found["pools"] == {"blue": ["shop_blue"], "green": ["shop_green"]}


@pytest.mark.claim("split-haproxy-difference-is-healed")
def test_what_is_set_at_runtime_alone_falls_back_at_a_reload_and_is_healed(sides, split):
    balancer = sides()
    ask(balancer.socket, f"set map {balancer.map} shop 100")
    told = split(balancer)
    assert told["shares"] == GREEN and told["kept"] == BLUE and "which a reload would bring" in told["notes"][0]
    balancer.reload()
    assert count(balancer.port, 20) == {"blue": 20, "green": 0}, "the naive way keeps nothing"
    ask(balancer.socket, f"set map {balancer.map} shop 100")
    assert split(balancer, GREEN)["changed"]
    balancer.reload()
    assert count(balancer.port, 20) == {"blue": 0, "green": 20} and split(balancer)["notes"] == []


def test_a_reload_with_an_edited_map_loses_what_this_does_not(sides, split):
    balancer = sides()
    with Load(balancer.port, keepalive=8, fresh=0, posts=0, pause=0.02) as naive:
        naive.more(50)
        for value in ("100", "0", "100"):
            balancer.map.write_text(f"shop {value}\n")
            balancer.reload()
            naive.more(50)
    assert naive.failures
    with Load(balancer.port, keepalive=8, fresh=0, posts=0, pause=0.02) as load:
        load.more(50)
        for wanted in (BLUE, GREEN, BLUE):
            split(balancer, wanted)
            load.more(50)
    assert load.failures == [] and load.sent > 100


def test_a_missing_key_is_added(sides, split):
    balancer = sides()
    balancer.map.write_text("other 7")
    balancer.reload()
    assert split(balancer)["shares"] == BLUE
    split(balancer, GREEN)
    assert balancer.map.read_text() == "other 7\nshop 100\n" and count(balancer.port, 10)["green"] == 10
    assert not split(balancer, GREEN)["changed"]


@pytest.mark.claim("split-haproxy-old-workers")
def test_connections_of_a_worker_from_before_a_reload_are_told_too(sides, split):
    balancer = sides(lines=["option idle-close-on-response"])
    kept = [http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10) for _number in range(2)]
    for connection in kept:
        connection.request("GET", "/")
        assert name_of(connection.getresponse().read()).startswith("b")
    old = balancer.worker_pid()
    balancer.reload()
    alone = split(balancer, {"blue": 1, "green": 99}, master_socket=None)
    assert any(str(old) in note and "without master_socket they cannot be told" in note for note in alone["notes"])
    kept[0].request("GET", "/")
    assert name_of(kept[0].getresponse().read()).startswith("b")
    assert split(balancer, GREEN)["notes"] == []
    kept[1].request("GET", "/")
    assert name_of(kept[1].getresponse().read()).startswith("g")
    for connection in kept:
        connection.close()


@pytest.mark.claim("split-haproxy-reload-meanwhile")
def test_reloads_in_the_middle_are_noticed_and_the_shares_hold(sides, split):
    balancer = sides()
    for wanted in (GREEN, BLUE, GREEN):
        before = balancer.worker_pid()
        os.kill(balancer.process.pid, 12)  # SIGUSR2, and nobody waits for it
        split(balancer, wanted)
        wait_until(lambda: balancer.worker_pid() != before, "a new worker answers")  # pylint: disable=cell-var-from-loop
        balancer.wait_master()
        assert split(balancer)["shares"] == wanted and split(balancer)["notes"] == []


def test_nothing_is_sent_to_a_side_that_does_not_serve(sides, split):
    balancer = sides()
    before = balancer.map.read_bytes()
    balancer.kill("g1")
    wait_until(lambda: "DOWN" in next(row for row in ask(balancer.socket, "show stat").splitlines() if row.startswith("shop_green,g1")), "g1 is down")
    with pytest.raises(DowntimeError, match="of the 2 members of its pool shop_green only 1 serve at full weight .g2., and 2 have to"):
        split(balancer, GREEN, min_active="100%")
    split(balancer, {"blue": 50, "green": 50}, min_active="50%")
    split(balancer, BLUE)
    balancer.kill("g2")
    wait_until(lambda: "DOWN" in next(row for row in ask(balancer.socket, "show stat").splitlines() if row.startswith("shop_green,g2")), "g2 is down")
    with pytest.raises(DowntimeError, match="only 0 serve at full weight .none., and 1 have to"):
        split(balancer, GREEN, check_mode=True)
    assert balancer.map.read_bytes() == before
    # Away from it is always allowed, and so is staying.
    assert not split(balancer, BLUE, min_active="100%")["changed"]


def test_what_cannot_be_set_changes_nothing(sides, split):
    balancer = sides()
    before = balancer.map.read_bytes()
    operator = balancer.dir / "operator.sock"
    balancer.global_lines = [f"stats socket {operator} level operator"]
    with open(balancer.config, "w", encoding="utf-8") as file:
        file.write(balancer.text())
    balancer.reload()
    with pytest.raises(DowntimeError, match="level 'operator'"):
        split(balancer, GREEN, socket=str(operator))
    assert balancer.map.read_bytes() == before
    # A file that cannot be written changes nothing at all.
    balancer.map.rename(balancer.map.parent / "elsewhere")
    balancer.map.mkdir()
    with pytest.raises(DowntimeError, match="split.map', which cannot be read: Is a directory"):
        split(balancer, GREEN)
    assert split(balancer)["shares"] == BLUE and "cannot be read" in split(balancer)["notes"][0]


def starts(balancer):
    """Whether haproxy could be started with what lies there, and what it says."""
    done = subprocess.run([HAPROXY, "-c", "-f", balancer.config], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.claim("split-haproxy-deleted-map")
def test_a_map_that_somebody_deleted_is_told_and_written_again_by_the_next_shares(sides, split, info):
    balancer = sides()
    split(balancer, {"blue": 95, "green": 5})
    balancer.map.unlink()
    assert not starts(balancer)[0]

    found = info(balancer, pools=["shop_blue"])
    told = next(finding for finding in found["findings"] if finding["setting"] == "missing file")
    assert "does not exist any more, so haproxy's next start or reload fails; setting shares writes it again" in told["text"]
    assert told["lines"] == ["other 7", "shop 5"] and found["split"]["green"] == 5 and found["split"]["missing"]["hindrance"] is None
    read = split(balancer)
    assert read["shares"] == {"blue": 95, "green": 5} and read["kept"] is None and "other 7 | shop 5" in read["notes"][0] and not balancer.map.exists()
    # What it says brings it back.
    balancer.map.write_text("".join(line + "\n" for line in told["lines"]), encoding="ascii")
    assert starts(balancer)[0] and split(balancer)["notes"] == []
    balancer.map.unlink()

    with Load(balancer.port) as load:
        load.more(50)
        predicted = split(balancer, GREEN, check_mode=True)
        assert predicted["changed"] and not balancer.map.exists()
        done = split(balancer, GREEN)
        assert done["diff"] == predicted["diff"] and "had been deleted, and was written again" in done["notes"][0]
        load.more(50)
    assert load.failures == [] and balancer.map.read_text() == "other 7\nshop 100\n" and starts(balancer)[0]
    balancer.reload()
    assert count(balancer.port, 20) == {"blue": 0, "green": 20}
    # The same shares once more bring it back, too.
    balancer.map.unlink()
    assert split(balancer, GREEN)["changed"] and balancer.map.exists() and not split(balancer, GREEN)["changed"]


def test_a_map_that_was_deleted_with_its_directory_refuses_shares_with_the_lines(sides, split, info, tmp_path):
    balancer = sides()
    balancer.map.unlink()
    balancer.map.parent.rename(tmp_path.parent / (tmp_path.name + "-moved"))
    with pytest.raises(DowntimeError, match=r"cannot be written again here: .* is no directory; with these lines .*: other 7 . shop 0; nothing was changed"):
        split(balancer, GREEN)
    assert info(balancer, pools=["shop_blue"])["split"]["missing"]["hindrance"].endswith("is no directory")
    assert count(balancer.port, 10) == {"blue": 10, "green": 0}


@pytest.mark.claim("split-sticky-cookie")
def test_clients_stay_on_their_side_by_their_cookie(sides, split):
    balancer = sides(draw="req.cook(user),xxh32,mod(100)")
    split(balancer, {"blue": 50, "green": 50})
    users = {f"u{number}": count(balancer.port, 5, {"Cookie": f"user=u{number}"}) for number in range(40)}
    assert all(5 in found.values() for found in users.values())
    assert {next(side for side, number in found.items() if number) for found in users.values()} == {"blue", "green"}
    # Who is on green stays there when green gets more.
    split(balancer, {"blue": 20, "green": 80})
    for user, found in users.items():
        if found["green"]:
            assert count(balancer.port, 2, {"Cookie": f"user={user}"})["green"] == 2


def test_the_fence_and_the_journal(sides, split, tmp_path_factory):
    balancer = sides()
    lock = _lock.Lock(str(tmp_path_factory.mktemp("state")), "production-shop")
    lock.acquire("d1", {"controller": "here"})
    params = {"lock": lock.path, "deploy_id": "d1", "shares": GREEN, "intent": {"verb": "deploy"}}
    with _fence.fence(params, False) as memory:
        split(balancer, GREEN, memory=memory)
    entries = lock.entries()
    assert [entry.get("shares") for entry in entries] == [GREEN, None, GREEN] and entries[1]["shares_before"] == BLUE
    assert entries[2]["done"] and entries[2]["worker"]["pid"] == balancer.worker_pid()
    assert _lock.out_of(entries) == []
    with pytest.raises(DowntimeError, match="may not move anything"), _fence.fence({**params, "deploy_id": "d2"}, False):
        raise AssertionError("not reached")


def test_a_balancer_with_one_side_is_told_the_lines_that_add_the_other(stage, split, info):
    balancer = stage({"shop": ["app1"]})
    with pytest.raises(DowntimeError, match="no split was found.*These lines add the second side"):
        split(balancer, GREEN, app="shop")
    found = info(balancer)
    assert found["split"] is None
    lines = next(finding for finding in found["findings"] if finding["setting"] == "split")["lines"]
    # What it says works as it is said.
    path = balancer.dir / "split.map"
    path.write_text(lines[0].partition(": ")[2] + "\n")
    balancer.frontend_lines = [line.partition(": ")[2] for line in lines if line.startswith("frontend front: ")]
    balancer.pools = {"shop": ["app1"], "shop_green": ["app1"]}
    with open(balancer.config, "w", encoding="utf-8") as file:
        file.write(balancer.text())
    balancer.reload()
    assert split(balancer, GREEN, app="shop")["shares"] == GREEN
    assert "blue/green and canary work" in next(finding for finding in info(balancer)["findings"] if finding["setting"] == "split")["text"]
    assert get(balancer.url + "/")[0] == 200
