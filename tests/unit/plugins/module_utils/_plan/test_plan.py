# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan

HOSTS = ["app1", "app2", "app3", "app4", "app5", "app6"]


@pytest.mark.claim("batches-as-serial")
@pytest.mark.parametrize("sizes, most, expected", [
    ([1], None, [1, 1, 1, 1, 1, 1]),
    ([1, 2], None, [1, 2, 2, 1]),
    (["50%"], None, [3, 3]),
    (["1%"], None, [1] * 6),
    (["100%"], None, [6]),
    ([1, "50%"], 2, [1, 2, 2, 1]),
    ([10], 4, [4, 2]),
    (["2"], None, [2, 2, 2]),
])
def test_batches(sizes, most, expected):
    found = _plan.batches(HOSTS, sizes, most)
    assert [len(batch["members"]) for batch in found] == expected
    assert [batch["n"] for batch in found] == list(range(1, len(expected) + 1))
    assert [name for batch in found for name in batch["members"]] == HOSTS


@pytest.mark.parametrize("sizes, names", [
    ([0], "0"), ([], "empty"), (["0%"], "0%"), (["half"], "half"), ([-1], "-1"), (["101%"], "101%"), ([1.5], "1.5"),
])
def test_batches_that_take_nothing(sizes, names):
    with pytest.raises(DowntimeError, match=names) as caught:
        _plan.batches(HOSTS, sizes)
    assert "accepted" in str(caught.value)


def application(**changes):
    values = {
        "deploy_app": "shop", "deploy_hosts": "shop_app", "deploy_release": "2.0.0",
        "deploy_artifact": {"root": "/srv/shop", "url": "https://art.example/shop.tar.gz"},
        "deploy_service": {"unit": "shop.service"},
        "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "socket": "/run/haproxy/admin.sock", "pools": [{"name": "shop", "port": 8000}]},
        "deploy_health": {"path": "/ready"},
    }
    values.update(changes)
    return {name: value for name, value in values.items() if value is not None}


def test_application_gets_its_defaults():
    checked, driver = _plan.check_application(application(), "deploy")
    assert driver.name == "haproxy"
    assert checked["deploy_min_active"] == "50%"
    assert checked["deploy_health"]["passes"] == 3
    assert checked["deploy_hooks"]["before_shift"] is None
    assert "driver" not in checked["deploy_traffic"]


@pytest.mark.parametrize("changes, words", [
    ({"deploy_traffic": None}, ["deploy_traffic", "missing"]),
    ({"deploy_traffic": {"driver": "carrier_pigeon"}}, ["deploy_traffic.driver", "carrier_pigeon", "haproxy"]),
    ({"deploy_traffic": {"driver": "no.such.driver"}}, ["no.such.driver", "no.such"]),
    ({"deploy_traffic": {"driver": "haproxy", "sockett": "/x"}}, ["deploy_traffic.sockett", "socket"]),
    ({"deploy_strategy": "blue"}, ["deploy_strategy", "blue", "rolling"]),
    ({"deploy_release": None}, ["deploy_release", "missing", "2.0.0"]),
    ({"deploy_health": {}}, ["deploy_health.path", "missing", "/ready"]),
    ({"deploy_health": {"path": "/ready", "body": "("}}, ["deploy_health.body", "regular expression"]),
    ({"deploy_health": {"path": "/ready", "passes": 0}}, ["deploy_health.passes", "0", "from 1"]),
    ({"deploy_min_active": "half"}, ["min_active", "half", "75%"]),
    ({"deploy_artifact": {"url": "x"}}, ["deploy_artifact.root", "missing"]),
    ({"deploy_drain_timeout": "soon"}, ["deploy_drain_timeout", "soon", "whole number"]),
    ({"deploy_drain_timeout_action": "pray"}, ["deploy_drain_timeout_action", "pray", "fail, cut"]),
    ({"deploy_hooks": {"before_lunch": "x.yml"}}, ["deploy_hooks.before_lunch", "before_drain"]),
    ({"deploy_id": "../.."}, ["deploy_id", "../..", "letters"]),
    ({"deploy_batches": "[1, 2"}, ["deploy_batches", "[1, 2", "a list"]),
    ({"deploy_id": ".hidden"}, ["deploy_id", "no dot first"]),
])
def test_application_refused(changes, words):
    with pytest.raises(DowntimeError) as caught:
        _plan.check_application(application(**changes), "deploy")
    for word in words:
        assert word in str(caught.value)


