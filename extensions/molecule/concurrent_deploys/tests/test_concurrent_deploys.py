# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two deploys at once: the second one was refused and named the first, which went on as if alone."""

from __future__ import annotations

import re


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()


def test_the_second_was_refused_and_names_the_first(stage):
    said = (stage.results / "second.txt").read_text(encoding="utf-8")
    refused = re.findall(r"Action failed: (Deploy of shop was refused: [^\n\x1b]*)", said)
    assert refused, said
    assert stage.record["deploy_id"] in refused[-1]
    assert "process " in refused[-1]
    assert list((stage.results / "second").glob("*.json")) == []


def test_another_application_goes_on(stage):
    assert "Deploy of account: 4 of 4 members were moved" in (stage.results / "other.txt").read_text(encoding="utf-8")


def test_the_first_one_did_what_it_should(stage, nobody_left_out, nothing_left_running):
    assert stage.record["result"] == "succeeded"
    assert stage.running() == dict.fromkeys(stage.members, "2.0.0")
    nobody_left_out()
    nothing_left_running()
    stage.no_lock_left()
