# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import Answer, Malformed, Outcome, Tally

URL = "http://shop.example/"


# -- answers --

def whole_after(data, step):
    answer = Answer()
    for start in range(0, len(data), step):
        if answer.feed(data[start:start + step]):
            assert start + step >= len(data)
            return answer
    return None


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize("data, body", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 204 No\r\n\r\n", b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n", b"abc0123456789"),
])
def test_answers_are_whole_whatever_the_pieces(data, body, step):
    answer = whole_after(data, step)
    assert answer is not None and bytes(answer.body) == body and answer.keep


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
])
def test_less_is_truncated(data):
    answer = Answer()
    assert not answer.feed(data) and not answer.end()


def test_without_a_length_the_end_makes_it_whole():
    answer = Answer()
    assert not answer.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") and answer.end() and not answer.keep


@pytest.mark.parametrize("head, keep", [
    (b"HTTP/1.1 200 OK\r\n", True), (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False), (b"HTTP/1.0 200 OK\r\n", False),
    (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
])
def test_which_connections_are_kept(head, keep):
    answer = Answer()
    assert answer.feed(head + b"Content-Length: 0\r\n\r\n") and answer.keep is keep


@pytest.mark.parametrize("data", [
    b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
])
def test_what_is_not_http(data):
    with pytest.raises(Malformed):
        Answer().feed(data)


def test_a_label_comes_from_the_body():
    def version(kind, body):
        answer = Answer()
        answer.feed(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body))
        return _probe._label_of(answer)

    assert version(b"application/json", b' {"version": "2.0.0"}') == "2.0.0"
    assert version(b"text/html", b'{"version": "2.0.0"}') is None
    assert version(b"application/json", b'{"version": {"a": 1}}') is None
    assert version(b"application/json", b'{"version": ') is None


# -- addresses and settings --

@pytest.mark.parametrize("url, connect_to, host, port, path", [
    ("http://shop.example", None, "shop.example", 80, "/"),
    ("https://shop.example/a?b=c", None, "shop.example", 443, "/a?b=c"),
    ("http://shop.example:8080/", "10.0.0.1:99", "10.0.0.1", 99, "/"),
    ("http://[::1]:8080/", None, "::1", 8080, "/"),
    ("http://shop.example/", "[::1]:80", "::1", 80, "/"),
])
def test_targets(url, connect_to, host, port, path):
    target = _probe.parse_target(url, connect_to)
    assert (target.connect_host, target.connect_port, target.path) == (host, port, path)


@pytest.mark.parametrize("config, part", [
    ({"url": None}, "url is not usable"),
    ({"url": "shop.example/"}, "the scheme is ''"),
    ({"url": "ftp://shop.example/"}, "the scheme is 'ftp'"),
    ({"url": "http://"}, "it names no host"),
    ({"url": "http://shop.example:99999/"}, "its host or port cannot be read"),
    ({"url": "http://shop.example:http/"}, "give http://host"),
    ({"url": "http://shop.example:0/"}, "port 0 is no port"),
    ({"url": "http://shop.example/a b"}, "a space or a control character"),
    ({"url": "http://shop.example/\r\nX: y"}, "a space or a control character"),
    ({"url": "http://sh\xf6p.example/"}, "only ASCII"),
    ({"url": "http://me:secret@shop.example/"}, "carries a user name"),
    ({"url": URL, "connect_to": "lb1"}, "connect_to 'lb1' is not usable: give host:port"),
    ({"url": URL, "connect_to": "::1:80"}, "give host:port, or [address]:port"),
    ({"url": URL, "connect_to": "lb1:0"}, "give host:port"),
    ({"url": URL, "rate": 0}, "rate is 0; a number from 0.1 to 2000"),
    ({"url": URL, "rate": True}, "rate is True"),
    ({"url": URL, "timeout": "long"}, "timeout is 'long'"),
    ({"url": URL, "streams": {"fresh": 0}}, "streams sum to nothing"),
    ({"url": URL, "streams": {"fast": 1}}, "a share for each of fresh, keepalive, post"),
    ({"url": URL, "streams": {"fresh": -1}}, "streams.fresh is -1"),
    ({"url": URL, "speed": 3}, "speed is not a setting of the probe"),
])
def test_settings_that_cannot_work_are_one_sentence(config, part):
    with pytest.raises(_probe.BadConfig) as caught:
        _probe.complete(config)
    assert part in str(caught.value) and "secret" not in str(caught.value) and "\n" not in str(caught.value)


# -- counting --

def tally(**config):
    return Tally(_probe.complete({"url": URL, **config}), 1000.0)


def good(version="1.0.0"):
    return Outcome(None, "", 200, version, "abc")