def test_member_of_one_side():
    checked, _driver = _plan.check_application(application(
        deploy_service={"blue": {"command": "restart blue"}, "green": {"command": "restart green"}},
        deploy_traffic={"driver": "haproxy", "balancers": "lb", "socket": "/s", "pools": [
            {"name": "shop_blue", "side": "blue", "port": 8101}, {"name": "shop_green", "side": "green", "port": 8201}]},
    ), "deploy")
    member = _plan.member("app1", checked, "green", "192.0.2.1")
    assert member["url"] == "http://192.0.2.1:8201/ready"
    assert member["slot"] == "green"
    assert member["ports"] == {"shop_green": 8201}
    assert member["service"] == {"command": "restart green"}
    assert _plan.member("app1", checked, "blue", "2001:db8::1")["url"] == "http://[2001:db8::1]:8101/ready"


@pytest.mark.claim("bg-first-slot-is-kept")
@pytest.mark.parametrize("service, slots", [
    ({"unit": "shop.service"}, ["current", "current"]),
    ({"blue": {"unit": "shop.service", "slot": "current"}, "green": {"unit": "shop-green.service"}}, ["current", "green"]),
    ({"unit": "shop.service", "slot": "here"}, ["here", "here"])])
def test_what_ran_first_keeps_its_slot_when_a_second_side_comes(service, slots):
    checked, _driver = _plan.check_application(application(deploy_service=service), "deploy")
    members = [_plan.member("app1", checked, side, "192.0.2.1") for side in _plan.SIDES]
    assert [member["slot"] for member in members] == slots
    assert "slot" not in members[0]["service"]


@pytest.mark.parametrize("service, words", [
    ({"unit": "a.service", "command": "b"}, "has command, unit"),
    ({"start": "b"}, "start"),
    ({"blue": {"unit": "x"}}, "green"),
    ({"units": "a"}, "units"),
    ({"unit": "a", "swap": "magic"}, "^deploy_service.swap is 'magic'; accepted are systemd_socket, command$"),
    ({"blue": {"unit": "a"}, "green": {"unit": "a", "swap": "systemd_socket"}}, "^deploy_service.green.socket is missing"),
    ({"start": "a", "swap": "command", "preset": "gunicorn", "pidfile": "/p"}, "start with stop"),
])
def test_service_refused(service, words):
    with pytest.raises(DowntimeError, match=words):
        _plan.service_of(service, "green")


@pytest.mark.claim("swap-reads-back-through-the-port")
def test_a_swap_is_read_back_through_the_port():
    swap = {"swap": "command", "preset": "gunicorn", "pidfile": "/run/shop.pid", "start": "a", "stop": "b"}
    none = {"deploy_service": swap, "deploy_traffic": {"driver": "none"}}
    checked, _driver = _plan.check_application(application(**none, deploy_health={"path": "/ready", "port": 8000, "header": "x-release"}), "deploy")
    member = _plan.member("web1", checked, "blue", "192.0.2.1")
    assert member["service"] == swap
    assert member["running"] == {"url": "http://192.0.2.1:8000/ready", "header": "x-release", "timeout": 60, "passes": 3}
    checked, _driver = _plan.check_application(application(**none, deploy_health={"path": "/ready", "port": 8000}), "deploy")
    with pytest.raises(DowntimeError, match="deploy_service.swap is 'command', which reads the release back through the port; deploy_health.path and "
                                            "deploy_health.header are needed"):
        _plan.member("web1", checked, "blue", "192.0.2.1")
    checked, _driver = _plan.check_application(application(**none, deploy_health={"path": "/ready", "port": 8000, "header": "x-release"},
                                                           deploy_hooks={"restart": "restart.yml"}), "deploy")
    with pytest.raises(DowntimeError, match="deploy_service.swap and deploy_hooks.restart are both given"):
        _plan.member("web1", checked, "blue", "192.0.2.1")


def test_two_members_with_one_address():
    host = {"url": "http://192.0.2.1:80/ready", "address": "192.0.2.1", "port": 80}
    with pytest.raises(DowntimeError, match="app1 and app2 have one address, 192.0.2.1:80"):
        _plan.distinct_addresses({"app1": host, "app2": host})


@pytest.mark.claim("floor-per-pool")
def test_capacity_is_that_of_the_tightest_pool():
    full, out = {"full": True}, {"full": False}
    found = _plan.capacity({"a": [full] * 4, "b": [full] * 3 + [out]}, "50%")
    assert found == {"first": False, "most": 1, "tightest": "b: 3 of 4 serve, and 2 have to", "impossible": ""}
    assert _plan.capacity({"a": [full] * 4}, "4")["impossible"] == "a: 4 of 4 have to serve"
    assert _plan.capacity({"a": [out] * 4}, "50%")["first"]


