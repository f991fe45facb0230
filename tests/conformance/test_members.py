# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every driver's members module has to do, on real parts. No test here knows a technology."""

from __future__ import annotations

import time
import typing as t

import calling
import haproxy_stage
import pytest
import rigs

KEYS = {"name", "pool", "address", "state", "weight", "in_flight", "drained_by", "cut"}


def ok(result: dict[str, t.Any]) -> dict[str, t.Any]:
    assert not result.get("failed"), result.get("msg")
    return result


def refused(result: dict[str, t.Any]) -> str:
    assert result.get("failed"), result
    assert not result.get("exception"), result["exception"]
    assert "\n" not in result["msg"]
    return result["msg"]


def states(result: dict[str, t.Any]) -> dict[str, str]:
    return {member["name"]: member["state"] for member in result["members"]}


@pytest.mark.claim("one-return-shape")
def test_return_shape(rig: rigs.Rig) -> None:
    result = ok(rig.call(["app1", "app2"], "drained"))
    assert states(result) == {"app1": "drained", "app2": "drained"}
    assert isinstance(result["changed"], bool)
    assert isinstance(result["waited"], float)
    assert {"before", "after"} <= set(result["diff"]) if isinstance(result["diff"], dict) else result["diff"]
    for member in result["members"]:
        assert KEYS <= set(member)
        assert member["cut"] == 0
        assert member["drained_by"] in rig.drained_by
        assert member["in_flight"] in (0, None)


def test_ansible_starts_what_the_other_tests_call(rig: rigs.Rig) -> None:
    told = ok(rig.call(["app1"], "drained", check=True))
    done = ok(rig.call(["app1"], "drained", start=calling.by_python))
    assert done["changed"] is told["changed"] is rig.has_traffic
    assert (done["diff"], states(done)) == (told["diff"], states(told))
    # Ansible adds how the module was called.
    assert set(told) <= set(done) <= set(told) | {"invocation"}
    assert ok(rig.call(["app1"], "drained"))["changed"] is False


def test_every_state_can_be_reached_and_named(rig: rigs.Rig) -> None:
    for state in ("drained", "active", "down", "active"):
        assert states(ok(rig.call(["app1"], state))) == {"app1": state}


@pytest.mark.parametrize("state", ["drained", "down"])
def test_second_run_changes_nothing(rig: rigs.Rig, state: str) -> None:
    assert ok(rig.call(["app1"], state))["changed"] is rig.has_traffic
    again = ok(rig.call(["app1"], state))
    assert again["changed"] is False
    assert states(again) == {"app1": state}
    assert again["diff"]["before"] == again["diff"]["after"]
    assert ok(rig.call(["app1"], "active"))["changed"] is rig.has_traffic
    assert ok(rig.call(["app1"], "active"))["changed"] is False


@pytest.mark.claim("check-mode-changes-nothing-for-every-driver")
def test_check_mode_changes_nothing(rig: rigs.Rig) -> None:
    before = rig.state()
    told = ok(rig.call(["app1"], "drained", check=True))
    assert told["changed"] is rig.has_traffic
    assert rig.state() == before
    if isinstance(rig, rigs.BalancedRig):
        # Long enough for health checks to take out a member whose readiness had been failed.
        time.sleep(rigs.INTER * rigs.FALL * 3)
        assert rig.state() == before
        assert rig.get()[0] == 200
    done = ok(rig.call(["app1"], "drained"))
    assert done["changed"] is told["changed"]
    assert states(told) == states(done)
    assert ok(rig.call(["app1"], "drained", check=True))["changed"] is False
    out = rig.state()
    assert ok(rig.call(["app1"], "active", check=True))["changed"] is rig.has_traffic
    assert rig.state() == out


def test_diff_says_what_is_and_what_will_be(rig: rigs.Rig) -> None:
    told = ok(rig.call(["app1"], "drained", check=True))["diff"]
    done = ok(rig.call(["app1"], "drained"))["diff"]
    assert told == done
    assert (done["before"] != done["after"]) is rig.has_traffic
    assert "app1" in str(done["after"])
    assert "drained" in str(done["after"])
    if rig.has_traffic:
        assert "active" in str(done["before"])


def test_unknown_member_is_refused_before_any_change(rig: rigs.Rig) -> None:
    if not rig.knows_members:
        pytest.skip(f"{rig.name} has nobody to ask which members exist")
    before = rig.state()
    names = ["nosuch"] if isinstance(rig, rigs.HealthcheckRig) else ["app1", "nosuch"]
    assert "nosuch" in refused(rig.call(names, "drained"))
    time.sleep(rigs.INTER * rigs.FALL * 2)
    assert rig.state() == before


@pytest.mark.claim("wait-false-starts-a-move")
def test_wait_false_starts_the_move(balanced: rigs.BalancedRig) -> None:
    # Nobody answers these before they are let go: a call that waited for them could not end well.
    held = balanced.held_everywhere()
    try:
        result = ok(balanced.call(["app1"], "drained", wait=False))
        assert not any(future.done() for future in held)
    finally:
        balanced.let_go()
    assert result["changed"] is True
    assert states(result)["app1"] in ("draining", "drained")
    finished = ok(balanced.call(["app1"], "drained"))
    assert finished["changed"] in (True, False)
    assert states(finished) == {"app1": "drained"}
    assert [future.result()[0] for future in held] == [200] * len(held)
    assert states(ok(balanced.call(["app2"], "down", wait=False)))["app2"] in ("draining", "drained", "down")
    assert states(ok(balanced.call(["app2"], "down"))) == {"app2": "down"}


