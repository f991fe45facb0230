# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import pools as _nginx_pools
from ansible_collections.zero.downtime.plugins.module_utils._nginx import shares as _nginx_shares
from ansible_collections.zero.downtime.plugins.module_utils._nginx.mover import Mover, Request
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

THREE = "".join(f"    server 192.0.2.1{number}:8000; # app{number}\n" for number in (1, 2, 3))
SHOP = f"upstream shop {{\n{THREE}}}\n"


@pytest.fixture
def world(nginx_world):
    world = nginx_world
    world.write(SHOP)
    world.answers = {}
    world.probed = []
    return world


def mover(world, members, state, memory=None, **options):
    def probe(address, path):
        world.probed.append((address, path))
        said = world.answers.get(address, "")
        return said.pop(0) if isinstance(said, list) and said else "" if isinstance(said, list) else said

    return Mover(world.nginx, Request(members, state, **options), world.nginx.clock, world.nginx.sleep, probe, memory)


def run(world, members, state, **options):
    return mover(world, members, state, **options).run()


def states(result):
    return {row["name"]: row["state"] for row in result["members"]}


def test_out_ends_when_the_old_workers_have_exited(world):
    result = run(world, ["app1", "app2"], "drained")
    assert states(result) == {"app1": "drained", "app2": "drained"} and {row["drained_by"] for row in result["members"]} == {"workers_exited"}
    assert [worker.pid for worker in world.own] == [301, 302]
    assert world.read().count(" down;") == 2 and result["changed"]
    again = run(world, ["app1", "app2"], "drained")
    assert not again["changed"] and again["already_out"] == ["app1", "app2"] and again["diff"]["before"] == again["diff"]["after"]


def test_a_drain_that_takes_too_long_fails_and_a_second_call_goes_on(world):
    world.stay = True
    sentence = r"after 3 s not drained: nginx's workers from before the change \(201, 202\) still live .* nothing was cut"
    with pytest.raises(DowntimeError, match=sentence) as caught:
        run(world, ["app1"], "drained", timeout=3)
    assert caught.value.details == {"until_back": ", and app1 get no new requests until they are activated"}
    assert states(run(world, ["app1"], "drained", wait=False)) == {"app1": "draining"}
    world.own = world.own[2:]
    result = run(world, ["app1"], "drained", timeout=3)
    assert states(result) == {"app1": "drained"} and not result["changed"]


@pytest.mark.parametrize("counted, cut", [({("192.0.2.11", 8000): 2, ("192.0.2.12", 8000): 1, ("198.51.100.1", 443): 7}, 3), (None, None)])
def test_cutting_ends_the_old_workers_and_counts(world, counted, cut):
    world.stay = True
    world.connections = lambda pids: counted
    result = run(world, ["app1", "app3"], "drained", timeout=1, timeout_action="cut")
    assert [row["cut"] for row in result["members"]] == [cut, 0] and states(result) == {"app1": "drained", "app3": "drained"}
    assert (201, 15) in world.told and (202, 15) in world.told and (301, 15) not in world.told
    assert bool(result["notes"]) is (counted is None)


def test_brought_back_by_hand_while_it_drained(world):
    world.stay = True
    one = mover(world, ["app1"], "drained")

    def sleep(seconds):
        world.now += seconds
        world.write(SHOP)

    one.sleep = sleep
    with pytest.raises(DowntimeError, match="member app1 was brought back into traffic by somebody else while it drained"):
        one.run()


@pytest.mark.claim("nginx-in-after-three-probes")
def test_in_needs_three_probes_running(world):
    run(world, ["app1"], "drained")
    world.answers["192.0.2.11:8000"] = ["no", "", "", "no"]
    world.probed.clear()
    result = run(world, ["app1"], "active", probe_path="/ready")
    assert states(result) == {"app1": "active"} and result["changed"] and world.read() == SHOP
    assert world.probed == [("192.0.2.11:8000", "/ready")] * 7
    # Who is in traffic is not asked again.
    world.probed.clear()
    assert not run(world, ["app1"], "active")["changed"] and not world.probed


def test_who_does_not_answer_stays_out_and_the_others_come_back(world):
    run(world, ["app1", "app2"], "drained")
    world.answers["192.0.2.12:8000"] = "/ready answered 503"
    with pytest.raises(DowntimeError, match=r"after 2 s not active: shop/app2 \(192.0.2.12:8000\): /ready answered 503; app2 stayed out of traffic"):
        run(world, ["app1", "app2"], "active", timeout=2)
    assert world.read() == SHOP.replace("12:8000;", "12:8000 down;")
    before = world.now
    assert states(run(world, ["app2"], "active", wait=False, timeout=60)) == {"app2": "drained"}
    assert world.now - before < 1


