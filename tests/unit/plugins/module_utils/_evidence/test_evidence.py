# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import Outcome, Tally

T0 = 1000.0
STEPS = [
    {"name": "stage", "started": T0 + 1, "finished": T0 + 9, "result": "succeeded", "members": [], "batch": None},
    {"name": "drain", "started": T0 + 10, "finished": T0 + 12, "result": "succeeded", "members": ["app3"], "batch": 1},
    {"name": "activate", "started": T0 + 12, "finished": T0 + 14, "result": "succeeded", "members": ["app3"], "batch": 1},
    {"name": "return", "started": T0 + 14, "finished": T0 + 16, "result": "succeeded", "members": ["app3"], "batch": 1},
]


def account(losses=(), rate=10, seconds=20, **config):
    """A probe's account: one good request each 1/rate seconds, and ``losses`` as (seconds, kind[, version])."""
    tally = Tally(_probe.complete({"url": "http://shop.example/", **config}), T0)
    for number in range(int(rate * seconds)):
        tally.finish("fresh", T0 + number / rate, T0 + number / rate, 0.005, Outcome(None, "", 200, "1.0.0", "abc"))
    for when, kind, *version in losses:
        tally.finish("fresh", T0 + when, T0 + when, None, Outcome(kind, "", 0, version[0] if version else None, None))
    return {**tally.report(T0 + seconds), "stall_ms": 2.4, "skipped": 0, "notes": [], "first_ok": tally.first_ok}


def reading(when, requests, ok=None, errors=0, app=0, truncated=0, at="checked", balancer="lb2", kernel=None):
    return {"time": T0 + when, "balancer": balancer, "at": at, "kernel": kernel or {"listen_overflows": 0, "listen_drops": 0}, "counters": [{
        "worker": 1, "current": True, "requests": requests, "responses": {"2xx": requests - errors if ok is None else ok, "5xx": errors},
        "server_5xx": app, "open": 0, "client_aborts": 0, "server_aborts": truncated}]}


def clean_sheet():
    return [reading(0, 0, at="started"), reading(9, 900), reading(20, 2000, at="stopped")]


def test_clean():
    found = _evidence.compose(account(), clean_sheet(), steps=STEPS)
    assert found["verdict"] == "clean" and not found["rollback"] and found["attributed"] == []
    assert found["sentence"].startswith("No request was lost: 0 of 200 probe requests and 0 of 2,000 real requests; longest gap 100 ms, own stall 3 ms")
    assert found["probe"]["phases"]["before"]["sent"] + found["probe"]["phases"]["during"]["sent"] + found["probe"]["phases"]["after"]["sent"] == 200
    assert found["probe"]["phases"]["during"]["sent"] == pytest.approx(60, abs=6)
    assert all("hist" not in row for row in found["probe"]["series"]["rows"])
    assert found["kernel"] == {"overflows": 0, "drops": 0}


def test_the_numbers_of_the_end_are_those_of_a_deploy_that_moved_something():
    samples = clean_sheet()[:2] + [reading(20, 2000, ok=1998, at="stopped")]
    found = _evidence.compose(account([(11, "eof_reused"), (11.2, "eof_reused")]), samples, steps=STEPS)
    assert found["at_the_end"] == "2 of 202 probe requests failed (2 eof_reused) and 2 of 2,000 real requests lost"
    assert _evidence.compose(account(), clean_sheet(), steps=STEPS[:1])["at_the_end"] == ""


@pytest.mark.claim("confirmed-loss-goes-back", "losses-are-attributed")
def test_one_loss_that_the_sheet_confirms():
    samples = clean_sheet()[:2] + [reading(20, 2000, ok=1998, at="stopped")]
    found = _evidence.compose(account([(11, "eof_reused"), (11.2, "eof_reused")]), samples, steps=STEPS)
    assert (found["verdict"], found["rollback"]) == ("lost", True)
    assert found["balance"]["lost"] == 2
    probe_entry = [entry for entry in found["attributed"] if entry["line"] == "probe"][0]
    assert {key: probe_entry[key] for key in ("count", "step", "member", "balancer", "kind")} == {
        "count": 2, "step": "drain", "member": "app3", "balancer": "lb2", "kind": "eof_reused"}
    assert probe_entry["text"].startswith("2 lost (eof_reused) at ") and probe_entry["text"].endswith(" while app3 drained on lb2")
    assert "2 of 2,000 real requests lost (2 unanswered)" in found["sentence"]


@pytest.mark.claim("probe-alone-fails-no-rollback")
def test_one_loss_that_a_whole_sheet_misses():
    found = _evidence.compose(account([(13, "reset")]), clean_sheet(), steps=STEPS)
    assert (found["verdict"], found["rollback"]) == ("unconfirmed", False)
    assert "the balance sheet misses none of its 2,000 requests" in found["sentence"]


