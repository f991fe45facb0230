# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling

HOSTS = ["app1", "app2", "app3", "app4"]


def staged(active, release="n"):
    return {"release": {"digest": release * 64, "label": "2.0.0"}, "active": active and {"digest": active * 64, "label": "1.0.0"}}


def plan(**changes):
    return {"verb": "deploy", "release": "2.0.0", "members": HOSTS, "batch_sizes": [1, "50%"], "min_active": "50%",
            "capacity": {"first": False, "most": 2, "tightest": "pool: 4 of 4 serve, and 2 have to"}, **changes}


def test_moves_only_what_does_not_run_it_already():
    found = _rolling.lay_out(plan(), {name: staged("n" if name == "app1" else "o") for name in HOSTS})
    assert [batch["members"] for batch in found["batches"]] == [["app2"], ["app3"], ["app4"]]
    assert found["unmoved"] == ["app1"]
    assert found["previous"]["label"] == "1.0.0"


def test_second_run_moves_nothing():
    assert _rolling.lay_out(plan(), {name: staged("n") for name in HOSTS})["batches"] == []


@pytest.mark.claim("restart-rolls-what-runs")
def test_restart_moves_everything():
    found = _rolling.lay_out(plan(verb="restart"), {name: staged("n") for name in HOSTS})
    assert sum(len(batch["members"]) for batch in found["batches"]) == 4


def test_hosts_that_disagree_are_named():
    results = {name: staged("o", "n" if name != "app3" else "m") for name in HOSTS}
    with pytest.raises(DowntimeError, match="app3"):
        _rolling.lay_out(plan(release="previous"), results)


def gone_back(verb):
    """What hosts and the journal say after a controller was killed that had moved app1 from n to o."""
    known = {letter: {"digest": letter * 64, "label": letter} for letter in "on"}
    results = {name: {"release": None, "active": known["o" if name == "app1" else "n"], "staged": list(known.values())} for name in HOSTS}
    return results, {"verb": verb, "release": "o" * 64, "label": "o", "before": {"app1": "n" * 64}}


@pytest.mark.claim("rollback-after-a-kill")
@pytest.mark.parametrize("verb, release", [("rollback", "o"), ("deploy", "n")])
def test_a_rollback_ends_a_rollback_that_was_killed_and_undoes_a_deploy(verb, release):
    results, interrupted = gone_back(verb)
    found = _rolling.lay_out(plan(verb="rollback", release="previous"), results, (), interrupted)
    assert found["release"] == {"digest": release * 64, "label": release}


def test_what_an_interrupted_deploy_left_is_known():
    results, interrupted = gone_back("rollback")
    # app1 was moved, app2 was left out; the others are as they were.
    found = _rolling.lay_out(plan(verb="rollback", release="previous"), results, ["app2"], interrupted)
    assert found["unsettled"] == ["app1", "app2"] and sum(len(batch["members"]) for batch in found["batches"]) == 4


def test_a_rollback_of_a_deploy_that_moved_nobody_moves_nobody():
    results = {name: {**staged("o"), "release": None, "previous": {"digest": "p" * 64, "label": "0.9.0"}} for name in HOSTS}
    found = _rolling.lay_out(plan(verb="rollback", release="previous"), results, (), {"verb": "deploy", "release": None, "label": None, "before": {}})
    assert found["batches"] == [] and found["release"]["digest"] == "o" * 64


def test_floor_that_cannot_be_held():
    tight = {"first": False, "most": 0, "tightest": "pool shop on lb1: 2 of 4 serve, and 2 have to"}
    with pytest.raises(DowntimeError, match="deploy_min_active is 50%.*2 of 4 serve"):
        _rolling.lay_out(plan(capacity=tight), {name: staged("o") for name in HOSTS})


@pytest.mark.claim("first-deploy-has-no-floor")
def test_first_deploy_is_not_held_back_by_the_floor():
    first = {"first": True, "most": -2, "tightest": ""}
    found = _rolling.lay_out(plan(capacity=first), {name: staged(None) for name in HOSTS})
    assert [len(batch["members"]) for batch in found["batches"]] == [1, 2, 1]
    assert found["previous"] is None


def test_who_is_away_and_serves_nobody_is_left_out():
    away = {"failed": True, "unreachable_host": True, "msg": "member app2 cannot be reached"}
    found = _rolling.lay_out(plan(), {name: away if name == HOSTS[1] else staged("o") for name in HOSTS})
    assert found["absent"] == [HOSTS[1]]
    assert HOSTS[1] not in [name for batch in found["batches"] for name in batch["members"]]
    assert HOSTS[1] not in found["going_back_to"]


