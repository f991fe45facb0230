# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a push is laid out, and how it is told; that it loses no request is shown on the local stage."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import status as _status
from ansible_collections.zero.downtime.plugins.module_utils._driver import push as _push_options
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy import push as _push

AT = "app shop at the works"
ONE, TWO, THREE = ({"digest": digit * 64, "label": f"{digit}.0.0"} for digit in "123")
EVIDENCE = {"url": "http://127.0.0.1/", "rate": 50.0}


def plan(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "verb": "deploy",
        "app": "shop",
        "platform": AT,
        "members": [AT],
        "release": "2.0.0",
        "min_active": "50%",
        "driver": "healthcheck",
        "evidence": EVIDENCE,
        "side": "blue",
        "serving_side": "blue",
        "strategy": "push",
        "capacity": {},
        **changes,
    }


def found(active: t.Any = ONE, **more: t.Any) -> dict[str, t.Any]:
    return {AT: _push_options.told({"active": active, "staged": [ONE, TWO, THREE], **more})}


KILLED = {
    "verb": "deploy",
    "strategy": "push",
    "release": TWO["digest"],
    "label": "2.0.0",
    "side": "blue",
    "serving": "blue",
    "before": {AT: ONE["digest"]},
}


@pytest.mark.parametrize(
    "changes, at_platform, interrupted, release, moves, goes_back_to",
    [
        ({}, found(release=TWO), None, TWO, True, ONE),
        ({}, found(TWO, release=TWO), None, TWO, False, None),
        ({"verb": "rollback", "release": "previous"}, found(TWO, previous=ONE), None, ONE, True, TWO),
        ({"verb": "rollback", "release": "3.0.0"}, found(TWO, previous=ONE, release=THREE), None, THREE, True, TWO),
        # Killed before the platform had begun, while it was at work, and behind that.
        ({"verb": "rollback", "release": "previous"}, found(), KILLED, ONE, False, None),
        ({"verb": "rollback", "release": "previous"}, found(pending=TWO), KILLED, ONE, True, ONE),
        ({"verb": "rollback", "release": "previous"}, found(TWO, previous=ONE), KILLED, ONE, True, ONE),
        # Going on with it goes back to what was there before the first of them.
        ({}, found(pending=TWO, release=TWO), KILLED, TWO, True, ONE),
        ({"release": "3.0.0"}, found(TWO, release=THREE), KILLED, THREE, True, ONE),
    ],
)
def test_what_is_moved_and_what_it_goes_back_to(
    changes: t.Any, at_platform: t.Any, interrupted: t.Any, release: t.Any, moves: bool, goes_back_to: t.Any
) -> None:
    laid_out = _push.lay_out(plan(**changes), at_platform, (), interrupted)
    assert laid_out["release"] == release and laid_out["first"] is False
    assert laid_out["batches"] == ([{"n": 1, "members": [AT]}] if moves else []) and laid_out["unmoved"] == (
        [] if moves else [AT]
    )
    assert laid_out["going_back_to"] == ({AT: goes_back_to} if moves else {})


def test_what_a_killed_one_has_begun_is_put_right_also_where_nothing_else_moves() -> None:
    rollback = plan(verb="rollback", release="previous")
    assert _push.lay_out(rollback, found(pending=TWO), (), KILLED)["unsettled"] == [AT]
    behind = _push.lay_out(rollback, found(TWO), (), KILLED)
    assert behind["unsettled"] == [AT] and behind["previous"] == TWO
    assert _push.lay_out(plan(), found(release=TWO))["unsettled"] == []


def test_a_first_release_has_nothing_to_go_back_to() -> None:
    laid_out = _push.lay_out(plan(), found(None, release=TWO))
    assert (
        laid_out["first"]
        and laid_out["going_back_to"] == {AT: None}
        and laid_out["previous"] is None
        and laid_out["watch_before"] == 0.0
    )


@pytest.mark.parametrize(
    "changes, at_platform, sentence",
    [
        ({}, found(), f"{AT} has no release 2.0.0; it has 1.0.0, 2.0.0, 3.0.0"),
        (
            {},
            found(release=TWO, pending=THREE),
            f"{AT} is being brought to 3.0.0, which no deploy that is known here has begun",
        ),
        ({"verb": "rollback", "release": "previous"}, found(), "1.0.0 serves, and nothing ran there before it"),
    ],
)
def test_what_is_refused(changes: t.Any, at_platform: t.Any, sentence: str) -> None:
    with pytest.raises(DowntimeError) as caught:
        _push.lay_out(plan(**changes), at_platform)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "driver, evidence, seconds",
    [
        ("healthcheck", EVIDENCE, 4.0),
        ("healthcheck", {"url": "http://127.0.0.1/", "rate": 20.0}, 5.0),
        ("healthcheck", {"url": None, "rate": 50.0}, 0.0),
        ("haproxy", EVIDENCE, 0.0),
    ],
)
def test_what_served_before_is_watched_where_nobody_else_counts(driver: str, evidence: t.Any, seconds: float) -> None:
    assert _push.lay_out(plan(driver=driver, evidence=evidence), found(release=TWO))["watch_before"] == seconds


# -- how it ended ------------------------------------------------------------------------------------------------------
def ended(
    local: t.Any, why: str | None = None, checking: bool = False, at_platform: t.Any = None, **changes: t.Any
) -> dict[str, t.Any]:
    whole = plan(**changes)
    whole = {**whole, **_push.lay_out(whole, at_platform or found(release=TWO))}
    return _push.outcome(local, whole, "Deploy of shop", why, checking)


def report(**result: t.Any) -> dict[str, t.Any]:
    return {"members": {AT: result}}


