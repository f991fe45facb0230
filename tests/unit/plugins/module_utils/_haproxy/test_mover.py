# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import mover
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Worker
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

STAT = "pxname svname qcur scur status bck throttle tracked check_status check_code addr cookie srv_icur".split()
STATE = ("be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_result srv_check_state "
         "srv_agent_state srv_port").split()


class Fake:
    """A balancer that keeps servers as HAProxy does: maintenance, drain, checks that pass one a look, slow start."""

    def __init__(self, *names: str, **options: t.Any) -> None:
        self.pid = 100
        self.now = 0.0
        self.timeout = 5.0
        self.label = "socket /run/x"
        self.level = "admin"
        self.sent: list[str] = []
        self.servers = {name: dict(admin=0, op=2, weight=100, passes=3, checked=True, scur=0, qcur=0, agent=0, tracked="", cookie="", throttle="",
                                   slowstart=0, dead=False, bck="0", idle=0, **options) for name in names}
        self.old: dict[int, dict[str, int]] = {}
        self.streams: dict[str, int] = {}  # of what is in flight
        self.unreadable: list[int] = []
        self.at: list[tuple[float, t.Callable[[], None]]] = []  # what happens when
        self.runtime = self

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for server in self.servers.values():
            if server["checked"] and not server["admin"] & 3 and not server["dead"] and server["op"] == 0:
                server["passes"] += 1
                if server["passes"] >= 3:
                    server["op"] = 1 if server["slowstart"] else 2
            elif server["op"] == 1 and not server["admin"]:
                server["slowstart"] -= 1
                server["throttle"] = "50"
                if server["slowstart"] <= 0:
                    server["op"], server["throttle"] = 2, ""
        for when in [entry for entry in self.at if entry[0] <= self.now]:
            self.at.remove(when)
            when[1]()

    def status(self, server: dict[str, t.Any]) -> str:
        if server["admin"] & 3:
            return "MAINT"
        if server["op"] == 0:
            return "DOWN"
        if server["admin"] & 8:
            return "DRAIN"
        return "UP" if server["checked"] or server["tracked"] else "no check"

    def rows(self) -> tuple[str, str]:
        stat, state = ["# " + ",".join(STAT)], ["1", "# " + " ".join(STATE)]
        for name, s in self.servers.items():
            pool, dummy, server = name.partition("/")
            stat.append(",".join([pool, server, str(s["qcur"]), str(s["scur"]), self.status(s), s["bck"], s["throttle"], s["tracked"], "L7OK", "200",
                                  f"10.0.0.1:{80 + len(server)}", s["cookie"], str(s["idle"])]))
            check = 6 if s["checked"] else 0
            state.append(" ".join(map(str, [3, pool, 1, server, "10.0.0.1", s["op"], s["admin"], s["weight"], 100, 3, check, s["agent"], 80])))
        return "\n".join(stat), "\n".join(state)

    def sessions(self) -> str:
        return "\n".join(
            f"0x{number}: proto=tcpv4 src=1 fe=f be={name.partition('/')[0]} srv={name.partition('/')[2]} ts=00 epoch=0 age=1s calls=1 "
            f"rq[f=1h,i=0,an={'00' if number < self.streams.get(name, 0) else '80'}h,rx=,ax=] rp[f=1h,i=0,an=00h,rx=,ax=] exp="
            for name, server in self.servers.items() for number in range(server["scur"]))

    def look(self, commands: t.Sequence[str], old_commands: t.Sequence[str] = ()) -> Snapshot:
        stat, state = self.rows()
        known = {"show cli level": self.level, "show sess": self.sessions()}
        replies = [known.get(command, stat if command.startswith("show stat") else state) for command in commands]
        old = {pid: ["# " + ",".join(STAT) + "".join(
            f"\n{pool},{server},0,{count},UP,0,,,,,10.0.0.1:{80 + len(server)},,"
            for (pool, dummy, server), count in ((name.partition("/"), count) for name, count in rows.items()))]
            for pid, rows in self.old.items()}
        workers = [Worker(self.pid, True, 1), *(Worker(pid, False, 9) for pid in [*old, *self.unreadable])]
        return Snapshot(self.pid, {}, replies, workers, old, list(self.unreadable))

    def command(self, commands: t.Sequence[str]) -> int:
        for command in commands:
            self.sent.append(command)
            words = command.split()
            server = self.servers[words[2]]
            if words[:2] == ["disable", "agent"]:
                server["agent"] &= ~4
            elif words[:2] == ["enable", "agent"]:
                server["agent"] |= 4
            elif words[3:] == ["state", "maint"]:
                if not server["admin"] & 1:
                    server["idle"] = 0
                server["admin"], server["op"] = 1, 0
            elif words[3:] == ["state", "drain"]:
                server["op"] = 2 if server["admin"] & 1 else server["op"]
                server["admin"] = 8
            elif words[3:] == ["health", "down"]:
                assert server["checked"], "cannot change health on a tracking server."
                server["op"], server["passes"] = 0, 0
            elif words[3:] == ["state", "ready"]:
                server["op"] = 2 if server["admin"] & 1 else server["op"]
                server["admin"] = 0
            elif words[3] == "weight":
                server["weight"] = int(words[4])
            else:
                raise AssertionError(f"unplanned: {command}")
        return self.pid

    def cut(self, places: t.Sequence[tuple[str, str]], old: t.Iterable[int]) -> None:
        for pool, name in places:
            self.sent.append(f"shutdown {pool}/{name}")
            self.servers[f"{pool}/{name}"]["scur"] = 0
        for pid in old:
            self.old[pid] = {}

    def reload(self) -> None:
        self.pid += 1
        for server in self.servers.values():
            server.update(admin=0, op=2)


