# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof


def test_who_is_ready_without_the_header_is_told_from_who_says_nothing() -> None:
    answers = [{"name": "app1", "status": 200, "digest": "a" * 64}, {"name": "app2", "status": 200, "digest": None},
               {"name": "app3", "status": None, "digest": None}, {"name": "app4", "status": 503, "digest": None},
               {"name": "app5", "status": 503, "digest": "a" * 64}]
    # A member that is drained by its own check says what it runs, and one that is not ready may say nothing at all.
    assert _proof.sorted_out(answers, [200]) == {"sent": ["app1", "app5"], "lacking": ["app2"]}


def test_the_warning_says_what_follows() -> None:
    said = {verb: _proof.warning(verb, "x-release", ["app1", "app2"]) for verb in ("deploy", "rollback", "restart")}
    assert all(text.startswith("deploy_health.header: what runs now on app1, app2 is ready, but without the header x-release, so which release answers "
                               "is unproven; ") for text in said.values())
    assert said["deploy"].endswith("the new one has to send it, and going back to this one is accepted by its readiness alone")
    assert said["rollback"].endswith("what it goes back to is accepted by its readiness alone, too, unless it has sent it before")
    assert said["restart"].endswith("; it is accepted by its readiness alone")


def test_a_plan_that_asked_nobody_asks_for_the_header_and_goes_back_without() -> None:
    assert _proof.forward({"verb": "deploy"}, "app1") == _proof.NEEDED and _proof.back({"verb": "deploy"}, "app1") == _proof.OPTIONAL


@pytest.mark.claim("rollback-asks-for-the-header-again")
def test_a_rollback_asks_for_the_header_where_the_release_has_sent_it_before() -> None:
    old, new = "o" * 64, "n" * 64
    staged = {"app1": {"told": {old: "x-release", new: "x-release"}}, "app2": {"told": {new: "x-release"}}, "app3": {"told": {old: "x-version"}}, "app4": {}}
    plan = {"verb": "rollback", "health": {"header": "X-Release"}, "headers": {"sent": [], "lacking": ["app1"]}}
    # A header of another name, as it was called before, is not asked for; where nothing was asked, nothing is known.
    assert _proof.tells(plan, staged, old) == ["app1"]
    plan["tells"] = _proof.tells(plan, staged, old)
    assert [_proof.forward(plan, name) for name in staged] == [_proof.NEEDED, _proof.OPTIONAL, _proof.OPTIONAL, _proof.OPTIONAL]
    assert _proof.tells({**plan, "health": {}}, staged, old) == []