@pytest.mark.claim("nginx-floor-counts-who-answers")
def test_the_floor_counts_who_really_answers(world):
    assert run(world, ["app1"], "drained", min_active="2", check_mode=True)["changed"]
    world.answers["192.0.2.13:8000"] = "its port did not answer"
    with pytest.raises(DowntimeError, match=r"min_active is '50%', which is 2 of the 3 members of pool shop, but without app1 only 1 would serve at full "
                                            r"weight \(app2\), since app3 does not \(its port did not answer\); nothing was moved"):
        run(world, ["app1"], "drained", min_active="50%")
    assert world.read() == SHOP
    # The dead one may leave.
    assert run(world, ["app3"], "drained", min_active="3")["changed"]


@pytest.mark.claim("check-counts-who-comes-back")
def test_in_check_mode_the_floor_counts_whom_earlier_moves_would_have_brought_back(world):
    world.answers["192.0.2.13:8000"] = "its port did not answer"
    given = {"min_active": "2", "restored": ["app3"]}
    assert run(world, ["app1"], "drained", check_mode=True, **given)["changed"]
    # Where moves are made, who answers is all that counts.
    with pytest.raises(DowntimeError, match=r"since app3 does not \(its port did not answer\)"):
        run(world, ["app1"], "drained", **given)
    assert world.read() == SHOP


def test_members_without_a_line_are_out_and_count(world):
    pools = {"shop": {f"app{number}": f"192.0.2.1{number}:8000" for number in (1, 2, 3, 4)}}
    with pytest.raises(DowntimeError, match="which is 3 of the 4 members"):
        run(world, ["app1"], "drained", min_active="75%", pools=pools)
    out = run(world, ["app4"], "drained", min_active="4", pools=pools)
    assert not out["changed"] and states(out) == {"app4": "drained"} and out["members"][0]["status"] == "absent"
    back = run(world, ["app4"], "active", pools=pools)
    assert back["changed"] and "    server 192.0.2.14:8000; # app4\n}" in world.read()


def test_where_nobody_served_the_old_workers_are_waited_for(world):
    world.write(SHOP.replace(";", " down;"))
    world.stay = True
    result = run(world, ["app1", "app2", "app3"], "active", timeout=2)
    assert result["changed"] and "may still find no server" in result["notes"][0]
    # Where others served, nobody loses anything by old workers.
    run(world, ["app1"], "drained", wait=False)
    before = world.now
    run(world, ["app1"], "active")
    assert world.now - before < 1


@pytest.fixture
def old_workers_stay(world, monkeypatch):
    """The time that a change was made is a file's; here time passes only when somebody sleeps."""
    world.stay = True
    apply, at = world.nginx.apply, []
    monkeypatch.setattr(world.nginx, "apply", lambda *args: (apply(*args), at.append(world.now))[0])
    monkeypatch.setattr(world.nginx, "changed_for", lambda: world.now - at[-1])
    world.connections = lambda pids: {}
    return world


@pytest.mark.parametrize("streams", ["leave", "cut"])
def test_what_old_workers_hold_is_streams_once_a_first_request_can_neither_come_nor_last(old_workers_stay, streams):
    """One that comes as late as it may lasts for as long as it may."""
    run(old_workers_stay, ["app1"], "drained", streams=streams, silence=10.0, slowest_request=5.0, timeout=60)
    assert 15 <= old_workers_stay.now < 16
    with pytest.raises(DowntimeError, match="client_header_timeout 10 s; with streams other than wait a timeout above 15 is accepted"):
        run(old_workers_stay, ["app2"], "drained", streams=streams, silence=10.0, slowest_request=5.0, timeout=15)
    assert old_workers_stay.read().count(" down;") == 1


def test_where_nobody_served_a_first_request_to_an_old_worker_may_come_late(old_workers_stay):
    old_workers_stay.write(SHOP.replace(";", " down;"))
    result = run(old_workers_stay, ["app1", "app2", "app3"], "active", silence=10.0, slowest_request=5.0, timeout=60)
    assert result["notes"] == [] and 15 <= old_workers_stay.now < 17


@pytest.mark.parametrize("green, waits", [(0, False), (10, True)])
def test_old_workers_ask_nobody_of_a_side_without_a_share(old_workers_stay, green, waits):
    world = old_workers_stay
    world.write(SHOP.replace(";", " down;").replace("shop", "shop_green"), "shop_green.upstream.conf")
    world.write(_nginx_shares.Split("shop", "", (("shop", "shop_green"),), green).text, "shop.split.conf")
    run(world, ["app1"], "active", pools={"shop_green": {}}, silence=10.0, slowest_request=5.0, timeout=60)
    assert (world.now >= 15) is waits


