# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without the balancers' sockets: members failed their own check, and the balancers let them finish."""

from __future__ import annotations


def test_no_request_was_lost(stage, nothing_lost):
    nothing_lost()
    assert set(stage.load["versions"]) == {"1.0.0", "2.0.0"}


def test_every_member_runs_the_release(stage):
    assert stage.running() == {member: "2.0.0" for member in stage.members}
    assert stage.record["result"] == "succeeded"
    assert stage.record["driver"] == "healthcheck"


def test_the_balancers_saw_each_member_leave(stage):
    """The sockets were not used, so a member can only have left by its check: each balancer counts it down."""
    for balancer in stage.balancers:
        for name, row in stage.servers(balancer).items():
            assert int(row["chkdown"]) >= 1, (balancer, name)


def test_nobody_is_left_out(nobody_left_out, nothing_left_running):
    nobody_left_out()
    nothing_left_running()