@pytest.mark.parametrize("samples, part", [
    ([], "no balancer's counters can be asked"),
    (clean_sheet() + [{"time": T0 + 21, "balancer": "lb2", "at": "stopped", "failed": "gone"}], "the balance sheet is incomplete"),
    (clean_sheet()[:2] + [reading(20, 2000, at="stopped", kernel={"listen_overflows": 4, "listen_drops": 4})], "the kernel lost connections"),
])
def test_a_loss_that_nothing_can_contradict(samples, part):
    found = _evidence.compose(account([(13, "refused")]), samples, steps=STEPS)
    assert found["verdict"] == "lost" and part in found["sentence"]


def test_only_the_sheet_saw_it():
    found = _evidence.compose(account(), clean_sheet()[:2] + [reading(20, 2000, truncated=1, at="stopped")], steps=STEPS)
    assert found["verdict"] == "lost" and "the probe met none of them" in found["notes"]
    assert found["attributed"][0]["line"] == "balance" and found["attributed"][0]["balancer"] == "lb2"


def test_the_balancers_own_5xx_are_losses_and_the_applications_are_not():
    own = _evidence.compose(account(), clean_sheet()[:2] + [reading(20, 2000, errors=2, at="stopped")], steps=STEPS)
    assert own["verdict"] == "lost" and "2 answered by the balancer with a 5xx" in own["sentence"]
    app = _evidence.compose(account(), clean_sheet()[:2] + [reading(20, 2000, errors=2, app=2, at="stopped")], steps=STEPS)
    assert app["verdict"] == "clean", "two errors of an application are no trend"


def member_sheet(*rows):
    """Readings of two members: (seconds, {member: (requests, lost)}); each loss is an answer that was cut short."""
    return [{"time": T0 + when, "balancer": "lb1", "at": "checked", "counters": [{
        "worker": 1, "current": True, "requests": sum(requests for requests, _lost in members.values()), "open": 0, "client_aborts": 0,
        "responses": {"2xx": sum(requests for requests, _lost in members.values())}, "server_5xx": 0,
        "server_aborts": sum(lost for _requests, lost in members.values()),
        "pools": {"shop": {"members": {name: {"requests": requests, "cut_short": lost} for name, (requests, lost) in members.items()}}}}]}
        for when, members in rows]


def test_a_loss_on_a_member_that_nobody_moved_is_background_and_named():
    samples = member_sheet((0, {"app3": (0, 0), "app4": (0, 0)}), (9, {"app3": (500, 0), "app4": (500, 0)}), (20, {"app3": (1000, 0), "app4": (1000, 1)}))
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert (found["verdict"], found["balance"]["lost"], found["balance"]["truncated"]) == ("clean", 0, 1)
    assert found["sentence"].startswith(
        "No request was lost by this deploy: 0 of 200 probe requests and 0 of 2,000 real requests; background: 1 truncated on app4 (0.1 %, 0 % before);")
    assert found["attributed"] == []


def test_what_was_lost_before_anything_moved_is_not_passed_over():
    samples = member_sheet((0, {"app3": (0, 0)}), (9, {"app3": (500, 2)}), (20, {"app3": (1000, 2)}))
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert found["verdict"] == "clean"
    assert "No request was lost by this deploy: " in found["sentence"] and "background: 2 truncated before anything moved (0.4 %)" in found["sentence"]


def test_the_same_loss_on_the_member_that_was_moved_is_the_deploys():
    samples = member_sheet((0, {"app3": (0, 0), "app4": (0, 0)}), (9, {"app3": (500, 0), "app4": (500, 0)}), (20, {"app3": (1000, 1), "app4": (1000, 0)}))
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert (found["verdict"], found["balance"]["lost"]) == ("lost", 1)
    assert found["attributed"][0]["member"] == "app3" and found["attributed"][0]["balancer"] == "lb1"


@pytest.mark.claim("background-is-not-the-deploys")
def test_what_happens_all_the_time_happens_on_a_moved_member_as_well():
    """A service that truncates 2 % all the time: the probe meets it, too, and nothing goes back."""
    samples = member_sheet((0, {"app3": (0, 0), "app4": (0, 0)}), (9, {"app3": (500, 11), "app4": (500, 9)}), (20, {"app3": (1000, 21), "app4": (1100, 23)}))
    losses = [(number, "truncated") for number in range(1, 20, 4)]
    found = _evidence.compose(account(losses), samples, steps=STEPS)
    assert (found["verdict"], found["balance"]["lost"]) == ("clean", 0), found["sentence"]
    assert "background as before: 24 truncated on app3, app4 (2.2 %, 2.0 % before)" in found["sentence"]


def test_what_no_balancer_counts_is_not_explained_by_what_it_loses():
    samples = member_sheet((0, {"app3": (0, 0), "app4": (0, 0)}), (9, {"app3": (500, 11), "app4": (500, 9)}), (20, {"app3": (1000, 21), "app4": (1100, 23)}))
    found = _evidence.compose(account([(11, "refused"), (11.5, "truncated")]), samples, steps=STEPS)
    assert found["verdict"] == "unconfirmed" and "1 refused" in found["sentence"]
    # Nor by another kind of failure of the probe's own from before.
    earlier = _evidence.compose(account([(3, "truncated"), (11, "refused")]), clean_sheet(), steps=STEPS)
    assert earlier["verdict"] == "unconfirmed"


