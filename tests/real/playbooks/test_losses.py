# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses and errors while a deploy runs: it goes back, or says what was cut on purpose."""

from __future__ import annotations

import json
import pathlib
import subprocess
import threading
import typing as t

import pytest
from haproxy_stage import ask, get
from held import URL, Held, events
from sides import version

PATIENT = {"deploy_drain_timeout": 300}


def record(records: pathlib.Path) -> dict:
    (path,) = records.glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.claim("goes-back-when-worse")
@pytest.mark.nightly  # With blue/green the same is found, and gone back from: test_blue_green. That a roll goes back: test_site_playbook.
def test_a_release_with_errors_goes_back(stage, tmp_path):
    records = tmp_path / "records"
    # The more is asked, the sooner it shows.
    played = stage.play("zero.downtime.deploy", deploy_release="4.0.0-errors", deploy_batch_pause=3, deploy_evidence_rate=50, deploy_records_dir=str(records))
    assert played.rc == 2, played.output
    assert "The application got worse" in played.sentence
    assert "went back; 4 of 4 members serve 1.0.0" in played.sentence
    assert record(records)["result"] == "rolled_back"
    assert version() == "1.0.0"


@pytest.mark.claim("rise-of-4xx-goes-back-where-asked")
def test_a_release_that_refuses_what_was_answered_goes_back_where_asked(stage, tmp_path):
    """The probe does not ask what is refused now: real users do, who were answered before."""
    answers: list[int] = []
    over = threading.Event()

    def users() -> None:
        while not over.is_set():
            answers.append(get(URL + "/slow?ms=1")[0])

    user = threading.Thread(target=users)
    user.start()
    try:
        played = stage.play("zero.downtime.deploy", deploy_release="4.0.0-picky", deploy_evidence_judge_4xx=True, deploy_batch_pause=2,
                            deploy_records_dir=str(tmp_path))
    finally:
        over.set()
        user.join()
    assert set(answers) == {200, 403}, "both releases must have been met"
    assert played.rc == 2 and "real requests were answered with a 4xx, 0 of " in played.sentence, played.output
    assert "went back; 4 of 4 members serve 1.0.0" in played.sentence and version() == "1.0.0"
    found = record(tmp_path)["evidence"]
    assert found["verdict"] == "degraded" and (found["probe"]["failed"], found["balance"]["lost"]) == (0, 0)


@pytest.mark.claim("drain-timeout-fails")
def test_a_drain_that_takes_too_long_fails_and_cuts_nothing(stage, tmp_path):
    records = tmp_path / "records"
    with Held(until=lambda held: any((event["step"], event["event"]) == ("drain", "failed") for event in events(records))) as held:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_drain_timeout=1, deploy_records_dir=str(records))
    assert played.rc == 2, played.output
    assert f"not drained: shop_blue/app1 ({held.at['app1']} in flight)" in played.sentence
    assert "; nothing was cut; no member had changed its release; 4 of 4 members serve 1.0.0" in played.sentence, played.sentence
    assert held.answers == [200] * held.count
    assert version() == "1.0.0"


@pytest.mark.claim("balance-cut-counted")
def test_a_drain_that_may_cut_counts_what_it_cut(stage, tmp_path):
    records = tmp_path / "records"
    # The second batch may come when they have ended: those that were cut keep the first one's processes for as long as they last.
    with Held(until=lambda held: len(held.lost) == held.at["app1"] + held.at["app2"]) as held:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_drain_timeout=1, deploy_drain_timeout_action="cut", deploy_batches=[2],
                            deploy_records_dir=str(records))
    assert played.rc == 0, played.output
    sheet = record(records)["evidence"]["balance"]
    assert sheet["cut"] == len(held.lost) >= 2
    assert f"{sheet['cut']} more cut on purpose" in played.sentence


def is_out(stage, member):
    """Whether the balancer gives it no new requests: from then on what happens to it happens to one that is moved."""
    rows = [line.split() for line in ask(stage.socket(), "show servers state shop_blue").splitlines()]
    return any(row[3] == member and row[6] != "0" for row in rows if len(row) > 6 and row[0].isdigit())


@pytest.mark.claim("lost-requests-go-back")
@pytest.mark.parametrize("member, is_moved", [("app1", True), ("app4", False)])
def test_a_member_killed_under_load_takes_the_deploy_back_where_it_is_moved(stage, tmp_path, member, is_moved):
    """It dies while the first member drains. One that nobody moves has died by itself: that is told, and the deploy goes on."""
    records, killed = tmp_path / "records", []

    def dies(held: Held) -> t.Any:
        if not killed and is_out(stage, "app1"):
            killed.append(subprocess.run(["pkill", "-9", "-f", f"{member}-blue.pid"], check=False).returncode)
        return held.lost

    with Held(until=dies, each=2) as held:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[1], deploy_records_dir=str(records), **PATIENT)
    assert killed == [0], "the member must be there to be killed"
    assert held.lost, "the kill must hit requests in flight, else this test proves nothing"
    balance = record(records)["evidence"]["balance"]
    if is_moved:
        assert played.rc == 2 and "lost" in played.sentence, played.output
        assert balance["lost"] >= len(held.lost) and version() == "1.0.0"
    else:
        assert played.rc == 0 and version() == "2.0.0", played.output
        assert "no request was lost by this deploy" in played.sentence and " on app4 (" in played.sentence, played.sentence
        assert balance["lost"] == 0 and balance["background"].startswith("background: ")