def test_who_is_away_but_serves_is_never_left_out():
    away = {"failed": True, "unreachable_host": True, "msg": "member app2 cannot be reached"}
    the_plan = plan(capacity={**plan()["capacity"], "serving": [HOSTS[1]]})
    with pytest.raises(DowntimeError, match="cannot be reached, but serves"):
        _rolling.lay_out(the_plan, {name: away if name == HOSTS[1] else staged("o") for name in HOSTS})


@pytest.mark.claim("way-back-from-an-outage")
def test_members_that_do_not_serve_come_first_and_no_floor_is_in_their_way():
    """The way back from an outage: one of four serves, and two have to."""
    dead = {"first": False, "most": -1, "tightest": "pool shop on lb1: 1 of 4 serve, and 2 have to", "serving": ["app2"], "ready": ["app2"]}
    found = _rolling.lay_out(plan(capacity=dead, batch_sizes=["100%"]), {name: staged("o") for name in HOSTS})
    # With the three back, all but two may leave.
    assert [batch["members"] for batch in found["batches"]] == [["app1", "app3", "app4"], ["app2"]]


def test_a_floor_that_cannot_be_held_with_everybody_back_is_refused():
    tight = {"first": False, "most": -1, "tightest": "pool shop on lb1: 3 of 4 serve, and 4 have to", "serving": ["app1", "app2", "app3"], "ready": []}
    with pytest.raises(DowntimeError, match="deploy_min_active is 50%.*3 of 4 serve"):
        _rolling.lay_out(plan(capacity=tight), {name: staged("o") for name in HOSTS})


def test_whom_a_person_took_out_is_no_room_for_the_others():
    """It gets the release, and does not come back: the batch behind it would be the first to find out."""
    tight = {"first": False, "most": 0, "tightest": "pool shop on lb1: 3 of 4 serve, and 3 have to", "serving": ["app1", "app2", "app3"]}
    with pytest.raises(DowntimeError, match="deploy_min_active is 3.*3 of 4 serve, and 3 have to"):
        _rolling.lay_out(plan(capacity=tight, held=["app4"], min_active="3"), {name: staged("o") for name in HOSTS})
    # One that an interrupted deploy left out comes back.
    found = _rolling.lay_out(plan(capacity=tight, min_active="3"), {name: staged("o") for name in HOSTS}, ["app4"])
    assert [batch["members"] for batch in found["batches"]] == [["app4"], ["app1"], ["app2"], ["app3"]]


def test_a_rollback_to_a_release_that_a_host_does_not_have_any_more_is_refused_before_anything_moves():
    old, new = {"digest": "o" * 64, "label": "1.0.0"}, {"digest": "n" * 64, "label": "2.0.0"}
    results = {name: {"release": old, "active": new, "previous": old, "staged": [new] if name == "app3" else [old, new]} for name in HOSTS}
    with pytest.raises(DowntimeError, match="app3 has no copy of release 1.0.0 any more.*-e deploy_release=1.0.0 fetches it"):
        _rolling.lay_out(plan(verb="rollback", release="previous"), results)
    results["app3"]["staged"].append(old)
    assert _rolling.lay_out(plan(verb="rollback", release="previous"), results)["batches"]


def test_a_rollback_without_anything_before_says_what_serves_what_it_was_gone_back_from_and_the_command():
    known = {label: {"digest": label[0] * 64, "label": label} for label in ("1.0.0", "2.0.0", "3.0.0")}
    here = {"release": None, "active": known["1.0.0"], "previous": None, "left": known["2.0.0"], "staged": list(known.values())}
    asked = plan(verb="rollback", release="previous", app="shop", said={})
    undo = "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0 undoes that"
    for results in (
            dict.fromkeys(HOSTS, here),
            # As after a deploy that went back by itself from its first batch.
            {name: {**here, "left": here["left"] if name == "app1" else None} for name in HOSTS}):
        with pytest.raises(DowntimeError) as refused:
            _rolling.lay_out(asked, results)
        assert str(refused.value) == f"1.0.0 serves already: it was gone back to from 2.0.0, and nothing ran there before it; {undo}"
    with pytest.raises(DowntimeError, match="1.0.0 serves already on app2: it was gone"):
        _rolling.lay_out(asked, {name: here if name == "app2" else {**here, "previous": known["3.0.0"]} for name in HOSTS})
    # One that has run nothing else names what could be gone to: the newest of which everybody has a copy.
    copies = [{**known["1.0.0"], "time": 9}, {**known["2.0.0"], "time": 1}, {**known["3.0.0"], "time": 2}]
    first = {name: {**here, "left": None, "staged": copies[:2] if name == "app4" else copies} for name in HOSTS}
    with pytest.raises(DowntimeError, match="1.0.0 serves, and nothing ran there before it.*zero.downtime.rollback .*-e deploy_release=2.0.0$"):
        _rolling.lay_out(asked, first)
    with pytest.raises(DowntimeError, match="nothing has run yet, so there is no release to go back to; deploy one first"):
        _rolling.lay_out(asked, {name: {**here, "active": None, "left": None} for name in HOSTS})