def test_a_deploys_name_is_one_directory():
    assert _plan.name_of("20260101T000000Z", "eu/west", "..", "abc") == "20260101T000000Z-eu_west-..-abc"


def test_members_that_a_restart_left_out_on_the_serving_side_are_not_forgotten():
    plan = {"verb": "deploy", "serving_side": "blue", "capacity": {"serving_out": {"app1": "s1", "app4": "s4"}}}
    killed = {"verb": "restart", "side": "blue"}
    with pytest.raises(DowntimeError, match="^app1 is out of traffic on blue, which serves, because a restart there has not ended; "
                                            "ansible-playbook zero.downtime.restart -e deploy_app=shop ends it, and then deploy can go on$"):
        _plan.serves_whole({**plan, "app": "shop"}, ["s1"], killed)
    # A person's, those of a run on the idle side, and where one side is all there is.
    _plan.serves_whole(plan, [], killed)
    _plan.serves_whole(plan, ["s1", "s4"], {**killed, "side": "green"})
    _plan.serves_whole(plan, ["s1"], None)
    _plan.serves_whole({**plan, "capacity": {}}, ["s1"], killed)


@pytest.mark.claim("restart-waits-for-an-unfinished-switch")
def test_a_restart_does_not_forget_what_was_left_on_the_idle_side():
    plan = {"verb": "restart", "app": "shop", "serving_side": "blue", "capacity": {}}
    killed = {"verb": "deploy", "strategy": "canary", "serving": "blue", "side": "green", "release": "n" * 64, "label": "2.0.0"}
    with pytest.raises(DowntimeError, match="^the deploy to 2.0.0 has not ended; ansible-playbook zero.downtime.rollback .*undoes it, or .*, and then restart"):
        _plan.serves_whole(plan, [], killed)
    _plan.serves_whole(plan, [], {**killed, "strategy": "rolling", "side": "blue"})
    _plan.serves_whole(plan, [], None)


@pytest.mark.parametrize("verb, strategy, baseline, expected", [
    ("deploy", "canary", "fresh", "r1"), ("restart", "canary", "fresh", "r1-restart"), ("restart", "canary", "primary", "r1"),
    ("restart", "rolling", "fresh", "r1")])
def test_a_restart_for_a_fresh_baseline_has_a_name_of_its_own(verb, strategy, baseline, expected):
    checked = {"deploy_id": "r1", "deploy_strategy": strategy, "deploy_canary": {"baseline": baseline}}
    assert _plan.given_id(checked, verb) == expected and _plan.given_id({**checked, "deploy_id": None}, verb) is None
    assert _plan.check_application(application(deploy_id="20260101T000000Z-eu_west-..-abc"), "deploy")


def test_members_need_servers_of_their_own():
    _plan.distinct_servers({"app1": {"server": "one"}, "app2": {"server": "two"}})
    with pytest.raises(DowntimeError, match="app1 and app2 have one server name, web"):
        _plan.distinct_servers({"app1": {"server": "web"}, "app2": {"server": "web"}})


@pytest.mark.claim("secrets-stay-out-of-plans")
def test_secrets_stay_out_of_a_plan():
    spec = {"stats_user": {"type": "str"}, "stats_password": {"type": "str", "no_log": True}}
    assert _plan.without_secrets({"stats_user": "me", "stats_password": "hush"}, spec) == {"stats_user": "me"}


@pytest.mark.parametrize("written, batches", [("[1, 2]", [1, 2]), ('[1, "25%"]', [1, "25%"]), ("1,2", ["1", "2"]), (2, ["2"])])
def test_a_list_from_the_command_line(written, batches):
    assert _plan.check_application(application(deploy_batches=written), "deploy")[0]["deploy_batches"] == batches


@pytest.mark.claim("workers-need-no-floor")
def test_workers_need_no_floor_unless_one_is_set():
    checked, _driver = _plan.check_application(application(deploy_traffic={"driver": "none"}), "deploy")
    assert checked["deploy_min_active"] == "0"
    checked, _driver = _plan.check_application(application(deploy_traffic={"driver": "none"}, deploy_min_active="50%"), "deploy")
    assert checked["deploy_min_active"] == "50%"


