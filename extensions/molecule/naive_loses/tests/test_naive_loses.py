# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence must not be quiet when requests were lost: a plain restart loses some, and both witnesses count them."""

from __future__ import annotations


def test_requests_were_lost(stage):
    assert stage.load["failed"] > 0


def test_the_evidence_says_so(stage):
    evidence = stage.record["evidence"]
    assert evidence["verdict"] == "lost"
    assert evidence["attributed"]


def test_the_balance_sheet_counts_every_loss_of_every_client(stage):
    """Silent closes are in no error counter of the balancer; received less answered finds each of them."""
    evidence = stage.record["evidence"]
    balance = evidence["balance"]
    counted = balance["unanswered"] + balance["truncated"] + balance["errors_during"]
    lost = stage.load["failed"] + evidence["probe"]["failed"]
    # Where a member reset a connection, one loss may be in two counters, which the note says.
    twice = min(balance["unanswered"], balance["truncated"] + balance["errors_during"]) if "counts both" in (balance["note"] or "") else 0
    assert lost <= counted <= lost + twice, balance["note"]


def test_the_release_was_rolled_out(stage, nobody_left_out, nothing_left_running):
    """Else the losses would tell nothing about a plain restart."""
    assert stage.running() == {member: "2.0.0" for member in stage.members}
    nobody_left_out()
    nothing_left_running()
