# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._nginx import counters as _nginx_counters

# The controller's clock, and that of the host that writes the log.
BEGAN, ENDED, AHEAD = 1000.0, 1100.0, 50.0
AT = "192.0.2.11:8000"


def line(ended: float, seconds: float, status: str = "504", pool: str = "shop") -> str:
    own = status if status == "200" else "-"
    return f"{status}|GET|OK|157|504|{own}|0|-|{pool}|{seconds:.3f}|{ended + AHEAD:.3f}|{AT}"


class Log:
    def __init__(self) -> None:
        self.counts: dict[str, t.Any] = {**_nginx_counters.empty(), "since": 0.0}

    def read(self, taken: float, *lines: str) -> dict[str, t.Any]:
        for one in lines:
            _nginx_counters.count(self.counts, one, {"shop"})
        self.counts["read"] = taken + AHEAD
        # As it comes out of its file and its module.
        (row,) = json.loads(json.dumps(_nginx_counters.rows(self.counts, ("shop",), {AT: "app1"})))
        return row

    def sample(self, taken: float, *lines: str) -> dict[str, t.Any]:
        return {"time": taken, "balancer": "lb1", "counters": [self.read(taken, *lines)]}


def became(before: t.Sequence[str], during: t.Sequence[str], later: t.Sequence[str], began: float | None = BEGAN) -> dict[str, t.Any] | None:
    log = Log()
    samples = [log.sample(BEGAN - 1, *before), log.sample(ENDED, *during)]
    kept = _late.kept(samples, [], {}, False, began)
    if began is None:
        assert kept is None
        return None
    assert kept
    return _late.became(json.loads(json.dumps(kept)), {"lb1": {"counters": [log.read(ENDED + 300, *later)]}}, "d1", ENDED + 300)


@pytest.mark.claim("late-losses-reach-the-record")
def test_a_lost_request_that_was_open_at_the_end_is_told() -> None:
    found = became([], [line(1050, 3)], [line(ENDED + 20, 30), line(ENDED + 25, 30), line(ENDED + 20, 30, "200"), line(ENDED + 50, 30)])
    assert found and (found["lost"], found["members"], found["open"], found["still_open"], found["settled"]) == (
        2, {"app1": {"own_errors": 2}}, None, None, False)
    assert found["sentence"] == ("2 requests that were open on lb1 (2 on app1) when deploy d1 ended were lost later "
                                 "(2 answered by the balancer with a 5xx on app1)")


def test_what_began_later_or_was_lost_in_no_time_was_not_open() -> None:
    assert became([], [], [line(ENDED + 50, 30), line(ENDED + 0.5, 0.7), line(ENDED + 20, 30, pool="other")]) is None


def test_as_many_as_are_lost_at_any_moment_before_are_nobodys() -> None:
    before = [line(BEGAN - 300 + 10 * index, 30) for index in range(10)]  # three at a time
    late = [line(ENDED + 5 * index, 40) for index in range(1, 6)]
    assert became(before, [], late[:3]) is None
    found = became(before, [], late)
    assert found and found["lost"] == 2
    # That was too long ago.
    found = became([line(BEGAN - 7200 + 10 * index, 30) for index in range(10)], [], late)
    assert found and found["lost"] == 5


def test_a_deploy_that_moved_nothing_keeps_nothing() -> None:
    became([], [], [], began=None)


def test_the_latest_are_kept_and_that_there_were_more_is_said() -> None:
    log = Log()
    kept = _late.kept([log.sample(BEGAN - 1), log.sample(ENDED)], [], {}, False, BEGAN)
    assert kept
    late = [line(ENDED + index / 100, 30) for index in range(1, 31)]
    row = log.read(ENDED + 300, *late)
    row["slow_losses"] = row["slow_losses"][-20:]
    found = _late.became(kept, {"lb1": {"counters": [row]}}, "d1", ENDED + 300)
    assert found and found["lost"] == 20
    assert found["sentence"].endswith(", and what became of the others is not known: of lb1, its log had more losses than are kept one by one")


@pytest.mark.parametrize("info", [{"failed": True, "msg": "gone"}, {"counters": []}])
def test_a_balancer_that_cannot_be_read_has_nothing_to_say(info: dict[str, t.Any]) -> None:
    log = Log()
    kept = _late.kept([log.sample(BEGAN - 1), log.sample(ENDED)], [], {}, False, BEGAN)
    assert kept and _late.became(kept, {"lb1": info}, "d1", ENDED + 300) is None
    # Nor has one whose log is counted from its beginning.
    anew = Log().read(ENDED + 300)
    kept["balancers"]["lb1"]["log"]["seen"] = 4
    assert _late.became(kept, {"lb1": {"counters": [anew]}}, "d1", ENDED + 300) is None