def test_a_member_has_one_name_in_all_pools():
    pools = [{"name": "shop", "server": "web1", "port": 8000}, {"name": "shop_tls", "port": 8000}]
    checked, _driver = _plan.check_application(application(deploy_traffic={
        "driver": "haproxy", "balancers": "shop_lb", "socket": "/run/haproxy/admin.sock", "pools": pools}), "deploy")
    with pytest.raises(DowntimeError, match="app1 several names .web1 in shop, app1 in shop_tls."):
        _plan.member("app1", checked, "blue", "10.0.0.1")


def pools(*sides):
    return {"pools": [{"name": f"shop_{side}", "port": 8000, **({"side": side} if side else {})} for side in sides]}


def test_the_sides_are_those_that_the_pools_have():
    assert _plan.sides_of(pools("green", "blue"), "rolling") == ["blue", "green"]
    assert _plan.sides_of(pools("green"), "rolling") == ["green"]
    assert _plan.sides_of(pools(None), "rolling") == ["blue"]
    assert _plan.sides_of({}, "rolling") == ["blue"]


@pytest.mark.claim("bg-needs-both-sides")
@pytest.mark.parametrize("sides, words", [(("green",), "side green only"), ((None,), "none with a side")])
def test_blue_green_needs_both_sides(sides, words):
    with pytest.raises(DowntimeError, match=f"needs pools of both sides.*{words}"):
        _plan.sides_of(pools(*sides), "blue_green")


def told(**greens):
    return {host: {"split": None if green is None else {"blue": 100 - green, "green": green}} for host, green in greens.items()}


@pytest.mark.claim("split-haproxy-deleted-map-is-told-first")
def test_a_deleted_file_of_shares_that_cannot_be_written_again_refuses_a_switch_before_anything_moves():
    def told(hindrance):
        return {"lb1": {"split": {"blue": 100, "green": 0, "missing": {"text": "/x/split.map is gone", "lines": ["shop 0"], "hindrance": hindrance}}}}

    assert _plan.serving_side(["blue", "green"], told("/x is no directory"), "rolling") == ("blue", True)
    assert _plan.serving_side(["blue", "green"], told(None), "blue_green") == ("blue", True)
    with pytest.raises(DowntimeError, match="balancer lb1: /x/split.map is gone: shop 0; nothing was moved"):
        _plan.serving_side(["blue", "green"], told("/x is no directory"), "blue_green")


@pytest.mark.claim("rolling-works-on-the-serving-side")
def test_the_side_that_serves_is_what_the_balancers_say():
    sides = ["blue", "green"]
    assert _plan.serving_side(["blue"], {}, "rolling") == ("blue", True)
    assert _plan.serving_side(sides, told(lb1=100, lb2=100), "rolling") == ("green", True)
    # Without a split there is nothing to tell it, and rolling goes on as it always did.
    assert _plan.serving_side(sides, told(lb1=None), "rolling") == ("blue", True)
    # The next switch puts right what a controller left that died between two balancers.
    assert _plan.serving_side(sides, told(lb1=100, lb2=0), "blue_green") == ("green", False)


@pytest.mark.claim("bg-killed-between-balancers")
def test_of_two_sides_with_requests_the_journal_says_which_one_served():
    sides = ["blue", "green"]
    assert _plan.serving_side(sides, told(lb1=75, lb2=75), "blue_green", lambda: "blue") == ("blue", False)
    assert _plan.serving_side(sides, told(lb1=100, lb2=75), "blue_green", lambda: "blue") == ("blue", False)
    # Somebody's own shares are nobody's to undo.
    with pytest.raises(DowntimeError, match="balancer lb1 sends 75 %"):
        _plan.serving_side(sides, told(lb1=75, lb2=75), "blue_green", lambda: None)
    with pytest.raises(DowntimeError, match="balancer lb1 sends 75 %"):
        _plan.serving_side(sides, told(lb1=75, lb2=75), "rolling", lambda: "blue")


@pytest.mark.claim("canary-persons-shares")
@pytest.mark.parametrize("answers, strategy, words", [
    (told(lb1=5), "rolling", "balancer lb1 sends 5 % of the requests to green and 95 % to blue"),
    (told(lb1=100, lb2=0), "rolling", "the balancers disagree which side serves: green on lb1, blue on lb2"),
    (told(lb1=None, lb2=0), "blue_green", "balancer lb1 cannot tell which side serves"),
    ({}, "blue_green", "nobody can tell"),
])
def test_a_side_that_cannot_be_told(answers, strategy, words):
    with pytest.raises(DowntimeError, match=words):
        _plan.serving_side(["blue", "green"], answers, strategy)


