# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reason for all of it: servers are killed under load, and nobody notices; without the moves, they do."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import time

import pytest
from haproxy_stage import get, wait_until
from nginx_load import load

POOL = {"shop": ["app1", "app2", "app3"]}
# A POST is with its member from its first byte on, so that a member that dies meanwhile loses it.
STREAMED = ["proxy_request_buffering off;"]


def total(found, name):
    return sum(row[name] for row in found["counters"])


@pytest.mark.claim("nginx-rolls-without-a-loss")
def test_two_servers_are_rolled_with_sigkill_and_nothing_is_lost(stage, move, info, tmp_path):
    balancer = stage(POOL, server_lines=STREAMED)
    before = total(info(balancer), "requests")
    with load(balancer, tmp_path) as report:
        for batch in (["app1", "app2"], ["app3"]):
            out = move(balancer, batch, "drained", min_active="1")
            assert out["changed"]
            assert all(member["state"] == "drained" and member["drained_by"] == "workers_exited" for member in out["members"])
            for name in batch:
                balancer.kill(name)
            for name in batch:
                # Not ready at once: the port is open, but requests would get 503.
                balancer.start_app(name, label="2.0.0", wait=False, warm_ms=600)
            back = move(balancer, batch, "active")
            assert all(member["state"] == "active" and member["full"] for member in back["members"])
    assert report["failures"] == {}, report["losses"]
    assert report["sent"] > 200 and report["streams"]["post"]["sent"] > 40
    assert set(report["versions"]) == {"1.0.0", "2.0.0"}
    found = info(balancer)
    assert total(found, "requests") - before == report["sent"]
    assert found["counters"][0]["responses"]["5xx"] == total(found, "server_aborts") == 0


@pytest.mark.claim("nginx-log-that-is-cut")
def test_a_log_that_is_rotated_under_load_is_counted_to_its_end(stage, info, tmp_path):
    # Its processes open the new log by themselves, in a directory that is this user's.
    balancer = stage(POOL, main_lines=["user root;"])
    before = total(info(balancer), "requests")
    with load(balancer, tmp_path) as report:
        for number in (1, 2):
            moved = balancer.log.rename(balancer.log.with_name(f"{balancer.log.name}.{number}"))
            # Until they have opened a new one, they write to this one.
            size = moved.stat().st_size
            wait_until(lambda size=size, moved=moved: moved.stat().st_size > size, "requests are written to the old log")
            os.kill(int(balancer.pid_file.read_text(encoding="utf-8")), signal.SIGUSR1)
            wait_until(lambda: balancer.log.exists() and balancer.log.stat().st_size > 0, "requests are written to the new log")
            # Asked in between, as a deploy's moves do.
            info(balancer)
    found = info(balancer)
    assert report["failures"] == {} and total(found, "requests") - before == report["sent"]
    assert found["counters"][0]["gaps"] == 0


def test_stopping_servers_in_turn_loses_and_the_counters_know(stage, info, tmp_path):
    balancer = stage(POOL, server_lines=STREAMED)
    with load(balancer, tmp_path) as report:
        for name in ("app1", "app2"):
            balancer.kill(name)
            balancer.start_app(name, label="2.0.0", wait=False, warm_ms=600)
            time.sleep(0.8)
    assert report["failed"] > 0
    found = info(balancer)
    # An answer that broke off has a status: it is counted as an answer.
    broken = report["failures"].get("truncated", 0)
    assert found["counters"][0]["responses"]["5xx"] == report["failed"] - broken, report["failures"]


def test_not_waiting_for_the_old_workers_loses_what_they_hold(stage, tmp_path):
    """The common way: mark it down, reload, and believe the exit code."""
    balancer = stage(POOL, server_lines=STREAMED)
    with load(balancer, tmp_path, slow_body=1.5) as report:
        for name in ("app1", "app2"):
            path = balancer.upstream_file("shop")
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(rf"^(\s*server \S+);( # {name})$", r"\1 down;\2", text, flags=re.MULTILINE), encoding="utf-8")
            assert balancer.down() == {name}
            balancer.process.send_signal(signal.SIGHUP)
            time.sleep(0.15)
            balancer.kill(name)
            balancer.start_app(name, label="2.0.0")
            path.write_text(text, encoding="utf-8")
            balancer.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
    assert report["streams"]["post"]["failed"] > 0, report["failures"]


def test_a_slow_request_is_waited_for(stage, move, tmp_path):
    balancer = stage(POOL)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # So long that the load has begun before it ends, also on a slow machine.
        slow = pool.submit(get, balancer.url + "/slow?ms=4000", 20)
        wait_until(lambda: balancer.in_flight() == 1, "it is in flight")
        with load(balancer, tmp_path, rate=10) as report:
            out = move(balancer, ["app1", "app2"], "drained", min_active="1")
            # Whichever member has it: its worker ends when it does, a moment before the client has read the answer.
            assert slow in concurrent.futures.wait([slow], 1).done and out["waited"] > 0
            for name in ("app1", "app2"):
                balancer.kill(name)
            assert slow.result()[0] == 200
    assert report["failures"] == {}, report["losses"]
