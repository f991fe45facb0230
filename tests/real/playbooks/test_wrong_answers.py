# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that answer each request, and none of them well: with nothing, or late. Only the probe can tell."""

from __future__ import annotations

import json
import pathlib

import pytest
from sides import version

FAST = {"deploy_batch_pause": 3, "deploy_evidence_rate": 100}


def evidence(records: pathlib.Path) -> dict:
    (path,) = records.glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))["evidence"]


@pytest.mark.claim("probe-knows-a-wrong-answer", "evidence-paths-in-turn")
def test_a_release_that_answers_with_nothing_goes_back(stage, tmp_path):
    records = tmp_path / "records"
    played = stage.play(
        "zero.downtime.deploy",
        deploy_release="4.0.0-empty",
        deploy_evidence_paths=["/slow?ms=1"],
        deploy_records_dir=str(records),
        **FAST,
    )
    assert played.rc == 2, played.output
    assert "The application got worse" in played.sentence and "GET / answered 200 without a body" in played.sentence
    assert "went back; 4 of 4 members serve 1.0.0" in played.sentence and version() == "1.0.0"
    found = evidence(records)
    probe, sheet = found["probe"], found["balance"]
    assert set(probe["failures"]) == {"empty"} and (sheet["lost"], sheet["errors_during"]) == (0, 0)
    # What the deploy knew of releases has come to the probe, and both paths were judged.
    assert set(probe["answers"]["labels"].values()) == {"1.0.0", "4.0.0-empty"}
    assert {name: one["judged"] for name, one in probe["answers"]["addresses"].items()} == {
        "GET /": True,
        "GET /slow": True,
    }
    assert probe["paths"]["GET /"]["failed"] == probe["failed"] and probe["paths"]["GET /slow"]["sent"] > 0


@pytest.mark.claim("slower-is-said", "slower-fails-where-asked")
@pytest.mark.parametrize("most", [None, 3])
def test_a_release_that_is_slower_is_said_to_be_and_goes_back_where_asked(stage, tmp_path, most):
    records = tmp_path / "records"
    played = stage.play(
        "zero.downtime.deploy",
        deploy_release="4.0.0-slow",
        # Ten times slower are 0.6 s; faster questions would be more than the members can answer at a time.
        deploy_evidence_url="http://127.0.0.1:8080/slow?ms=60",
        deploy_records_dir=str(records),
        **{**FAST, "deploy_evidence_rate": 30},
        **({} if most is None else {"deploy_evidence_max_slowdown": most}),
    )
    assert "release 4.0.0-slow answers slower: p50 " in played.sentence, played.output
    assert [one["slower"] for one in evidence(records)["probe"]["slowdown"]["compared"]] == [True]
    if most is None:
        assert played.rc == 0 and "no request was lost" in played.sentence and version() == "4.0.0-slow"
    else:
        assert played.rc == 2 and "and deploy_evidence_max_slowdown allows 3 times" in played.sentence
        assert "went back; 4 of 4 members serve 1.0.0" in played.sentence and version() == "1.0.0"
