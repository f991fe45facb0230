# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import random

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.answers import Expected, Known, Told

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
KNOWN = Known({OLD: "1.0.0", NEW: "2.0.0"}, True)
MOVED = 100.0


def told(status=200, release=OLD, label="1.0.0", empty=False, loop=False):
    return Told(status, release, label, empty, loop)


def moved(before, known=KNOWN):
    """What is expected once something has moved, after these answers."""
    state = [None]
    expected = Expected(lambda: state[0], lambda: known)
    for number, answer in enumerate(before):
        assert expected.judge("GET /", answer, number / 1000) is None
    state[0] = MOVED
    expected.look()
    return expected


def kind(expected, answer):
    wrong = expected.judge("GET /", answer, MOVED + 1)
    return wrong and wrong.kind


BEFORE = [told()] * 40


@pytest.mark.parametrize(
    "answer, wrong, detail",
    [
        (told(), None, ""),
        (told(release=NEW, label="2.0.0"), None, ""),
        (told(release=NEW, label="what it likes"), None, ""),
        (told(release=NEW, label=None), None, ""),
        (told(release=OTHER, label=None), "wrong_release", "of release cccccccccccc, which neither served before nor"),
        (told(release=None), "wrong_release", "it names no release, and all 40 answers before did"),
        (
            told(release=NEW, label="1.0.0"),
            "wrong_release",
            "header is of release bbbbbbbbbbbb (2.0.0) and its body of 1.0.0",
        ),
        (
            told(release=OLD, label="2.0.0"),
            "wrong_release",
            "header is of release aaaaaaaaaaaa (1.0.0) and its body of 2.0.0",
        ),
        (told(204, empty=True), "wrong_status", "answered 204, and 200 before"),
        (told(302), "wrong_status", "answered 302, and 200 before"),
        (told(302, loop=True), "redirect_loop", "it redirects to itself"),
        (told(empty=True), "empty", "answered 200 without a body, and with one before"),
    ],
)
@pytest.mark.claim("probe-knows-a-wrong-answer")
def test_what_is_wrong(answer, wrong, detail):
    found = moved(BEFORE).judge("GET /", answer, MOVED + 1)
    assert (found and found.kind) == wrong
    assert detail in (found.detail if found else "")


@pytest.mark.claim("varied-answers-are-no-alarm")
@pytest.mark.parametrize(
    "before, answer",
    [
        # What came before, however rarely, may come again.
        ([*BEFORE, told(302)], told(302)),
        ([*BEFORE, told(302, loop=True)], told(302, loop=True)),
        ([*BEFORE, told(empty=True)], told(empty=True)),
        # No header, another header, and a header that has its own name for each answer.
        ([told(release=None)] * 40, told(release=None)),
        ([told(release=None)] * 40, told(release="x")),
        ([told(release="build 7")] * 40, told(release="build 8")),
        ([told(release=str(number)) for number in range(400)], told(release="another")),
        ([*BEFORE, told(release=None)], told(release=None)),
        # A body that names more than one version for a release, or something that is no label of a release.
        ([*BEFORE, told(label="blue")], told(label="green")),
        ([told(label="api 1")] * 40, told(release=NEW, label="api 1")),
        ([told(label=None)] * 40, told(release=NEW, label="1.0.0")),
        # A status whose answers had a body too few times to say.
        ([*BEFORE, *[told(206)] * 20], told(206, empty=True)),
    ],
)
def test_what_varies_by_nature_is_no_finding(before, answer):
    expected = moved(before)
    assert kind(expected, answer) is None
    assert expected.account()["addresses"]["GET /"]["unjudged"] == {}


@pytest.mark.claim("varied-answers-are-no-alarm")
def test_where_the_time_before_was_too_short_nothing_is_judged_and_that_is_said():
    expected = moved([told()] * 29)
    assert [kind(expected, answer) for answer in (told(204), told(204), told(release=OTHER))] == [None] * 3
    account = expected.account()
    assert account["addresses"]["GET /"] == {
        "before": 29,
        "judged": False,
        "statuses": {"200": 29},
        "unjudged": {"wrong_status": 2, "wrong_release": 1},
    }
    assert _answers.notes({"answers": account}) == [
        "whether GET / was answered rightly is not judged: it was answered 29 times before anything moved, "
        "and 30 are needed; unlike before were 1 wrong_release, 2 wrong_status"
    ]
    assert _answers.notes({"answers": account}, serving=False) == []
    assert _answers.notes({"answers": None}) == _answers.notes({}) == []


def test_what_is_not_judged_is_said_in_one_sentence():
    entry = {"before": 12, "judged": False, "unjudged": {"wrong_status": 1}}
    addresses = {"GET /%d" % number: {**entry, "before": number} for number in range(5)}
    assert _answers.notes({"answers": {"addresses": {**addresses, "GET /x": {"judged": True}}}}) == [
        "whether GET /0, GET /1, GET /2 and 2 more were answered rightly is not judged: "
        "each was answered 4 times at most before anything moved, and 30 are needed; unlike before were 5 wrong_status"
    ]


def test_statuses_that_still_came_up_say_that_others_may():
    expected = moved([*BEFORE, told(201)])
    assert kind(expected, told(202)) is None
    assert (
        "there were statuses that came only once; unlike before were 1 wrong_status"
        in _answers.notes({"answers": expected.account()})[0]
    )
    # That says nothing of releases.
    assert kind(expected, told(release=OTHER)) == "wrong_release"
    # One of a hundred, or fewer, is no reason.
    assert kind(moved([*[told()] * 99, told(201)]), told(202)) == "wrong_status"


