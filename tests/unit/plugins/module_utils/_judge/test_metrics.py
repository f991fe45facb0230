# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, NoSeries
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._judge import metrics as _metrics

POOLS = {"canary": ["shop_green"], "baseline": ["shop_blue"]}
RELEASES = {"canary": "n", "baseline": "o"}


def row(worker, green, blue):
    def counts(requests, errors, average=None, total=None):
        return {"requests": requests, "errors": errors, "time_ms": total, "average_ms": average}

    return {"worker": worker, "pools": {"shop_green": counts(*green), "shop_blue": counts(*blue), "other": counts(9, 9)}}


def balancers(*readings, errors=True, latency=True):
    told = iter(readings)
    return _metrics.Balancers(lambda: next(told), POOLS, errors, latency)


@pytest.mark.claim("canary-balancers-count")
def test_balancers_tell_what_came_since():
    source = balancers({"lb1": [row(1, (10, 1, 7), (100, 2, 5))], "lb2": [row(5, (0, 0, 0), (50, 0, 6))]},
                       {"lb1": [row(1, (15, 3, 8), (130, 2, 5))], "lb2": [row(5, (0, 0, 0), (60, 1, 6))]},
                       # lb1 was reloaded: a new worker counts from nothing, the old one ends what it has.
                       {"lb1": [row(2, (4, 0, 9), (20, 0, 5)), row(1, (16, 3, 8), (131, 2, 5))], "lb2": [row(5, (0, 0, 0), (60, 1, 6))]})
    source.begin()
    assert source.look() == {"canary": {"requests": 5, "errors": 2, "metrics": {"latency_ms": [8.0]}, "blocks": nobody(5, 2)},
                             "baseline": {"requests": 40, "errors": 1, "metrics": {"latency_ms": [5.0, 6.0]}, "blocks": nobody(40, 1)}}
    assert source.look() == {"canary": {"requests": 5, "errors": 0, "metrics": {"latency_ms": [9.0, 8.0]}, "blocks": nobody(5, 0)},
                             "baseline": {"requests": 21, "errors": 0, "metrics": {"latency_ms": [5.0, 5.0]}, "blocks": nobody(21, 0)}}


def nobody(requests, errors):
    """All of a side as one block."""
    return [{"member": None, "requests": requests, "errors": errors}]


def members(worker, requests, errors, **own):
    """A worker's counts of the canary's pool, with those of its members."""
    return {"worker": worker, "pools": {"shop_green": {"requests": requests, "errors": errors, "members": own}, "shop_blue": {"requests": 0, "errors": 0}}}


def test_members_are_told_apart_across_balancers_and_workers():
    source = balancers({"lb1": [members(1, 10, 1, app1={"requests": 10, "errors": 1})], "lb2": [members(5, 0, 0)]},
                       {"lb1": [members(1, 30, 4, app1={"requests": 18, "errors": 1}, app2={"requests": 9, "errors": 2}),
                                members(2, 4, 0, app2={"requests": 4})],
                        "lb2": [members(5, 6, 3, app1={"requests": 6, "errors": 3})]}, latency=False)
    source.begin()
    # Three requests, one of them an error, the balancer answered itself.
    assert source.look()["canary"] == {"requests": 30, "errors": 6, "metrics": {}, "blocks": [
        {"member": "app1", "requests": 14, "errors": 3}, {"member": "app2", "requests": 13, "errors": 2}, {"member": None, "requests": 3, "errors": 1}]}


def test_a_sum_of_times_gives_the_mean_since_the_look_before():
    source = balancers({"lb1": [row("log", (10, 0, None, 100.0), (0, 0, None, 0.0))]},
                       {"lb1": [row("log", (20, 0, None, 400.0), (0, 0, None, 0.0))]}, errors=False)
    source.begin()
    found = source.look()
    assert found["canary"] == {"requests": 0, "errors": 0, "metrics": {"latency_ms": [30.0]}} and found["baseline"]["metrics"]["latency_ms"] == []


def test_pools_that_nobody_counts():
    with pytest.raises(DowntimeError, match="no balancer counts the requests of pool shop_green"):
        balancers({"lb1": [{"worker": 1, "pools": {}}]}).begin()


def asked(*told, **options):
    values = iter(told)
    return _metrics.Asked(lambda: next(values), RELEASES, **{"errors": True, "latency": True, **options})


