# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import os

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import Outcome
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _evidence_keeper


class Balancer:
    """Counters that grow by one whole answer a reading, unless told otherwise."""

    def __init__(self):
        self.requests = self.answered = 0
        self.readings = []
        self.failing = ""

    def __call__(self, run_dir, at, moment=None):
        self.requests += 1
        self.answered += 1
        self.readings.append(at)
        result = {"failed": True, "msg": self.failing} if self.failing else {"counters": [{
            "worker": 1, "current": True, "requests": self.requests, "responses": {"2xx": self.answered}, "open": 0, "server_5xx": 0}]}
        return [_balance.append(run_dir, "lb1", result, at, moment, now=lambda: float(len(self.readings)))]


def keeper(tmp_path, state="started", sampler=None, check_mode=False, **args):
    naps = []
    full = _spec.check({"state": state, "run_dir": str(tmp_path), **args}, _evidence_keeper.SPEC)
    found = _evidence_keeper.Keeper(full, sampler, check_mode, clock=lambda: sum(naps), sleep=naps.append)
    found.naps = naps
    return found


def answers(monkeypatch, *outcomes):
    asked = iter(outcomes)
    monkeypatch.setattr(_probe, "once", lambda config: next(asked))


GOOD = Outcome(None, "", 200, "1.0.0", "abc")
REFUSED = Outcome("refused", "Connection refused", 0, None, None)
URL = "http://shop.example/"


def test_check_mode_asks_and_starts_nothing(tmp_path, monkeypatch):
    answers(monkeypatch, GOOD)
    result = keeper(tmp_path, url=URL, check_mode=True).started()
    assert result["changed"] and result["pid"] is None and result["asked"]["version"] == "1.0.0"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("outcome, part", [
    (REFUSED, "does not answer: refused (Connection refused), though a release serves"),
    (Outcome("status_503", "answered 503", 503, None, None), "answers 503, though a release serves; an address that answers 2xx or 3xx is accepted"),
])
@pytest.mark.parametrize("check_mode", [True, False])
def test_an_address_that_does_not_serve_is_refused(tmp_path, monkeypatch, outcome, part, check_mode):
    answers(monkeypatch, outcome, outcome, outcome)
    with pytest.raises(DowntimeError) as caught:
        keeper(tmp_path, url=URL, check_mode=check_mode).started()
    assert "url http://shop.example/ " + part in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("expect_serving", [True, False])
def test_a_server_that_does_not_choose_http_2_is_refused(tmp_path, monkeypatch, expect_serving):
    answers(monkeypatch, *[Outcome("no_http2", "the server chose http/1.1", 0, None, None)] * 3)
    with pytest.raises(DowntimeError) as caught:
        keeper(tmp_path, url="https://shop.example/?token=s3cret", http2=True, check_mode=True, expect_serving=expect_serving).started()
    assert str(caught.value) == ("http2 is true, and the server of https://shop.example/ does not choose it (the server chose http/1.1); "
                                 "auto and false are accepted there")
    assert caught.value.details == {"cause": _probe.NO_HTTP2}


def test_a_file_without_certificates_is_the_cause(tmp_path):
    with pytest.raises(_probe.BadConfig, match="^ca_path '/nowhere/ca.pem' cannot be read as certificates: .*") as caught:
        keeper(tmp_path, url="https://shop.example/", ca_path="/nowhere/ca.pem").started()
    assert caught.value.cause == _probe.NO_AUTHORITY


@pytest.mark.claim("evidence-paths-in-turn")
def test_each_path_is_asked_once_and_its_status_is_the_usual_one(tmp_path, monkeypatch):
    asked = []

    def once(config):
        asked.append(config["url"])
        found = {"/": GOOD, "/me": Outcome("status_401", "", 401, None, None), "/old": Outcome(None, "", 302, None, None)}
        return found[_probe.parse_target(config["url"]).path.partition("?")[0]]

    monkeypatch.setattr(_probe, "once", once)
    one = keeper(tmp_path, url=URL, paths=["/me?token=s3cret", "/old"])
    monkeypatch.setattr(one, "_spawn", lambda: 1)
    assert one.started()["pid"] == 1
    assert asked == [URL, URL + "me?token=s3cret", URL + "old"]
    config = _events.load(str(tmp_path), _evidence_keeper.CONFIG)
    assert config["paths"] == [{"path": "/me?token=s3cret", "status": 401}, {"path": "/old", "status": None}]
    assert "drain" in config["moves"] and config["answers"] == str(tmp_path / "answers.json")