def test_who_only_looks_is_told_what_is_not_as_it_should_be():
    assert _plan.side_problems(told(lb1=100, lb2=100)) == _plan.side_problems(told(lb1=None)) == (None, None, None)
    mixed, differing, dummy = _plan.side_problems(told(lb1=5, lb2=0))
    assert mixed and mixed.startswith("balancer lb1 sends 5 %") and differing is None
    assert _plan.side_problems(told(lb1=100, lb2=0)) == (
        None, "the balancers disagree which side serves: green on lb1, blue on lb2; ansible-playbook zero.downtime.rollback -e deploy_strategy=blue_green "
        "-e deploy_side=blue brings all of them to blue, and with deploy_side=green to the other side", None)
    assert _plan.most_served([]) == "blue" and _plan.most_served([{"blue": 5, "green": 95}]) == "green"


def test_shares_that_a_reload_would_change_are_put_right_by_the_next_switch():
    answers = told(lb1=0, lb2=0)
    answers["lb1"]["split"]["kept"] = {"blue": 100, "green": 0}
    assert _plan.side_problems(answers) == (None, None, None)
    answers["lb2"]["split"]["kept"] = {"blue": 0, "green": 100}
    mixed, differing, pending = _plan.side_problems(answers)
    assert mixed is differing is None
    assert pending and pending.startswith("balancer lb2 sends 0 % of the requests to green, and would send 100 % there after a reload; "
                                          "ansible-playbook zero.downtime.rollback -e deploy_strategy=blue_green -e deploy_side=blue brings all")
    assert _plan.serving_side(["blue", "green"], answers, "blue_green") == ("blue", False)
    assert _plan.serving_side(["blue", "green"], answers, "rolling") == ("blue", False)
    answers["lb2"]["split"]["kept"] = None
    assert _plan.serving_side(["blue", "green"], answers, "blue_green") == ("blue", True)


def two_sides(**green):
    return {"blue": _plan.side_of({"app1": {"root": "/r", "slot": "blue", "server": "app1", "service": {"unit": "blue"}, "url": "u"}}, [{"name": "shop_blue"}]),
            "green": _plan.side_of({"app1": {"root": "/r", "slot": "green", "server": "app1", "service": {"command": ["run"], **green}, "url": "u"}},
                                   [{"name": "shop_green"}])}


@pytest.mark.parametrize("keep, strategy, verb, at_end", [
    (None, "blue_green", "deploy", False), (0, "blue_green", "deploy", True), (0, "blue_green", "rollback", True), (60, "blue_green", "deploy", False),
    (0, "rolling", "deploy", False), (0, "rolling", "restart", False), (0, "rolling", "retire", False)])
def test_a_deploy_stops_the_old_side_itself_only_where_nothing_is_kept(keep, strategy, verb, at_end):
    found = _plan.retirement({"deploy_keep_previous": keep, "deploy_idle_for": 5}, strategy, verb, two_sides(stop=["end"]))
    assert found == {"keep": keep, "idle_for": 5, "at_end": at_end}


def test_what_nothing_stops_is_refused_before_anything_moves():
    with pytest.raises(DowntimeError, match="green of member app1 has nothing that stops it, and deploy_keep_previous is 0; unit, or stop, in deploy_service"):
        _plan.retirement({"deploy_keep_previous": 0, "deploy_idle_for": 5}, "blue_green", "deploy", two_sides())
    assert not _plan.retirement({"deploy_keep_previous": None, "deploy_idle_for": 5}, "blue_green", "deploy", two_sides())["at_end"]
    with pytest.raises(DowntimeError, match="no two sides"):
        _plan.retirement({"deploy_keep_previous": 0, "deploy_idle_for": 5}, "rolling", "retire", {})


def test_a_side_that_others_may_still_know_is_not_stopped_before_they_forget_it():
    with pytest.raises(DowntimeError, match="deploy_keep_previous is 60, but others may keep .* for 300 s .*; 300 or more is accepted, or 0"):
        _plan.retirement({"deploy_keep_previous": 60, "deploy_idle_for": 5}, "blue_green", "deploy", two_sides(), 300)
    for keep in (None, 300):
        assert not _plan.retirement({"deploy_keep_previous": keep, "deploy_idle_for": 5}, "blue_green", "deploy", two_sides(), 300)["at_end"]


def test_a_variable_of_the_teams_own_is_no_reason_to_refuse():
    checked, _driver = _plan.check_application(application(deploy_user="ops"), "deploy")
    assert "deploy_user" not in checked


