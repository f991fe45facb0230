# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reason for all of it: servers are killed under load, and nobody notices; without the moves, they do."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from haproxy_load import Load
from haproxy_stage import ask, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

POOL = {"shop": ["app1", "app2", "app3"]}


def unanswered(counters):
    return sum(worker["requests"] - sum(worker["responses"].values()) - worker["open"] for worker in counters)


def crowd(balancer):
    """The requests that each server answers now, without those that answer none."""
    rows = [line.split(",") for line in ask(balancer.socket, "show stat -1 4 -1").splitlines()[1:] if line]
    return {row[1]: int(row[4]) for row in rows if int(row[4])}


def holders(balancer):
    return [name for name in POOL["shop"] if json.loads(get(balancer.app_url(name) + "/in_flight")[1])["held"]]


@pytest.mark.claim("rolling-with-kill-9-loses-nothing")
def test_two_servers_are_rolled_with_sigkill_and_nothing_is_lost(stage, move, info):
    balancer = stage(POOL)
    with Load(balancer.port) as load:
        load.more(100)
        for batch in (["app1", "app2"], ["app3"]):
            out = move(balancer, batch, "drained", min_active="1")
            assert out["changed"]
            assert all(member["in_flight"] == 0 and member["drained_by"] == "sessions" for member in out["members"])
            for name in batch:
                balancer.kill(name)
            for name in batch:
                # Not ready at once: the port is open, but requests would get 503.
                balancer.start_app(name, label="2.0.0", wait=False, warm_ms=600)
            back = move(balancer, batch, "active")
            assert all(member["state"] == "active" and member["full"] for member in back["members"])
        load.more(100)
        load.__exit__()
        assert load.failures == []
        assert load.sent > 200
        assert set(load.versions) == {"1.0.0", "2.0.0"}
        found = info(balancer)
        assert unanswered(found["counters"]) == 0
        assert sum(worker["requests"] for worker in found["counters"]) == load.sent
        assert sum(worker["responses"]["2xx"] for worker in found["counters"]) == load.sent


def test_the_naive_way_loses_and_the_counters_know(stage, info):
    balancer = stage(POOL)
    with Load(balancer.port) as load:
        load.more(50)
        for name in ("app1", "app2"):
            balancer.kill(name)
            balancer.start_app(name, label="2.0.0", wait=False, warm_ms=600)
            load.more(100)
        load.__exit__()
        assert load.failures
        found = info(balancer)
        errors = sum(worker["responses"]["5xx"] for worker in found["counters"])
        # An answer that broke off has a status: it is counted as an answer, and as an abort of the server.
        broken = [failure for failure in load.failures if "IncompleteRead" in failure]
        assert errors + unanswered(found["counters"]) == len(load.failures) - len(broken)
        assert sum(worker["server_aborts"] for worker in found["counters"]) >= len(broken)


def test_a_reload_in_the_middle_of_a_roll_loses_nothing_of_the_members(stage, move):
    # Fresh connections only: a reload closes idle kept-alive ones, which is the reload's own loss and not the roll's.
    balancer = stage(POOL)
    with Load(balancer.port, keepalive=0, fresh=4, posts=0) as load, Load(balancer.port, 0, 0, 3, post_ms=900) as slow:
        load.more(50)
        slow.more(3)
        balancer.reload()
        move(balancer, ["app1"], "drained", min_active="1")
        balancer.kill("app1")
        balancer.start_app("app1", label="2.0.0")
        move(balancer, ["app1"], "active")
        load.more(50)
        load.__exit__()
        slow.__exit__()
        assert [failure for failure in load.failures if "status" in failure] == []
        assert [failure for failure in slow.failures if "status" in failure] == []


def test_sticky_clients_that_never_pause_can_be_sent_elsewhere(stage, move):
    balancer = stage(POOL, backend_lines=["stick-table type ip size 100 expire 1m", "stick on src"])
    with Load(balancer.port, keepalive=1, fresh=1, posts=4, pause=0) as load:
        wait_until(lambda: len(crowd(balancer)) == 1 and sum(crowd(balancer).values()) >= 3, "the clients stick to one server")
        # One of them is in flight all the time, however slow the machine is. The first requests come before the first entry of
        # the table, and several may write one: which server the table names is known by where the next request goes.
        with ThreadPoolExecutor() as pool:
            held = pool.submit(get, balancer.url + "/held", 60)
            wait_until(lambda: held.done() or holders(balancer), "a request is held where its client sticks")
            assert not held.done(), held.result()
            [busy] = holders(balancer)
            wait_until(lambda: set(crowd(balancer)) == {busy}, "every client sticks to %s" % busy)
            with pytest.raises(DowntimeError, match="clients that stick to them"):
                move(balancer, [busy], "drained", timeout=1)
            get(balancer.app_url(busy) + "/ctl?let_go=1")
            assert held.result()[0] == 200
        out = move(balancer, [busy], "drained", take_out="maint")
        assert out["changed"] and out["members"][0]["in_flight"] == 0
        balancer.kill(busy)
        time.sleep(0.2)
        balancer.start_app(busy)
        move(balancer, [busy], "active")
    assert load.failures == []
