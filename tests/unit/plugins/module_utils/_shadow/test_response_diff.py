# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import random

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._shadow import response_diff as _response_diff
from ansible_collections.zero.downtime.plugins.module_utils._shadow.response_diff import Answer, Ignored, Tally


def answer(body=None, status=200, **headers):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, tuple((name.replace("_", "-"), value) for name, value in headers.items()), text)


def fields(one, other, *ignore):
    return _response_diff.of_answers(one, other, Ignored(ignore))


@pytest.mark.claim("replay-compares-field-by-field")
@pytest.mark.parametrize("one, other, found", [
    ({"a": 1}, {"a": 1.0}, {}),
    ({"a": 1}, {"a": 2}, {"body.a": "changed"}),
    ({"a": 1}, {"a": "1"}, {"body.a": "type"}),
    ({"a": 1}, {"a": True}, {"body.a": "type"}),
    ({"a": None}, {"a": 0}, {"body.a": "type"}),
    ({"a": 1, "b": {"c": 2}}, {"b": {"c": 3, "d": 4}}, {"body.a": "missing", "body.b.c": "changed", "body.b.d": "added"}),
    ({"a": [1, 2]}, {"a": [2, 1]}, {"body.a": "order"}),
    ({"a": [1, 2]}, {"a": [1, 2, 3]}, {"body.a": "length"}),
    ([{"p": 1}, {"p": 2}], [{"p": 1}, {"p": 3}], {"body[].p": "changed"}),
    ({"a": {}}, {"a": []}, {"body.a": "type"}),
    ({"a": 1}, b"<html>", {"body": "changed"}),
    (b"plain", b"plain", {}),
    (b"plain", b"other", {"body": "changed"}),
    (b'{"a": 1', b'{"a": 2', {"body": "changed"}),
    (b"[" * 100000, b"[" * 100000, {}),
])
def test_bodies(one, other, found):
    assert fields(answer(one), answer(other)) == found


def test_status_and_headers():
    one = answer({}, 200, Content_Type="application/json", X_Old="1", Date="now", Via="a")
    other = answer({}, 500, content_type="text/html", X_New="1", Date="later", Via="a")
    assert fields(one, other) == {"status": "200 to 500", "header.content-type": "changed", "header.x-old": "missing", "header.x-new": "added"}


def test_no_answer_is_a_status_of_its_own():
    assert fields(answer({}), Answer(failure="refused")) == {"status": "200 to refused"}
    assert not fields(Answer(failure="refused"), Answer(failure="refused"))


@pytest.mark.claim("replay-ignore")
@pytest.mark.parametrize("ignore, left", [
    (["body.version"], {"body.versions", "body.a.version", "body.a.b", "header.x-cache"}),
    (["body.a"], {"body.version", "body.versions", "header.x-cache"}),
    (["body.*version*"], {"body.a.b", "header.x-cache"}),
    (["body", "header.X-Cache"], set()),
    (["header.x-*"], {"body.version", "body.versions", "body.a.version", "body.a.b"}),
])
def test_ignored_fields_cover_what_lies_below(ignore, left):
    one = answer({"version": 1, "versions": 1, "a": {"version": 1, "b": 1}}, X_Cache="1")
    other = answer({"version": 2, "versions": 2, "a": {"version": 2, "b": 2}}, X_Cache="2")
    assert set(fields(one, other, *ignore)) == left


@pytest.mark.parametrize("name", ["version", "header.", "head.x", "body.", "bodyy", ""])
def test_a_name_that_is_no_field_is_refused(name):
    with pytest.raises(DowntimeError, match="ignore has '.*'; names as the report has them"):
        Ignored([name])


def test_the_release_header_is_ignored():
    assert not _response_diff.of_answers(answer({}, x_release="a"), answer({}, x_release="b"), Ignored((), ["X-Release"]))


@pytest.mark.claim("replay-subtracts-noise")
@pytest.mark.parametrize("raw, noise, total, reported", [
    (0, 0, 100, False),
    (1, 0, 100, True),
    (1, 0, 0, False),
    (100, 100, 100, False),
    (50, 60, 100, False),
    (60, 40, 1000, False),    # 20 % of their sum is the limit, and has to be exceeded
    (61, 40, 1000, True),
    (3, 0, 10000, False),     # 0.03 % of all
    (4, 0, 10000, True),
])
def test_the_limits(raw, noise, total, reported):
    assert _response_diff.is_reported(raw, noise, total) is reported