def bad(kind, version=None):
    return Outcome(kind, "d", int(kind[7:]) if kind.startswith("status_") else 0, version, None)


def test_counts_gap_versions_and_losses():
    one = tally()
    for number in range(10):
        one.finish("fresh", 1000 + number * 0.1, 1000.01 + number * 0.1, 0.01, good())
    one.finish("keepalive", 1001.0, 1001.2, None, bad("eof_reused"))
    one.finish("post", 1002.0, 1003.01, 0.02, good("2.0.0"))
    report = one.report(1003.2)
    assert (report["sent"], report["ok"], report["failed"], report["transport"]) == (12, 11, 1, 1)
    assert report["failures"] == {"eof_reused": 1} and report["streams"]["keepalive"] == {"sent": 1, "failed": 1}
    assert report["longest_gap_ms"] == pytest.approx(2100) and report["longest_gap_at"] == pytest.approx(1000.91)
    assert report["versions"]["1.0.0"]["count"] == 10 and report["versions"]["2.0.0"]["first"] == 1003.01
    assert report["losses"] == [{"time": 1001.2, "scheduled": 1001.0, "kind": "eof_reused", "stream": "keepalive", "detail": "d", "transport": True}]
    assert sum(row["sent"] for row in report["series"]["rows"]) == 12
    assert report["p50_ms"] == pytest.approx(10, rel=0.05) and report["max_ms"] == 20


def test_silence_at_the_end_is_a_gap_too():
    one = tally()
    one.finish("fresh", 1000, 1000.1, 0.1, good())
    assert one.report(1009.1)["longest_gap_ms"] == 9000


def test_whose_failure_it_is():
    assert not bad("reset").by_application and not bad("status_502").by_application and not bad("status_503").by_application
    assert bad("status_503", "2.0.0").by_application and bad("status_500").by_application and bad("status_404").by_application
    assert not good().by_application


def test_on_a_first_deploy_failures_count_from_the_first_admitted_member_on():
    one = tally(expect_serving=False)
    one.finish("fresh", 1000.0, 1000.0, None, bad("refused"))
    one.finish("fresh", 1001.0, 1001.1, 0.1, good())
    one.finish("fresh", 1000.5, 1001.2, None, bad("timeout"))     # asked before anything served
    one.finish("fresh", 1001.3, 1001.4, None, bad("status_502"))  # one balancer serves, another not yet
    one.finish("fresh", 1002.0, 1002.0, None, bad("refused"))     # a true loss, as will turn out
    assert (one.sent, one.failed, one.uncounted["sent"]) == (1, 0, 2)
    assert one.report(1003)["uncounted"] == {"sent": 4, "failures": {"refused": 2, "timeout": 1, "status_502": 1}}
    one.admit(1001.9)
    one.admit(1005.0)
    one.finish("fresh", 1001.8, 1003.0, None, bad("timeout"))
    one.finish("fresh", 1002.5, 1003.0, None, bad("reset"))
    assert (one.sent, one.failed, one.failures) == (3, 2, {"refused": 1, "reset": 1})
    assert one.summary()["uncounted"] == {"sent": 4, "failures": {"refused": 1, "timeout": 2, "status_502": 1}}


def test_pending_failures_are_bounded():
    one = tally(expect_serving=False)
    one.finish("fresh", 1000.0, 1000.0, 0.1, good())
    for _number in range(_probe._MAX_LOSSES + 5):
        one.finish("fresh", 1001.0, 1001.0, None, bad("refused"))
    assert len(one.pending) == _probe._MAX_LOSSES and one.uncounted["sent"] == 5


