# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import html.parser
import json
import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._record import report as _report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
T = 1795964630.0


class Elements(html.parser.HTMLParser):
    VOID = {"meta", "link", "line", "rect", "polygon", "polyline", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def page(record):
    text = _report.render(record)
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    return text, elements


def sample(text=""):
    rows = [{"t": T + i, "sent": 50, "ok": 50 - (i == 7), "failed": int(i == 7), "p50_ms": 3.0, "p99_ms": 9.0,
             "versions": {"1.0.0" + text: 25, "2.0.0": 24}} for i in range(20)]
    return {
        "deploy_id": "d" + text, "app": "shop" + text, "environment": text, "strategy": "rolling" + text, "driver": "haproxy" + text,
        "release": {"label": "2.0.0", "digest": "b" * 64 + text}, "previous": {"label": "1.0.0" + text, "digest": "a" * 64},
        "started": T, "finished": T + 20, "result": "failed" + text if text else "failed", "sentence": "It failed." + text, "verb": "deploy" + text,
        "batches": [{"n": 1, "members": ["app1" + text]}],
        "members": [{"name": "app1" + text, "release": "2.0.0" + text, "state": "active" + text}],
        "steps": [
            {"name": "drain" + text, "started": T + 2, "finished": T + 8, "result": "succeeded", "members": ["app1" + text], "batch": 1},
            {"name": "drain" + text, "started": T + 2.1, "finished": T + 9, "result": "succeeded", "members": ["app1" + text], "batch": 1},
            {"name": "gate", "started": T + 9, "finished": T + 12, "result": "failed" + text, "members": ["app1" + text], "batch": 1, "reason": "503" + text},
            {"name": "back_return", "started": T + 12, "finished": None, "result": "interrupted", "members": [], "batch": 1},
        ],
        "shadow": {"method": "replay" + text, "requests": 1200, "compared": 1199, "late": 0, "differences": 1, "verdict": "different" + text,
                   "sentence": "it differs" + text, "fields": [
                       {"field": "body.price" + text, "raw": 40, "noise": 0, "how": "changed" + text, "path": "/item" + text, "reported": True},
                       {"field": "body.time", "raw": 1199, "noise": 1199, "how": "changed", "path": "/", "reported": False}]},
        "notes": [{"time": T, "step": "x" + text, "event": "note", "detail": {"text": "a note" + text}}],
        "evidence": {
            "probe": {"sent": 1000, "ok": 999, "failed": 1, "failures": {"reset" + text: 1}, "longest_gap_ms": 40, "p50_ms": 3, "p99_ms": 9,
                      "versions": {"1.0.0" + text: {}, "2.0.0": {}}, "bound": "b" + text, "series": {"bucket_s": 1, "rows": rows}},
            "balance": {"received": 1203441, "answered": 1203440, "truncated": 0, "unanswered": 1, "cut": 0, "client_aborts": 2, "errors_before": 0,
                        "errors_during": 0, "complete": False, "note": "lb2" + text},
            "kernel": {"overflows": 0, "drops": 0},
            "attributed": [{"time": T + 7.5, "kind": "reset" + text, "count": 1, "step": "drain" + text, "member": "app1" + text, "balancer": "lb1" + text,
                            "text": "1 lost" + text}],
            "verdict": "lost" + text, "sentence": "One was lost." + text, "notes": ["careful" + text],
        },
    }


@pytest.mark.claim("page-headline")
def test_what_the_probe_spoke():
    record = sample()
    record["evidence"]["probe"].update(protocols={"HTTP/2": 1000}, repeated=0)
    assert "<dt>spoke</dt><dd>HTTP/2</dd>" in page(record)[0] and "asked again" not in page(record)[0]
    record["evidence"]["probe"].update(protocols={"HTTP/2": 1000, "HTTP/1.1": 12}, repeated=7)
    assert "<dd>HTTP/1.1 (12), HTTP/2 (1,000)</dd>" in page(record)[0] and "<dt>asked again</dt><dd>7</dd>" in page(record)[0]


def test_headline():
    record = sample()
    assert _report.headline(record) == "1 of 1,203,441 real requests lost"
    record["evidence"]["balance"]["lost"] = 4
    assert _report.headline(record) == "4 of 1,203,441 real requests lost"
    record["evidence"].update(balance=None, cut=12)
    assert _report.headline(record) == "1 of 1,000 probes failed"
    assert "cut on purpose" in page(record)[0]
    record["evidence"]["probe"] = {"sent": 0, "uncounted": {"sent": 12}}
    assert _report.headline(record) == "No request was counted"
    assert "12 requests before anything served" in page(record)[0]
    record["evidence"] = {"balance": {"received": 0, "truncated": 0}}
    assert _report.headline(record) == "No request was counted"
    record["evidence"] = {}
    assert _report.headline(record) == "No traffic was measured"


def test_whole_page():
    text, elements = page(sample())
    for words in ("1 of 1,203,441 real requests lost", "✕ 1 failure", "It failed.", "1 lost",
                  "app1", "health gate", "503", "careful", "a note", "5xx before"):
        assert words in text
    assert elements.seen.count("svg") == 3
    # The same step on two balancers at the same time is one band.
    assert len(re.findall(r'<div class="band s-drain', text)) == 1
    assert "s-return back s-failed" in text
    assert text == _report.render(sample()), "the same record gives the same page"


def test_the_shadow_is_a_short_table():
    text = page(sample())[0]
    for words in ("<h2>Shadow</h2>", "1,199 of 1,200 requests compared by replay: it differs.", "body.price", "✕ reported", "✓ noise"):
        assert words in text
    record = sample()
    record["shadow"]["fields"] = [{"field": f"body.f{number}"} for number in range(30)]
    assert "10 more fields in the JSON record" in page(record)[0]
    del record["shadow"]
    assert "<h2>Shadow</h2>" not in page(record)[0]


def test_an_open_request_from_before_is_told():
    record = sample()
    record["evidence"]["balance"].update(open_before=5, open=2)
    text = page(record)[0]
    assert "open from before" in text and "still open at the end" in text
    record["sentence"] = "It failed. One was lost. So it is."
    assert page(record)[0].count("One was lost.") == 1


def test_asks_for_nothing():
    _text, elements = page(sample())
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(elements.seen)
    for name, value in elements.attributes:
        if name in ("src", "href", "action", "srcset"):
            assert value.startswith(("#", "data:,")), (name, value)
        assert not name.startswith("on")
    assert "url(" not in _report.STYLE and "@import" not in _report.STYLE
    assert "innerHTML" not in _report.SCRIPT and "//" not in _report.SCRIPT


def test_hostile_text_everywhere_stays_text():
    harmless, expected = page(sample())
    text, elements = page(sample(HOSTILE))
    assert elements.seen.count("script") == 2 == expected.seen.count("script")
    assert "img" not in elements.seen
    assert not [name for name, _value in elements.attributes if name.startswith("on")]
    assert "<script>alert" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1)
    assert json.loads(data)["rows"][0][5] == {"1.0.0" + HOSTILE: 25, "2.0.0": 24}