KNOWN = mover.Knowledge(known=True)


def run(fake: Fake, members: list[str], state: str, knowledge: mover.Knowledge = KNOWN, probe: t.Any = None, **options: t.Any) -> dict[str, t.Any]:
    request = mover.Request(members, state, **options)

    def unplanned(address: str, path: str | None) -> str:
        raise AssertionError("unplanned probe")

    return mover.Mover(fake, request, knowledge, fake.clock, fake.sleep, probe or unplanned).run()  # type: ignore[arg-type]


def test_out_straight_to_maintenance_and_zero_twice():
    fake = Fake("shop/app1", "shop/app2")
    result = run(fake, ["app1"], "drained")
    assert fake.sent == ["set server shop/app1 state maint"]
    assert result["changed"] and result["waited"] == mover.POLL
    assert [(m["state"], m["drained_by"], m["in_flight"]) for m in result["members"]] == [("drained", "sessions", 0)]


def ends_kept_alive(fake: Fake, name: str) -> None:
    """A request ends that was in flight when its server went into maintenance."""
    fake.servers[name].update(scur=0, idle=1)


def test_what_ended_requests_keep_open_is_closed_before_the_service_may_stop():
    fake = Fake("shop/app1", "shop/app2")
    fake.servers["shop/app1"].update(scur=1, idle=3)
    fake.at = [(0.1, lambda: ends_kept_alive(fake, "shop/app1"))]
    result = run(fake, ["app1", "app2"], "drained")
    away = [f"set server shop/{name} state maint" for name in ("app1", "app2")]
    assert fake.sent == [*away, "set server shop/app1 state drain", "set server shop/app1 state maint"]
    assert fake.servers["shop/app1"]["idle"] == 0 and result["waited"] == pytest.approx(0.2)
    assert [m["state"] for m in result["members"]] == ["drained", "drained"]


def test_a_member_that_is_empty_just_in_time_is_let_go_and_is_drained():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"].update(scur=1)
    fake.at = [(0.1, lambda: ends_kept_alive(fake, "shop/app1"))]
    assert run(fake, ["app1"], "drained", timeout=0.15)["members"][0]["state"] == "drained" and fake.servers["shop/app1"]["idle"] == 0