def test_what_became_much_more_frequent_counts_beyond_what_it_was():
    samples = member_sheet((0, {"app3": (0, 0), "app4": (0, 0)}), (9, {"app3": (500, 10), "app4": (500, 10)}), (20, {"app3": (1000, 110), "app4": (1000, 20)}))
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert found["verdict"] == "lost" and found["balance"]["lost"] == 90
    assert {entry["member"] for entry in found["attributed"]} == {"app3"}


def broken(when, unanswered, truncated, requests, open_now=0, pool="shop", member="app3"):
    """One member's counters: so many requests without an answer, and so many answers that were cut short."""
    answered = requests - unanswered
    return {"time": T0 + when, "balancer": "lb1", "at": "checked", "counters": [{
        "worker": 1, "current": True, "requests": requests + open_now, "responses": {"2xx": answered}, "open": open_now, "server_5xx": 0, "faults": 0,
        "client_aborts": 0, "server_aborts": truncated,
        "pools": {pool: {"members": {member: {"requests": requests, "cut_short": truncated, "missing": unanswered}}}}}]}


@pytest.mark.claim("each-planted-loss-is-seen")
def test_truncated_answers_are_seen_beside_requests_without_an_answer():
    """A service that has always closed 2 % of its connections, and a release that cuts a tenth of its answers short besides."""
    samples = [broken(0, 0, 0, 0), broken(9, 20, 0, 1000), broken(20, 44, 60, 2000)]
    found = _evidence.compose(account([(12, "truncated")]), samples, steps=STEPS)
    assert (found["verdict"], found["balance"]["lost_by_kind"]) == ("lost", {"truncated": 60})
    assert found["balance"]["truncated"] == 36 and "between 80 and 104 requests ended without a whole answer" in found["balance"]["note"]


def test_requests_that_a_kill_left_without_an_answer_are_seen_beside_truncated_ones():
    samples = [broken(0, 0, 0, 0), broken(9, 0, 20, 1000), broken(20, 1, 41, 2000)]
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert (found["verdict"], found["balance"]["lost_by_kind"]) == ("lost", {"unanswered": 1})


def test_a_reset_that_counts_as_both_is_one():
    samples = [broken(0, 0, 0, 0), broken(9, 0, 0, 1000), broken(20, 3, 3, 2000)]
    assert _evidence.compose(account(), samples, steps=STEPS)["balance"]["lost_by_kind"] == {"unanswered": 3}


@pytest.mark.claim("nothing-moved-nothing-lost")
def test_a_deploy_that_moves_nothing_loses_nothing():
    steps = [{"name": name, "started": T0 + when, "finished": T0 + when + 1, "result": "succeeded", "members": [], "batch": None}
             for name, when in (("plan", 0), ("lock", 1), ("stage", 2), ("verify", 9))]
    samples = [broken(0, 0, 0, 0), broken(9, 10, 0, 500), broken(20, 20, 0, 1000)]
    losses = [(number, "eof_reused") for number in range(1, 20, 4)] + [(number, "status_500", "1.0.0") for number in range(2, 20, 4)]
    found = _evidence.compose(account(losses), samples, steps=steps)
    assert (found["verdict"], found["balance"]["lost"], found["attributed"]) == ("clean", 0, [])
    # Before the first move it is told.
    assert _evidence.compose(account(losses), samples, steps=steps, baseline=True)["verdict"] == "lost"


def test_the_idle_sides_moves_are_not_the_serving_sides():
    steps = [{**step, "pools": ["shop_green"]} for step in STEPS]
    for pool, verdict in (("shop_blue", "clean"), ("shop_green", "lost")):
        samples = [broken(0, 0, 0, 0, pool=pool), broken(9, 0, 0, 1000, pool=pool), broken(20, 1, 0, 2000, pool=pool)]
        assert _evidence.compose(account(), samples, steps=steps)["verdict"] == verdict, pool


def test_a_loss_is_put_down_to_a_step_of_its_own_member():
    steps = [*STEPS, {"name": "drain", "started": T0 + 17, "finished": T0 + 19, "result": "succeeded", "members": ["app4"], "batch": 2}]
    samples = [broken(0, 0, 0, 0), broken(9, 0, 0, 1000), broken(15, 0, 0, 1600), broken(18, 1, 0, 2000)]
    entry, = _evidence.compose(account(), samples, steps=steps)["attributed"]
    assert (entry["step"], entry["member"]) == ("return", "app3") and "while app3 came back" in entry["text"]


UNSURE = "; so few losses may be what happens all the time, since only 150 real requests came before anything moved"


