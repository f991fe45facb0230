# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every driver's split module has to do, on real parts. No test here knows a technology."""

from __future__ import annotations

import time
import typing as t

import calling
import haproxy_stage
import pytest
import rigs
from test_members import ok, refused

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers

BLUE, GREEN, CANARY = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}, {"blue": 95, "green": 5}
KEYS = {"changed", "found", "shares", "kept", "diff", "notes", "waited", "worker", "workers", "counters", "kernel"}


@pytest.mark.claim("suite-for-every-driver")
def test_every_driver_that_splits_is_tried() -> None:
    drivers = [_drivers.load(name) for name in _drivers.NAMES]
    # One that gives all requests to a side or none has no shares to be tried, and no balancer that is asked: tests/real/bind.
    assert set(rigs.SIDED_RIGS) == {driver.name for driver in drivers if "split" in driver.capabilities and not driver.whole}


def test_shares_are_predicted_set_once_and_read_back(sided: rigs.SidedRig) -> None:
    ok(sided.split(BLUE))
    predicted = ok(sided.split(CANARY, check=True))
    assert predicted["changed"] and ok(sided.split())["shares"] == BLUE
    done = ok(sided.split(CANARY))
    assert done["changed"] and done["diff"] == predicted["diff"] and done["found"] == BLUE and done["shares"] == CANARY == done["kept"]
    assert KEYS <= set(done) and done["notes"] == [] and isinstance(done["waited"], float)
    again = ok(sided.split(CANARY))
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    read = ok(sided.split())
    assert not read["changed"] and read["shares"] == CANARY == read["kept"]
    # A side that is left out gets nothing.
    assert ok(sided.split({"green": 100}))["shares"] == GREEN


def test_ansible_starts_what_the_other_tests_call(sided: rigs.SidedRig) -> None:
    ok(sided.split(BLUE))
    told = ok(sided.split(CANARY, check=True))
    done = ok(sided.split(CANARY, start=calling.by_python))
    assert done["changed"] and (done["diff"], done["found"]) == (told["diff"], BLUE)
    # Ansible adds how the module was called.
    assert set(told) <= set(done) <= set(told) | {"invocation"}
    assert not ok(sided.split(CANARY))["changed"]


@pytest.mark.claim("bg-one-switch")
def test_a_switch_under_load_loses_nothing_and_no_later_request_goes_the_old_way(sided: rigs.SidedRig) -> None:
    ok(sided.split(BLUE))
    with rigs.Load(sided) as load:
        haproxy_stage.wait_until(lambda: load.served_by(since=0) == {"b1", "b2"}, "blue serves")
        ok(sided.split(GREEN, min_active="100%"))
        switched = time.monotonic()
        haproxy_stage.wait_until(lambda: load.served_by(since=switched) >= {"g1", "g2"} and len(load.answers) > 20, "green serves")
    assert load.failures == []
    assert load.served_by(since=0) == {"b1", "b2", "g1", "g2"} and load.served_by(since=switched) == {"g1", "g2"}


@pytest.mark.claim("bg-switch-holds-the-floor")
def test_nothing_is_sent_to_a_side_that_does_not_serve(sided: rigs.SidedRig) -> None:
    ok(sided.split(GREEN))
    sided.stage.kill("b1")
    try:
        haproxy_stage.wait_until(lambda: sided.split(BLUE, check=True, min_active="100%").get("failed"), "the balancer knows of it")
        message = refused(sided.split(BLUE, min_active="100%"))
        assert "shares.blue is 100" in message and "min_active" in message
        assert f"2 members of its pool {sided.blue} only 1 serve at full weight (b2)" in message
        assert ok(sided.split(dict(blue=50, green=50), min_active="50%"))["changed"]
        # Less for it is always allowed.
        ok(sided.split(GREEN, min_active="100%"))
    finally:
        sided.stage.start_app("b1")


@pytest.mark.claim("shares-add-up")
@pytest.mark.parametrize("options, word", [
    (dict(shares=dict(blue=5)), "adds up to 5"),
    (dict(shares=dict(red=100)), "the side 'red'"),
    (dict(shares=BLUE, timeout=-1), "timeout is -1"),
    (dict(shares=BLUE, min_active="many"), "min_active is 'many'"),
    (dict(shares=BLUE, pools=[dict(name="other", side="blue")]), "no split"),
    (dict(shares=BLUE, pools=[dict(name="shop_green", side="blue")]), "the side blue"),
])
def test_bad_input_is_one_sentence(sided: rigs.SidedRig, options: dict[str, t.Any], word: str) -> None:
    before = ok(sided.split())["shares"]
    # Where the collection calls the module without Ansible, it checks the arguments itself.
    for start in (calling.in_process, calling.by_main):
        assert word in refused(sided.split(start=start, **options))
    assert ok(sided.split())["shares"] == before