def test_backup_servers_are_not_in_the_floor():
    members = [{"full": True}, {"full": True}, {"full": False, "backup": True}]
    found = _plan.capacity({"pool shop on lb1": _plan.regular(members)}, "50%")
    assert found["most"] == 1 and found["tightest"] == "pool shop on lb1: 2 of 2 serve, and 1 have to" and not found["impossible"]


def test_those_that_nothing_bounds_come_first():
    found = _plan.batches(["a", "b", "c"], [1, 3], 1, ["x", "y", "z"])
    assert [batch["members"] for batch in found] == [["x"], ["y", "z"], ["a"], ["b"], ["c"]] and [batch["n"] for batch in found] == [1, 2, 3, 4, 5]


def test_what_users_ask_is_what_the_probe_asks_unless_something_is_given():
    public = _probe.parse_target("https://shop.example:8443/start?x=1")
    assert _plan.smoke_of({"path": "/ready"}, public) == [{"path": "/start?x=1", "status": [], "body": None, "host": "shop.example:8443"}]
    assert _plan.smoke_of({"path": "/ready", "smoke": []}, public) == [] == _plan.smoke_of({"path": "/ready"}, None) == _plan.smoke_of({}, public)
    assert _plan.smoke_of({"path": "/ready", "smoke": [{"path": "/a", "status": [200], "host": "other"}]}, public) == [
        {"path": "/a", "status": [200], "body": None, "host": "other"}]


def test_a_name_that_is_taken_gets_a_number():
    taken = {"ci-42", "ci-42-2"}
    assert _plan.free_name("ci-42", lambda name: None if name in taken else f"/run/{name}") == ("ci-42-3", "/run/ci-42-3")


def test_the_probe_posts_only_where_it_is_asked_to():
    assert _plan.streams(["GET"]) == {"fresh": 0.5, "keepalive": 0.4, "post": 0.0}
    assert _plan.streams(["GET", "POST"])["post"] == 0.1
    for methods in (["POST"], ["GET", "DELETE"], []):
        with pytest.raises(DowntimeError, match="deploy_evidence_methods is .*GET, POST"):
            _plan.streams(methods)


def test_whoever_only_looks_hears_of_every_refusal_and_goes_on():
    told = []
    checked, driver = _plan.check_application(application(
        deploy_strategy="none", deploy_soak="x", deploy_min_active="many", deploy_id=".", deploy_health={"body": "(", "path": None, "pat": 1},
        deploy_traffic={"driver": "haproxy", "pools": [{"name": "shop"}], "sockt": 1}, deploy_artifact={"url": "u"}), "rollback",
        lambda error: told.append(str(error)))
    assert driver.name == "haproxy" and checked["deploy_soak"] == 1 and checked["deploy_strategy"] == "rolling" and checked["deploy_artifact"]["root"] is None
    begun = ("deploy_strategy is 'none'", "deploy_soak is 'x'", "deploy_min_active is 'many'", "deploy_id is '.'", "deploy_health.pat is no known option",
             "deploy_health.path is missing", "deploy_health.body is '('", "deploy_traffic.sockt is no known option", "deploy_artifact.root is missing",
             "deploy_traffic.balancers is missing")
    assert all(any(text.startswith(begin) for text in told) for begin in begun) and len(told) == len(begun), told


def test_a_member_that_the_balancer_lacks_is_refused():
    pool = {"name": "shop", "members": [{"name": "app1"}]}
    assert _plan.check_server(pool, "lb1", "app1", "app1") is None
    with pytest.raises(DowntimeError, match="pool shop on balancer lb1 has no server app9 for member app1; it has app1"):
        _plan.check_server(pool, "lb1", "app1", "app9")


def test_who_cannot_tell_which_side_serves_is_named():
    assert _plan.blind({"lb1": {"split": {"blue": 100, "green": 0}}}) is None
    assert _plan.blind({"lb1": {}, "lb2": {"split": {}}}).startswith("balancer lb1, lb2 cannot tell which side serves")
    assert _plan.blind({}).startswith("nobody can tell")


@pytest.mark.parametrize("asked, cuts, verb, there, back", [
    ("fail", True, "deploy", "fail", "cut"),
    ("cut", True, "deploy", "cut", "cut"),
    ("fail", True, "restart", "fail", "cut"),
    # It flees from a release from its first step on.
    ("fail", True, "rollback", "cut", "cut"),
    # Nothing to cut connections with.
    ("fail", False, "rollback", "fail", "fail"),
])
def test_what_flees_from_a_release_cuts_at_the_end_of_the_drain(asked, cuts, verb, there, back):
    found = _plan.drain_actions({"deploy_drain_timeout_action": asked}, cuts, verb)
    assert found == {"drain_timeout_action": there, "back_timeout_action": back}


