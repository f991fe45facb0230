# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import threading

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._shadow import replay as _replay
from ansible_collections.zero.downtime.plugins.module_utils._shadow import response_diff as _response_diff
from ansible_collections.zero.downtime.plugins.module_utils._shadow.response_diff import Answer, Ignored


class Clock:
    """Time passes only by sleeping."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.now += seconds


class Caller:
    def __init__(self, name, answers, asked):
        self.name, self.answers, self.asked = name, answers, asked

    def get(self, path):
        self.asked.append((self.name, path))
        return self.answers[self.name]

    def close(self):
        self.asked.append((self.name, "closed"))


def options(**changes):
    found = {name: option.get("default") for name, option in _replay.argument_spec().items()}
    return {**found, "log": "/nowhere/log", "primary": "127.0.0.1:1", "secondary": "127.0.0.1:1", "candidate": "127.0.0.1:2", **changes}


@pytest.mark.claim("replay-three-members")
def test_each_request_goes_to_all_three_at_its_time():
    clock, asked = Clock(), []
    answers = {"primary": Answer(200), "secondary": Answer(200), "candidate": Answer(500)}
    replay = _replay.Replay(Ignored(), lambda name: Caller(name, answers, asked), clock, clock.sleep, workers=1, seed=1)
    replay.run([(0.0, "/a")])
    assert sorted(asked) == sorted((name, path) for name in answers for path in ("/a", "closed"))
    assert replay.tally.as_dict() == {"requests": 1, "compared": 1,
                                      "fields": [{"field": "status", "raw": 1, "noise": 0, "how": "200 to 500", "path": "/a"}]}
    replay = _replay.Replay(Ignored(), lambda name: Caller(name, answers, asked), clock, clock.sleep)
    replay.run([(0.0, "/a"), (0.5, "/b"), (2.0, "/c")])
    assert clock.slept == [0.5, 1.5] and replay.late + replay.tally.requests == 3


def test_requests_that_nobody_can_take_in_time_are_left_out():
    gate = threading.Event()

    class Slow(Caller):
        def get(self, path):
            gate.wait(10)
            return Answer(200)

    clock = Clock()
    replay = _replay.Replay(Ignored(), lambda name: Slow(name, {}, []), clock, lambda seconds: None, workers=1)
    # One is being sent, one waits, and the others are late.
    releaser = threading.Timer(0.2, gate.set)
    releaser.start()
    replay.run([(0.0, "/")] * 10)
    releaser.join()
    assert replay.late >= 8 and replay.late + replay.tally.requests == 10


def test_a_defect_in_a_thread_is_not_swallowed():
    class Broken(Caller):
        def get(self, path):
            raise ZeroDivisionError

    replay = _replay.Replay(Ignored(), lambda name: Broken(name, {}, []), workers=2)
    with pytest.raises(ZeroDivisionError):
        replay.run([(0.0, "/"), (0.05, "/"), (0.1, "/")])


@pytest.mark.parametrize("changes, sentence", [
    ({"duration": 0.0}, "duration is 0; seconds above 0 are accepted"),
    ({"pace": -1.0}, "pace is -1; times the recorded pace above 0"),
    ({"rate": 0.0}, "rate is 0; requests a second above 0"),
    ({"request_timeout": 0.0}, "request_timeout is 0; seconds above 0"),
    ({"relative_limit": 101.0}, "relative_limit is 101; a percentage from 0 to 100"),
    ({"absolute_limit": -1.0}, "absolute_limit is -1; a percentage from 0 to 100"),
    ({"max_differences": -1}, "max_differences is -1; a number of fields from 0 on"),
    ({"host": "a\r\nb"}, "host is 'a\\r\\nb'; the name of a Host header"),
    ({"ignore": ["version"]}, "ignore has 'version'; names as the report has them"),
    ({"exclude": ["("]}, "exclude has '('; regular expressions are accepted"),
    ({"primary": "app1"}, "primary is 'app1'; an address with a port"),
    ({"secondary": "app1:0"}, "secondary is 'app1:0'; an address with a port"),
    ({"candidate": "127.0.0.1:1"}, "candidate is '127.0.0.1:1', which is also primary; a member of the idle side"),
    ({}, "log is '/nowhere/log', which cannot be read"),
])
def test_bad_options_are_named(changes, sentence):
    with pytest.raises(DowntimeError) as error:
        _replay.run(options(**changes))
    assert sentence in str(error.value)


def test_addresses():
    assert _replay.address("[2001:db8::1]:80", "primary") == ("2001:db8::1", 80)


def test_check_mode_reads_and_sends_nothing(tmp_path):
    log = tmp_path / "log"
    log.write_text('1 [25/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200\n', encoding="utf-8")
    found = _replay.run(options(log=str(log)), check_mode=True)
    assert (found["planned"], found["requests"], found["verdict"], found["changed"]) == (1, 0, "nothing", False)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0

    def do_GET(self):
        type(self).count += 1
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/close":
            # Without a word to the client, as after an idle time-out.
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found.server_address
        found.shutdown()
        thread.join()


def test_a_caller_keeps_its_connection_and_repeats_only_what_the_server_had_closed(server):
    caller = _replay.Caller(server, "shop.example", 5)
    Handler.count = 0
    assert caller.get("/").body == b"shop.example"
    first = caller.connection
    assert caller.get("/close").body == b"shop.example" and caller.connection is first
    assert caller.get("/a").body == b"shop.example" and Handler.count == 3
    caller.close()


def test_why_there_is_no_answer(server):
    assert _replay.Caller(("127.0.0.1", 1), None, 1).get("/").failure == "refused"
    assert _replay.Caller(server, "x", 5).get("/cut").failure == "cut short"


def test_a_long_body_is_compared_as_far_as_it_is_read(server, monkeypatch):
    monkeypatch.setattr(_replay, "MOST_BODY", 4)
    caller = _replay.Caller(server, "shop.example", 5)
    assert caller.get("/").body == b"shop" and caller.connection is None


def test_limits_reach_the_verdict():
    tally = {"requests": 10, "compared": 10, "fields": [{"field": "body.a", "raw": 1, "noise": 0, "how": "changed", "path": "/"}]}
    assert _replay.result(tally, options(), 10, 0)["verdict"] == "different"
    assert _replay.result(tally, options(absolute_limit=10.0), 10, 0)["verdict"] == "same"
    assert _replay.result(tally, options(), 10, 0)["sentence"] == _response_diff.sentence(_replay.result(tally, options(), 10, 0))
