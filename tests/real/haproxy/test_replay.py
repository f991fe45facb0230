# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay of what a real HAProxy logged: a planted difference is found, two runs of one release are the same, and the live path pays nothing."""

from __future__ import annotations

import pathlib
import socket
import threading

import pytest
from haproxy_stage import free_port, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._shadow import replay as _replay

POOLS = {"blue": ["app1", "app2"], "green": ["app3"]}
# Each answer has the time and the member's name in it: noise.
NOISY = {"body.time", "body.name", "header.x-member"}
COUNT = 40
# How much worse the 99th percentile may be.
LIMIT = 1.2
# Milliseconds that a turn of the scheduler may cost where two cores have much else to do; what is looked for costs hundreds.
NOISE = 5.0


@pytest.fixture
def balancer(stage):
    """A HAProxy that has logged GET and POST requests, some of them with queries; as fast as it answers, so nobody can replay them at that pace."""
    found = stage(POOLS, global_lines=["log stdout format raw local0"], defaults_lines=["log global", "option httplog"])
    for number in range(COUNT):
        assert get(f"{found.url}/item/{number}?token=secret")[0] == 200
        assert get(f"{found.url}/", data=b"x")[0] == 200
    log = pathlib.Path(found.dir / "haproxy.log")
    wait_until(lambda: log.read_text(encoding="utf-8").count('"GET /item') == COUNT, "every request is logged")
    return found


def replay(balancer, **options):
    params = {name: option.get("default") for name, option in _replay.argument_spec().items()}
    address = {name: f"127.0.0.1:{port}" for name, port in balancer.ports.items()}
    params.update(log=str(balancer.dir / "haproxy.log"), primary=address["app1"], secondary=address["app2"], candidate=address["app3"], backends=["blue"],
                  rate=1000.0, pace=0.1, duration=600.0, release_header="x-release")
    params.update(options)
    return _replay.run(params)


def reported(result):
    return {entry["field"] for entry in result["fields"] if entry["reported"]}


@pytest.mark.claim("shadow-replay")
def test_one_release_is_the_same_and_a_planted_difference_is_found(balancer):
    same = replay(balancer)
    assert same["verdict"] == "same" and same["compared"] == same["requests"] == COUNT - same["late"], same
    # A busy machine may leave some out, and says so.
    assert same["late"] < COUNT / 2, same
    assert {entry["field"] for entry in same["fields"]} == NOISY and all(entry["raw"] == entry["noise"] == same["requests"] for entry in same["fields"])

    balancer.kill("app3")
    balancer.start_app("app3", label="2.0.0")
    changed = replay(balancer)
    assert changed["verdict"] == "different" and reported(changed) == {"body.version"}, changed
    assert changed["fields"][0]["raw"] == changed["requests"] and changed["fields"][0]["noise"] == 0
    assert "secret" not in str(changed) and changed["fields"][0]["path"].startswith("/item/")
    # As it differs by design, it is left out.
    assert replay(balancer, ignore=["body.version"])["verdict"] == "same"

    get(balancer.app_url("app3") + "/ctl?fault=404")
    status = replay(balancer, ignore=["body.version"])
    assert reported(status) == {"status"} and status["fields"][0]["how"] == "200 to 404", status
    assert replay(balancer, ignore=["body.version"], max_differences=1)["verdict"] == "same"


def test_a_candidate_that_is_dead_is_told_and_an_old_release_that_is_dead_is_no_agreement(balancer):
    balancer.kill("app3")
    dead = replay(balancer)
    assert dead["verdict"] == "different" and dead["fields"][0]["field"] == "status" and dead["fields"][0]["how"] == "200 to refused", dead
    balancer.start_app("app3")
    balancer.kill("app1")
    assert replay(balancer)["verdict"] == "nothing"


def test_a_log_of_others_is_refused(balancer):
    with pytest.raises(DowntimeError, match="which has GET requests for blue only, and none for green"):
        replay(balancer, backends=["green"])


class Slow:
    """A candidate that takes connections and never answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", free_port()), backlog=1000)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *dummy):
        self.listener.close()


def p99(url, seconds):
    """Of live requests on kept and on fresh connections, in ms; none of them may fail."""
    probe = _probe.Probe({"url": url + "/", "rate": 100.0, "streams": {"fresh": 0.5, "keepalive": 0.5, "post": 0.0}})
    timer = threading.Timer(seconds, probe.stop)
    timer.start()
    account = probe.run()
    timer.join()
    assert account["failed"] == 0 and account["sent"] > 50 * seconds, account
    return account["p99_ms"]


@pytest.mark.claim("replay-costs-the-live-path-nothing")
def test_a_dead_and_a_slow_candidate_cost_the_live_path_nothing(balancer):
    """Alternating windows; a busy machine can only make single ones worse, so the best of each kind are compared, and there are more when in doubt."""
    with Slow() as slow:
        found = {"without": [], "dead": [], "slow": []}
        for dummy in range(30):
            for kind in found:
                options = {"dead": {"candidate": f"127.0.0.1:{free_port()}"}, "slow": {"candidate": slow.address, "request_timeout": 0.5}}.get(kind)
                thread = None
                if options:
                    thread = threading.Thread(target=replay, args=(balancer,), kwargs={"rate": 20.0, "pace": 0.2, "duration": 2.0, **options})
                    thread.start()
                found[kind].append(p99(balancer.url, 2.0))
                if thread:
                    thread.join()
            best = {kind: min(times) for kind, times in found.items()}
            if max(best["dead"], best["slow"]) <= LIMIT * best["without"] + NOISE:
                return
    raise AssertionError(f"the live path pays for the shadow: {found}")