@pytest.mark.claim("few-losses-beside-few-requests")
def test_one_loss_beside_few_requests_is_no_verdict_at_once():
    def read(when, lost, requests):
        """As much came to a member that nobody moves."""
        return member_sheet((when, {"app3": (requests, lost), "app4": (requests, 0)}))[0]

    few = [read(0, 0, 0), read(9, 0, 75), read(20, 1, 200)]
    found = _evidence.compose(account(), few, steps=STEPS)
    assert found["hasty"] and UNSURE in found["sentence"]
    # Where nobody stands still any more, there is nothing to wait for.
    switch = {"name": "switch", "started": T0 + 10, "finished": T0 + 10.1, "result": "succeeded", "members": [], "batch": None}
    alone = _evidence.compose(account(), few, steps=[switch])
    assert not alone["hasty"] and alone["verdict"] == "lost" and UNSURE in alone["sentence"]
    everybody = [{**step, "members": ["app3", "app4"]} for step in STEPS]
    assert not _evidence.compose(account(), few, steps=everybody)["hasty"]
    many = [broken(0, 0, 0, 0), broken(9, 0, 0, 1600), broken(20, 1, 0, 2000)]
    surely = _evidence.compose(account(), many, steps=STEPS)
    assert not surely["hasty"] and "all the time" not in surely["sentence"]
    several = [broken(0, 0, 0, 0), broken(9, 0, 0, 150), broken(20, 6, 0, 400)]
    assert not _evidence.compose(account(), several, steps=STEPS)["hasty"]


def test_a_balancers_own_name_for_a_member_is_known():
    steps = [{**step, "servers": {"app3": "srv-3"}} for step in STEPS]
    samples = member_sheet((0, {"srv-3": (0, 0)}), (9, {"srv-3": (500, 0)}), (20, {"srv-3": (1000, 1)}))
    found = _evidence.compose(account(), samples, steps=steps)
    assert found["verdict"] == "lost" and found["attributed"][0]["member"] == "app3"


def test_errors_of_a_moment_are_suspected_and_no_verdict():
    steps = [{**step, "started": step["started"] - 5, "finished": step["finished"] - 5} for step in STEPS]
    samples = [reading(0, 0, at="started"), reading(5, 1000), reading(12, 2400), reading(13, 2600, errors=60, app=60)]
    found = _evidence.compose(account(), samples, steps=steps)
    text = "60 of 1,600 real requests were answered with a 5xx, 0 of 1,000 before"
    assert (found["verdict"], found["suspected"]) == ("clean", text) and "for a moment only: " + text in found["notes"]
    on = samples + [reading(13 + second, 2600 + 200 * second, errors=60 + 40 * second, app=60 + 40 * second) for second in range(1, 7)]
    lasting = _evidence.compose(account(), on, steps=steps)
    assert lasting["verdict"] == "degraded" and not lasting["suspected"]
    off = samples + [reading(13 + second, 2600 + 200 * second, errors=60, app=60) for second in range(1, 7)]
    assert _evidence.compose(account(), off, steps=steps)["verdict"] == "clean"


def test_the_budget():
    samples = clean_sheet()[:2] + [reading(20, 2000, ok=1998, at="stopped")]
    found = _evidence.compose(account([(11, "reset"), (11.2, "reset")]), samples, steps=STEPS, max_failed=2)
    assert found["verdict"] == "clean" and found["sentence"].startswith("Within the budget: 2 of 202 probe requests failed")


def test_the_application_got_worse_by_the_probe():
    losses = [(10 + number / 4, "status_500", "2.0.0") for number in range(20)]
    found = _evidence.compose(account(losses, rate=50), clean_sheet(), steps=STEPS)
    assert (found["verdict"], found["rollback"]) == ("degraded", True)
    assert "20 of" in found["sentence"] and "0 of" in found["sentence"]


def test_the_application_got_worse_by_the_sheet_only():
    once = clean_sheet()[:2] + [reading(20, 2000, errors=60, app=60, at="stopped")]
    found = _evidence.compose(account(), once, steps=STEPS)
    # In eleven seconds without a reading all of them may have come in one.
    assert found["verdict"] == "clean" and "60 of 1,100 real requests" in found["suspected"]
    found = _evidence.compose(account(), [*once[:2], reading(15, 1500, errors=30, app=30), once[2]], steps=STEPS)
    assert found["verdict"] == "degraded" and "60 of 1,100 real requests" in found["sentence"]


# A canary died with the flag on: what it left serving answers 1 of 5 requests with an error until the step clear has taken the requests off it.
CLEAR = {"name": "clear", "started": T0 + 6, "finished": T0 + 8, "result": "succeeded", "members": [], "batch": None}


@pytest.mark.parametrize("name, blamed", [("clear", False), ("drain", True)])
def test_errors_of_a_dead_deploy_are_not_the_next_ones_by_the_probe(name, blamed):
    losses = [(6.5 + number / 100, "status_500", "2.0.0") for number in range(150)]
    found = _evidence.compose(account(losses), clean_sheet(), steps=[{**CLEAR, "name": name}, *STEPS])
    assert found["verdict"] == ("degraded" if blamed else "clean"), found["sentence"]
    assert found["probe"]["phases"]["during"]["failed"] == 150


