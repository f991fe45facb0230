# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._health import readiness as _readiness

HEALTH = {"path": "/ready?token=secret", "status": [200, 204], "timeout": 60}


def answer(name: str = "app1", **changes: t.Any) -> dict[str, t.Any]:
    return {"name": name, "ok": False, "unproven": False, "status": 404, "detail": "answered 404", **changes}


@pytest.mark.claim("plan-asks-what-runs-now")
def test_what_no_gate_takes_now_has_to_be_answered_by_the_release_that_comes() -> None:
    refused = answer("app3", status=None, detail="127.0.0.1:1 refused the connection")
    good = [
        answer("app4", ok=True, status=200),
        answer("app5", unproven=True, status=200),
        answer("app6", status=None, timed_out=True),
    ]
    needed = "the new release has to answer 200 or 204 there, or its gate fails after 60 s"
    stays = "; what goes back to this one passes none either, and stays out of traffic"
    assert _readiness.warnings("deploy", False, HEALTH, [answer("app1"), refused, answer("app2"), *good]) == [
        f"deploy_health: what runs now on app1, app2 answered 404 at /ready; {needed}{stays}",
        "deploy_health: what runs now on app3 did not answer at /ready (127.0.0.1:1 refused the connection); "
        f"{needed}{stays}",
    ]
    # The side that serves is not touched by a deploy to the other one.
    assert _readiness.warnings("deploy", True, HEALTH, [answer()])[0].endswith(needed)
    for verb, ahead in (("rollback", "what it goes back to has to"), ("restart", "begun anew, it has to")):
        said = _readiness.warnings(verb, False, HEALTH, [answer(status=503, detail="answered 503")])
        assert f" answered 503 at /ready; {ahead} answer 200 or 204 there, or its gate fails after 60 s" in said[0]


@pytest.mark.claim("plan-asks-what-runs-now")
def test_a_restart_of_what_does_not_know_the_path_is_refused() -> None:
    refused = "deploy_health.path is /ready, which app1 answers with 404: begun anew it is the same release"
    with pytest.raises(DowntimeError, match=refused):
        _readiness.check_restart("restart", HEALTH, [answer(), answer("app2", status=503)])
    for verb, health, found in (
        ("deploy", HEALTH, answer()),
        ("rollback", HEALTH, answer()),
        ("restart", HEALTH, answer(status=503)),
        ("restart", {**HEALTH, "status": [404]}, answer(ok=True)),
    ):
        _readiness.check_restart(verb, health, [found])