def test_what_is_never_closed_is_tried_once():
    fake = Fake("shop/app1")
    fake.at = [(number / 20, lambda: ends_kept_alive(fake, "shop/app1")) for number in range(1, 30)]
    assert run(fake, ["app1"], "drained")["changed"]
    assert fake.sent == ["set server shop/app1 state maint", "set server shop/app1 state drain", "set server shop/app1 state maint"]


@pytest.mark.parametrize("knowledge, take_out", [
    (mover.Knowledge(known=True, sticky=frozenset({"shop"})), "maint"),
    (mover.Knowledge(known=True, cuts=frozenset({("shop", "app1")})), "maint"),
    (mover.Knowledge(known=False), "maint"),
])
def test_nothing_is_let_in_or_cut_to_close_what_is_idle(knowledge, take_out):
    fake = Fake("shop/app1")
    fake.at = [(0.02, lambda: ends_kept_alive(fake, "shop/app1"))]
    run(fake, ["app1"], "drained", knowledge, take_out=take_out)
    assert fake.sent == ["set server shop/app1 state maint"]


def test_who_is_out_already_is_left_as_it_is():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"].update(admin=1, op=0, idle=2)
    assert not run(fake, ["app1"], "drained")["changed"] and fake.sent == []


def test_zero_once_is_not_enough():
    fake = Fake("shop/app1")
    fake.at = [(0.04, lambda: fake.servers["shop/app1"].update(scur=1)), (0.14, lambda: fake.servers["shop/app1"].update(scur=0))]
    assert run(fake, ["app1"], "drained")["waited"] == pytest.approx(0.2)


def test_queued_requests_and_old_workers_count():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["qcur"] = 2
    fake.old = {99: {"shop/app1": 3}}
    with pytest.raises(DowntimeError, match=r"after 0.2 s not drained: shop/app1 \(5 in flight\); nothing was cut, and app1 get no new requests") as caught:
        run(fake, ["app1"], "drained", timeout=0.2)
    assert caught.value.details == {"until_back": ", and app1 get no new requests until they are activated"}
    assert fake.servers["shop/app1"]["admin"] == 1


def test_old_worker_that_knew_the_server_by_another_name():
    fake = Fake("shop/app1")
    fake.old = {99: {"shop/appX": 1}}  # the same address
    with pytest.raises(DowntimeError, match="1 in flight"):
        run(fake, ["app1"], "drained", timeout=0.1)


def test_unreadable_old_workers_are_waited_out():
    fake = Fake("shop/app1")
    fake.unreadable = [99]
    fake.at = [(0.3, fake.unreadable.clear)]
    result = run(fake, ["app1"], "drained")
    assert result["members"][0]["drained_by"] == "workers_exited" and result["waited"] >= 0.3


def test_old_workers_that_keep_idle_connections_are_waited_out():
    fake = Fake("shop/app1")
    fake.old = {99: {}}
    fake.at = [(0.3, fake.old.clear)]
    result = run(fake, ["app1"], "drained", mover.Knowledge(known=True, lingers=True))
    assert result["members"][0]["drained_by"] == "workers_exited"


@pytest.mark.parametrize("knowledge, cookie", [
    (mover.Knowledge(), ""),
    (KNOWN, "a"),
    (mover.Knowledge(True, sticky=frozenset(["shop"])), ""),
    (mover.Knowledge(True, cuts=frozenset([("shop", "app1")])), ""),
])
def test_drain_comes_first_where_maintenance_would_lose(knowledge, cookie):
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["cookie"] = cookie
    result = run(fake, ["app1"], "drained", knowledge)
    assert fake.sent == ["set server shop/app1 state drain", "set server shop/app1 state maint"]
    assert result["members"][0]["state"] == "drained"


@pytest.mark.parametrize("how, sent", [("maint", ["maint"]), ("drain", ["drain", "maint"])])
def test_take_out_is_the_users(how, sent):
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["cookie"] = "a"
    run(fake, ["app1"], "drained", take_out=how)
    assert fake.sent == [f"set server shop/app1 state {word}" for word in sent]