@pytest.mark.parametrize("outcome, part", [
    (REFUSED, "does not answer: refused (Connection refused)"), (Outcome("status_502", "", 502, None, None), "answers 502"),
])
def test_a_path_that_does_not_answer_is_refused(tmp_path, monkeypatch, outcome, part):
    answers(monkeypatch, GOOD, outcome, outcome, outcome)
    with pytest.raises(DowntimeError) as caught:
        keeper(tmp_path, url=URL, paths=["/x?token=s3cret"]).started()
    assert str(caught.value) == ("paths has '/x', and http://shop.example/x %s, though a release serves; a path that answers with a status below 500 "
                                 "is accepted" % part)
    assert caught.value.details == {"cause": _probe.SETTING}


def test_on_a_first_deploy_paths_need_not_answer(tmp_path, monkeypatch):
    answers(monkeypatch, REFUSED)
    assert keeper(tmp_path, url=URL, paths=["/x"], check_mode=True, expect_serving=False).started()["changed"]


@pytest.mark.claim("waits-until-it-knows")
@pytest.mark.parametrize("rate, told, naps", [
    # Answered often enough in the end, at once, never since all fails, never since it gives no sign.
    (50, [{"learned": 5, "sent": 6}, {"learned": 29, "sent": 31}, {"learned": 30, "sent": 32}], 2),
    (50, [{"learned": 30, "sent": 30}], 0),
    (50, [{"learned": 0, "sent": 59}, {"learned": 0, "sent": 60}], 1),
    (50, [None], 50),
    # At this rate it would take longer than the deploy waits.
    (5, [None], 0),
])
def test_before_anything_moves_the_probe_sees_often_enough_how_it_is_answered(tmp_path, monkeypatch, rate, told, naps):
    one = keeper(tmp_path, "checked", baseline=True)
    left = list(told)
    monkeypatch.setattr(one, "_process", lambda: {"pid": 1})
    monkeypatch.setattr(_events, "load", lambda run_dir, name: left.pop(0) if len(left) > 1 else left[0])
    one._learn({"url": URL, "rate": rate, "expect_serving": True, "paths": []})
    assert one.naps == [_evidence_keeper.POLL] * len(one.naps) and abs(len(one.naps) - naps) <= (naps == 50)
    # On a first deploy there is nothing to learn.
    first = keeper(tmp_path, "checked", baseline=True)
    first._learn({"url": URL, "rate": rate, "expect_serving": False, "paths": []})
    first._learn({"url": None, "rate": rate, "expect_serving": True, "paths": []})
    assert first.naps == []


def test_what_the_deploy_knows_of_releases_is_written_before_anything_moves(tmp_path, monkeypatch):
    monkeypatch.setattr(_probe, "once", lambda config: GOOD)
    begun = keeper(tmp_path)
    begun.started()
    releases = [{"digest": "a" * 64, "label": "1.0.0"}, {"digest": "b" * 64, "label": None}]
    keeper(tmp_path, "checked", baseline=True, releases=releases, signed=True).checked()
    assert _answers.read(str(tmp_path / _answers.FILE)) == ({"a" * 64: "1.0.0", "b" * 64: None}, True)
    # Later checks leave it alone.
    keeper(tmp_path, "checked").checked()
    assert _answers.read(str(tmp_path / _answers.FILE)).signed is True


def test_what_it_spoke_is_returned(tmp_path, monkeypatch):
    answers(monkeypatch, Outcome(None, "", 200, "1.0.0", "abc", "HTTP/2"))
    assert keeper(tmp_path, url=URL, check_mode=True).started()["asked"]["protocol"] == "HTTP/2"


def test_one_unlucky_request_does_not_refuse_the_address(tmp_path, monkeypatch):
    answers(monkeypatch, REFUSED, GOOD)
    assert keeper(tmp_path, url=URL, check_mode=True).started()["asked"]["ok"]


def test_on_a_first_deploy_nothing_has_to_answer(tmp_path, monkeypatch):
    answers(monkeypatch, REFUSED)
    assert keeper(tmp_path, url=URL, check_mode=True, expect_serving=False).started()["asked"]["kind"] == "refused"


