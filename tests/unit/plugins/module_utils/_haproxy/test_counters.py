# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import counters
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Worker
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

COLUMNS = ("pxname svname scur qcur mode stot req_tot hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx hrsp_other cli_abrt srv_abrt econ eresp wretr wredis "
           "dreq dresp rtime").split()


def stat(*rows):
    return "\n".join(["# " + ",".join(COLUMNS), *(",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows)])


FRONT = dict(pxname="front", svname="FRONTEND", mode="http", scur=9, req_tot=900, hrsp_2xx=800, hrsp_5xx=90, dreq=5)
SHOP = dict(pxname="shop", svname="BACKEND", mode="http", scur=3, qcur=1, stot=100, req_tot=90, hrsp_1xx=1, hrsp_2xx=80, hrsp_3xx=2, hrsp_4xx=3, hrsp_5xx=4,
            hrsp_other=0, cli_abrt=7, srv_abrt=8, econ=2, eresp=9, wretr=10, wredis=11, dreq=4, dresp=1)
API = dict(SHOP, pxname="api", stot=30, req_tot=30, hrsp_5xx=2, rtime=12)
STATS = dict(SHOP, pxname="stats")
MAIL = dict(pxname="mail", svname="BACKEND", mode="tcp", stot=50)
SERVER = dict(pxname="shop", svname="app1", mode="http", scur=1, stot=50, hrsp_2xx=40, hrsp_4xx=2, hrsp_5xx=3, srv_abrt=1, econ=1, eresp=2, wretr=1)


def test_sums_over_all_pools_and_no_frontend():
    found = counters.of_worker(stat(FRONT, SHOP, API, STATS, SERVER), 12, True, ignored=["stats"])
    assert found == {
        "worker": 12, "current": True, "requests": 130, "responses": {"1xx": 2, "2xx": 160, "3xx": 4, "4xx": 6, "5xx": 6, "other": 0},
        "open": 6, "client_aborts": 14, "server_aborts": 16, "retries": 20, "redispatches": 22, "denied": 10, "server_4xx": 2, "server_5xx": 3,
        "faults": 6, "streams": 0, "streams_begun": 0, "pools": {}}


def test_named_pools_and_their_members():
    found = counters.of_worker(stat(FRONT, SHOP, API, SERVER), 12, True, ["shop"])
    assert found["requests"] == 100 and found["client_aborts"] == 7
    # What a canary is judged by, and what says on which member something was lost: 49 given, 45 answered, 1 being answered.
    assert found["pools"] == {"shop": {"requests": 100, "errors": 4, "time_ms": None, "average_ms": 0, "members": {
        "app1": {"requests": 49, "errors": 3, "refused": 2, "cut_short": 1, "faults": 2, "open": 1, "missing": 3}}}}


def test_upgrades_that_are_open_are_streams():
    found = counters.of_worker(stat(dict(SHOP, hrsp_1xx=3), dict(SERVER, hrsp_1xx=4), dict(SERVER, svname="app2", hrsp_1xx=1)), 12, True, ["shop"])
    assert (found["streams_begun"], found["streams"]) == (5, 2)


@pytest.mark.claim("hints-are-no-streams")
@pytest.mark.parametrize("ended, hints, streams", [(0, 3, 3), (0, 4, 0), (2, 900, 3)], ids=["as many as are open", "more", "more, where streams ended"])
def test_hints_before_an_answer_are_no_streams(ended, hints, streams):
    """A server counts hints (100, 103) as it counts upgrades. More upgrades than requests are open there cannot be."""
    found = counters.of_worker(stat(dict(SHOP, hrsp_1xx=ended, scur=3), dict(SERVER, hrsp_1xx=ended + hints)), 12, True, ["shop"])
    assert (found["streams_begun"], found["streams"]) == (ended + streams, streams)


@pytest.mark.claim("hints-are-no-streams")
@pytest.mark.parametrize("ended", [0, 4])
def test_hints_before_an_answer_hide_no_request_without_one(ended):
    """49 given: 45 are answered, 1 is being answered, and of the rest those that were upgraded were answered, too."""
    found = counters.of_worker(stat(dict(SHOP, hrsp_1xx=ended), dict(SERVER, stot=50 + ended, hrsp_1xx=ended + 40)), 12, True, ["shop"])
    assert found["pools"]["shop"]["members"]["app1"]["missing"] == 3


def test_of_a_member_only_what_there_is():
    found = counters.of_worker(stat(SHOP, dict(pxname="shop", svname="app1", stot=9, hrsp_2xx=9)), 12, True, ["shop"])
    assert found["pools"]["shop"]["members"] == {"app1": {"requests": 9}}


def test_requests_of_a_pool_in_mode_tcp_are_unknown_and_no_zero():
    rows = [counters.of_worker(stat(SHOP, MAIL, SERVER), 12, True, ["shop", "mail"])]
    assert rows[0]["requests"] == 100 and rows[0]["uncounted"] == ["mail"] and list(rows[0]["pools"]) == ["shop"]
    assert counters.nothing_counted(rows) is None
    assert counters.nothing_counted([counters.of_worker(stat(FRONT, MAIL), 12, True, ["mail"])]) == (
        "mail is in mode tcp, in which HAProxy knows connections and no requests")


def test_every_worker_that_answers_is_a_row():
    look = Snapshot(12, {}, [stat(FRONT, SHOP)], [Worker(12, True, 1), Worker(11, False, 5), Worker(10, False, 9)], {11: [stat(FRONT, SHOP)]}, [10])
    found = counters.of_look(look)
    assert [(row["worker"], row["current"]) for row in found] == [(12, True), (11, False)]


def two_workers(new, old):
    """After a reload: what each worker answers, as rows."""
    return Snapshot(12, {}, [stat(*new)], [Worker(12, True, 1), Worker(11, False, 9)], {11: [stat(*old)]}, [])


SHARED = frozenset({("shop", "BACKEND"), ("shop", "app1")})


def test_what_all_workers_count_together_is_counted_once():
    # HAProxy 3.3 with shm-stats-file: both workers show the same count, each what it holds itself.
    before = counters.of_look(Snapshot(11, {}, [stat(FRONT, SHOP, SERVER)], [Worker(11, True, 9)], {}, []), shared=SHARED)
    grown = dict(SHOP, stot=110, hrsp_2xx=88, scur=1)
    after = counters.of_look(two_workers([grown, SERVER], [dict(grown, scur=3), SERVER]), shared=SHARED)
    # Not by worker, so that a new one is no beginning.
    assert [row["worker"] for row in before + after] == [counters.TOGETHER] * 2 and all(row["current"] for row in before + after)
    assert (before[0]["requests"], after[0]["requests"], after[0]["responses"]["2xx"], after[0]["server_5xx"]) == (100, 110, 88, 3)
    assert after[0]["open"] == 1 + 3


def test_what_each_worker_counts_for_itself_stays_apart():
    api = dict(API, srv_abrt=2)
    found = counters.of_look(two_workers([SHOP, api, SERVER], [SHOP, dict(api, stot=40), SERVER]), shared=SHARED)
    assert [(row["worker"], row["requests"], row["server_aborts"]) for row in found] == [(counters.TOGETHER, 100, 8), (12, 30, 2), (11, 40, 2)]
    assert found[0]["server_5xx"] == 3 and found[1]["server_5xx"] == 0


def test_a_server_may_be_counted_apart_from_its_pool():
    found = counters.of_look(two_workers([FRONT, SHOP, SERVER], [FRONT, SHOP, dict(SERVER, hrsp_5xx=40)]), shared=SHARED - {("shop", "app1")})
    assert [(row["worker"], row["requests"], row["server_5xx"]) for row in found] == [(counters.TOGETHER, 100, 0), (12, 0, 3), (11, 0, 40)]


def test_requests_of_a_pool_that_is_counted_together():
    look = two_workers([dict(API, lastsess=5)], [dict(API, lastsess=3)])
    assert counters.of_pools(look, ["api"])["api"]["requests"] == 60
    assert counters.of_pools(look, ["api"], frozenset({("api", "BACKEND")}))["api"] == {"requests": 30, "idle_s": 1.0}


def test_unknown_frontends():
    assert counters.unknown_frontends(stat(FRONT, SHOP), ["front", "shop"]) == (["shop"], ["front"])


def row(worker, requests, answered, opened=0, current=True):
    return {"worker": worker, "current": current, "requests": requests, "responses": {"2xx": answered}, "open": opened}


def settled(*readings):
    """What is taken of these readings, by missing answers; all of them have to be needed."""
    left = iter([reading if isinstance(reading, list) else [row(12, 100 + number, 100 + number - reading)] for number, reading in enumerate(readings)])
    naps = []
    found = counters.settled(lambda: next(left), naps.append)
    assert next(left, None) is None
    assert len(naps) == len(readings) - 1 and naps[:2] == [counters.BETWEEN] * 2 and naps == sorted(naps) and sum(naps) < 0.2
    return found


@pytest.mark.claim("half-counted-requests")
@pytest.mark.parametrize("readings, missing", [
    ([0, 0, 0], 0),
    # One that begins, one that ends.
    ([1, 0, 0, 0], 0),
    ([-1, 0, 0, 0], 0),
    ([0, -1, 0, 1, 0], 0),
    # What is lost stays lost, whatever else moves.
    ([2, 2, 2], 2),
    ([1, 2, 2, 2], 2),
    ([2, 1, 2, 3, 2], 2),
    # So busy that no three agree: the middle.
    ([-2, 0, -1, 1, 0, -1, 3], 0),
])
def test_a_request_in_motion_is_neither_lost_nor_hides_a_loss(readings, missing):
    (found,) = settled(*readings)
    assert found["requests"] - sum(found["responses"].values()) - found["open"] == missing


def test_of_the_readings_that_agree_the_last_is_taken():
    assert settled(0, -1, 0, 0) == [row(12, 103, 103)]
    assert settled([row(12, 90, 88, 2)], [row(12, 94, 93, 1)], [row(12, 98, 98)]) == [row(12, 98, 98)]


def test_a_reload_between_readings_leaves_each_worker_its_own():
    began, reloaded = [row(12, 100, 99)], [row(13, 3, 3), row(12, 101, 101, current=False)]
    assert settled(began, reloaded, reloaded, reloaded) == reloaded


def pools_stat(**columns):
    names = ["pxname", "svname", "req_tot", "stot", "lastsess"]
    rows = [[pool, "BACKEND", *map(str, numbers)] for pool, numbers in columns.items()]
    return "\n".join(["# " + ",".join(names), *(",".join(row) for row in rows)])


@pytest.mark.claim("bg-retire-counts-every-worker")
def test_a_pool_is_idle_since_the_last_request_that_any_worker_gave_it():
    workers = [Worker(12, True, 500), Worker(11, False, 900)]
    look = Snapshot(12, {}, [pools_stat(blue=(7, 9, 90), green=(0, 0, -1), tcp=("", 4, 3))], workers,
                    {11: [pools_stat(blue=(5, 5, 20), green=(1, 1, 800))]}, [])
    found = counters.of_pools(look, ["blue", "green", "tcp"])
    assert found == {"blue": {"requests": 12, "idle_s": 20.0}, "green": {"requests": 1, "idle_s": 500.0}, "tcp": {"requests": 4, "idle_s": 3.0}}


def test_nobody_knows_what_a_worker_that_cannot_be_asked_gave():
    look = Snapshot(12, {}, [pools_stat(blue=(7, 7, 90))], [Worker(12, True, 500), Worker(11, False, 0)], {}, [11])
    assert counters.of_pools(look, ["blue"])["blue"]["idle_s"] is None