def test_cut_counts():
    fake = Fake("shop/app1", "shop/app2")
    fake.servers["shop/app1"]["scur"] = 2
    result = run(fake, ["app1", "app2"], "drained", timeout=0.2, timeout_action="cut")
    assert "shutdown shop/app1" in fake.sent and "shutdown shop/app2" not in fake.sent
    assert [(m["cut"], m["cut_answers"]) for m in result["members"]] == [(2, 2), (0, 0)]


@pytest.mark.parametrize("streams, sent, told", [("leave", [], (2, 0, 2)), ("cut", ["shutdown shop/app1"], (0, 2, 0))])
def test_streams_are_left_or_cut_once_nothing_else_is_in_flight(streams, sent, told):
    fake = Fake("shop/app1", "shop/app2")
    fake.servers["shop/app1"]["scur"], fake.streams["shop/app1"] = 3, 2
    fake.at = [(4, lambda: fake.servers["shop/app1"].update(scur=2))]
    result = run(fake, ["app1", "app2"], "drained", streams=streams)
    app1, app2 = result["members"]
    assert fake.sent == ["set server shop/app1 state maint", "set server shop/app2 state maint", *sent]
    assert (app1["streams"], app1["cut"], app1["in_flight"]) == told and app1["state"] == "drained"
    assert (app2["streams"], app2["cut"], app2["state"]) == (0, 0, "drained")
    # Nothing is missing of a WebSocket, however it ends.
    assert app1["cut_answers"] == 0
    assert 4 < result["waited"] < 6, "not before the request has ended, and not at the limit"


def test_who_sticks_cannot_come_back_to_streams_that_end():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"].update(scur=1, cookie="a")
    fake.streams["shop/app1"] = 1
    assert run(fake, ["app1"], "drained", streams="leave")["members"][0]["streams"] == 1
    assert fake.sent == ["set server shop/app1 state drain", "set server shop/app1 state maint"]


def test_streams_that_maintenance_would_cut_are_not_left_to_who_sticks():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"].update(scur=1, cookie="a")
    fake.streams["shop/app1"] = 1
    cuts = mover.Knowledge(True, cuts=frozenset([("shop", "app1")]))
    with pytest.raises(DowntimeError, match="get only the requests of clients that stick"):
        run(fake, ["app1"], "drained", cuts, streams="leave", timeout=3)
    fake.servers["shop/app1"]["cookie"] = ""
    assert run(fake, ["app1"], "drained", cuts, streams="leave")["members"][0]["streams"] == 1
    assert fake.sent == ["set server shop/app1 state drain"], "which does not cut"


def test_a_worker_that_nobody_can_ask_may_hold_requests():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["scur"], fake.streams["shop/app1"] = 1, 1
    fake.unreadable = [99]
    with pytest.raises(DowntimeError, match="not drained"):
        run(fake, ["app1"], "drained", streams="leave", timeout=3)


def test_who_sticks_is_named_when_a_drain_expires():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"].update(cookie="a", scur=1)
    with pytest.raises(DowntimeError, match="take_out=maint sends those elsewhere"):
        run(fake, ["app1"], "drained", timeout=0.2)


def test_reload_voids_a_drain():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["scur"] = 1
    fake.at = [(0.2, fake.reload), (0.4, lambda: fake.servers["shop/app1"].update(scur=0))]
    result = run(fake, ["app1"], "drained")
    assert fake.sent == ["set server shop/app1 state maint"] * 2
    assert "reloaded during the move" in result["notes"][0]


def test_reload_between_look_and_command():
    fake = Fake("shop/app1", "shop/app2")
    fake.servers["shop/app2"]["admin"] = 1
    real = fake.command
    fake.command = lambda commands: (setattr(fake, "command", real), fake.reload(), real(commands))[2]  # type: ignore[method-assign]
    run(fake, ["app1", "app2"], "drained")
    # app2 was out in the worker that was looked at, and is not in the one that took the command.
    assert fake.servers["shop/app2"]["admin"] == 1


