# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._diagnosis.checks import Checks
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

STRATEGIES = ["rolling", "blue_green", "canary"]


def refused():
    raise DowntimeError("pool shop is not there.")


def test_each_check_is_a_line_with_what_mends_it():
    checks = Checks(STRATEGIES)
    checks.well("balancer", "lb1", "answers")
    checks.passed_over("artifact", None, "no release is named")
    assert checks.tried("pool", "lb1", ["backend shop"], refused) is None
    assert checks.tried("pool", "lb1", ["backend shop"], lambda: 7) == 7
    assert checks.lines() == [
        "✓ balancer, lb1: answers",
        "– artifact: no release is named",
        "✗ pool, lb1: pool shop is not there",
        "    backend shop",
    ]
    assert checks.found[2] == {
        "name": "pool",
        "host": "lb1",
        "ok": False,
        "text": "pool shop is not there",
        "mend": ["backend shop"],
        "bars": STRATEGIES,
    }
    assert not checks.mended()


def test_what_is_wrong_has_something_that_mends_it():
    with pytest.raises(AssertionError, match="nothing mends pool: it is not there"):
        Checks(STRATEGIES).wrong("pool", None, "it is not there", [" "])


def test_the_sentence_names_each_strategy_once():
    checks = Checks(STRATEGIES)
    assert checks.sentence() == "ready for rolling, blue_green, canary" and checks.mended()
    checks.wrong("second_side", None, "pool shop has no second side", ["lines"], ["blue_green", "canary"])
    assert (
        checks.sentence() == "ready for rolling; not ready for blue_green, canary because pool shop has no second side"
    )
    checks.wrong("canary", None, "nobody counts", ["deploy_canary: …"], ["canary"])
    assert checks.sentence() == (
        "ready for rolling; not ready for blue_green because pool shop has no second side; "
        "not ready for canary because pool shop has no second side (and 1 more ✗ above)"
    )
    checks.wrong("lock", "lb1", "a dead deploy has the lock", ["deploy again"], [])
    assert checks.ready() == ["rolling"] and not checks.mended()
    # A deploy goes on with it, so it is a warning.
    assert checks.lines()[-2:] == ["⚠ lock, lb1: a dead deploy has the lock", "    deploy again"]
    checks.wrong("evidence", None, "refused", ["curl"])
    assert checks.ready() == [] and checks.sentence().startswith(
        "not ready for rolling because refused; not ready for blue_green because"
    )


def test_a_rule_that_is_asked_for_each_strategy_is_one_line():
    checks = Checks(STRATEGIES)
    for strategy in ("canary", "blue_green"):
        checks.tried("pool", None, ["lines"], refused, [strategy])
    assert len(checks.found) == 1 and checks.found[0]["bars"] == ["blue_green", "canary"]


def test_what_is_the_same_on_several_hosts_is_one_line():
    checks = Checks(STRATEGIES)
    for host in ("app1", "app2"):
        checks.well("disk", host, "/srv has room")
        checks.wrong(
            "service", host, "unit shop is not there", [f"install it on {host}" if host == "app2" else "install it"]
        )
    checks.take({"name": "disk", "ok": True, "text": "/srv has room", "mend": []}, "app3")
    checks.take({"name": "service", "ok": False, "text": "unit shop is not there", "mend": ["install it"]}, "app3")
    checks.take({"name": "service", "ok": None, "text": "comes with the first release", "mend": []}, "app4")
    assert checks.lines() == [
        "✓ disk, app1, app2, app3: /srv has room",
        "✗ service, app1, app3: unit shop is not there",
        "    install it",
        "✗ service, app2: unit shop is not there",
        "    install it on app2",
        "– service, app4: comes with the first release",
    ]