def test_members_are_admitted_by_the_first_step_that_ends_so(tmp_path):
    assert _probe.admitted(str(tmp_path / "events.jsonl")) is None
    for step, members in (("drain", False), ("judge 5 %", False), ("return", True), ("switch", True), ("share 5 %", True)):
        assert _steps.admits(step) is members
    lines = [{"time": 1.0, "step": "drain", "event": "finished"}, {"time": 2.0, "step": "return", "event": "started"},
             {"time": 3.0, "step": "return", "event": "finished"}, {"time": 4.0, "step": "return", "event": "finished"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    events = tmp_path / "events.jsonl"
    for length, expected in ((2, None), (3, 3.0), (4, 3.0)):
        # The last line is still being written.
        events.write_text("".join(text.splitlines(True)[:length]) + '{"time": 2.5, "step": "return", "event": "fini', encoding="utf-8")
        assert _probe.admitted(str(events)) == expected


def test_the_series_grows_coarser_but_loses_nothing():
    one = tally(max_rows=10, bucket_s=1)
    for number in range(100):
        one.finish("fresh", 1000.0 + number, 1000.0 + number, 0.001 * (1 + number % 3), good())
    series = one.report(1100)["series"]
    assert series["bucket_s"] == 16 and len(series["rows"]) <= 10
    assert sum(row["ok"] for row in series["rows"]) == 100 and sum(sum(row["hist"].values()) for row in series["rows"]) == 100


def test_memory_is_bounded():
    one = tally()
    for number in range(_probe._MAX_LOSSES + 5):
        one.finish("fresh", 1000, 1000, None, bad("refused"))
        one.finish("fresh", 1000, 1000, 0.1, good("v%d" % number))
    report = one.report(1001)
    assert len(report["losses"]) == _probe._MAX_LOSSES and report["losses_left_out"] == 5 and report["failed"] == _probe._MAX_LOSSES + 5
    assert len(report["versions"]) == 51 and sum(entry["count"] for entry in report["versions"].values()) == _probe._MAX_LOSSES + 5


def test_percentiles_are_within_a_few_percent():
    hist = {}
    for number in range(1, 1001):
        slot = _probe.hist_slot(number / 1000)
        hist[str(slot)] = hist.get(str(slot), 0) + 1
    assert _probe.hist_percentile_ms(hist, 0.5) == pytest.approx(500, rel=0.04)
    assert _probe.hist_percentile_ms(hist, 0.99) == pytest.approx(990, rel=0.04)
    assert _probe.hist_percentile_ms({}, 0.5) is None
    assert _probe.hist_slot(0) == 0


@pytest.mark.claim("probe-bound")
def test_the_bound():
    assert _probe.bound(0, 3000) == pytest.approx(0.001)
    assert _probe.bound(0, 0) is None
    assert _probe.bound(5, 100) > 0.05
    assert _probe.bound(0, 1) == 1.0


# -- the timetable --

@pytest.mark.claim("probe-keeps-its-timetable")
def test_streams_are_spread_by_their_shares():
    probe = _probe.Probe({"url": "http://127.0.0.1:9/", "streams": {"fresh": 5, "keepalive": 4, "post": 1}})
    order = [probe.next_stream() for _each in range(20)]
    assert [order.count(name) for name in ("fresh", "keepalive", "post")] == [10, 8, 2]
    assert order[:10].count("post") == 1
    probe.shares["post"] = 0.0
    assert "post" not in [probe.next_stream() for _each in range(50)]
    probe.finish()


@pytest.mark.claim("evidence-paths-in-turn")
def test_paths_take_turns_in_each_stream_and_posts_go_to_the_url_alone():
    paths = [{"path": "/search?q=tea"}, {"path": "/search?q=mug", "status": 401}]
    probe = _probe.Probe({"url": URL, "paths": paths, "seed": 1})
    asked = {stream: [probe.next_question(stream) for dummy in range(6)] for stream in _probe.STREAMS}
    for stream in ("fresh", "keepalive"):
        assert [one.target.path for one in asked[stream]] == ["/", "/search?q=tea", "/search?q=mug"] * 2
        assert [one.usual for one in asked[stream][:3]] == [None, None, 401]
    assert {one.target.path for one in asked["post"]} == {"/"}
    # Names are less the queries, and differ.
    assert [one.shown for one in probe.questions] == ["GET /", "GET /search (2)", "GET /search (3)"]
    first = probe.questions[1]
    assert first.wire["fresh"] == (b"GET /search?q=tea HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: zero.downtime-probe\r\nAccept: */*\r\n"
                                   b"Cache-Control: no-cache\r\nConnection: close\r\n\r\n")
    assert first.heads[:4] == [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/search?q=tea")]
    assert b"Content-Length: 1024\r\n\r\n" in probe.post_question.wire["post"] and ("content-length", "1024") in probe.post_question.heads
    assert b"Connection" not in first.wire["keepalive"]
    probe.finish()


def test_counts_by_path():
    tally = Tally(_probe.complete({"url": URL}), 0.0)
    for number, kind in enumerate((None, None, "empty", "reset")):
        tally.finish("fresh", 1.0, 1.0, None, Outcome(kind, "", 200, None, None, path="GET /x" if number else "GET /"))
    assert tally.paths == {"GET /": {"sent": 1, "failed": 0}, "GET /x": {"sent": 3, "failed": 2}}
    assert [(loss["kind"], loss["path"], loss["transport"]) for loss in tally.losses] == [("empty", "GET /x", False), ("reset", "GET /x", True)]


@pytest.mark.parametrize("path, part", [
    ("search", "paths has 'search': a path that begins with a single / is accepted"), ("//evil.example/", "single /"), (None, "single /"),
    ("/a b?token=s3cret", "paths has '/a b': it holds a space"), ("/ä", "not ASCII"), ("/a#b", "a #"),
])
def test_what_is_no_path(path, part):
    with pytest.raises(_probe.BadConfig) as caught:
        _probe.complete({"url": URL, "paths": [{"path": path}]})
    assert part in str(caught.value) and "s3cret" not in str(caught.value)


def test_the_number_of_paths_is_bounded():
    with pytest.raises(_probe.BadConfig, match="paths has 51 entries; at most 50 are accepted"):
        _probe.complete({"url": URL, "paths": [{"path": "/"}] * 51})


def test_a_post_lasts_longer_than_p99():
    probe = _probe.Probe({"url": "http://127.0.0.1:9/", "rate": 0.1})
    assert 3 * probe.post_pause() == pytest.approx(0.25)
    probe.tally.hist = {_probe.hist_slot(1.0): 100}
    assert 1.4 < 3 * probe.post_pause() < 1.6
    probe.tally.hist = {_probe.hist_slot(60.0): 100}
    assert 3 * probe.post_pause() == pytest.approx(5.0)
    probe.finish()


@pytest.mark.parametrize("rate, pause", [(50, 0.1), (100, 0.1), (37, 4 / 37), (1000, 0.1), (12.5, 0.16), (11, 0.25 / 3)])
def test_the_pieces_of_a_post_go_out_with_the_timetable(rate, pause):
    probe = _probe.Probe({"url": "http://127.0.0.1:9/", "rate": rate})
    assert probe.post_pause() == pytest.approx(pause)
    probe.finish()


def test_an_address_that_takes_no_post_gets_no_more_of_them():
    probe = _probe.Probe({"url": "http://127.0.0.1:9/"})
    assert [probe.judge_post(405, "status_405") for _each in range(3)] == [None] * 3
    assert probe.shares["post"] == 0.0 and "405 to POST" in probe.notes[0]
    probe = _probe.Probe({"url": "http://127.0.0.1:9/"})
    assert probe.judge_post(200, None) is None and probe.judge_post(404, "status_404") == "status_404"
    assert probe.judge_post(503, "status_503") == "status_503"


def test_own_time_out_is_not_the_sites():
    now = [100.0]
    probe = _probe.Probe({"url": "http://127.0.0.1:9/", "timeout": 1}, clock=lambda: now[0])
    exchange = _probe.Exchange("fresh", 100.0, probe.questions[0])
    exchange.deadline, exchange.grace = 101.0, 0.0
    probe.open.add(exchange)
    probe.grace, probe.now = 5.0, 105.5     # the probe itself stood still for five seconds
    probe.check_deadline(exchange)
    assert not exchange.done and probe.deadlines[0][0] == 106.0
    probe.now = 106.1
    probe.check_deadline(exchange)
    assert exchange.done and probe.tally.failures == {"timeout": 1}
    probe.finish()


def test_the_servers_idle_time_out_is_told_from_a_deploys_close():
    probe = _probe.Probe({"url": "http://127.0.0.1:9/"})
    probe.now = 100.0
    assert not probe.is_idle_race(5.0)
    # A reload: many connections of any age, all at once.
    probe.idle_closes = [(90.0, age) for age in (4.9, 5.0, 5.01, 0.4)]
    assert not probe.is_idle_race(5.0)
    # A time-out of five seconds: always after the same rest.
    probe.idle_closes = [(80.0, 5.0), (90.0, 5.02)]
    assert probe.is_idle_race(4.99) and not probe.is_idle_race(3.0) and not probe.is_idle_race(0.1)
    exchange = _probe.Exchange("keepalive", 100.0, probe.questions[0])
    exchange.reused, exchange.rested = True, 5.0
    probe.lose(exchange, "eof_reused", "")
    assert (probe.idle_races, probe.tally.sent) == (1, 0)
    exchange = _probe.Exchange("keepalive", 100.0, probe.questions[0])
    exchange.reused, exchange.rested = True, 3.0
    probe.lose(exchange, "eof_reused", "")
    assert probe.tally.failures == {"eof_reused": 1}
    probe.finish()


def test_one_family_of_addresses():
    def resolve(host, port, **kwargs):
        return [(_probe.socket.AF_INET6, 1, 6, "", ("::1", port, 0, 0)), (_probe.socket.AF_INET, 1, 6, "", ("127.0.0.1", port)),
                (_probe.socket.AF_INET, 1, 6, "", ("127.0.0.2", port))]

    probe = _probe.Probe({"url": "http://localhost:9/"}, resolve=resolve)
    probe.lookup()
    assert [address[0] for _family, address in probe.addresses] == ["127.0.0.1", "127.0.0.2"]
    probe.finish()


def test_a_pid_is_told_from_its_reuse():
    import os
    assert _probe.start_time_of(os.getpid()) is not None
    assert _probe.start_time_of(2 ** 22 + 5) is None