@pytest.mark.parametrize("record", [
    {}, {"shadow": {}}, {"shadow": {"fields": [None, {}], "requests": "x"}}, {"shadow": 3},
    {"deploy_id": "x", "result": "failed", "evidence": None, "steps": None, "members": None},
    {"started": 5, "finished": 5}, {"started": "x", "steps": [None, 3, {"name": None}], "members": "x", "evidence": {"probe": [], "attributed": 3}},
    {"started": T, "evidence": {"probe": {"sent": 0, "series": {"rows": [{"t": T}, {}, {"t": None}, {"t": 3, "p99_ms": 0, "versions": {"a": 0}}]}}}},
    {"evidence": {"probe": {"bound": 0.0, "sent": None}, "balance": {"received": None}, "kernel": {"drops": None}}},
    {"started": 1e300, "finished": -5, "evidence": {"attributed": [{"time": None}, {}]}},
])
def test_any_part_may_be_missing(record):
    page(record)


def test_long_series_is_thinned_and_hides_no_spike():
    rows = [{"t": T + i / 2, "sent": 10, "failed": int(i == 777), "p50_ms": 1.0, "p99_ms": 900.0 if i == 777 else 5.0, "versions": {"a": 10}}
            for i in range(5000)]
    record = dict(sample(), evidence={"probe": {"sent": 50000, "failed": 1, "series": {"bucket_s": 0.5, "rows": rows}}})
    bucket, thin = _report._rows(record)
    assert len(thin) <= _report.MAX_ROWS and bucket == 0.5 * 7
    assert sum(row["sent"] for row in thin) == 50000 and sum(row["failed"] for row in thin) == 1
    assert max(row["p99"] for row in thin) == 900.0
    assert len(page(record)[0]) < 200_000


def test_marks_that_would_overlap_become_one():
    axis = _report._Axis(0, 100)
    assert _report._clusters([(1, 1), (2, 2), (50, 4)], axis, 0.03) == [(1, 2, 3), (50, 50, 4)]


def test_background_is_told_beside_what_the_deploy_lost():
    balance = {"received": 2000, "answered": 1970, "truncated": 30, "unanswered": 0, "cut": 0, "client_aborts": 0, "errors_before": 0, "errors_during": 4,
               "lost": 2, "lost_by_kind": {"own_errors": 2}, "complete": True, "note": None,
               "background": "background as before: 30 truncated (1.5 %, 1.4 % before)"}
    shown = _report._balance_tile({"evidence": {"balance": balance}})
    assert "background as before: 30 truncated (1.5 %, 1.4 % before)" in shown and "<dt>5xx of the balancer&#x27;s own</dt><dd>2</dd>" in shown
    clean = _report._balance_tile({"evidence": {"balance": {**balance, "lost": 0, "lost_by_kind": {}}}})
    assert "5xx of the balancer" not in clean and "t-good" in clean
