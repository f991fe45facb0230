# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import html.parser
import math
import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._record import report as _report
from ansible_collections.zero.downtime.plugins.module_utils._record import report_canary as _report_canary

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
T = 1795964630.0


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def section(steps):
    text = _report_canary.section({"canary": {"steps": steps}})
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    for name, value in elements.attributes:
        if name == "style":
            for number in re.findall(r"(?:left|width|height):([^;]*)%", value):
                assert 0 <= float(number) <= 100.01, value
    return text, elements


def metric(name="latency_ms", low=-0.01, estimate=0.02, high=0.05, classification="Pass", **others):
    return {"name": name, "classification": classification, "low": low, "estimate": estimate, "high": high, "canary_samples": 40, "baseline_samples": 4000,
            "reason": f"{name} is as it is.", **others}


def step(share=5, verdict="pass", started=0, took=60, metrics=None, text="", **errors):
    return {"share": share, "verdict": verdict, "started": T + started, "finished": T + started + took, "reasons": ["Nothing shows that it is worse." + text],
            "errors": {"canary_requests": 1000, "canary_errors": 5, "baseline_requests": 19000, "baseline_errors": 95, "e_value": 0.4, "needed": 50, **errors},
            "metrics": [metric()] if metrics is None else metrics}


WORSE = [metric(low=0.4, estimate=0.6, high=0.8, classification="High"), metric("queue", None, None, None, "Nodata")]
STEPS = [step(), step(25, started=60), step(50, "fail", 120, 10, WORSE, canary_errors=120, e_value=9e9)]


def test_a_deploy_without_a_canary_has_no_section():
    assert _report_canary.section({}) == _report_canary.section({"canary": None}) == _report_canary.section({"canary": {"steps": []}}) == ""
    assert 'id="canary"' not in _report.render({})


@pytest.mark.claim("canary-in-the-record")
def test_each_share_with_its_verdict():
    text, elements = section(STEPS)
    assert "3 shares judged beside the release before, 2 passed; at 50 % failed." in text
    assert text.count('class="cshare"') == text.count('class="cstep"') == 3
    # The first two shares take 60 of the 130 seconds each, and are as high as they are.
    assert 'style="left:0.00%;width:46.15%"' in text and 'style="left:46.15%;width:46.15%"' in text and 'style="height:25.0%"' in text
    assert "✕ failed after 10.0 s" in text and "✓ passed after 1 min 00 s" in text and "Nothing shows that it is worse." in text
    assert [value for name, value in elements.attributes if name == "aria-label"][0] == "Share of the requests over time: 5 %, 25 %, 50 %"


def test_errors_of_both_sides_on_one_scale():
    text, dummy = section(STEPS[2:])
    assert "120 of 1,000 requests, 12 %" in text and "95 of 19,000 requests, 0.50 %" in text
    assert '<i class="v1" style="width:100.00%">' in text and '<i class="v0" style="width:4.17%">' in text
    assert "more often: more than a million; 50 fail it." in text
    assert "more often: 0.4; 50 fail it." in section([step()])[0]
    none = section([step(canary_requests=0, canary_errors=0, baseline_errors=0)])[0]
    assert none.count("width:0.00%") == 2 and "0 of 0 requests<" in none


def test_intervals_around_nothing_at_the_same_scale_at_each_share():
    text, dummy = section(STEPS)
    # The widest reaches 80 %, so every picture of that metric goes to 100 %.
    assert text.count("±100 %") == 3
    assert '<i class="range" style="left:70.00%;width:20.00%"></i><i class="dot" style="left:80.00%">' in text
    assert '<i class="range" style="left:49.50%;width:3.00%"></i>' in text
    assert "+60 % (+40 % to +80 %)" in text and "+2.0 % (-1.0 % to +5.0 %)" in text and "40 and 4,000 samples" in text
    assert '<b class="bad">▲</b>' in text and '<b class="warn">?</b>' in text and "queue is as it is." in text


def test_a_limit_that_nobody_knows_is_drawn_to_the_edge_and_said():
    known = metric(low=-0.5, estimate=0.2, high=0.5)
    steps = [step(metrics=[known, metric(low=None), metric(high=None), metric(low=None, high=None), metric("slow", None, None, None)])]
    text, dummy = section(steps)
    assert "+2.0 % (at most +5.0 %; the lower limit cannot be told yet)" in text and "+2.0 % (at least -1.0 %; the upper limit cannot be told yet)" in text
    assert "+2.0 % (limits cannot be told yet)" in text and '<p class="note">slow is as it is.</p>' in text
    # The widest reaches 50 %, so the picture goes to 60 %.
    assert '<i class="range nolow" style="left:0.00%;width:54.17%">' in text and '<i class="range nohigh" style="left:49.17%;width:50.83%">' in text
    assert '<i class="range nolow nohigh" style="left:0.00%;width:100.00%">' in text and text.count('<i class="range"') == 1


def test_hostile_text_stays_text():
    hostile = step(text=HOSTILE, verdict="fail" + HOSTILE, metrics=[metric("m" + HOSTILE, classification=HOSTILE), metric("n", None, reason=HOSTILE)])
    text, elements = section([hostile])
    assert "<script" not in text and not {"script", "img"} & set(elements.seen)
    assert not [name for name, value in elements.attributes if name.startswith("on")]


def test_the_style_asks_for_nothing():
    assert "url(" not in _report_canary.STYLE and "@import" not in _report_canary.STYLE


def _without(value):
    """The entry without each of its parts in turn, and with something else in its place."""
    if isinstance(value, dict):
        for key in value:
            for other in (None, "x", -1, math.nan, math.inf, 1e308, [], {}, True):
                yield {**value, key: other}
            for inner in _without(value[key]):
                yield {**value, key: inner}
    if isinstance(value, list):
        for place, one in enumerate(value):
            for inner in _without(one):
                yield value[:place] + [inner] + value[place + 1:]


def test_any_part_may_be_missing_or_odd():
    original = copy.deepcopy(STEPS)
    for steps in _without(STEPS):
        section(steps)
    assert STEPS == original


@pytest.mark.parametrize("steps", [[{}], [{}, {}], [None, 3, {"share": None}], "x", {"a": 1}])
def test_entries_that_say_nothing(steps):
    section(steps)