@pytest.mark.parametrize("mode, driver, strategy, verb, expected", [
    ("wait", "none", "rolling", "deploy", (None, None, False)),
    ("ask", "haproxy", "rolling", "deploy", ("leave", "cut", False)),
    ("cut", "haproxy", "rolling", "restart", ("cut", "cut", False)),
    ("ask", "nginx", "blue_green", "deploy", ("leave", "cut", True)),
    ("ask", "haproxy", "canary", "rollback", ("leave", "cut", True)),
    ("ask", "haproxy", "blue_green", "status", ("leave", "cut", False)),
])
def test_what_becomes_of_streams(mode, driver, strategy, verb, expected):
    checked = {"deploy_streams": mode, "deploy_drain_timeout": 60}
    found = _plan.of_streams(checked, {"slowest_request": 30.0}, _drivers.load(driver), strategy, verb, {})
    assert (found["out"], found["back"], found["behind"]) == expected and found["mode"] == mode


@pytest.mark.parametrize("driver, limit, sentence", [
    ("healthcheck", 60, "deploy_streams is 'ask', but the driver healthcheck cannot tell streams from requests, so wait is accepted; haproxy and nginx can"),
    ("none", 60, "the driver none cannot tell streams from requests"),
    ("haproxy", 0, "deploy_traffic.slowest_request is 0; with deploy_streams=ask seconds above 0 are accepted"),
    ("haproxy", 30, "deploy_drain_timeout is 30, and deploy_traffic.slowest_request is 30; with deploy_streams=ask a drain limit above slowest_request is acc"),
])
def test_streams_that_could_not_be_told_from_requests_are_refused(driver, limit, sentence):
    longest = 30.0 if limit else 0.0
    with pytest.raises(DowntimeError) as refused:
        _plan.of_streams({"deploy_streams": "ask", "deploy_drain_timeout": limit}, {"slowest_request": longest}, _drivers.load(driver), "rolling", "deploy",
                         {})
    assert sentence in str(refused.value)


def test_a_balancer_on_which_a_connection_may_be_silent_needs_so_much_longer():
    checked, told = {"deploy_streams": "ask", "deploy_drain_timeout": 65}, {"ng1": {"silence": 10.0}, "ng2": {"silence": 60.0}}
    with pytest.raises(DowntimeError) as refused:
        _plan.of_streams(checked, {"slowest_request": 5.0}, _drivers.load("nginx"), "rolling", "deploy", told)
    assert str(refused.value).startswith("deploy_drain_timeout is 65, deploy_traffic.slowest_request is 5, and a connection may be open for 60 s until its ")
    assert "with deploy_streams=ask a drain limit above 65 is accepted" in str(refused.value)
    assert _plan.of_streams({**checked, "deploy_drain_timeout": 66}, {"slowest_request": 5.0}, _drivers.load("nginx"), "rolling", "deploy", told)


@pytest.mark.claim("streams-of-tcp-are-not-told")
@pytest.mark.parametrize("verb", ["deploy", "rollback", "restart", "drain"])
def test_streams_of_a_pool_in_mode_tcp_are_refused(verb):
    shop, api = {"name": "shop", "mode": "http"}, {"name": "api", "mode": "tcp"}
    told = {"lb1": {"pools": [shop, api]}, "lb2": {"pools": [api, {"name": "shop"}]}}
    with pytest.raises(DowntimeError) as refused:
        _plan.of_streams({"deploy_streams": "cut", "deploy_drain_timeout": 60}, {"slowest_request": 5}, _drivers.load("haproxy"), "rolling", verb, told)
    assert str(refused.value) == ("deploy_streams is 'cut', but the pool api on lb1, lb2 is in mode tcp, in which haproxy does not tell streams from requests; "
                                  "wait is accepted")
    assert _plan.of_streams({"deploy_streams": "wait"}, {}, _drivers.load("haproxy"), "rolling", verb, told)["out"] is None


