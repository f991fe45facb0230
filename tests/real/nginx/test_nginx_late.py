# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are open when a deploy ends and that nginx gives up later: its log tells them, and no others."""

from __future__ import annotations

import concurrent.futures
import time

import pytest
from haproxy_stage import get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late

# nginx waits that long for a member, and asks no other one.
IMPATIENT = ["location /slow { proxy_pass http://shop; proxy_read_timeout 3s; proxy_next_upstream off; }",
             "location /patient { proxy_pass http://shop/slow; proxy_read_timeout 600s; }"]
HELD = 4


@pytest.mark.claim("late-losses-reach-the-record")
def test_requests_that_nginx_gives_up_after_the_end_are_told_with_their_member(stage, move, info):
    balancer = stage({"shop": ["app1", "app2"]}, server_lines=IMPATIENT)
    with concurrent.futures.ThreadPoolExecutor(2 * HELD) as users:
        def sample():
            return {"time": time.time(), "balancer": "lb1", "counters": info(balancer)["counters"]}

        samples = [sample()]
        began = time.time()
        move(balancer, ["app1"], "drained", min_active="1")
        patient = users.submit(get, balancer.url + "/patient?ms=6000", 600)
        lost = [users.submit(get, balancer.url + "/slow?ms=600000", 600) for dummy in range(HELD)]
        wait_until(lambda: balancer.in_flight() == HELD + 1, "all are in flight")
        samples.append(sample())
        assert not any(one.done() for one in lost), "they must be open when the deploy ends, else this test proves nothing"
        kept = _late.kept(samples, [], {}, False, began)
        assert kept and _late.became(kept, {"lb1": info(balancer)}, "d1", time.time()) is None
        # Another one, which nobody had sent by then.
        later = users.submit(get, balancer.url + "/slow?ms=600000", 600)
        assert [one.result()[0] for one in [*lost, later]] == [504] * (HELD + 1) and patient.result()[0] == 200
        late = _late.became(kept, {"lb1": info(balancer)}, "d1", time.time())
    assert late and (late["lost"], late["members"], late["settled"]) == (HELD, {"app2": {"own_errors": HELD}}, False)
    assert late["sentence"].startswith(f"{HELD} requests that were open on lb1 ({HELD} on app2) when deploy d1 ended were lost later (")
    # Somebody who reads the log from its beginning finds the same.
    (balancer.upstreams / "counted.json").unlink(missing_ok=True)
    assert len(info(balancer)["counters"][0]["slow_losses"]) == HELD + 1