@pytest.mark.claim("canary-latency-by-the-probe")
def test_the_probe_tells_releases_apart():
    tally = _probe.Tally(_probe.complete({"url": "http://127.0.0.1/"}), 0.0)
    for seconds, release, kind in ((0.01, "n", None), (0.02, "n", None), (0.01, "o", None), (None, "n", "status_500"), (None, None, "reset")):
        tally.finish("fresh", 1.0, 1.0, seconds, _probe.Outcome(kind, "", 200, None, release))
    source = asked({"by_release": {}}, {"by_release": {}}, tally.summary())
    source.begin()
    found = source.look()
    assert (found["canary"]["requests"], found["canary"]["errors"]) == (3, 1) and (found["baseline"]["requests"], found["baseline"]["errors"]) == (1, 0)
    assert sorted(found["canary"]["metrics"]["latency_ms"]) == [pytest.approx(10, rel=0.03), pytest.approx(20, rel=0.03)]
    assert list(found["canary"]["metrics"]["latency_ms"].values()) == [1, 1] and "blocks" not in found["canary"]


def test_the_probe_has_to_run_and_to_know_both():
    with pytest.raises(DowntimeError, match="no probe runs"):
        asked(None).begin()
    with pytest.raises(DowntimeError, match="the baseline's release is not known"):
        _metrics.Asked(lambda: {}, {"canary": "n", "baseline": None}, True, True).begin()


class Served:
    """A Prometheus that has one value for each second, and may be away or have nothing."""

    def __init__(self, *times):
        self.asked, self.error, self.times = [], None, iter(times)
        words = {side: {"side": side, "pool": side + "_pool"} for side in _metrics.SIDES}
        self.source = _metrics.Queries(self.series, {"cpu": "rate(cpu{pool=~'$pool',side='$side'}[30s])"}, words, lambda: next(self.times), 5)

    def series(self, query, start, end):
        self.asked.append((query, start, end))
        if self.error:
            raise self.error
        return [float(second) for second in range(int(start), int(end) + 1, 5)]

    def look(self):
        return self.source.look()["canary"]["metrics"].get("cpu", [])


@pytest.mark.claim("canary-own-metrics")
def test_prometheus_is_asked_for_each_side_and_time():
    served = Served(10.0, 15.0)
    served.source.begin()
    assert served.source.look() == {side: {"metrics": {"cpu": [15.0]}} for side in _metrics.SIDES}
    assert served.asked[2:] == [("rate(cpu{pool=~'canary_pool',side='canary'}[30s])", 15.0, 15.0),
                                ("rate(cpu{pool=~'baseline_pool',side='baseline'}[30s])", 15.0, 15.0)]


def test_each_moment_is_asked_for_once():
    served = Served(10.0, 15.1, 18.0, 26.0, 26.2)
    served.source.begin()
    assert [served.look() for dummy in range(4)] == [[15.0], [], [20.0, 25.0], []]


def test_nobody_measured_it_meanwhile():
    served = Served(10.0, 15.0, 20.0)
    served.source.begin()
    served.error = NoSeries("the query answers no series")
    assert served.look() == [] and served.source.problem is None
    served.error = None
    assert served.look() == [20.0]


@pytest.mark.claim("prometheus-away-later")
def test_a_prometheus_that_is_away_for_a_while_is_asked_later():
    served = Served(10.0, 15.0, 20.0)
    served.source.begin()
    served.error = NoAnswer("https://p cannot be reached: Connection refused")
    assert served.look() == [] and served.source.problem == "Prometheus is away: https://p cannot be reached: Connection refused."
    served.error = None
    assert served.look() == [15.0, 20.0] and served.source.problem is None


@pytest.mark.claim("prometheus-away-at-the-start")
def test_a_prometheus_that_is_away_from_the_start_is_told():
    served = Served(10.0)
    served.error = NoAnswer("https://p cannot be reached: Connection refused")
    with pytest.raises(NoAnswer):
        served.source.begin()


@pytest.mark.claim("prometheus-nothing-of-what-serves")
def test_a_query_that_answers_nothing_for_what_serves():
    served = Served(10.0, 10.0, 15.0)
    served.error = NoSeries("the query answers no series")
    with pytest.raises(DowntimeError, match=r"deploy_canary.metrics.cpu.query is .* no value of it for the side that serves \(rate\(cpu{pool=~'baseline_pool'"):
        served.source.begin()
    # A metric that is there only when something goes wrong.
    served.source.rare = ["cpu"]
    served.source.begin()
    assert served.look() == []


def test_looks_of_several_sources_are_one():
    counts = {side: {"requests": 5, "errors": 1, "metrics": {}} for side in _metrics.SIDES}
    values = {side: {"metrics": {"cpu": [1.0]}} for side in _metrics.SIDES}
    assert _metrics.together([counts, values]) == {side: {"requests": 5, "errors": 1, "metrics": {"cpu": [1.0]}} for side in _metrics.SIDES}
