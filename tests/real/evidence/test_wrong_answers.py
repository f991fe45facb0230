# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that come whole and are wrong, or late, behind a real HAProxy: no balancer's counter knows of them."""

from __future__ import annotations

import urllib.parse

import pytest

from haproxy_stage import free_port, get, wait_until

OLD, NEW, STRANGER = "0" * 64, "a" * 64, "b" * 64
RELEASES = {OLD: "1.0.0", NEW: "2.0.0"}


def control(stage, **what):
    assert get(stage.app_url("a") + "/ctl?" + urllib.parse.urlencode(what))[0] == 200


def more(run, count):
    """Wait until so many more requests have ended, however."""
    before = run.progress()["sent"]
    wait_until(lambda: run.progress()["sent"] >= before + count, "%d more requests have ended" % count)


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def shop(request, stage, certificate):
    """A member behind HAProxy, and how the probe gets there over each protocol."""
    if request.param == "HTTP/1.1":
        found = stage({"shop": ["a"]})
        return found, found.url, {}
    port = free_port()
    found = stage(
        {"shop": ["a"]},
        frontend_lines=["bind 127.0.0.1:%d ssl crt %s alpn h2,http/1.1" % (port, certificate.both)],
    )
    return found, "https://shop.example", {"connect_to": "127.0.0.1:%d" % port, "ca_path": certificate.path}


def deploy(measure, shop, planted, before=None, releases=None, path="/", **config):
    """What is measured while member a becomes the new release, and answers in the planted way."""
    stage, url, way = shop
    if before:
        control(stage, **before)
    with measure(url + path, stage, timeout=30, **{"rate": 100, **way, **config}) as run:
        more(run, 150)
        run.knows(RELEASES if releases is None else releases)
        run.step("activate", "started", ["a"])
        control(stage, **{"release": NEW, "label": "2.0.0", **planted})
        more(run, 120)
        run.step("activate", "finished", ["a"])
    return run.evidence


PLANTED = [
    ({}, set(), None),
    (
        {"release": STRANGER},
        {"wrong_release"},
        "it is of release bbbbbbbbbbbb, which neither served before nor is the new one",
    ),
    ({"label": "1.0.0"}, {"wrong_release"}, "its header is of release aaaaaaaaaaaa (2.0.0) and its body of 1.0.0"),
    ({"fault": "unsigned"}, {"wrong_release"}, "it names no release, and all"),
    ({"fault": "empty"}, {"empty"}, "answered 200 without a body, and with one before"),
    ({"fault": "loop"}, {"redirect_loop"}, "it redirects to itself"),
    ({"fault": "204"}, {"wrong_status"}, "answered 204, and 200 before"),
]


@pytest.mark.claim("probe-knows-a-wrong-answer")
@pytest.mark.parametrize("planted, kinds, said", PLANTED, ids=[str(one[0]) for one in PLANTED])
def test_a_wrong_answer_is_seen_and_said(measure, shop, planted, kinds, said):
    found = deploy(measure, shop, planted)
    probe = found["probe"]
    # POSTs are answered by their own rule, and are as many as a tenth: too few before to say what is right.
    assert set(probe["failures"]) == kinds, probe["losses"][:3]
    assert probe["transport"] == 0 and found["balance"]["lost"] == 0
    assert probe["answers"]["addresses"]["GET /"]["judged"] and probe["answers"]["labels"] == RELEASES
    if said is None:
        assert found["verdict"] == "clean" and found["sentence"].startswith("No request was lost"), found["sentence"]
        return
    assert (found["verdict"], found["rollback"]) == ("degraded", True)
    assert said in found["sentence"] and kinds <= {entry["kind"] for entry in found["attributed"]}, found["sentence"]
    assert all(entry["step"] == "activate" and entry["member"] == "a" for entry in found["attributed"])


@pytest.mark.claim("varied-answers-are-no-alarm")
def test_answers_that_vary_by_nature_give_no_alarm(measure, shop):
    found = deploy(measure, shop, {}, before={"fault": "varied"})
    assert found["probe"]["failures"] == {} and found["verdict"] == "clean", found["sentence"]
    assert set(found["probe"]["answers"]["addresses"]["GET /"]["statuses"]) == {"200", "206", "302"}


@pytest.mark.claim("varied-answers-are-no-alarm")
def test_a_time_before_that_was_too_short_is_said(measure, shop):
    """Of every twenty requests one is a POST."""
    found = deploy(measure, shop, {"fault": "204"}, streams={"fresh": 0.95, "post": 0.05})
    probe = found["probe"]
    posts = probe["answers"]["addresses"]["POST /"]
    assert not posts["judged"] and 0 < posts["before"] < 30 and posts["unjudged"]["wrong_status"] > 0
    assert probe["streams"]["post"]["failed"] == 0 < probe["streams"]["fresh"]["failed"]
    (note,) = [note for note in found["notes"] if "POST /" in note]
    assert "is not judged: it was answered %d times before anything moved, and 30 are needed" % posts["before"] in note
    assert note.endswith("unlike before were %d wrong_status" % posts["unjudged"]["wrong_status"])


@pytest.mark.claim("evidence-paths-in-turn")
def test_paths_are_asked_in_turn_and_each_is_judged_by_its_own_past(measure, shop):
    stage, url, way = shop
    paths = [{"path": "/slow?ms=1&fault=401", "status": 401}, {"path": "/slow?ms=1"}]
    found = deploy(measure, shop, {"fault": "loop"}, paths=paths, streams={"fresh": 1, "keepalive": 1})
    probe = found["probe"]
    of_path = probe["paths"]
    assert set(of_path) == {"GET /", "GET /slow (2)", "GET /slow (3)"}
    assert max(one["sent"] for one in of_path.values()) - min(one["sent"] for one in of_path.values()) <= 6
    # What answers 401 all the time does so rightly; the others became wrong.
    assert of_path["GET /slow (2)"]["failed"] == 0 and probe["answers"]["addresses"]["GET /slow (2)"][
        "statuses"
    ].keys() == {"401"}
    assert (
        set(probe["failures"]) == {"redirect_loop"}
        and of_path["GET /"]["failed"]
        and of_path["GET /slow (3)"]["failed"]
    )
    assert found["verdict"] == "degraded" and "the first wrong one: GET /" in found["sentence"], found["sentence"]


@pytest.mark.claim("slower-is-said", "slower-fails-where-asked")
@pytest.mark.parametrize("most", [None, 10])
def test_three_seconds_slower_are_said_and_fail_where_asked(measure, shop, most):
    stage, url, way = shop
    with measure(url + "/", stage, timeout=60, rate=20, **way) as run:
        run.max_slowdown = most
        more(run, 60)
        run.knows(RELEASES)
        run.step("activate", "started", ["a"])
        control(stage, release=NEW, label="2.0.0", fault="slow:3000")
        wait_until(
            lambda: run.progress()["by_release"].get(NEW, {}).get("requests", 0) > 60, "answers of the new release", 60
        )
        run.step("activate", "finished", ["a"])
    found = run.evidence
    assert found["probe"]["failures"] == {} and "release 2.0.0 answers slower: p50 " in found["sentence"]
    (compared,) = found["probe"]["slowdown"]["compared"]
    assert compared["slower"] and compared["p50_ms"] > 2900 > 1000 > found["probe"]["slowdown"]["before"]["p50_ms"]
    if most is None:
        assert found["verdict"] == "clean" and found["sentence"].startswith("No request was lost"), found["sentence"]
    else:
        assert (found["verdict"], found["rollback"]) == ("degraded", True)
        assert "and max_slowdown allows 10 times" in found["sentence"]
