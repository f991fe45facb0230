# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence must not be quiet when requests were lost: a plain restart loses some, and both witnesses count them."""

from __future__ import annotations

import re

import pytest


def test_requests_were_lost(stage):
    assert stage.load["failed"] > 0


def test_the_evidence_says_so(stage):
    evidence = stage.record["evidence"]
    assert evidence["verdict"] == "lost"
    assert evidence["attributed"]


@pytest.mark.claim("naive-restart-is-reported")
def test_the_balance_sheet_counts_every_loss_of_every_client(stage):
    """Silent closes are in no error counter of the balancer; received less answered finds each of them."""
    evidence = stage.record["evidence"]
    balance = evidence["balance"]
    counted = balance["unanswered"] + balance["truncated"] + balance["errors_during"]
    lost = stage.load["failed"] + evidence["probe"]["failed"]
    # Where members reset connections the note tells, for each balancer, between which two numbers the truth lies.
    bounds = re.findall(r"between (\d+) and (\d+) requests were lost", balance["note"] or "")
    assert abs(lost - counted) <= sum(int(most) - int(least) for least, most in bounds), balance


def test_the_release_was_rolled_out(stage, nobody_left_out, nothing_left_running):
    """Else the losses would tell nothing about a plain restart."""
    assert stage.running() == {member: "2.0.0" for member in stage.members}
    nobody_left_out()
    nothing_left_running()
