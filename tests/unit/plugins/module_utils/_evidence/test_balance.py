# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance


def row(worker=1, requests=0, ok=None, errors=0, open_now=0, current=True, app_errors=0, **more):
    answered = requests - errors - open_now if ok is None else ok
    return {"worker": worker, "current": current, "requests": requests, "responses": {"2xx": answered, "5xx": errors}, "open": open_now,
            "server_5xx": app_errors, "client_aborts": 0, "server_aborts": 0, **more}


def sample(when, *rows, at="checked", balancer="lb1"):
    return {"time": when, "balancer": balancer, "at": at, "counters": list(rows), "kernel": {}}


def failed(when, balancer="lb1", at="stopped"):
    return {"time": when, "balancer": balancer, "at": at, "failed": "no answer"}


def holds(sheet):
    """Every request that came is in one of the terms."""
    return sheet["received"] + sheet["open_before"] == sheet["answered"] + sheet["truncated"] + sheet["unanswered"] + sheet["open"]


@pytest.mark.claim("balance-of-every-request")
def test_nothing_lost():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"), sample(2, row(requests=900), at="stopped")])
    assert (sheet["received"], sheet["answered"], sheet["unanswered"], sheet["truncated"]) == (800, 800, 0, 0)
    assert sheet["complete"] and sheet["note"] is None and holds(sheet)


@pytest.mark.claim("balance-says-its-window")
def test_the_sheet_says_from_when_to_when_it_counts():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"), sample(2, row(requests=100), at="started", balancer="lb2"),
                              sample(8, row(requests=900), at="stopped"), sample(9, row(requests=900), at="stopped", balancer="lb2")])
    assert (sheet["began"], sheet["ended"]) == (1, 9)
    assert (sheet["balancers"]["lb2"]["began"], sheet["balancers"]["lb2"]["ended"]) == (2, 9)


def test_what_is_still_open_is_not_lost():
    sheet = _balance.balance([sample(1, row(requests=100, open_now=3), at="started"), sample(2, row(requests=900, open_now=7), at="stopped")])
    assert sheet["unanswered"] == 0 and (sheet["open_before"], sheet["open"]) == (3, 7) and holds(sheet)


def test_requests_in_no_class_of_responses_are_unanswered():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"), sample(2, row(requests=900, ok=790 + 100, open_now=1), at="stopped")])
    assert sheet["unanswered"] == 9 and sheet["complete"] and holds(sheet)


@pytest.mark.claim("balance-client-aborts")
def test_client_aborts_hide_nothing():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"),
                              sample(2, row(requests=200, ok=199, client_aborts=5), at="stopped")])
    assert sheet["unanswered"] == 1 and sheet["client_aborts"] == 5


def test_truncated_answers_count_as_answered_in_the_classes():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"), sample(2, row(requests=200, server_aborts=5), at="stopped")])
    assert (sheet["truncated"], sheet["answered"], sheet["unanswered"]) == (5, 95, 0) and holds(sheet)


def test_a_reset_that_left_no_answer_is_not_counted_twice():
    sheet = _balance.balance([sample(1, row(requests=100), at="started"),
                              sample(2, row(requests=200, ok=197, server_aborts=3), at="stopped")])
    assert (sheet["unanswered"], sheet["truncated"]) == (3, 0)
    assert "between 3 and 6" in sheet["note"] and sheet["complete"]


@pytest.mark.claim("balance-errors-split")
def test_errors_are_split_at_the_first_move_and_by_who_made_them():
    sheet = _balance.balance([
        sample(1, row(requests=100, errors=2, app_errors=2), at="started"),
        sample(5, row(requests=300, errors=4, app_errors=4)),
        sample(9, row(requests=900, errors=20, app_errors=10), at="stopped"),
    ], moved_at=6)
    assert (sheet["errors_before"], sheet["errors_during"]) == (2, 16)
    assert (sheet["own_errors_before"], sheet["own_errors_during"]) == (0, 10)
    assert (sheet["received_before"], sheet["received_during"]) == (200, 600)