@pytest.mark.claim("dead-deploys-errors")
@pytest.mark.parametrize("name, blamed", [("clear", False), ("drain", True)])
def test_errors_of_a_dead_deploy_are_not_the_next_ones_by_the_sheet(name, blamed):
    samples = [reading(0, 0, at="started"), reading(3.5, 350), reading(7.9, 790, errors=100, app=100),
               reading(20, 2000, errors=100, app=100, at="stopped")]
    found = _evidence.compose(account(), samples, steps=[{**CLEAR, "name": name}, *STEPS])
    # For a moment only, so that a check looks on where they may be the deploy's.
    assert (found["verdict"], bool(found["suspected"])) == ("clean", blamed), found["sentence"]
    assert found["balance"]["errors_during"] == 100


def test_errors_after_the_dead_deploy_is_off_are_the_releases_own():
    samples = [reading(0, 0, at="started"), reading(7.9, 790), reading(14, 1400, errors=30, app=30), reading(20, 2000, errors=60, app=60, at="stopped")]
    assert _evidence.compose(account(), samples, steps=[CLEAR, *STEPS])["verdict"] == "degraded"
    losses = [(10 + number / 8, "status_500", "2.0.0") for number in range(60)]
    assert _evidence.compose(account(losses, rate=50), clean_sheet(), steps=[CLEAR, *STEPS])["verdict"] == "degraded"


# An idle side that takes long to get the release, under few requests: the window before the first move holds 40, what came before the switch 160.
SLOW_IDLE_SIDE = [{"name": "drain", "started": T0 + 4, "finished": T0 + 5, "result": "succeeded", "members": ["app1"], "batch": 1},
                  {"name": "activate", "started": T0 + 5, "finished": T0 + 14, "result": "succeeded", "members": ["app1"], "batch": 1}]


@pytest.mark.parametrize("name", ["switch", "share 100 %"])
def test_a_release_is_compared_with_all_that_came_before_users_met_it(name):
    steps = [*SLOW_IDLE_SIDE, {"name": name, "started": T0 + 16, "finished": T0 + 16.1, "result": "succeeded", "members": [], "batch": None}]
    losses = [(16.5 + number / 4, "status_500", "2.0.0") for number in range(20)]
    by_probe = _evidence.compose(account(losses, seconds=22), clean_sheet(), steps=steps)
    assert by_probe["verdict"] == "degraded" and "20 of 80 probe requests" in by_probe["sentence"], by_probe["sentence"]
    samples = [reading(0, 0, at="started"), reading(4, 40), reading(15.9, 160)]
    samples += [reading(when, 10 * when, errors=when * 4 - 64, app=when * 4 - 64) for when in (17, 20, 23, 26)]
    by_sheet = _evidence.compose(account(), samples, steps=steps)
    assert by_sheet["verdict"] == "degraded" and "40 of 100 real requests were answered with a 5xx, 0 of 160 before" in by_sheet["sentence"]


def test_an_application_that_the_work_on_the_idle_side_disturbs_is_worse():
    steps = [*SLOW_IDLE_SIDE, {"name": "switch", "started": T0 + 16, "finished": T0 + 16.1, "result": "succeeded", "members": [], "batch": None}]
    losses = [(4.5 + number / 6, "status_500", "1.0.0") for number in range(90)]
    assert _evidence.compose(account(losses), clean_sheet(), steps=steps)["verdict"] == "degraded"
    samples = [reading(0, 0, at="started"), reading(4, 400), reading(15.9, 1600, errors=360, app=360), reading(22, 2200, errors=540, app=540, at="stopped")]
    assert _evidence.compose(account(), samples, steps=steps)["verdict"] == "degraded"


SWITCH = {"name": "switch", "started": T0 + 16, "finished": T0 + 16.1, "result": "succeeded", "members": [], "batch": None}


@pytest.mark.claim("few-answers-of-what-serves-now")
@pytest.mark.parametrize("before, after, said", [
    (500, 0, "what serves now has answered no request yet"),
    (500, 1, "what serves now has answered 1 request only: whatever became of it could not be told from chance"),
    (500, 3, "what serves now has answered 3 requests only: only failures of all of them would be told from chance"),
    (500, 40, "what serves now has answered 40 requests only: failures of less than 13 % of them would not be told from chance"),
    (500, 120, None), (5000, 400, None),
    # Here it is the time before that is too short, and a note says so.
    (20, 2000, None),
])
def test_how_little_few_answers_tell_is_said(before, after, said):
    samples = [reading(0, 0, at="started"), reading(15.9, before), reading(16.2, before + 5), reading(20, before + 5 + after, at="stopped")]
    found = _evidence.compose(None, samples, steps=[SWITCH])
    assert found["verdict"] == "clean"
    assert found["sentence"].endswith(f"; {said}.") if said else "what serves now" not in found["sentence"], found["sentence"]
    # The bound is that of the very test: one failure less is none.
    for failed, verdict in ((5, "degraded"), (4, "clean")) if after == 40 else ():
        last = reading(20, before + 45, errors=failed, app=failed, at="stopped")
        far = [reading(20 + second, before + 45, errors=failed, app=failed) for second in range(5, 9)]
        assert bool(_evidence.compose(None, [*samples[:3], last, *far], steps=[SWITCH])["suspected"]) is (verdict == "degraded"), failed