def test_without_what_the_deploy_knows_releases_are_not_judged():
    expected = moved(BEFORE, Known())
    assert kind(expected, told(release=OTHER)) is None and kind(expected, told(release=None)) is None
    # Going back to a release that sends no header.
    assert kind(moved(BEFORE, KNOWN._replace(signed=False)), told(release=None)) is None
    # Without labels, nobody knows whether the same version was built anew.
    assert kind(moved(BEFORE, Known({OLD: None, NEW: None})), told(release=NEW)) is None


def test_each_address_has_its_own_past():
    expected = moved(BEFORE)
    assert kind(expected, told(302)) == "wrong_status"
    # This one was never answered before: there is nothing to compare with.
    assert expected.judge("GET /x", told(302), MOVED + 1) is None
    account = expected.account()["addresses"]["GET /x"]
    assert (account["before"], account["judged"], account["unjudged"]) == (0, False, {})


def test_the_first_unlike_answer_is_judged_by_when_the_move_began():
    """Nobody has looked since: the answer itself is the reason to look."""
    state = [None]
    expected = Expected(lambda: state[0], lambda: KNOWN)
    for dummy in range(120):
        expected.judge("GET /", told(), 1.0)
    for dummy in range(60):
        assert expected.judge("GET /", told(), 50.05) is None
    state[0] = 50.0
    assert expected.judge("GET /", told(204), 49.9) is None, "it came before the move"
    assert expected.judge("GET /", told(206), 50.1).kind == "wrong_status"
    assert kind(expected, told(204)) is None
    # Those that came behind the move, before anybody looked, are not of the time before.
    assert expected.account()["addresses"]["GET /"]["statuses"] == {"200": 120, "204": 1}
    assert expected.answers("GET /") == 121 and expected.answers("GET /x") == 0


def test_until_something_moves_there_is_no_account():
    expected = Expected(lambda: None, lambda: KNOWN)
    assert expected.judge("GET /", told(), 1.0) is None and expected.account() is None


def test_an_application_that_draws_its_answers_gives_no_alarm():
    """Many kinds, many shares: what the window before has not shown is no more than the rule for rates explains."""
    draw = random.Random(7)
    found = 0
    for dummy in range(200):
        shares = [draw.random() ** 4 for dummy in range(draw.randint(2, 5))]
        kinds = [told(status, empty=draw.random() < 0.3) for status in (200, 206, 203, 302, 303)[: len(shares)]]
        answers = draw.choices(kinds, shares, k=3000)
        expected = moved(answers[:500])
        wrong = sum(kind(expected, answer) is not None for answer in answers[500:])
        found += _evidence.worse(_rates.Count(0, 500), _rates.Count(wrong, 2500))
    assert found == 0


@pytest.mark.parametrize(
    "asked, location, loop",
    [
        ("http://shop.example/", "/", True),
        ("http://shop.example/", "http://SHOP.example:80/#top", True),
        ("https://shop.example:443/a?b=c", "?b=c", True),
        ("http://shop.example/", "https://shop.example/", False),
        ("http://shop.example/a", "/a/", False),
        ("http://shop.example/a?b=c", "/a", False),
        ("http://shop.example/", "http://shop.example:8080/", False),
        ("http://shop.example/", "http://[", False),
        ("http://shop.example/", "http://x:port/", False),
        ("http://shop.example/", "", False),
    ],
)
def test_loops(asked, location, loop):
    assert _answers.is_loop("GET", asked, 302, location) is loop
    assert _answers.is_loop("GET", asked, 201, location) is False
    # A GET is asked next, which shows what the POST has made.
    assert _answers.is_loop("POST", asked, 303, location) is False
    assert _answers.is_loop("POST", asked, 307, location) is loop


def test_the_first_move_is_read_from_the_events(tmp_path):
    events = tmp_path / "events.jsonl"
    assert (
        _answers.first_move(str(events), ("drain",), "share ") is None
        and _answers.first_move(None, (), "share ") is None
    )
    lines = [
        {"time": 1.0, "step": "stage", "event": "started"},
        {"time": 2.0, "step": "drain", "event": "note"},
        {"time": 3.0, "step": "share 5 %", "event": "started"},
        {"time": 4.0, "step": "drain", "event": "started"},
    ]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"time": 0.5, "st', encoding="utf-8")
    assert _answers.first_move(str(events), ("drain",), "share ") == 3.0
    assert _answers.first_move(str(events), ("drain",), "no such ") == 4.0


@pytest.mark.parametrize(
    "changed, signed",
    [
        ({}, True),
        ({"verb": "restart"}, True),
        ({"verb": "rollback"}, False),
        ({"health": {"header": None}}, False),
        ({"headers": {"sent": [], "lacking": ["app1"]}}, False),
    ],
)
def test_what_a_plan_knows(tmp_path, changed, signed):
    old, new = {"digest": OLD, "label": "1.0.0"}, {"digest": NEW, "label": "2.0.0"}
    plan = {
        "verb": "deploy", "release": new, "previous": None, "going_back_to": {"app1": old, "app2": None},
        "health": {"header": "x-release"}, "headers": {"sent": ["app1"], "lacking": []}, **changed,
    }  # fmt: skip
    found = _answers.known(plan)
    assert found == {"releases": [new, old], "signed": signed}
    path = tmp_path / _answers.FILE
    assert _answers.read(str(path)) == _answers.read(None) == Known()
    path.write_text(json.dumps(found), encoding="utf-8")
    assert _answers.read(str(path)) == Known({NEW: "2.0.0", OLD: "1.0.0"}, signed)


def test_what_an_answer_calls_itself_cannot_write_the_sentence():
    wrong = moved(BEFORE).judge("GET /", told(label="2\n\x1b[31mred and much more"), MOVED + 1)
    assert wrong.detail == "its header is of release aaaaaaaaaaaa (1.0.0) and its body of 2??[31mred a"
