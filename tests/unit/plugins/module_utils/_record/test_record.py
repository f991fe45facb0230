# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import record as _record

PLAN = {"deploy_id": "d1", "app": "shop", "environment": "production", "strategy": "rolling", "driver": "haproxy", "verb": "deploy",
        "release": {"label": "2.0.0", "digest": "bb"}, "previous": {"label": "1.0.0", "digest": "aa"}, "started": 1000.5,
        "batches": [{"members": ["app1"], "n": 1}], "traffic": {"socket": "/secret"}}
EVENTS = [
    {"time": 1000.6, "step": "plan", "event": "started"},
    {"time": 1001.0, "step": "plan", "event": "finished"},
    {"time": 1001.5, "step": "drain", "event": "started", "members": ["app1"], "batch": 1},
    {"time": 1001.7, "step": "drain", "event": "note", "detail": {"text": "slow"}},
    {"time": 1002.0, "step": "record", "event": "started"},
]


def compose(**more):
    values = {"plan": PLAN, "result": "succeeded", "finished": 1010.0, "events": EVENTS}
    values.update(more)
    return _record.compose(**values)


@pytest.mark.claim("record-keys-in-order")
def test_keys_and_their_order():
    record = compose(evidence={"probe": {"versions": {}, "sent": 3, "extra": 1}, "balance": {"received": 9}, "kernel": {"drops": 0}}, members=[
        {"state": "active", "name": "app1", "release": "2.0.0"}], sentence="fine")
    assert list(record) == ["schema", "deploy_id", "app", "environment", "strategy", "driver", "release", "previous", "started", "finished", "result",
                            "sentence", "batches", "members", "steps", "notes", "evidence", "verb"]
    assert list(record["release"]) == ["digest", "label"]
    assert list(record["evidence"]) == ["probe", "balance", "kernel", "attributed", "verdict", "sentence"]
    assert list(record["evidence"]["probe"]) == ["sent", "ok", "failed", "failures", "longest_gap_ms", "p50_ms", "p99_ms", "versions", "extra"]
    assert list(record["evidence"]["balance"]) == ["received", "answered", "truncated", "unanswered", "cut", "client_aborts", "errors_before", "errors_during"]
    assert record["evidence"]["kernel"] == {"overflows": None, "drops": 0}
    assert list(record["members"][0]) == ["name", "release", "state"]
    # Only what the record names is taken from the plan.
    assert "/secret" not in json.dumps(record)


def test_the_shadow_is_there_where_there_was_one():
    assert "shadow" not in compose()
    shadow = compose(shadow={"verdict": "same", "requests": 3, "method": "replay", "fields": [{"raw": 1, "field": "status", "noise": 0}]})["shadow"]
    assert list(shadow) == ["method", "requests", "compared", "late", "differences", "fields", "verdict", "sentence"]
    assert list(shadow["fields"][0]) == ["field", "raw", "noise", "how", "path", "reported"]


def test_steps_are_closed():
    steps = {step["name"]: step for step in compose()["steps"]}
    assert steps["plan"]["result"] == "succeeded" and steps["plan"]["finished"] == 1001.0
    assert steps["drain"]["result"] == "interrupted" and steps["drain"]["finished"] is None
    assert steps["record"] == {"name": "record", "started": 1002.0, "finished": 1010.0, "result": "succeeded", "members": [], "batch": None, "balancer": None}
    assert compose()["notes"][0]["detail"] == {"text": "slow"}


@pytest.mark.claim("record-null-is-not-zero")
def test_nothing_measured_is_null_not_zero():
    evidence = compose(evidence={})["evidence"]
    assert evidence == {"probe": None, "balance": None, "kernel": None, "attributed": [], "verdict": None, "sentence": None}
    assert compose(evidence=None)["evidence"] == evidence


@pytest.mark.parametrize("given, expected", [
    (1000.5, 1000.5), ("1000.5", 1000.5), ("1970-01-01T00:16:40Z", 1000.0), ("1970-01-01T01:16:40+01:00", 1000.0), ("1970-01-01T00:16:40", 1000.0),
    (None, 1000.6),
])
def test_started(given, expected):
    assert compose(plan=dict(PLAN, started=given))["started"] == expected


def test_started_without_anything():
    assert compose(plan={"deploy_id": "x"}, events=[])["started"] == 1010.0


@pytest.mark.parametrize("plan, result, words", [
    ({}, "succeeded", "plan has no deploy_id"),
    (PLAN, "well", "result is 'well'; accepted are succeeded, rolled_back, failed."),
    (dict(PLAN, started="noon"), "failed", "plan.started is 'noon'"),
    (dict(PLAN, started=True), "failed", "plan.started is True"),
    (dict(PLAN, started=float("nan")), "failed", "plan.started is nan"),
    (dict(PLAN, release=3), "failed", "plan.release is 3"),
])
def test_bad_input(plan, result, words):
    with pytest.raises(DowntimeError, match=words.replace(".", r"\.")):
        _record.compose(plan, result, 1.0)


def test_a_release_that_was_never_resolved():
    assert compose(plan=dict(PLAN, release="2.0.0", previous=""))["release"] == {"digest": None, "label": "2.0.0"}


def test_dumps_round_trip_and_short():
    record = compose(evidence={"probe": {"series": {"bucket_s": 1, "rows": [{"t": i, "sent": 1} for i in range(100)]}, "p50_ms": float("nan")}})
    text = _record.dumps(record)
    assert json.loads(text) == record
    assert record["evidence"]["probe"]["p50_ms"] is None
    assert len(text.splitlines()) < 200, "a row of the series is one line"
    assert _record.dumps({}) == "{}\n"
    assert json.loads(_record.dumps({"ü": ["<", []]})) == {"ü": ["<", []]}


@pytest.mark.parametrize("deploy_id, name", [("a-1.2_b", "a-1.2_b"), ("../../etc/passwd", "_._.._etc_passwd"), (".hidden", "_hidden"), ("a b/ü", "a_b__")])
def test_paths_stay_inside(tmp_path, deploy_id, name):
    path, report = _record.paths(str(tmp_path), deploy_id)
    assert os.path.dirname(path) == str(tmp_path) == os.path.dirname(report)
    assert path.endswith(".json") and report.endswith(".html") and not os.path.basename(path).startswith(".")
    if deploy_id != "../../etc/passwd":
        assert os.path.basename(path) == f"{name}.json"


@pytest.mark.claim("record-whole-or-not")
def test_write_whole_or_not_at_all(tmp_path, monkeypatch):
    path = str(tmp_path / "new" / "d1.json")
    _record.write(path, "one\n")
    assert open(path, encoding="utf-8").read() == "one\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_record.os, "fsync", full)
    with pytest.raises(DowntimeError, match="No space left on device.*record is in this task's result"):
        _record.write(path, "two\n")
    assert open(path, encoding="utf-8").read() == "one\n"
    assert os.listdir(tmp_path / "new") == ["d1.json"]


def test_write_where_a_file_lies(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DowntimeError, match="records_dir .*file cannot be written"):
        _record.write(str(tmp_path / "file" / "d1.json"), "x")


def test_read(tmp_path):
    path = tmp_path / "x.json"
    assert _record.read(str(path)) is None
    path.write_text("{half")
    assert _record.read(str(path)) is None
    path.write_text("[]")
    assert _record.read(str(path)) is None
    path.write_text("{}")
    assert _record.read(str(path)) == {}


def test_same_but_for_the_moment():
    assert _record.same(compose(), compose(finished=2000.0))
    assert not _record.same(compose(), compose(result="failed"))
    assert not _record.same(None, compose())