def test_a_deploy_that_went_back_or_moved_nothing_says_nothing_of_answers():
    samples = [reading(0, 0, at="started"), reading(15.9, 500), reading(20, 503, at="stopped")]
    for steps in ([], [SWITCH, {**SWITCH, "name": "back_switch", "started": T0 + 17, "finished": T0 + 17.1}]):
        assert "what serves now" not in _evidence.compose(None, samples, steps=steps)["sentence"]


def test_without_counters_the_probes_own_answers_are_few():
    found = _evidence.compose(account(rate=50, seconds=16.5), (), steps=[SWITCH])
    assert "what serves now has answered 25 requests only" in found["sentence"], found["sentence"]


def test_what_clearing_itself_loses_is_a_loss():
    samples = [reading(0, 0, at="started"), reading(5, 500), reading(7.9, 790, ok=788), reading(20, 2000, ok=1998, at="stopped")]
    assert _evidence.compose(account([(7, "reset"), (7.1, "reset")]), samples, steps=[CLEAR, *STEPS])["verdict"] == "lost"
    own = [reading(0, 0, at="started"), reading(5, 500), reading(7.9, 790, errors=2), reading(20, 2000, errors=2, at="stopped")]
    assert _evidence.compose(account(), own, steps=[CLEAR, *STEPS])["verdict"] == "lost"


def test_a_deploy_that_never_got_past_clearing_blames_nobody():
    losses = [(6.5 + number / 10, "status_500", "2.0.0") for number in range(16)]
    found = _evidence.compose(account(losses), clean_sheet(), steps=[{**CLEAR, "finished": None, "result": "failed"}])
    assert found["verdict"] == "clean", found["sentence"]


def test_an_application_that_was_always_like_that_is_not_worse():
    losses = [(number / 2, "status_500", "1.0.0") for number in range(40)]
    samples = [reading(0, 0, at="started"), reading(9, 900, errors=90, app=90), reading(20, 2000, errors=200, app=200, at="stopped")]
    assert _evidence.compose(account(losses), samples, steps=STEPS)["verdict"] == "clean"


def test_a_503_that_the_application_signed_is_the_applications():
    losses = [(10 + number / 4, "status_503", "2.0.0") for number in range(20)]
    assert _evidence.compose(account(losses, rate=50), clean_sheet(), steps=STEPS)["verdict"] == "degraded"
    unsigned = [(10 + number / 4, "status_503") for number in range(20)]
    assert _evidence.compose(account(unsigned), (), steps=STEPS)["verdict"] == "lost"


def test_failures_before_anything_moved_are_background():
    found = _evidence.compose(account([(3, "reset")]), clean_sheet(), steps=STEPS)
    assert found["verdict"] == "clean" and "1 probe request failed before anything moved" in found["notes"]
    # Many more of them than before are the deploy's.
    many = [(3, "reset")] + [(11 + number / 10, "reset") for number in range(40)]
    assert _evidence.compose(account(many), (), steps=STEPS)["verdict"] == "lost"


def test_without_any_known_move_everything_counts():
    assert _evidence.compose(account([(3, "reset")]))["verdict"] == "lost"


def test_a_first_deploy_starts_to_count_with_the_first_admitted_member():
    samples = [reading(0, 0, at="started"), reading(5, 500, errors=500), reading(19, 1900, errors=600), reading(30, 2500, errors=600, at="stopped")]
    probe = account(expect_serving=False)
    probe["first_ok"] = T0 + 4
    returned = next(step["finished"] for step in STEPS if step["name"] == "return")
    assert T0 + 5 < returned < T0 + 19
    found = _evidence.compose(probe, samples, steps=STEPS, first=True)
    assert found["verdict"] == "clean" and found["balance"]["received"] == 600
    # What moves nothing has no such step.
    assert _evidence.compose(probe, samples, steps=[], first=True)["balance"]["received"] == 2000
    assert _evidence.compose(None, samples, steps=STEPS, first=True)["balance"]["received"] == 600
    probe["first_ok"] = None
    assert _evidence.compose(probe, samples, steps=[], first=True)["balance"] is None


def test_a_probe_that_died_proves_nothing_but_what_it_saw():
    found = _evidence.compose(account(), clean_sheet(), steps=STEPS, died="the probe ended without an account")
    assert found["verdict"] == "unconfirmed" and "the probe ended without an account" in found["sentence"]
    assert _evidence.compose(None, clean_sheet(), steps=STEPS, died="the probe ended")["verdict"] == "unconfirmed"