@pytest.mark.parametrize("args, part", [
    ({"url": "shop.example"}, "the scheme is ''"),
    ({"url": URL, "connect_to": "lb1"}, "connect_to 'lb1' is not usable"),
    ({"url": URL, "rate": -1}, "rate is -1"),
    ({"url": URL, "streams": {"slow": 1}}, "streams is"),
])
def test_bad_input_is_one_sentence(tmp_path, args, part):
    with pytest.raises(_probe.BadConfig) as caught:
        keeper(tmp_path, **args).started()
    assert part in str(caught.value)


@pytest.mark.parametrize("run_dir, part", [(None, "run_dir is missing"), ("/nonexistent/run", "run_dir is '/nonexistent/run'")])
def test_without_a_directory_nothing_starts(tmp_path, run_dir, part):
    one = keeper(tmp_path)
    one.run_dir = run_dir
    with pytest.raises(DowntimeError) as caught:
        one.started()
    assert part in str(caught.value)


def test_a_balancer_that_cannot_be_read_is_named_before_anything_moves(tmp_path):
    balancer = Balancer()
    balancer.failing = "permission denied"
    with pytest.raises(DowntimeError) as caught:
        keeper(tmp_path, sampler=balancer).started()
    assert str(caught.value) == "the counters of lb1 cannot be read: permission denied"


def test_a_balancer_that_nobody_counts_on_refuses_no_deploy(tmp_path):
    def sampler(run_dir, at, moment=None):
        return [_balance.append(run_dir, "lb1", {"counters": [], "uncounted": "nobody counts there"}, at, moment)]

    assert keeper(tmp_path, sampler=sampler).started()["changed"] is True
    stopped = keeper(tmp_path, "stopped", sampler).stopped()
    assert stopped["evidence"]["balance"] is None and "lb1: nobody counts there" in stopped["sentence"]


def test_without_a_url_the_sheet_alone_is_kept_and_judged(tmp_path):
    balancer = Balancer()
    assert keeper(tmp_path, sampler=balancer).started() == {"changed": True, "pid": None, "asked": None}
    assert keeper(tmp_path, "checked", balancer).checked()["verdict"] == "clean"
    balancer.requests += 2
    checked = keeper(tmp_path, "checked", balancer).checked()
    assert checked["failed"] and checked["verdict"] == "lost" and "2 unanswered" in checked["msg"] and checked["msg"] == checked["sentence"]
    stopped = keeper(tmp_path, "stopped", balancer).stopped()
    assert not stopped.get("failed") and stopped["verdict"] == "lost" and stopped["evidence"]["probe"] is None
    # Asked again, it tells the same and measures nothing.
    readings = len(balancer.readings)
    again = keeper(tmp_path, "stopped", balancer).stopped()
    assert again["changed"] is False and again["evidence"] == json.loads(json.dumps(stopped["evidence"])) and len(balancer.readings) == readings
    assert [event["event"] for event in _events.read(str(tmp_path))] == ["started", "finished", "started", "failed"]


def test_a_request_in_motion_is_read_once_more(tmp_path):
    balancer = Balancer()
    keeper(tmp_path, sampler=balancer).started()
    balancer.answered -= 1

    def later(run_dir, at, moment=None):
        found = balancer(run_dir, at, moment)
        balancer.answered = balancer.requests
        return found

    assert keeper(tmp_path, "checked", later).checked()["verdict"] == "clean"
    assert balancer.readings == ["started", "checked", "checked"]


def test_watching_ends_when_the_budget_is_exceeded(tmp_path):
    (tmp_path / "progress.json").write_text('{"transport": 0}', encoding="utf-8")
    calm = keeper(tmp_path, "checked")
    calm._observe(3)
    assert sum(calm.naps) == pytest.approx(3)
    (tmp_path / "progress.json").write_text('{"transport": 1}', encoding="utf-8")
    hasty = keeper(tmp_path, "checked")
    hasty._observe(3)
    assert hasty.naps == []