def test_balancers_that_do_not_tell_members_errors_leave_them_unknown():
    samples = [sample(1, row(requests=100), at="started"), sample(2, row(requests=200, errors=3), at="stopped")]
    del samples[1]["counters"][0]["server_5xx"]
    assert _balance.balance(samples)["own_errors_during"] is None


def test_balancers_and_workers_are_summed():
    sheet = _balance.balance([
        sample(1, row(1, 100), row(2, 50, current=False), at="started"), sample(1, row(7, 1000), balancer="lb2", at="started"),
        sample(2, row(1, 160), row(2, 55, current=False), at="stopped"), sample(2, row(7, 1100, ok=1098), balancer="lb2", at="stopped"),
    ])
    assert sheet["received"] == 165 and sheet["unanswered"] == 2
    assert sheet["balancers"]["lb1"]["received"] == 65 and sheet["balancers"]["lb2"]["unanswered"] == 2


def test_a_reload_starts_new_counters_and_the_old_workers_last_ones_count():
    sheet = _balance.balance([
        sample(1, row(1, 100), at="started"),
        sample(2, row(1, 150, current=False), row(2, 30)),
        sample(3, row(2, 300), at="stopped"),
    ])
    assert sheet["received"] == 350 and sheet["complete"] and holds(sheet)


@pytest.mark.claim("balance-incomplete-said")
@pytest.mark.parametrize("last, part", [
    (row(1, 150, open_now=2, current=False), "with 2 requests open"),
    (row(1, 150, open_now=1, current=False), "with 1 request open"),
    (row(1, 150), "new ones coming in"),
])
def test_a_worker_that_vanished_with_work_makes_the_sheet_incomplete(last, part):
    sheet = _balance.balance([sample(1, row(1, 100), at="started"), sample(2, last), sample(3, row(2, 300), at="stopped")])
    assert not sheet["complete"] and part in sheet["note"] and sheet["unanswered"] == 0 and holds(sheet)


def test_counters_that_went_back_are_a_new_start():
    sheet = _balance.balance([sample(1, row(1, 100), at="started"), sample(2, row(1, 500)), sample(3, row(1, 40), at="stopped")])
    assert sheet["received"] == 440 and not sheet["complete"] and "went back" in sheet["note"]


def test_an_old_worker_that_shows_up_late_brings_no_old_requests():
    sheet = _balance.balance([sample(1, row(2, 10), at="started"), sample(2, row(2, 20), row(1, 90000, current=False)),
                              sample(3, row(2, 30), row(1, 90001, current=False), at="stopped")])
    assert sheet["received"] == 21 and not sheet["complete"]


def test_a_balancer_that_died_leaves_what_it_said_last():
    sheet = _balance.balance([sample(1, row(1, 100), at="started"), sample(2, row(1, 180)), failed(3)])
    assert sheet["received"] == 80 and not sheet["complete"] and "could not be read at the end: no answer" in sheet["note"]


def test_no_balancer_at_all_is_no_sheet():
    assert _balance.balance([]) is None
    assert _balance.balance([failed(1), failed(2)]) is None
    only_one = _balance.balance([failed(1), failed(2), sample(1, row(1, 5), balancer="lb2"), sample(2, row(1, 6), balancer="lb2")])
    assert only_one["received"] == 1 and not only_one["complete"]


def test_one_reading_proves_nothing():
    sheet = _balance.balance([sample(1, row(1, 100), at="started")])
    assert sheet["received"] == 0 and not sheet["complete"]


def test_a_request_that_began_while_counters_were_read_is_no_loss():
    first, lagging = sample(1, row(requests=100), at="started"), row(requests=201, ok=200)        # the request is counted, its being open not yet

    def unanswered(*readings):
        return _balance.balance([first] + [dict(sample(2 + number, reading), moment="m") for number, reading in enumerate(readings)])["unanswered"]

    assert unanswered(lagging) == 1
    assert unanswered(lagging, row(requests=210)) == 0
    assert unanswered(lagging, row(requests=210, ok=209)) == 1
    # Readings of different moments are no repetition of each other: what was lost between them was lost.
    assert _balance.balance([first, sample(2, row(requests=200)), sample(3, row(requests=300, ok=299))])["unanswered"] == 1