def test_cut_connections_are_counted_and_said():
    events = [{"time": T0 + 12, "step": "drain", "event": "finished", "detail": {"cut": 3}}]
    found = _evidence.compose(None, clean_sheet(), events, STEPS)
    assert found["balance"]["cut"] == 3 and found["verdict"] == "clean"


TCP = "shop is in mode tcp, in which HAProxy knows connections and no requests"


def uncounted(*balancers):
    return [{"time": T0 + when, "balancer": balancer, "at": "checked", "failed": TCP, "uncounted": True} for when in (0, 9, 20) for balancer in balancers]


@pytest.mark.claim("no-loss-is-said-when-all-is-whole", "nginx-no-log-no-sheet")
def test_where_no_balancer_counts_no_more_is_said_than_what_was_measured():
    found = _evidence.compose(account(), uncounted("lb1", "lb2"), steps=STEPS)
    assert (found["verdict"], found["balance"]) == ("clean", None)
    assert found["sentence"].startswith("No loss was seen, and not everything was counted: 0 of 200 probe requests; "), found["sentence"]
    assert found["sentence"].endswith(f"; no balancer counted real requests: lb1, lb2: {TCP}."), found["sentence"]
    alone = _evidence.compose(None, uncounted("lb1"), steps=STEPS)["sentence"]
    assert alone == f"Nothing was measured: there is neither an evidence URL nor a balancer that counts requests (lb1: {TCP})."
    # A driver without balancers that could be asked has nobody who could count, and claims nothing of real requests.
    assert _evidence.compose(account(), [], steps=STEPS)["sentence"].startswith("No request was lost: 0 of 200 probe requests; ")


def test_what_was_cut_is_told_where_no_balancer_counts_too():
    steps = [dict(step, cut=12) if step["name"] == "drain" else step for step in STEPS]
    events = [{"time": T0 + 12, "step": "drain", "event": "finished", "detail": {"cut": 12}}]
    found = _evidence.compose(account(), uncounted("lb1"), events, steps)
    assert found["cut"] == 12 and "0 of 200 probe requests (12 connections cut on purpose); " in found["sentence"], found["sentence"]
    alone = _evidence.compose(None, uncounted("lb1"), events, steps)["sentence"]
    assert alone.endswith(f"(lb1: {TCP}) (12 connections cut on purpose)."), alone
    asked = [dict(step, asked={"app3": 9}) if step["name"] == "drain" else step for step in STEPS]
    assert "0 of 200 probe requests (9 streams left to the application to end); " in _evidence.compose(account(), uncounted("lb1"), [], asked)["sentence"]
    assert _evidence.compose(account(), clean_sheet(), steps=STEPS)["cut"] == 0


def test_overflows_alone_are_a_finding():
    found = _evidence.compose(account(), clean_sheet()[:2] + [reading(20, 2000, at="stopped", kernel={"listen_overflows": 4, "listen_drops": 5})], steps=STEPS)
    assert found["verdict"] == "clean" and found["kernel"] == {"overflows": 4, "drops": 5} and "4 listen-queue overflows" in found["notes"][0]
    assert found["sentence"].startswith("No loss was seen, and not everything was counted: ") and "4 listen-queue overflows and 5 drops" in found["sentence"]


@pytest.mark.claim("no-loss-is-said-when-all-is-whole")
def test_an_incomplete_sheet_does_not_say_that_nothing_was_lost():
    found = _evidence.compose(account(), clean_sheet() + [{"time": T0 + 21, "balancer": "lb2", "at": "stopped", "failed": "gone"}], steps=STEPS)
    assert found["verdict"] == "clean" and found["sentence"].startswith("No loss was seen, and not everything was counted: 0 of 200 probe requests")
    assert "lb2 could not be read at the end: gone" in found["sentence"]


def holding(when, streams=0, **members):
    sample, = member_sheet((when, {name: (100, 0) for name in members}))
    row = sample["counters"][0]
    row.update(open=sum(members.values()), streams=streams, requests=row["requests"] + sum(members.values()))
    for name, number in members.items():
        row["pools"]["shop"]["members"][name]["open"] = number
    return sample


@pytest.mark.claim("open-requests-are-named")
def test_requests_that_wait_at_the_end_are_named_with_their_member():
    before = [holding(0, app3=4, app4=6), holding(9, app3=9, app4=2)]
    usual = _evidence.compose(account(), [*before, holding(20, app3=23, app4=9)], steps=STEPS)
    assert usual["balance"]["waiting"] == "" and usual["sentence"].startswith("No request was lost: ")
    found = _evidence.compose(account(), [*before, holding(20, app3=40, app4=9)], steps=STEPS)
    assert found["balance"]["waiting"] == "49 on lb1 (40 on app3, 9 on app4)"
    assert found["sentence"].startswith("No loss was seen, and not everything was counted: ")
    assert "without an answer yet: 49 on lb1 (40 on app3, 9 on app4)" in found["sentence"]
    # Whose the streams are, no counter says.
    beside = _evidence.compose(account(), [*before, holding(20, 10, app3=40, app4=9)], steps=STEPS)
    assert beside["balance"]["waiting"] == "39 on lb1 (at most 40 on app3, 9 on app4)"


