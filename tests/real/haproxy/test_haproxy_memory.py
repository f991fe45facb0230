# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reload or a person did between two moves of one deploy, against a real HAProxy: the journal remembers what the deploy did."""

from __future__ import annotations

import threading

import pytest

from haproxy_load import Load
from haproxy_stage import ask, status_of, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

MEMBERS = ["app1", "app2", "app3"]


@pytest.fixture
def deploy(move, tmp_path):
    """C(deploy(stage, members, state)) is one move of a deploy that holds the lock."""
    lock = _lock.Lock(str(tmp_path / "state"), "production-shop")
    lock.acquire("d1", {"controller": "here"})

    def run(stage, members, state, **options):
        params = {"lock": lock.path, "deploy_id": "d1", "state": state, "members": members}
        with _fence.fence(params, False) as memory:
            return move(stage, members, state, memory=memory, **options)

    run.lock = lock
    return run


def status(stage, name):
    rows = [row.split(",") for row in ask(stage.socket, "show stat -1 4 -1").splitlines()[1:] if row]
    return next(status_of(row[17]) for row in rows if row[:2] == ["shop", name])


def out(result):
    return {row["name"]: row["state"] for row in result["members"]}


@pytest.mark.claim("reload-is-noticed")
def test_a_reload_while_a_member_is_out_is_noticed_and_the_drain_made_again(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    deploy(haproxy, ["app1"], "drained")
    worker = haproxy.reload()
    assert status(haproxy, "app1") != "MAINT"
    again = deploy(haproxy, ["app1"], "drained")
    assert again["lost"] == ["app1"] and again["changed"] and again["worker"]["pid"] == worker
    assert "was reloaded or started anew while app1 was out" in again["notes"][0]
    assert out(again) == {"app1": "drained"} and status(haproxy, "app1") == "MAINT"
    # Told once: the next move finds what the last one left.
    assert deploy(haproxy, ["app1"], "drained")["notes"] == []
    assert deploy(haproxy, ["app1"], "active")["notes"] == []


def test_a_member_that_a_reload_brought_back_passes_the_gate_before_it_serves(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    # Fresh connections: a reload by itself closes kept-alive ones, which is not what this is about.
    with Load(haproxy.port, keepalive=0, posts=0, fresh=4) as load:
        deploy(haproxy, ["app1"], "drained")
        haproxy.reload()
        found = deploy(haproxy, ["app1"], "active")
        load.more(50)
    assert found["lost"] == ["app1"] and out(found) == {"app1": "active"}
    assert load.sent > 50 and load.failures == []
    haproxy.kill("app1")
    deploy(haproxy, ["app1"], "drained")
    haproxy.reload()
    with pytest.raises(DowntimeError, match="app1 went back to maintenance"):
        deploy(haproxy, ["app1"], "active", timeout=1)
    assert status(haproxy, "app1") == "MAINT"


@pytest.mark.claim("removed-server-is-named")
def test_a_server_that_was_removed_while_it_was_out_does_not_hold_up_the_others(stage, deploy, move):
    haproxy = stage({"shop": MEMBERS})
    deploy(haproxy, ["app1", "app2"], "drained")
    haproxy.configure(pools={"shop": ["app2", "app3"]})
    back = deploy(haproxy, ["app1", "app2"], "drained")
    assert back["gone"] == ["app1"] and out(back) == {"app2": "drained"} and status(haproxy, "app2") == "MAINT"
    found = deploy(haproxy, ["app1", "app2"], "active")
    assert found["gone"] == ["app1"] and out(found) == {"app2": "active"} and status(haproxy, "app2") == "UP"
    assert "app1 is no server of haproxy any more, and was one when this deploy took it out" in found["notes"][0]
    assert deploy(haproxy, ["app1"], "active")["members"] == []
    # What this deploy has not taken out may be there by another name, and serve: nothing may be done to it.
    with pytest.raises(DowntimeError, match="member 'app1' is not a server of any pool"):
        move(haproxy, ["app1", "app2"], "active")
    haproxy.configure(pools={"shop": ["app2"]})
    with pytest.raises(DowntimeError, match="member 'app3' is not a server of any pool; known are shop: app2"):
        deploy(haproxy, ["app3"], "drained")


def test_a_server_that_is_removed_while_the_others_wait_for_their_checks(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    deploy(haproxy, ["app1", "app2"], "drained")
    haproxy.kill("app1")
    haproxy.kill("app2")
    results = []
    thread = threading.Thread(target=lambda: results.append(deploy(haproxy, ["app1", "app2"], "active", timeout=60)))
    thread.start()
    wait_until(lambda: status(haproxy, "app2").startswith("DOWN"), "the gate waits for app2")
    haproxy.configure(pools={"shop": ["app2", "app3"]})
    haproxy.start_app("app2")
    thread.join()
    assert results[0]["gone"] == ["app1"] and out(results[0]) == {"app2": "active"} and results[0]["diff"]["after"].keys() == {"shop/app2"}


def test_what_a_person_took_out_stays_out(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    ask(haproxy.socket, "set server shop/app2 state maint")
    drained = deploy(haproxy, ["app1", "app2"], "drained")
    assert drained["theirs"] == ["app2"]
    assert _lock.out_of(deploy.lock.entries()) == ["app1"]
    back = deploy(haproxy, ["app1", "app2"], "active")
    assert back["theirs"] == ["app2"] and out(back) == {"app1": "active", "app2": "drained"}
    assert status(haproxy, "app1") == "UP" and status(haproxy, "app2") == "MAINT"
    # Once its owner has brought it back it is a member like any other.
    ask(haproxy.socket, "set server shop/app2 state ready")
    assert deploy(haproxy, ["app2"], "drained")["theirs"] == []
    assert out(deploy(haproxy, ["app2"], "active")) == {"app2": "active"}


def test_what_a_person_took_out_after_it_had_come_back_stays_out(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    deploy(haproxy, ["app1"], "drained")
    deploy(haproxy, ["app1"], "active")
    ask(haproxy.socket, "set server shop/app1 state maint")
    assert deploy(haproxy, ["app1"], "drained")["theirs"] == ["app1"]
    back = deploy(haproxy, ["app1"], "active")
    assert "app1 was taken out of traffic by somebody else" in back["notes"][0]
    assert status(haproxy, "app1") == "MAINT"


@pytest.mark.claim("persons-return-stays")
def test_what_a_person_brought_back_is_named_and_not_taken_out_again(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    deploy(haproxy, ["app1"], "drained")
    ask(haproxy.socket, "set server shop/app1 state ready")
    with pytest.raises(DowntimeError, match="app1 was brought back into traffic by somebody else while this deploy had it out"):
        deploy(haproxy, ["app1"], "drained")
    assert status(haproxy, "app1") != "MAINT"
    found = deploy(haproxy, ["app1"], "active")
    assert "brought back into traffic by somebody else" in found["notes"][0]
    assert out(found) == {"app1": "active"}


def test_a_member_whose_way_back_failed_is_still_the_deploys(stage, deploy):
    haproxy = stage({"shop": MEMBERS})
    haproxy.kill("app1")
    deploy(haproxy, ["app1"], "drained")
    with pytest.raises(DowntimeError):
        deploy(haproxy, ["app1"], "active", timeout=1)
    haproxy.start_app("app1")
    assert deploy(haproxy, ["app1"], "drained")["theirs"] == []
    assert out(deploy(haproxy, ["app1"], "active")) == {"app1": "active"}