WELL, GONE, UNKNOWN = (
    report(changed=True),
    report(failed=True, msg="2.0.0 was given up"),
    report(failed=True, msg="answered 503"),
)


@pytest.mark.parametrize(
    "local, why, result, end, runs",
    [
        ({"__deploy_moved": WELL}, None, "succeeded", f"Deploy of shop: {AT} was moved to 2.0.0.", "2.0.0"),
        (
            {"__deploy_moved": GONE, "__deploy_back": report(changed=False)},
            "2.0.0 was given up",
            "rolled_back",
            f"{AT} kept 1.0.0.",
            "1.0.0",
        ),
        (
            {"__deploy_moved": WELL, "__deploy_back": report(changed=True)},
            "12 requests were lost",
            "rolled_back",
            f"{AT} went back to 1.0.0.",
            "1.0.0",
        ),
        (
            {"__deploy_moved": WELL, "__deploy_stay": True},
            "1 request was lost",
            "failed",
            f"nothing was moved back; {AT} runs 2.0.0.",
            "2.0.0",
        ),
        ({}, "the hook before_shift failed", "rolled_back", f"{AT} kept 1.0.0.", "1.0.0"),
        (
            {"__deploy_moved": WELL, "__deploy_back": UNKNOWN, "__deploy_problems": ["answered 503"]},
            "12 requests were lost",
            "failed",
            "undoes it",
            None,
        ),
        (
            {"__deploy_moved": WELL, "__deploy_back": report(changed=True), "__deploy_problems": ["it is not ready"]},
            "12 were lost",
            "failed",
            f"{AT} went back to 1.0.0; it is not ready.",
            "1.0.0",
        ),
    ],
)
def test_how_it_ended(local: t.Any, why: str | None, result: str, end: str, runs: str | None) -> None:
    told = ended(local, why)
    assert told["result"] == result and end.rstrip(".") in told["sentence"], told
    assert told["members"] == [{"name": AT, "release": runs, "state": "active" if runs else "unknown"}]
    assert why is None or f"Deploy of shop to 2.0.0 failed: {why}; " in told["sentence"]
    assert "1 of 1" not in told["sentence"] and "member" not in told["sentence"]


def test_what_only_was_looked_at_or_has_the_release_already() -> None:
    assert ended({}, None, True)["sentence"] == f"Deploy of shop would move {AT} to 2.0.0; nothing has been changed."
    already = ended({}, None, at_platform=found(TWO, release=TWO))
    assert (
        already["sentence"] == f"Deploy of shop: {AT} runs 2.0.0 already, and nothing was moved."
        and already["result"] == "succeeded"
    )
    kept = ended({}, "somebody stopped it", at_platform=found(TWO, release=TWO))
    assert kept["sentence"].endswith(f"{AT} runs 2.0.0 as before.") and kept["result"] == "rolled_back"


def test_a_first_release_that_failed_has_no_way_back() -> None:
    told = ended({"__deploy_moved": GONE}, "2.0.0 was given up", at_platform=found(None, release=TWO))
    assert told["result"] == "failed" and f"there is no release before that {AT} could go back to" in told["sentence"]
    untouched = ended({}, "the hook before_shift failed", at_platform=found(None, release=TWO))
    assert untouched["result"] == "rolled_back" and untouched["sentence"].endswith(
        "has run no release before, and runs none now."
    )


def test_a_deploy_tells_it_by_the_strategys_own_words() -> None:
    laid_out = {**plan(), **_push.lay_out(plan(), found(release=TWO))}
    hostvars = {
        "localhost": {
            "__deploy_moved": WELL,
            "__deploy_evidence": {"evidence": {"verdict": "clean", "sentence": "No request was lost."}},
        }
    }
    told = _outcome.outcome(hostvars, [], laid_out, {"verb": "deploy", "app": "shop"})
    assert told["sentence"] == f"Deploy of shop: {AT} was moved to 2.0.0; no request was lost."


# -- what others say of it ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "result, sentence",
    [
        ({}, "its module said nothing of the release that is active"),
        (
            {"active": "2.0.0"},
            "its module said that active is '2.0.0'; a mapping with digest and label, or null, is needed",
        ),
        ({"active": None, "pending": {"label": "2.0.0"}}, "its module said that pending is {'label': '2.0.0'}"),
    ],
)
def test_an_answer_that_nobody_can_go_by_is_refused(result: t.Any, sentence: str) -> None:
    with pytest.raises(DowntimeError) as caught:
        _push_options.told(result)
    assert sentence in str(caught.value)


def status(result: t.Any, **lock: t.Any) -> dict[str, t.Any]:
    whole = plan(environment="production", servers={AT: AT})
    return _status.build(whole, {AT: result}, {}, {"keeper": lock})


def test_status_names_a_platform_that_is_at_work_and_a_push_that_did_not_end() -> None:
    assert status(found(TWO)[AT])["sentence"] == f"shop (production): {AT} runs 2.0.0"
    assert status(found(pending=TWO)[AT])["problems"] == [
        f"{AT} is being brought to 2.0.0, and no deploy that is known here waits for that"
    ]
    journal = [{"deploy_id": "d1", "state": "activated", "intent": KILLED}]
    (unfinished,) = status(found(TWO)[AT], journal=journal)["problems"]
    assert unfinished.startswith("the deploy to 2.0.0 (d1) has not ended; ") and "zero.downtime.rollback" in unfinished
    running = status(found(pending=TWO)[AT], journal=journal, lock={"deploy_id": "d1", "holder": {}, "since": 9e9})
    assert running["problems"] == [] and len(running["running"]) == 1
    silent = status({"failed": True, "msg": "GET /apps/shop answered 401"})
    assert silent["problems"] == [f"{AT}: GET /apps/shop answered 401"]