@pytest.mark.claim("streams-are-no-losses")
def test_streams_that_come_together_on_one_member_do_not_wait_for_an_answer():
    found = _evidence.compose(account(), [holding(0, 20, app3=10, app4=10), holding(9, 20, app3=10, app4=10), holding(20, 60, app3=50, app4=12)], steps=STEPS)
    assert found["balance"]["waiting"] == "" and found["sentence"].startswith("No request was lost: ")
    assert (found["balance"]["streams_before"], found["balance"]["streams"]) == (20, 60)


@pytest.mark.parametrize("before, during, worse", [
    ((0, 0), (3, 1000), False),              # nothing to compare with: one of 100
    ((0, 0), (2, 10), False),
    ((0, 0), (20, 1000), True),
    ((0, 500), (3, 500), False),
    ((0, 500), (60, 500), True),
])
def test_worse(before, during, worse):
    assert _evidence.worse(_rates.Count(*before), _rates.Count(*during)) is worse


def test_a_time_out_is_put_down_to_what_ran_when_it_was_asked():
    loss = {"time": T0 + 22, "scheduled": T0 + 11, "kind": "timeout"}
    assert _evidence.attribute([loss], [], STEPS)[0]["step"] == "drain"
    assert _evidence.attribute([{"time": T0 + 30, "scheduled": T0 + 30, "kind": "reset"}], [], STEPS)[0]["step"] is None
    assert "while no step ran" in _evidence.attribute([{"time": T0 + 30, "scheduled": T0 + 30, "kind": "reset"}], [], STEPS)[0]["text"]


def test_what_was_lost_before_anything_moved_is_said_and_not_counted():
    rows = [(T0, 100, 100), (T0 + 5, 150, 149), (T0 + 15, 250, 249)]
    samples = [{"time": at, "balancer": "lb1", "counters": [
        {"worker": 1, "current": True, "requests": requests, "responses": {"2xx": answered}, "open": 0, "server_5xx": 0}]} for at, requests, answered in rows]
    assert _evidence.compose(None, samples)["verdict"] == "lost"
    note = {"time": T0 + 5, "step": "verify", "event": "note", "detail": {"baseline": T0 + 5, "reason": "1 was lost."}}
    found = _evidence.compose(None, samples, [note])
    assert found["verdict"] == "clean"
    assert found["balance"]["received"] == 150
    assert "before anything moved: 1 was lost." in found["notes"]


@pytest.mark.parametrize("name", ["clear", "switch", "share 25 %"])
def test_every_change_of_the_shares_is_a_move(name):
    steps = [{"name": "stage", "started": 1.0, "finished": 2.0}, {"name": name, "started": 3.0, "finished": 4.0},
             {"name": "verify", "started": 5.0, "finished": 6.0}]
    assert _evidence.window(steps) == (3.0, 4.0)


@pytest.mark.claim("losses-that-go-on")
def test_losses_of_the_probe_alone_that_go_on_are_confirmed_by_that():
    """Users who wait for a release that hangs are in no balancer's counters before they give up."""
    looked = [{"time": T0 + 14, "step": "verify", "event": "note", "detail": {"suspected": T0 + 14}}]
    once = _evidence.compose(account([(13, "timeout"), (13.5, "timeout")]), clean_sheet(), looked, steps=STEPS)
    assert (once["verdict"], once["rollback"]) == ("unconfirmed", False)
    on = _evidence.compose(account([(13, "timeout"), (15, "timeout")]), clean_sheet(), looked, steps=STEPS)
    assert (on["verdict"], on["rollback"]) == ("lost", True) and "the probe goes on losing requests" in on["sentence"]


def test_the_kinds_of_errors_are_those_that_are_counted_beside_them():
    """One more came before anything moved: it is told as such, and is in no other number."""
    losses = [(2, "status_500"), *((11 + number / 10, "status_500") for number in range(40))]
    found = _evidence.compose(account(losses, rate=20), clean_sheet(), steps=STEPS)
    assert " probe requests were answered with an error (40 status_500), 1 of " in found["sentence"], found["sentence"]


def test_the_numbers_of_the_end_say_what_was_not_counted():
    samples = clean_sheet()
    samples[-1]["counters"][0]["uncounted"] = ["raw"]
    found = _evidence.compose(account(), samples, steps=STEPS)
    assert found["at_the_end"] == ("0 of 200 probe requests failed and 0 of 2,000 real requests lost; the balance sheet is incomplete: lb2: the requests of "
                                   "raw are not counted, since it is in mode tcp")


def test_before_anything_has_moved_nobody_says_how_few_requests_came_before_it():
    samples = [reading(0, 0, at="started"), reading(9, 90, ok=89)]
    found = _evidence.compose(account(), samples, steps=[], baseline=True)
    assert "came before anything moved" not in found["sentence"], found["sentence"]
