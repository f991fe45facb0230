# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What doctor does by itself; what it finds is tried with real servers (tests/real/playbooks/test_doctor.py)."""

from __future__ import annotations

import types

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import checks as _checks
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import doctor as _doctor
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.plugin_utils import _examining

ANSWERS = "before every balancer answers"
LACKS = "as long as balancer lb1 lacks the pool nope"


@pytest.mark.parametrize(
    "balancers, without, seen, lacking, told",
    [
        (["lb1"], [], [], {}, ANSWERS),
        (["lb1"], [], ["lb1"], {"lb1": ["nope"]}, LACKS),
        (["lb1", "lb2"], [], ["lb1"], {"lb1": ["nope"]}, ANSWERS),
        (["lb1", "lb2"], ["lb2"], ["lb1"], {"lb1": ["nope"]}, LACKS),
        (
            ["lb1", "lb2"],
            [],
            ["lb1", "lb2"],
            {"lb1": ["nope", "no"], "lb2": ["no"]},
            f"{LACKS}, no; balancer lb2 lacks the pool no",
        ),
    ],
)
def test_a_balancer_that_lacks_a_pool_is_not_said_to_be_silent(balancers, without, seen, lacking, told):
    examination = _examining.Examination.__new__(_examining.Examination)
    examination.balancers, examination.without, examination.lacking = balancers, without, lacking
    examination.seen = {name: {"pools": []} for name in seen}
    assert examination._before() == told


MEMBERS = ["app1", "app2", "app3", "app4"]
ANEW = "ansible-playbook zero.downtime.deploy -e deploy_release=1.0.0"


def examined(serving, min_active, runs=True, held=(), left=()):
    """An examination of four members before one balancer.

    Those that do not serve and are not C(held) are dead; C(left) were left out by a deploy.
    """
    looked = _examining.Examination.__new__(_examining.Examination)
    looked.checks, looked.commands = _checks.Checks(["rolling", "blue_green"]), _doctor.Commands()
    looked.driver = types.SimpleNamespace(info="info")
    looked.checked = {"deploy_min_active": min_active}
    looked.serving, looked.members = "blue", MEMBERS
    looked.by_side = {"blue": {name: {"server": f"s-{name}"} for name in MEMBERS}}
    looked.examined = {name: {"active": {"digest": "d" * 64, "label": "1.0.0"} if runs else None} for name in MEMBERS}
    looked.capacity = _plan.capacity({"pool shop on lb1": [{"full": name in serving} for name in MEMBERS]}, min_active)
    looked.held = [*held, *left]
    looked.dead = [name for name in MEMBERS if name not in (*serving, *looked.held)]
    journal = [{"deploy_id": "d1", "time": 1.0, "state": "drained", "members": [f"s-{name}" for name in left]}] if left else []
    looked.locks = {"lb1": {"journal": journal}}
    return looked


@pytest.mark.parametrize(
    "found, okay, text, mends",
    [
        (examined([], "50%", runs=False), True, "no member serves yet, so the next deploy is a first one", []),
        (examined(MEMBERS, "50%"), True, "pool shop on lb1: 4 of 4 serve, and 2 have to (deploy_min_active 50%)", []),
        (examined(MEMBERS[:3], "50%"), True, "pool shop on lb1: 3 of 4 serve, and 2 have to (deploy_min_active 50%)", []),
        (
            examined([], "50%"), False,
            "no member serves now, so there is no floor to keep; a deploy begins app1, app2, app3, app4 anew first", [f"{ANEW}  # begins"],
        ),
        (
            examined(MEMBERS[:2], "3"), False,
            "pool shop on lb1: 2 of 4 serve, and 3 have to (deploy_min_active 3); a deploy begins app3, app4 anew first", [f"{ANEW}  # begins"],
        ),
        # The floor is kept, but nobody may leave before somebody is back.
        (
            examined(MEMBERS[:3], "3", held=["app4"]), False,
            "pool shop on lb1: 3 of 4 serve, and 3 have to (deploy_min_active 3); app4 was taken out by a person, and stays out",
            ["ansible-playbook zero.downtime.activate -e deploy_members=app4  # brings back"],
        ),
        (
            examined(MEMBERS[:2], "3", left=["app3"]), False,
            "pool shop on lb1: 2 of 4 serve, and 3 have to (deploy_min_active 3); a deploy begins app4 anew first; "
            "a deploy brings back app3, which one before left out", [f"{ANEW}  # begins", "ansible-playbook zero.downtime.rollback  # goes back"],
        ),
    ],
)
def test_a_floor_without_room_is_no_good_sign(found, okay, text, mends):
    found.of_floor()
    (check,) = found.checks.found
    assert (check["ok"], check["text"], check["bars"]) == (okay, text, [])
    assert len(check["mend"]) == len(mends) and all(line.startswith(begins) for line, begins in zip(check["mend"], mends)), check


def test_a_floor_that_can_never_be_kept_bars_rolling():
    found = examined(MEMBERS, "4")
    found.of_floor()
    assert [check["bars"] for check in found.checks.found] == [["rolling"]]


def test_who_does_not_serve_is_not_said_to_be_in_traffic():
    assert _doctor.nothing_left([]) == "no member is out of traffic, and nothing is half done"
    assert _doctor.nothing_left(["app2"]) == "beside app2, which does not serve, no member is out of traffic, and nothing is half done"
    assert _doctor.nothing_left(["app2", "app3"]).startswith("beside app2, app3, which do not serve, no member")


def rolling_plan(looked):
    """The plan that doctor gets without a release, of members that a deploy left on two releases."""
    return {
        "verb": "rollback", "release": "previous", "app": "shop", "strategy": "rolling", "side": "blue", "serving_side": "blue", "said": {},
        "members": MEMBERS, "servers": {name: f"s-{name}" for name in MEMBERS}, "held": list(looked.held), "health": {}, "batch_sizes": [1],
        "min_active": looked.checked["deploy_min_active"], "capacity": {**looked.capacity, "serving": [], "down": list(looked.dead)},
    }


@pytest.mark.parametrize("min_active, bars", [("50%", []), ("4", ["rolling"])])
def test_members_on_two_releases_keep_no_deploy_of_a_release_that_is_named(min_active, bars):
    looked = examined(MEMBERS, min_active)
    looked.examined["app1"] = {"active": {"digest": "e" * 64, "label": "1.1"}, "previous": {"digest": "d" * 64, "label": "1.0.0"}}
    looked.staged, looked.staged_side = {}, ""
    looked.driver = types.SimpleNamespace(info="info", strategies=["rolling"])
    plan = rolling_plan(looked)
    plan["capacity"]["serving"] = MEMBERS
    looked._laid_out("rolling", plan)
    assert [check["text"][:17] for check in looked.checks.found] == ["deploy_min_active" for dummy in bars], looked.checks.found
    assert [check["bars"] for check in looked.checks.found] == [[strategy] for strategy in bars]