def test_down_waits_for_nothing():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["scur"] = 3
    result = run(fake, ["app1"], "down")
    assert result["members"][0]["state"] == "down" and result["members"][0]["in_flight"] == 3 and result["waited"] == 0


def test_second_call_sends_nothing():
    fake = Fake("shop/app1")
    run(fake, ["app1"], "drained")
    del fake.sent[:]
    result = run(fake, ["app1"], "drained")
    assert fake.sent == [] and not result["changed"] and result["already_out"] == ["app1"]
    run(fake, ["app1"], "active")
    del fake.sent[:]
    result = run(fake, ["app1"], "active")
    assert fake.sent == [] and not result["changed"]


def test_gate():
    fake = Fake("shop/app1")
    run(fake, ["app1"], "drained")
    del fake.sent[:]
    result = run(fake, ["app1"], "active", weight=50)
    assert fake.sent == ["set server shop/app1 state drain", "set server shop/app1 health down",
                         "set server shop/app1 weight 50", "set server shop/app1 state ready"]
    assert result["members"][0]["state"] == "active" and result["members"][0]["weight"] == 50 and result["members"][0]["full"]


@pytest.mark.parametrize("knowledge", [mover.Knowledge(True, cuts=frozenset([("shop", "app1")])), mover.Knowledge()])
def test_what_a_member_still_holds_is_not_cut_by_its_gate(knowledge):
    """Where a drain failed it comes back with what it has, and marked down it would lose that."""
    fake = Fake("shop/app1", "shop/app2")
    for name in ("app1", "app2"):
        fake.servers[f"shop/{name}"].update(admin=8)
    fake.servers["shop/app1"]["scur"] = 2
    cuts = frozenset([("shop", "app1"), ("shop", "app2")]) if knowledge.known else frozenset()
    result = run(fake, ["app1", "app2"], "active", knowledge._replace(cuts=cuts))
    assert [member["state"] for member in result["members"]] == ["active", "active"]
    assert "set server shop/app1 health down" not in fake.sent and "set server shop/app1 state ready" in fake.sent
    assert "set server shop/app2 health down" in fake.sent, "who holds nothing has to pass its checks"


def test_gate_that_nobody_passes():
    fake = Fake("shop/app1")
    run(fake, ["app1"], "drained")
    fake.servers["shop/app1"]["dead"] = True
    with pytest.raises(DowntimeError, match="after 1 s not active: shop/app1 is DOWN, last check L7OK 200; app1 went back to maintenance"):
        run(fake, ["app1"], "active", timeout=1)
    assert fake.servers["shop/app1"]["admin"] == 1


def test_slow_start_is_waited_for():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["slowstart"] = 6
    run(fake, ["app1"], "drained")
    fake.servers["shop/app1"]["slowstart"] = 6
    assert run(fake, ["app1"], "active")["waited"] >= 0.4


def test_unchecked_member_is_probed_while_in_maintenance():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["checked"] = False
    run(fake, ["app1"], "drained")
    del fake.sent[:]
    answers = ["refused", "", "refused", "", "", ""]
    probed: list[tuple[str, str | None]] = []

    def probe(address: str, path: str | None) -> str:
        assert fake.servers["shop/app1"]["admin"] == 1
        probed.append((address, path))
        return answers.pop(0)

    run(fake, ["app1"], "active", probe=probe, probe_path="/ready")
    assert answers == [] and probed[0] == ("10.0.0.1:84", "/ready")
    assert fake.sent == ["set server shop/app1 state ready"]


