# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records to look at: a clean deploy, one that was rolled back, one that lost requests, a big one and a hostile one."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._record import record as _record

START = 1795964630.0

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'&"


def _step(events: list[dict[str, t.Any]], name: str, start: float, end: float | None, batch: int | None = None, members: t.Sequence[str] = (),
          balancer: str | None = None, reason: str | None = None) -> None:
    about = {"step": name, "members": list(members), "batch": batch, "balancer": balancer}
    events.append({**about, "time": START + start, "event": "started"})
    if end is not None:
        events.append({**about, "time": START + end, "event": "failed" if reason else "finished", "detail": {"reason": reason} if reason else {}})


def _events(kind: str, batches: list[list[str]]) -> tuple[list[dict[str, t.Any]], float]:
    events: list[dict[str, t.Any]] = []
    for name, start, end in (("plan", 0, 2.1), ("lock", 2.1, 2.9), ("gates", 2.9, 5), ("stage", 5, 11)):
        _step(events, name, start, end)
    now = 12.0
    for number, members in enumerate(batches, 1):
        for balancer in ("lb1", "lb2"):
            _step(events, "drain", now, now + 6, number, members, balancer)
        _step(events, "activate", now + 6, now + 9, number, members)
        if kind == "back" and number == 2:
            _step(events, "gate", now + 9, now + 24, number, members, reason="app3 answered 503")
            now += 24
            _step(events, "back_activate", now, now + 3, number, members)
            _step(events, "back_gate", now + 3, now + 5, number, members)
            _step(events, "back_return", now + 5, now + 7, number, members)
            now += 7
            break
        _step(events, "gate", now + 9, now + 12, number, members)
        _step(events, "return", now + 12, now + 16, number, members)
        now += 16.5
    _step(events, "verify", now, now + 8)
    _step(events, "record", now + 8, None)
    return sorted(events, key=lambda event: event["time"]), now + 8


def canary(text: str = "") -> dict[str, t.Any]:
    """Four shares as the judge sees them: two pass, one lacks data, one fails."""
    rnd = random.Random(3)
    latency, queue, hits = (name + text for name in ("latency_ms", "queue", "cache_hits"))
    criteria = {"metrics": {latency: {"critical": True}, queue: {}, hits: {"direction": "decrease"}}}
    steps = []
    for number, (share, slower, errors) in enumerate(((1, 1.0, 0), (5, 1.05, 4), (25, 1.0, 30), (50, 1.9, 400))):
        look = {}
        for side, part, factor, failed in (("canary", share, slower, errors), ("baseline", 100 - share, 1.0, 50)):
            values = max(24, 2 * part)
            look[side] = {"requests": 120 * part, "errors": failed, "metrics": {
                latency: [factor * rnd.lognormvariate(3, 0.4) for dummy in range(values)], hits: [rnd.gauss(0.9, 0.02) for dummy in range(values)],
                queue: [rnd.gauss(4, 1) for dummy in range(values if share != 25 else 3)]}}
        found = _judge.judge([look], criteria)
        steps.append({**found, "share": share, "started": START + 15 + 8 * number, "finished": START + 22 + 8 * number, "waited": 7.0,
                      "reasons": [reason + text for reason in found["reasons"]]})
    return {"steps": steps}


def record(kind: str = "clean", size: int = 4, text: str = "", judged: bool = False) -> dict[str, t.Any]:
    """`kind` is clean, back or lost; `text` is put wherever a record has a text."""
    rnd = random.Random(7)
    names = [f"app{number}{text}" for number in range(1, size + 1)]
    third = max(size // 4, 1)
    batches = [names[:third], names[third:third * 3], names[third * 3:]]
    events, took = _events(kind, batches)
    old, new = "1.0.0" + text, "2.0.0" + text
    returned = [(event["time"] - START, len(event["members"])) for event in events if event["step"] == "return" and event["event"] == "finished"]
    rows, sent, failed = [], 0, 0
    for index in range(int(took * 2)):
        at = index / 2
        share = 0.0 if kind == "back" and at > took - 15 else sum(count for end, count in returned if end <= at) / size
        asked = rnd.choice([24, 25, 25, 26])
        bad = rnd.randint(1, 4) if kind == "lost" and (20 < at < 21.2 or at == 32) else 0
        fresh = round((asked - bad) * share)
        rows.append({"t": START + at, "sent": asked, "ok": asked - bad, "failed": bad, "p50_ms": round(3 + rnd.random(), 2),
                     "p99_ms": 2100.0 if bad else round(8 + 5 * rnd.random(), 2), "versions": {old: asked - bad - fresh, new: fresh}})
        sent += asked
        failed += bad
    received = 1203441
    gone = 7 if failed else 0
    evidence = {
        "probe": {"sent": sent, "ok": sent - failed, "failed": failed, "failures": {"reset" + text: failed} if failed else {}, "longest_gap_ms": 61.2,
                  "p50_ms": 3.2, "p99_ms": 12.4, "max_ms": 31, "stall_ms": 4.1, "bound": 3 / sent,
                  "versions": {old: {"count": 1, "first": START, "last": START}, new: {"count": 1, "first": START, "last": START}},
                  "phases": {phase: {"sent": 9, "failed": 0, "p50_ms": 3.1, "p99_ms": 11.9} for phase in ("before", "during", "after")},
                  "series": {"bucket_s": 0.5, "rows": rows}},
        "balance": {"received": received, "answered": received - gone, "truncated": 2 if gone else 0, "unanswered": gone - 2 if gone else 0, "cut": 0,
                    "client_aborts": 3, "errors_before": 12, "errors_during": 11, "complete": True, "note": text},
        "kernel": {"overflows": 0, "drops": 0},
        "attributed": [{"time": START + 20.2, "kind": "reset" + text, "count": 5, "step": "drain", "member": names[0], "balancer": "lb2" + text,
                        "text": f"5 lost while {names[0]} drained on lb2{text}"},
                       {"time": START + 32, "kind": "http_503", "count": 2, "step": "gate", "member": names[1], "balancer": None,
                        "text": f"2 answered 503 while {names[1]} was checked"}] if failed else [],
        "verdict": "lost" if failed else "clean",
        "sentence": ("7 real requests were lost." if failed else "The three lines of evidence agree: nothing was lost.") + text,
    }
    plan = {"deploy_id": "shop-20261129T150350Z-4f1a", "app": "shop" + text, "environment": "production" + text, "strategy": "rolling" + text,
            "driver": "haproxy" + text, "release": {"digest": "9f2c" * 16 + text, "label": new}, "previous": {"digest": "1b7e" * 16, "label": old},
            "batches": [{"n": number, "members": members} for number, members in enumerate(batches, 1)], "started": START}
    members = [{"name": name, "release": old if kind == "back" else new, "state": "active" + text} for name in names]
    result = {"clean": "succeeded", "back": "rolled_back", "lost": "failed"}[kind]
    return _record.compose(plan, result, START + took, evidence, members, f"shop serves on {size} of {size} members.{text}", events,
                           canary=canary(text) if judged else None)