def test_what_is_another_thing_for_each_member_and_the_balancers_is_told():
    driver = _drivers.load("haproxy")
    pools = {"app1": [{"name": "shop", "server": "a"}], "app2": [{"name": "shop", "server": "b"}]}
    assert _plan.differing(driver, {name: {"socket": "/run/haproxy.sock", "pools": own} for name, own in pools.items()}) == []
    assert _plan.differing(driver, {}) == []
    assert _plan.differing(driver, {name: {"socket": f"/run/{name}.sock", "pools": own} for name, own in pools.items()}) == [
        "deploy_traffic.socket is '/run/app1.sock' for app1 and '/run/app2.sock' for app2; driver haproxy takes that of app1, since its calls run on the "
        "balancers"]


# -- a platform that has members of its own ----------------------------------------------------------------------------
def _works(monkeypatch, **changes):
    driver = _drivers.Driver(name="works", runs_on="controller", capabilities=("push",), traffic_spec={}, push_args=lambda traffic, app: {},
                             endpoint=lambda traffic: "app shop at the works", **changes)
    monkeypatch.setattr(_drivers, "load", lambda name: driver)
    return driver


def test_an_application_on_a_platform_needs_no_hosts_and_no_place_for_artifacts(monkeypatch):
    driver = _works(monkeypatch)
    checked, found = _plan.check_application({"deploy_app": "shop", "deploy_release": "2.0.0", "deploy_traffic": {"driver": "works"}}, "deploy")
    assert found is driver and checked["deploy_strategy"] == "push" and checked["deploy_hosts"] is None
    assert _plan.platform("app shop at the works", checked)["url"] is None
    health = {**checked["deploy_health"], "path": "/ready", "address": "::1", "port": 80}
    assert _plan.platform("app shop at the works", {"deploy_health": health})["url"] == "http://[::1]:80/ready"


@pytest.mark.parametrize("changes, sentence", [
    ({"deploy_hosts": "shop_app"}, "deploy_hosts is 'shop_app', but driver works hands releases to a platform that has members of its own"),
    ({"deploy_hooks": {"restart": "restart.yml"}}, "deploy_hooks.restart is 'restart.yml', which runs on members or while they are out"),
    ({"deploy_strategy": "rolling"}, "deploy_strategy is 'rolling', which driver works cannot carry out; with it work push"),
])
def test_what_only_members_on_hosts_could_have_is_refused_on_a_platform(changes, sentence, monkeypatch):
    _works(monkeypatch)
    with pytest.raises(DowntimeError) as caught:
        _plan.check_application({"deploy_app": "shop", "deploy_release": "2.0.0", "deploy_traffic": {"driver": "works"}, **changes}, "deploy")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("verb", ["restart", "drain", "activate", "retire"])
def test_verbs_for_members_are_refused_on_a_platform(verb, monkeypatch):
    driver = _works(monkeypatch)
    with pytest.raises(DowntimeError, match=f"{verb} is for members or sides that Ansible knows.*with it work deploy, rollback, status and doctor"):
        _plan.check_verb(verb, driver)
    for allowed in ("deploy", "rollback", "status"):
        _plan.check_verb(allowed, driver)


def test_elsewhere_hosts_and_a_place_for_artifacts_are_needed():
    with pytest.raises(DowntimeError, match="deploy_hosts is missing; a text is needed"):
        _plan.check_application({"deploy_app": "shop", "deploy_release": "2.0.0", "deploy_traffic": {"driver": "none"}}, "deploy")
    with pytest.raises(DowntimeError, match="deploy_artifact is missing"):
        _plan.check_application({"deploy_app": "shop", "deploy_hosts": "shop", "deploy_release": "2.0.0", "deploy_traffic": {"driver": "none"}}, "deploy")


def test_limits_that_a_pool_says_are_too_short_are_refused():
    pool = {"name": "shop", "drain_s": 305.0, "return_s": 0.0, "times_told": "its delay is 300 s"}
    told = {"target group shop in eu-west-1": {"pools": [pool]}, "lb1": {"pools": [{"name": "other"}]}}
    limits = {"deploy_drain_timeout": 305, "deploy_ready_timeout": 60}
    with pytest.raises(DowntimeError, match=r"deploy_drain_timeout is 305, and pool shop on target group shop in eu-west-1 says that it takes 305 s until"
                       r" a member has left \(its delay is 300 s\); more than 305 is accepted"):
        _plan.check_times(limits, told)
    _plan.check_times({**limits, "deploy_drain_timeout": 306}, told)
    pool["return_s"] = 60
    with pytest.raises(DowntimeError, match="deploy_ready_timeout is 60, and pool shop"):
        _plan.check_times({**limits, "deploy_drain_timeout": 306}, told)