def test_a_rollback_of_a_killed_deploy_tells_which_release_it_undoes():
    results, interrupted = gone_back("deploy")
    asked = plan(verb="rollback", release="previous")
    # Killed in its first batch, on its way from n to o; the others have run n all the time.
    found = _rolling.lay_out(asked, results, ["app1"], interrupted)
    assert found["undone"] == {"digest": "o" * 64, "label": "o"} and found["release"]["label"] == "n"
    # Whoever reads the plan, or the record, reads what is left, and not that n comes from n.
    assert found["previous"] == found["undone"]
    kept = _going_on.kept({**asked, **found, "strategy": "rolling", "deploy_id": "d3", "sides": {"blue": {}, "green": {}}})
    assert kept and (kept["verb"], kept["release"]["label"], kept["origin"]["label"]) == ("rollback", "n", "o")
    # One that had moved nobody gave nobody another release.
    unmoved = {name: {**result, "active": {"digest": "n" * 64, "label": "n"}} for name, result in results.items()}
    found = _rolling.lay_out(asked, unmoved, ["app1"], interrupted)
    assert found["undone"] is None and not _going_on.kept({**asked, **found, "strategy": "rolling", "deploy_id": "d3", "sides": {"blue": {}, "green": {}}})
    # Another rollback that ends one that was killed is kept as that one would have been.
    assert _rolling.lay_out(asked, *gone_back("rollback")[:1], (), gone_back("rollback")[1])["undone"] is None


@pytest.mark.claim("down-is-moved")
@pytest.mark.parametrize("verb", ["deploy", "rollback"])
def test_members_that_do_not_serve_are_begun_anew_although_they_have_the_release(verb):
    down = {"first": False, "most": 1, "tightest": "", "serving": ["app2", "app3"], "down": ["app1", "app4"]}
    # app4 is out by a person's hand, and stays out.
    found = _rolling.lay_out(plan(verb=verb, capacity=down, held=["app4"]), {name: staged("n") for name in HOSTS})
    assert found["batches"] == [{"n": 1, "members": ["app1"]}] and found["down"] == ["app1"] and found["unmoved"] == ["app2", "app3", "app4"]
    # One that gets another release is not begun twice.
    other = _rolling.lay_out(plan(verb=verb, capacity=down), {name: staged("o") for name in HOSTS})
    assert other["down"] == [] and other["not_serving"] == ["app1", "app4"]


@pytest.mark.claim("check-counts-who-comes-back")
def test_who_is_back_in_traffic_when_a_batch_begins():
    batches = [{"n": 1, "members": ["app1", "app4"]}, {"n": 2, "members": ["app2"]}, {"n": 3, "members": ["app3"]}]
    laid_out = {"batches": batches, "held": ["app4"]}
    assert [_rolling.restored(laid_out, number) for number in (1, 2, 3)] == [[], ["app1"], ["app1", "app2"]]


def test_what_the_other_side_ran_before_is_nothing_to_go_back_to():
    killed = {"verb": "deploy", "side": "green", "serving": "blue", "release": "p" * 64, "before": dict.fromkeys(HOSTS, "m" * 64)}
    results = {name: {**staged("o"), "staged": [{"digest": "m" * 64, "label": "0.9"}]} for name in HOSTS}
    found = _rolling.lay_out(plan(side="blue"), results, (), killed)
    assert {entry["digest"] for entry in found["going_back_to"].values()} == {"o" * 64} and found["unsettled"] == []