@pytest.mark.parametrize("state", ["checked", "stopped"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_was_never_started_has_nothing_to_say(tmp_path, state, check_mode):
    result = getattr(keeper(tmp_path, state, check_mode=check_mode), state)()
    assert result["changed"] is False and not result.get("failed")
    assert os.listdir(tmp_path) == []


def test_a_probe_that_vanished_is_said(tmp_path):
    (tmp_path / "probe-config.json").write_text(json.dumps({"url": URL, "expect_serving": True}), encoding="utf-8")
    (tmp_path / "probe-process.json").write_text(json.dumps({"pid": 2 ** 22 + 5, "start_time": "7"}), encoding="utf-8")
    (tmp_path / "probe.log").write_text("MemoryError\n", encoding="utf-8")
    result = keeper(tmp_path, "stopped").stopped()
    assert result["verdict"] == "unconfirmed" and "the probe ended without an account: MemoryError" in result["sentence"]


def accounts(found, *told):
    """The probe's accounts, one a time that it is asked; the last one is repeated."""
    left = list(told)
    found._snapshot = lambda: (left.pop(0) if len(left) > 1 else left[0], None)
    found._begun = lambda config: None
    return left


def test_a_check_waits_for_the_answers_to_what_had_been_asked(tmp_path):
    watching = keeper(tmp_path, "checked")
    left = accounts(watching, {"finished": 100.0, "open_since": 99.0}, {"finished": 105.0, "open_since": 99.0}, {"finished": 110.0, "open_since": 109.9})
    assert watching._answered() == ({"finished": 110.0, "open_since": 109.9}, None) and len(left) == 1


def test_a_check_does_not_wait_longer_than_a_request_may_take(tmp_path):
    watching = keeper(tmp_path, "checked")
    accounts(watching, {"finished": 100.0, "open_since": 99.0})
    assert watching._answered()[0]["open_since"] == 99.0
    assert 12.0 <= sum(watching.naps) < 13.0


@pytest.mark.claim("probe-that-dies")
@pytest.mark.parametrize("batch, stay", [(1, False), (None, True)])
def test_a_deploy_whose_probe_died_goes_back_between_batches_and_stays_when_all_is_moved(tmp_path, batch, stay):
    watching = keeper(tmp_path, "checked", **({} if batch is None else {"batch": batch}))
    _probe.write_json(str(tmp_path / _evidence_keeper.CONFIG), {"url": URL, "expect_serving": True})
    watching._begun = lambda config: None
    watching._snapshot = lambda: (None, "the probe ended without an account")
    result = watching.checked()
    assert result["failed"] and result["verdict"] == "unconfirmed" and result["stay"] is stay


class Site:
    """A balancer with one member that gets 200 requests a second; C(fails(second)) are those of them that it answers with a 500."""

    def __init__(self, tmp_path, fails, open_at_end=lambda reading: 0):
        self.fails, self.open_at_end = fails, open_at_end
        self.requests = self.errors = self.second = 0
        _probe.write_json(str(tmp_path / _evidence_keeper.CONFIG), {"url": None, "expect_serving": True})
        for dummy in range(5):
            self(str(tmp_path), "started")
        for event, when in (("started", 5.5), ("finished", 6.5)):
            _events.append(str(tmp_path), "drain", event, members=["app1"], batch=1, now=lambda when=when: when)
        self(str(tmp_path), "drain")
        self(str(tmp_path), "return")

    def __call__(self, run_dir, at, moment=None):
        self.second += 1
        self.requests += 200
        self.errors += self.fails(self.second)
        still = self.open_at_end(self.second)
        row = {"worker": 1, "current": True, "requests": self.requests + still, "responses": {"2xx": self.requests - self.errors, "5xx": self.errors},
               "server_5xx": self.errors, "faults": 0, "open": still, "pools": {"shop": {"members": {
                   "app1": {"requests": self.requests + still, "errors": self.errors, "open": still}}}}}
        return [_balance.append(run_dir, "lb1", {"counters": [row]}, at, moment, now=lambda: float(self.second))]


@pytest.mark.claim("bursts-are-no-trend")
def test_a_check_looks_on_until_errors_have_lasted_or_have_not(tmp_path):
    for name, fails, verdict in (("burst", lambda second: 60 if second == 7 else 0, "clean"), ("release", lambda second: 60 if second >= 7 else 0, "degraded")):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name, fails)
        checking = keeper(tmp_path / name, "checked", site, batch=1)
        result = checking.checked()
        assert result["verdict"] == verdict, (name, result["sentence"])
        assert 0 < sum(checking.naps) <= _evidence_keeper.LASTING
    # What shows no error is not looked at any longer.
    (tmp_path / "quiet").mkdir()
    quiet = keeper(tmp_path / "quiet", "checked", Site(tmp_path / "quiet", lambda second: 0), batch=1)
    assert quiet.checked()["verdict"] == "clean" and quiet.naps == []


def test_a_finding_stays_one_however_much_is_answered_well_after_it(tmp_path):
    site = Site(tmp_path, lambda second: 60 if 7 <= second < 15 else 0)
    found = keeper(tmp_path, "checked", site, batch=1).checked()
    assert found["verdict"] == "degraded"
    for dummy in range(400):
        site(str(tmp_path), "back_return")
    ended = keeper(tmp_path, "stopped", site).stopped()
    assert (ended["verdict"], ended["evidence"]["rollback"], ended["sentence"]) == ("degraded", True, found["sentence"])


@pytest.mark.claim("open-requests-are-named")
@pytest.mark.parametrize("until, waits", [(12, 4.0), (99, 20.0)])
def test_requests_that_are_open_at_the_end_are_waited_for(tmp_path, until, waits):
    site = Site(tmp_path, lambda second: 0, lambda second: 30 if 7 <= second < until else 0)
    ending = keeper(tmp_path, "stopped", site, open_timeout=20)
    result = ending.stopped()
    assert sum(ending.naps) == pytest.approx(waits)
    assert result["evidence"]["balance"]["waiting"] == ("" if until == 12 else "30 on lb1 (30 on app1)")
    assert ("No request was lost" in result["sentence"]) is (until == 12)


@pytest.mark.parametrize("usual, lost", [(0, "The probe lost 3 of 300 requests."), (4, None)])
def test_a_canary_fails_for_what_the_probe_lost_unless_real_requests_are_lost_like_that_all_the_time(tmp_path, usual, lost):
    Site(tmp_path, lambda second: 0)
    path = tmp_path / _balance.FILE
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, sample in enumerate(samples):
        row = sample["counters"][0]
        row["server_aborts"] = usual * number
        row["pools"]["shop"]["members"]["app1"]["cut_short"] = usual * number
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
    tally = _probe.Tally(_probe.complete({"url": URL}), 0.0)
    for number in range(300):
        outcome = Outcome("truncated", "", 0, None, None) if number in (230, 250, 270) else Outcome(None, "", 200, "1.0.0", "abc")
        tally.finish("fresh", number / 40, number / 40, 0.005, outcome)
    account = {**tally.report(7.5), "stall_ms": 2.4, "skipped": 0, "notes": [], "first_ok": tally.first_ok}
    _probe.write_json(str(tmp_path / _evidence_keeper.CONFIG), {"url": URL, "expect_serving": True})
    _probe.write_json(str(tmp_path / _evidence_keeper.PROGRESS), {"sent": 300, "transport": 3, "failed": 3})
    watching = keeper(tmp_path, "checked", None)
    watching._snapshot = lambda: (account, None)
    assert watching.lost("judge 5 %") == lost
    assert keeper(tmp_path, "checked", None, max_failed=3).lost("judge 5 %") is None


@pytest.mark.claim("enough-before-a-switch")
@pytest.mark.parametrize("received, wait", [(1500, 0.0), (1000, 5.0), (750, 10.0), (600, 0.0), (0, 0.0)])
def test_before_a_switch_a_deploy_waits_for_requests_to_compare_with_where_that_takes_seconds(tmp_path, monkeypatch, received, wait):
    # Half of them until the last reading, and as many as that since.
    for second, requests in ((0.0, 40), (5.0, 40 + received // 2)):
        row = {"worker": 1, "current": True, "requests": requests, "responses": {"2xx": requests}, "open": 0, "server_5xx": 0}
        _balance.append(str(tmp_path), "lb1", {"counters": [row]}, "drain", now=functools.partial(float, second))
    (tmp_path / "probe-config.json").write_text('{"url": null, "expect_serving": true}', encoding="utf-8")
    monkeypatch.setattr(_events, "clock", lambda run_dir: lambda: 10.0)
    found = keeper(tmp_path, state="awaited")
    assert found.awaited() == {"changed": False, "waited": wait}
    assert sum(found.naps) == pytest.approx(wait)


@pytest.mark.parametrize("config, check_mode", [
    (None, False), ('{"url": null, "expect_serving": false}', False), ('{"url": null, "expect_serving": true}', True)])
def test_nothing_is_waited_for_where_nothing_served_or_nothing_moves(tmp_path, config, check_mode):
    if config:
        (tmp_path / "probe-config.json").write_text(config, encoding="utf-8")
    assert keeper(tmp_path, state="awaited", check_mode=check_mode).awaited() == {"changed": False, "waited": 0.0}
