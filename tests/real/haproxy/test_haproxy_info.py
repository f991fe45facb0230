# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What haproxy_info tells of a real HAProxy: members, counters of each worker, findings."""

from __future__ import annotations

import http.client
import os
import threading
import time

import pytest
from haproxy_stage import free_port, get, version, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def total(found, name):
    return sum(worker[name] for worker in found["counters"])


def test_counters_tell_each_kind_of_loss(stage, info):
    balancer = stage({"shop": ["app1"]})
    for dummy in range(3):
        assert get(balancer.url + "/")[0] == 200
    # A member that closes a fresh connection: haproxy's own 502. A member's own 503. An answer cut in half.
    assert get(balancer.url + "/?fault=503")[0] == 503
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=5)
    connection.request("GET", "/?fault=truncate")
    try:
        connection.getresponse().read()
        raise AssertionError("the answer was whole")
    except (http.client.HTTPException, OSError):
        pass
    wait_until(lambda: total(info(balancer), "open") == 0, "nothing is open")
    found = info(balancer)
    assert total(found, "requests") == 5
    assert found["counters"][0]["responses"]["2xx"] == 4 and found["counters"][0]["responses"]["5xx"] == 1
    assert total(found, "server_5xx") == 1 and total(found, "server_aborts") == 1


def test_open_requests_and_workers_across_a_reload(stage, info):
    balancer = stage({"shop": ["app1"]})
    get(balancer.url + "/")
    idle = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=5)
    idle.request("GET", "/")
    idle.getresponse().read()
    thread = threading.Thread(target=get, args=(balancer.url + "/slow?ms=4000",))
    thread.start()
    # The idle kept-alive connection is no open request.
    wait_until(lambda: total(info(balancer), "open") == 1, "the request is open")
    old = balancer.worker_pid()
    new = balancer.reload()
    found = info(balancer)
    assert {(row["worker"], row["current"], row["requests"], row["open"]) for row in found["counters"]} == {(new, True, 0, 0), (old, False, 3, 1)}
    assert {worker["pid"]: worker["current"] for worker in found["workers"]} == {new: True, old: False}
    assert found["pools"][0]["members"][0]["in_flight"] == 1
    assert any(finding["setting"] == "reload" and str(old) in finding["text"] for finding in found["findings"])
    # Without the master's socket the old worker is seen, but nobody knows what it holds.
    assert info(balancer, master_socket=None)["pools"][0]["members"][0]["in_flight"] is None
    thread.join()


@pytest.mark.skipif(version() != (3, 3), reason="haproxy shares counters from 3.3 on, and 3.4.0 counts wrongly")
def test_what_workers_count_together_is_counted_once_across_a_reload(stage, info):
    balancer = stage({"shop": ["app1"]}, global_lines=["expose-experimental-directives", f"shm-stats-file /zero-downtime-{os.getpid()}"],
                     frontend_lines=["guid front"], backend_lines=["guid shop"], server_options={"app1": "guid app1"})
    for dummy in range(3):
        get(balancer.url + "/")
    thread = threading.Thread(target=get, args=(balancer.url + "/slow?ms=4000",))
    thread.start()
    wait_until(lambda: total(info(balancer), "open") == 1, "the request is open")
    before = info(balancer)
    balancer.reload()
    get(balancer.url + "/")
    found = info(balancer)
    assert len(found["workers"]) == 2
    # One row over both workers, which goes on where it was.
    assert [(row["worker"], row["requests"], row["responses"]["2xx"], row["open"]) for row in before["counters"]] == [(0, 4, 3, 1)]
    assert [(row["worker"], row["requests"], row["responses"]["2xx"], row["open"]) for row in found["counters"]] == [(0, 5, 4, 1)]
    assert found["pools"][0]["requests"] == before["pools"][0]["requests"] + 1
    thread.join()
    assert total(info(balancer), "open") == 0


def test_what_reaches_no_pool_is_not_counted(stage, info):
    port = free_port()
    balancer = stage({"shop": ["app1"]}, extra=f"frontend stats\n    bind 127.0.0.1:{port}\n    stats enable\n    stats uri /stats\n")
    assert get(f"http://127.0.0.1:{port}/stats")[0] == 200
    get(balancer.url + "/")
    assert total(info(balancer), "requests") == total(info(balancer, frontends=["stats", "front"]), "requests") == 1
    with pytest.raises(DowntimeError, match="frontends names nope, which this haproxy does not have; it has front, stats"):
        info(balancer, frontends=["nope"])


@pytest.mark.claim("doctor-names-pending-reload")
def test_findings_follow_the_configuration(stage, info):
    balancer = stage({"shop": ["app1"]}, backend_lines=["retry-on all-retryable-errors"])
    settings = {finding["setting"]: finding for finding in info(balancer)["findings"]}
    assert settings["retry-on"]["level"] == "error" and "reload" not in settings
    os.utime(balancer.config, (time.time() + 60, time.time() + 60))
    assert "changed after haproxy started" in {f["setting"]: f for f in info(balancer)["findings"]}["reload"]["text"]
    without = {f["setting"]: f for f in info(balancer, master_socket=None)["findings"]}
    assert without["master_socket"]["lines"] == [f"deploy_traffic: master_socket: {balancer.master_socket}"]
