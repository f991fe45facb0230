# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.zero.downtime.plugins.module_utils._judge import canary_times as _canary_times
from ansible_collections.zero.downtime.plugins.module_utils._strategy import canary as _canary


def _options(**canary):
    return _canary.check(canary, "http://site.example/", True)


def test_more_requests_and_larger_shares_take_less_time():
    assert (
        15
        < _canary_times.seconds(0.5, 100, 0.01)
        < 40
        < _canary_times.seconds(0.05, 100, 0.01)
        < _canary_times.seconds(0.01, 100, 0.01)
    )
    assert _canary_times.seconds(0.5, 2, 0.01) == pytest.approx(50 * _canary_times.seconds(0.5, 100, 0.01))
    assert _canary_times.seconds(0.5, 0, 0.01) == float("inf")


def test_where_the_steps_can_tell_the_plan_says_how_long_it_takes():
    found = _canary_times.told(_options(), 100)
    assert found["warning"] is None and set(found["seconds"]) == {"1", "5", "25", "50"}
    assert re.fullmatch(
        r"at 100 requests a second, 2 % errors are told from 0\.5 % after \d+ min at 1 %, .*, \d+ s at 50 %",
        _canary_times.line(found),
    )


@pytest.mark.claim("canary-little-traffic-is-told")
@pytest.mark.parametrize(
    "rate, at_deadline, words",
    [
        (
            2,
            "go_back",
            r"at 2 requests a second a share of 1 % does not get 20 requests within 10 min, .*would be held, and then go back; steps: ",
        ),
        (2, "go_on", r"then go on unjudged; steps: "),
        (
            12,
            "go_back",
            r"at 12 requests a second these steps do not tell 2 % errors from 0\.5 %: 50 % of the requests takes \d+ (min|s) for that, and is watched ",
        ),
    ],
)
def test_little_traffic_is_told_with_steps_that_can(rate, at_deadline, words):
    warning = _canary_times.told(_options(at_deadline=at_deadline), rate)["warning"]
    assert re.search(words, warning), warning
    # What is proposed is accepted, and needs no warning.
    proposed = yaml.safe_load("{" + re.search(r"steps: .*deadline: \d+", warning)[0] + "}")
    assert _canary_times.told(_options(**proposed), rate)["warning"] is None


def test_without_a_request_nothing_is_proposed():
    found = _canary_times.told(_options(), 0)
    assert (
        "at 0 requests a second a share of 50 % does not get 20 requests" in found["warning"]
        and "probe_rate helps" in found["warning"]
    )
    assert _canary_times.line(found) == "at 0 requests a second nothing is told"