def test_deploy_id_is_accepted(rig: rigs.Rig) -> None:
    assert states(ok(rig.call(["app1"], "drained", deploy_id="20260101T000000-shop-0a1b"))) == {"app1": "drained"}


def test_drained_means_nothing_in_flight_is_lost(balanced: rigs.BalancedRig) -> None:
    # Before the load begins: its requests would take turns with these, and one member might get two.
    slow = balanced.slow_everywhere()
    with rigs.Load(balanced) as load:
        ok(balanced.call(["app1"], "drained"))
        drained_at = time.monotonic()
        # The proof: whatever the member still held would be lost now.
        balanced.stage.kill("app1")
        time.sleep(0.3)
    answers = [future.result() for future in slow]
    assert {member for dummy, member in answers} == set(balanced.members)
    assert [status for status, dummy in answers] == [200] * len(answers)
    assert load.failures == []
    assert "app1" not in load.served_by(since=drained_at)
    balanced.stage.start_app("app1")


def test_a_reload_before_the_drain_hides_nothing(balanced: rigs.BalancedRig) -> None:
    slow = balanced.slow_everywhere()
    # From now on the balancer's new worker says that nothing is in flight: the old one has it.
    balanced.stage.reload()
    ok(balanced.call(["app1"], "drained"))
    balanced.stage.kill("app1")
    try:
        answers = [future.result() for future in slow]
    finally:
        balanced.stage.start_app("app1")
    assert [status for status, dummy in answers] == [200] * len(answers), answers


@pytest.mark.claim("balancers-own-checks-first")
def test_active_means_serves(balanced: rigs.BalancedRig) -> None:
    with rigs.Load(balanced) as load:
        ok(balanced.call(["app1"], "drained"))
        balanced.stage.kill("app1")
        # Its port is open at once, and it answers 503 until it is warm: admitted too early, it would show in the load.
        started = time.monotonic()
        balanced.stage.start_app("app1", label="2.0.0", warm_ms=800)
        result = ok(balanced.call(["app1"], "active"))
        assert time.monotonic() - started >= 0.6
        active_at = time.monotonic()
        assert states(result) == {"app1": "active"}
        balancer_says = balanced.state()["app1"]
        haproxy_stage.wait_until(lambda: "app1" in load.served_by(since=active_at), "app1 gets requests")
    assert balancer_says == balanced.serving
    assert load.failures == []


def test_drain_that_times_out_fails_and_cuts_nothing(balanced: rigs.BalancedRig) -> None:
    slow = balanced.held_everywhere()
    try:
        message = refused(balanced.call(["app1"], "drained", timeout=1))
    finally:
        balanced.let_go()
    assert "app1" in message or "timeout" in message
    assert "1 s" in message
    assert [future.result()[0] for future in slow] == [200] * len(slow)


@pytest.mark.claim("ready-timeout")
def test_activation_that_times_out_fails(balanced: rigs.BalancedRig) -> None:
    ok(balanced.call(["app1"], "drained"))
    balanced.stage.kill("app1")
    try:
        message = refused(balanced.call(["app1"], "active", timeout=2))
    finally:
        balanced.stage.start_app("app1")
    assert "app1" in message


@pytest.mark.claim("hc-floor-unenforced")
def test_floor_is_held_or_said_not_to_be(rig: rigs.Rig) -> None:
    before = rig.state()
    if not rig.holds_floor:
        assert ok(rig.call(["app1", "app2"], "drained", check=True, min_active="75%"))["floor"] == "unenforced"
        return
    message = refused(rig.call(["app1", "app2"], "drained", min_active="2"))
    assert "min_active" in message
    assert rig.state() == before
    # A percentage of three, rounded up: 67 % are three, so none may leave.
    for state in ("drained", "down"):
        assert "min_active" in refused(rig.call(["app1"], state, min_active="67%"))
    ok(rig.call(["app1"], "drained", min_active="2"))
    # It does not serve any more, so the floor has nothing against taking it out.
    ok(rig.call(["app1"], "drained", min_active="3"))


@pytest.mark.parametrize("options, word", [
    (dict(state="away"), "away"),
    (dict(timeout=-1), "timeout"),
    (dict(min_active="many"), "min_active"),
    (dict(min_active="101%"), "min_active"),
    (dict(members=[]), "members"),
])
def test_bad_input_is_one_sentence(rig: rigs.Rig, options: dict[str, t.Any], word: str) -> None:
    given: dict[str, t.Any] = dict(members=["app1"], state="drained", **{k: v for k, v in options.items() if k not in ("members", "state")})
    given.update({k: v for k, v in options.items() if k in ("members", "state")})
    if isinstance(rig, rigs.HealthcheckRig) and not given["members"]:
        pytest.skip("this driver's caller makes one call a member")
    before = rig.state()
    # Where the collection calls the module without Ansible, it checks the arguments itself.
    for start in (calling.in_process, calling.by_main):
        assert word in refused(rig.call(start=start, **given))
    assert rig.state() == before