def test_tracking_follows_in_both_directions():
    fake = Fake("shop/app1", "api/web1", "other/app9")
    fake.servers["api/web1"].update(tracked="shop/app1", checked=False)
    for name, pools in (("app1", None), ("web1", ["api"])):
        fake.sent.clear()
        result = run(fake, [name], "drained", pools=pools)
        assert sorted(fake.sent) == ["set server api/web1 state maint", "set server shop/app1 state maint"]
        assert {m["pool"] for m in result["members"]} == {"api", "shop"} and {m["name"] for m in result["members"]} == {name}
        run(fake, [name], "active", pools=pools)
        assert "set server api/web1 health down" not in fake.sent and "set server shop/app1 health down" in fake.sent


def test_agent_is_silenced_and_comes_back():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["agent"] = 22
    run(fake, ["app1"], "drained")
    assert fake.sent[0] == "disable agent shop/app1"
    run(fake, ["app1"], "active")
    assert fake.sent[-1] == "enable agent shop/app1"


@pytest.mark.parametrize("state, changed", [("drained", True), ("down", True), ("active", False)])
def test_check_mode_sends_nothing(state, changed):
    fake = Fake("shop/app1")
    result = run(fake, ["app1"], state, check_mode=True)
    assert fake.sent == [] and result["changed"] is changed and result["members"][0]["state"] == state


@pytest.mark.parametrize("options, sentence", [
    ({"min_active": "2"}, "min_active is '2', which is 2 of the 3 members of pool shop, but without app1, app2 only 1 would serve at full weight (app3)"),
    ({"min_active": "34%"}, "is 2 of the 3 members"),
    ({"min_active": "lots"}, "min_active is 'lots'"),
    ({"weight": 300}, "weight is 300"),
    ({"pools": ["x"]}, "pool 'x' is not a backend"),
])
def test_refusals_come_before_anything_is_sent(options, sentence):
    fake = Fake("shop/app1", "shop/app2", "shop/app3")
    with pytest.raises(DowntimeError) as error:
        run(fake, ["app1", "app2"], "drained", **options)
    assert sentence in str(error.value) and fake.sent == []


def test_floor_allows_what_does_not_serve():
    fake = Fake("shop/app1", "shop/app2", "shop/app3")
    fake.servers["shop/app1"]["op"] = 0
    run(fake, ["app1"], "drained", min_active="3")
    fake.servers["shop/app2"]["throttle"] = "40"
    with pytest.raises(DowntimeError, match="only 0 would serve"):
        run(fake, ["app3"], "drained", min_active="1")


@pytest.mark.claim("check-counts-who-comes-back")
def test_in_check_mode_the_floor_counts_whom_earlier_moves_would_have_brought_back():
    fake = Fake("shop/app1", "shop/app2", "shop/app3")
    fake.servers["shop/app1"]["op"] = 0
    given = {"min_active": "2", "restored": ["app1"]}
    assert run(fake, ["app2"], "drained", check_mode=True, **given)["changed"] and fake.sent == []
    # Where moves are made, what a balancer has is all that counts.
    with pytest.raises(DowntimeError, match="only 1 would serve"):
        run(fake, ["app2"], "drained", **given)
    with pytest.raises(DowntimeError, match="only 0 would serve"):
        run(fake, ["app1", "app2", "app3"], "drained", check_mode=True, min_active="1", restored=["app1"])


def test_backup_members_are_no_capacity():
    fake = Fake("shop/app1", "shop/app2")
    fake.servers["shop/app2"]["bck"] = "1"
    with pytest.raises(DowntimeError, match="1 of the 1 members"):
        run(fake, ["app1"], "drained", min_active="100%")


def test_level_below_admin_is_refused():
    fake = Fake("shop/app1")
    fake.level = "operator"
    with pytest.raises(DowntimeError, match="'operator'"):
        run(fake, ["app1"], "active")


def test_member_that_somebody_brings_back():
    fake = Fake("shop/app1")
    fake.servers["shop/app1"]["scur"] = 1
    fake.at = [(0.2, lambda: fake.servers["shop/app1"].update(admin=0))]
    with pytest.raises(DowntimeError, match="brought back into traffic by somebody else"):
        run(fake, ["app1"], "drained")