def test_since_leaves_out_what_came_before_anything_served():
    samples = [sample(1, row(requests=100), at="started"), sample(5, row(requests=200, errors=90)), sample(9, row(requests=300, errors=90), at="stopped")]
    assert _balance.balance(samples, since=4)["errors_during"] == 0


def places(*samples):
    return [(cell.member, cell.began, cell.ended, cell.counts) for cell in _balance.balance(samples)["cells"] if cell.counts]


def test_cells_say_between_which_readings():
    assert places(sample(1, row(requests=100)), sample(2, row(requests=200)), sample(3, row(requests=300, ok=298)),
                  sample(4, row(requests=400, ok=398))) == [(None, 2, 3, {"unanswered": 2})]


def of_members(**members):
    return {"pools": {"shop": {"requests": 0, "errors": 0, "members": members}}}


@pytest.mark.claim("each-loss-names-its-member")
def test_cells_say_which_member_lost_what():
    nothing = of_members(a={"requests": 50}, b={"requests": 50})
    found = places(
        sample(1, row(requests=100, **nothing)),
        sample(2, row(requests=203, ok=200, errors=2, server_aborts=1, faults=2, **of_members(
            a={"requests": 100, "faults": 2, "missing": 2}, b={"requests": 103, "cut_short": 1, "missing": 1}))))
    # One request got no answer at all, and there is one broken answer: b may have reset one connection, which counts as both.
    assert found == [("a", 1, 2, {"own_errors": 2}), ("b", 1, 2, {"truncated": 1, "unanswered": 1})]
    refused = places(sample(1, row(requests=100, **nothing)), sample(2, row(requests=110, errors=4, faults=0, **nothing)))
    assert refused == [], "what a rule refuses is no fault of a member"


def test_a_request_in_motion_during_one_reading_is_no_loss_anywhere():
    assert places(sample(1, row(requests=100)), sample(2, row(requests=201, ok=200)), sample(3, row(requests=300, ok=300))) == []


def test_a_worker_that_a_reload_began_is_counted_from_the_reading_before():
    assert places(sample(1, row(1, 100)), sample(2, row(1, 150, current=False), row(2, 30, ok=29)), sample(3, row(2, 300, ok=299))) == [
        (None, 1, 2, {"unanswered": 1})]


def test_a_pool_that_cannot_be_counted_makes_the_sheet_incomplete():
    sheet = _balance.balance([sample(1, row(requests=1, uncounted=["mail"])), sample(2, row(requests=9, uncounted=["mail"]))])
    assert sheet["received"] == 8 and not sheet["complete"] and "the requests of mail are not counted, since it is in mode tcp" in sheet["note"]


@pytest.mark.claim("nginx-no-log-no-sheet")
def test_who_counts_nothing_is_told_from_who_does_not_answer():
    found = _balance.append(None, "lb1", {"counters": [], "uncounted": "nobody counts there"}, "started")
    assert (found["failed"], found["uncounted"]) == ("nobody counts there", True)
    assert "uncounted" not in _balance.append(None, "lb1", {"failed": True, "msg": "no answer", "uncounted": "nobody counts there"}, "started")


def test_samples_survive_the_file(tmp_path):
    _balance.append(str(tmp_path), "lb1", {"counters": [row(requests=1)], "kernel": {"listen_drops": 0}}, "started", now=lambda: 1.0)
    _balance.append(str(tmp_path), "lb1", {"failed": True, "msg": "no answer"}, "stopped", now=lambda: 2.0)
    with open(tmp_path / _balance.FILE, "a", encoding="utf-8") as stream:
        stream.write('{"time": 3, "half')
    assert _balance.read(str(tmp_path)) == [{**sample(1.0, row(requests=1), at="started"), "kernel": {"listen_drops": 0}}, failed(2.0)]
    assert _balance.read(str(tmp_path / "nowhere")) == []
    assert _balance.append(None, "lb1", {"counters": [row()]}, "started")["counters"]