def test_the_limits_can_be_set():
    assert not _response_diff.is_reported(61, 40, 1000, relative_limit=50)
    assert not _response_diff.is_reported(61, 40, 1000, absolute_limit=3)


def test_tally_and_report():
    tally = Tally(Ignored())
    for number in range(10):
        stamp = [answer({"time": f"{number}-{one}", "price": 1, "left": 1}) for one in range(2)]
        tally.add(f"/item/{number}?token=secret", *stamp, answer({"time": f"{number}-3", "price": 2 if number >= 5 else 1, "left": 1}))
    tally.add("/gone", Answer(failure="refused"), answer({}), answer({}))
    report = _response_diff.judged(tally.as_dict())
    assert (report["requests"], report["compared"], report["verdict"], report["differences"]) == (11, 10, "different", 1)
    price, time = report["fields"]
    assert price == {"field": "body.price", "raw": 5, "noise": 0, "how": "changed", "path": "/item/5", "reported": True}
    assert (time["field"], time["raw"], time["noise"], time["reported"]) == ("body.time", 10, 10, False)
    assert _response_diff.sentence(report) == "the new release answers otherwise: body.price (changed in 5 of 10, first at /item/5)"
    assert _response_diff.judged(tally.as_dict(), max_differences=1)["verdict"] == "same"


def test_nothing_to_compare_is_no_agreement():
    tally = Tally(Ignored())
    tally.add("/", Answer(failure="refused"), answer({}), answer({}))
    report = _response_diff.judged(tally.as_dict())
    assert report["verdict"] == "nothing" and "none of 1 requests" in _response_diff.sentence(report)


def test_the_number_of_fields_is_bounded():
    tally = Tally(Ignored())
    for number in range(3):
        tally.add("/", answer({}), answer({}), answer({f"{number}-{key}": 1 for key in range(_response_diff.MOST_FIELDS)}))
    assert len(tally.fields) == _response_diff.MOST_FIELDS + 1 and _response_diff.MORE in tally.fields


def test_two_balancers_count_as_one():
    tallies = [Tally(Ignored()) for dummy in range(2)]
    for tally in tallies:
        tally.add("/a", answer({"a": 1}), answer({"a": 2}), answer({"a": 1, "b": 1}))
    whole = _response_diff.together([tally.as_dict() for tally in tallies])
    assert (whole["requests"], whole["compared"]) == (2, 2)
    assert {entry["field"]: (entry["raw"], entry["noise"], entry["path"]) for entry in whole["fields"]} == {"body.a": (0, 2, ""), "body.b": (2, 0, "/a")}


def mutated(chance, value, depth=0):
    """C(value) with something else somewhere, and how many places differ now."""
    if isinstance(value, dict):
        found = {}
        count = 0
        for key, below in value.items():
            found[key], more = mutated(chance, below, depth + 1)
            count += more
        return found, count
    if chance.random() < 0.3:
        return f"other {chance.random()}", 1
    return value, 0


def document(chance, depth=0):
    if depth < 3 and chance.random() < 0.6:
        return {f"k{number}": document(chance, depth + 1) for number in range(chance.randint(0, 4))}
    return chance.choice([1, 2.5, "text", None, True, "2026"])


@pytest.mark.parametrize("seed", range(50))
def test_as_many_fields_differ_as_were_changed(seed):
    """Random documents: no field without a change, none with one is overlooked, and the other way round the same fields differ."""
    chance = random.Random(seed)
    one = {"top": document(chance), "more": document(chance)}
    assert not fields(answer(one), answer(json.loads(json.dumps(one))))
    other, count = mutated(chance, one)
    found = fields(answer(one), answer(other))
    assert len(found) == count
    assert set(found) == set(fields(answer(other), answer(one)))


@pytest.mark.parametrize("seed", range(20))
def test_one_release_is_seldom_told_from_itself(seed):
    """A field that differs in half of all answers, whoever gives them: over a thousand requests raw and noise are alike."""
    chance = random.Random(seed)
    tally = Tally(Ignored())
    for dummy in range(1000):
        tally.add("/", *(answer({"flips": chance.random() < 0.5}) for dummy in range(3)))
    assert _response_diff.judged(tally.as_dict())["verdict"] == "same"