def memory(out=None, theirs=None):
    noted = []
    return Memory(dict(out or {}), dict(theirs or {}), noted.append), noted


def test_who_somebody_else_took_out_stays_out(world):
    world.write(SHOP.replace("12:8000;", "12:8000 down;"))
    mine, noted = memory()
    out = run(world, ["app1", "app2"], "drained", memory=mine)
    assert out["theirs"] == ["app2"] and noted == [{"theirs": {"app2": ["shop/app2"]}}]
    mine, noted = memory({"app1": out["worker"], "app2": out["worker"]}, {"app2": ["shop/app2"]})
    back = run(world, ["app1", "app2"], "active", memory=mine)
    assert states(back) == {"app1": "active", "app2": "drained"} and "app2 was taken out" in back["notes"][0]
    # Without a journal nothing is anybody's.
    assert states(run(world, ["app2"], "active")) == {"app2": "active"}


def test_who_somebody_else_brought_back_is_not_taken_out_again(world):
    mine, _noted = memory({"app1": {"revision": "a-b"}})
    with pytest.raises(DowntimeError, match="app1 was brought back into traffic by somebody else while this deploy had it out"):
        run(world, ["app1"], "drained", memory=mine)
    assert world.read() == SHOP
    mine, _noted = memory({"app1": {"revision": "a-b"}})
    assert "app1 was brought back" in run(world, ["app1"], "active", memory=mine)["notes"][0]


def test_whose_line_was_removed_while_it_was_out_does_not_hold_up_the_others(world):
    """Where the addresses of the members are known nowhere else."""
    run(world, ["app1", "app2"], "drained")
    world.write("".join(line for line in world.read().splitlines(True) if "# app1" not in line))
    mine, dummy = memory({"app1": {"revision": "x"}, "app2": {"revision": "x"}})
    result = mover(world, ["app1", "app2"], "active", memory=mine).run()
    assert result["gone"] == ["app1"] and states(result) == {"app2": "active"} and "app1 is no server of nginx any more" in result["notes"][0]
    with pytest.raises(DowntimeError, match="member 'app1' is not a server of any pool"):
        run(world, ["app1", "app2"], "active")


def test_check_mode_tells_and_writes_nothing(world):
    told = run(world, ["app1"], "drained", check_mode=True)
    assert told["changed"] and world.read() == SHOP and world.read("revision.conf") is None
    assert run(world, ["app1"], "drained")["diff"] == told["diff"]
    told = run(world, ["app1"], "active", check_mode=True, weight=3)
    assert told["changed"] and told["diff"]["after"] == {"shop/app1": {"state": "active", "weight": 3}}


def test_a_file_that_nginx_may_not_have_read_is_loaded_first(world):
    run(world, ["app1"], "drained")
    world.write(world.read().replace("12:8000;", "12:8000 down;"))
    result = run(world, ["app2"], "drained")
    assert result["changed"] and states(result) == {"app2": "drained"}
    assert not run(world, ["app2"], "drained")["changed"]


@pytest.mark.parametrize("members, options, word", [
    (["app9"], {}, "member 'app9' is not a server of any pool; known are shop: app1, app2, app3"),
    (["app1", "app1"], {}, "members names app1 more than once"),
    (["app1"], {"pools": {"api": {}}}, "pool 'api' has no file .*/api.upstream.conf; pools there are shop"),
    (["app1"], {"pools": {"../x": {}}}, "pool '../x' is no name for an upstream"),
    (["app1"], {"weight": 0}, "weight is 0; 1 to 65535 is accepted"),
    (["app1"], {"min_active": "some"}, "min_active is 'some'"),
])
def test_bad_input(world, members, options, word):
    with pytest.raises(DowntimeError, match=word):
        run(world, members, "active", **options)
    assert world.read() == SHOP and world.read("revision.conf") is None


def test_a_probe_of_ours():
    assert _nginx_pools.probe("unix:/run/app.sock", "/") == "its address unix:/run/app.sock cannot be probed"
    assert "refused" in _nginx_pools.probe("127.0.0.1:1", "/ready") and "did not answer" in _nginx_pools.probe("127.0.0.1:1", None)
    assert _nginx_pools.resolved("127.0.0.1:81") == [("127.0.0.1", 81)] and _nginx_pools.resolved("unix:/x") == []
