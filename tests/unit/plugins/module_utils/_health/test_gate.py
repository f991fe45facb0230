# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._health import request as _request

URL = "http://app1.example:8000/ready"


def params(**options: t.Any) -> dict[str, t.Any]:
    given = {name: option.get("default") for name, option in _health.argument_spec().items()}
    given["members"] = [dict(name="app1", url=URL)]
    given.update(options)
    return given


class Clock:
    """Time passes only when somebody sleeps, or when an answer takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.naps.append(seconds)
            self.now += seconds


def answers(script: dict[str, list[_health.Answer]], clock: Clock | None = None, each: float = 0.0) -> _health.Attempt:
    """Each member's answers in turn; the last one is repeated."""
    left = {name: list(told) for name, told in script.items()}

    def attempt(target: _health.Target, check: _health.Check, dummy: float) -> _health.Answer:
        if clock is not None:
            clock.sleep(each)
        told = left[target.name]
        return told.pop(0) if len(told) > 1 else told[0]

    return attempt


GOOD = _health.Answer(200)
BAD = _health.Answer(503)
GONE = _health.Answer(error="app1.example:8000 refused the connection")


def run_gate(script: dict[str, list[_health.Answer]], clock: Clock | None = None, each: float = 0.0, **options: t.Any) -> dict[str, t.Any]:
    clock = clock or Clock()
    targets = [_health.Target(name, f"http://{name}.example:8000/ready", None) for name in script]
    return _health.gate(targets, _health.Check(**options), answers(script, clock if each else None, each), clock, clock.sleep)


def test_ends_as_soon_as_all_have_passed_in_a_row() -> None:
    clock = Clock()
    result = run_gate({"app1": [GOOD], "app2": [GOOD]}, clock, passes=3, interval=0.5)
    assert "failed" not in result
    assert result["changed"] is False
    assert clock.naps == [0.5, 0.5]
    assert [(m["name"], m["ok"], m["passes"], m["attempts"], m["waited"]) for m in result["members"]] == [("app1", True, 3, 3, 1.0), ("app2", True, 3, 3, 1.0)]


@pytest.mark.claim("health-passes-in-a-row")
def test_a_failure_starts_the_count_again() -> None:
    result = run_gate({"app1": [GOOD, GOOD, BAD, GOOD, GOOD, GOOD]}, passes=3)
    assert result["members"][0]["attempts"] == 6


def test_a_member_that_dies_while_another_warms_up_is_seen() -> None:
    result = run_gate({"app1": [GOOD, GOOD, GONE], "app2": [BAD, BAD, GOOD]}, passes=2, timeout=3, interval=0.5)
    assert result["failed"] is True
    assert [m["ok"] for m in result["members"]] == [False, True]
    assert result["msg"] == "1 of 2 members did not reach 2 passes in a row within 3 s: app1: app1.example:8000 refused the connection"


@pytest.mark.claim("health-timeout")
def test_time_out_names_each_member_and_its_last_answer() -> None:
    check = dict(timeout=1, interval=0.5, header="x-release", digest="new")
    old, new = (_health.Answer(200, {"x-release": value}) for value in ("old", "new"))
    result = run_gate({"app1": [BAD], "app2": [old], "app3": [new]}, passes=1, **check)
    assert result["msg"] == (
        "2 of 3 members did not reach 1 pass within 1 s: app1 last answered 503; app2 last answered 200 with x-release 'old' instead of 'new'"
    )
    assert [m["digest"] for m in result["members"]] == [None, "old", "new"]
    assert result["waited"] == 1.0


def test_a_pass_that_came_too_late_does_not_read_as_a_fault() -> None:
    result = run_gate({"app1": [BAD, BAD, GOOD]}, passes=3, timeout=2, interval=1)
    assert "app1 last answered 503" in result["msg"]
    result = run_gate({"app1": [BAD, GOOD]}, passes=3, timeout=2, interval=1)
    assert result["msg"].endswith("app1 last answered 200, only 1 of 3 in a row")


def test_an_attempt_cut_short_by_the_gate_does_not_hide_the_last_answer() -> None:
    hang = _health.Answer(error="app1.example:8000 did not answer within 0.1 s", timed_out=True)
    result = run_gate({"app1": [BAD, hang]}, each=0.6, passes=1, timeout=1, interval=0.1)
    assert "app1 last answered 503" in result["msg"]
    assert result["members"][0]["attempts"] == 1


def test_a_member_that_only_hangs_is_told_to_hang() -> None:
    hang = _health.Answer(error="app1.example:8000 did not answer within 1 s", timed_out=True)
    assert "did not answer within 1 s" in run_gate({"app1": [hang]}, each=1.0, passes=1, timeout=1)["msg"]


@pytest.mark.parametrize("answer, check, passed, said", [
    (GOOD, {}, True, "answered 200"),
    (_health.Answer(204), dict(status=(200, 204)), True, "answered 204"),
    (BAD, {}, False, "answered 503"),
    (_health.Answer(302, {"location": "/login"}), {}, False, "answered 302 (a redirect to /login, which is not followed)"),
    (GOOD, dict(header="X-Release"), False, "answered 200, but without the header X-Release, so which release answers is unproven"),
    (_health.Answer(200, {"x-release": "any"}), dict(header="X-Release"), True, "answered 200"),
    (_health.Answer(200, {"x-release": " SHA256:AB "}), dict(header="x-release", digest="ab"), True, "answered 200"),
    (_health.Answer(200, {"x-release": "ab"}), dict(header="x-release", digest="a"), False, "answered 200 with x-release 'ab' instead of 'a'"),
    (_health.Answer(200, body='{"ready": false}'), dict(body='"ready": true'), False, "answered 200 with a body that does not match '\"ready\": true'"),
    (_health.Answer(200, body='x {"ready": true}'), dict(body='"ready": true'), True, "answered 200"),
    (GONE, {}, False, "app1.example:8000 refused the connection"),
])
def test_judge(answer: _health.Answer, check: dict[str, t.Any], passed: bool, said: str) -> None:
    targets, real = _health.parse(params(**{**check, "status": list(check.get("status", [200]))}))
    assert _health.judge(answer, targets[0], real) == (passed, said)


def proven(script: list[_health.Answer], proof: str, clock: Clock, **options: t.Any) -> dict[str, t.Any]:
    check = _health.Check(**{"header": "x-release", "digest": "new", "passes": 2, "interval": 0.5, "timeout": 60, **options})
    targets = [_health.Target("app1", URL, None, proof)]
    return _health.gate(targets, check, answers({"app1": script}), clock, clock.sleep)


@pytest.mark.claim("health-without-header")
def test_a_ready_answer_without_the_header_is_told_early_where_what_ran_before_sends_it() -> None:
    clock = Clock()
    old, new = (_health.Answer(200, {"x-release": value}) for value in ("old", "new"))
    result = proven([old, GOOD], "seen", clock)
    assert result["failed"] and 5 <= result["waited"] < 7
    assert result["msg"] == ("1 of 1 members are ready, but which release they run is unproven: app1 last answered 200, but without the header x-release, "
                             "so which release answers is unproven")
    # Whoever may still be the old one, or sends it after a moment, is waited for.
    assert proven([old], "seen", Clock())["waited"] == 60 and proven([GOOD], "needed", Clock())["waited"] == 60
    assert "failed" not in proven([GOOD, GOOD, GONE, GOOD, new, new], "seen", Clock())
    # What is ready and does not answer what users ask is another matter.
    assert "503" in proven([BAD], "seen", Clock(), timeout=3)["msg"]


@pytest.mark.claim("health-back-without-header")
def test_readiness_alone_is_accepted_where_nobody_sends_the_header_and_said() -> None:
    result = proven([GOOD], "optional", Clock())
    assert "failed" not in result and result["members"][0]["unproven"]
    assert result["notes"] == ["app1 is ready, but without the header x-release, so which release answers is unproven; accepted by readiness alone"]
    # Another digest is another release, whatever may be left out.
    assert proven([_health.Answer(200, {"x-release": "old"})], "optional", Clock(), timeout=3)["failed"]
    assert proven([_health.Answer(200, {"x-release": "new"})], "optional", Clock())["notes"] == []


def test_a_member_may_have_a_digest_of_its_own() -> None:
    target = _health.Target("app1", URL, "old")
    check = _health.Check(header="x-release", digest="new")
    assert _health.judge(_health.Answer(200, {"x-release": "old"}), target, check)[0]
    assert not _health.judge(_health.Answer(200, {"x-release": "new"}), target, check)[0]


@pytest.mark.parametrize("options, words", [
    (dict(members=[dict(name="", url=URL)]), "members[0].name is empty"),
    (dict(members=[dict(name="app1", url="")]), "members[0].url (of app1) is empty"),
    (dict(members=[dict(name="app1", url="http://app1:8000")]), "has no path"),
    (dict(members=[dict(name="app1", url="/ready")]), "has the scheme ''"),
    (dict(members=[dict(name="app1", url="ftp://app1/ready")]), "has the scheme 'ftp'"),
    (dict(members=[dict(name="app1", url="http:///ready")]), "names no host"),
    (dict(members=[dict(name="app1", url="http://app1:80000/ready")]), "is not a URL"),
    (dict(members=[dict(name="app1", url="http://app1/ready\r\nX: y")]), "control character"),
    (dict(members=[dict(name="app1", url=URL), dict(name="app1", url=URL)]), "'app1' twice"),
    (dict(passes=0), "passes is 0; accepted: 1 or more"),
    (dict(interval=-0.1), "interval is -0.1"),
    (dict(timeout=0), "timeout is 0"),
    (dict(connect_timeout=0.0), "connect_timeout is 0"),
    (dict(read_timeout=-1.0), "read_timeout is -1"),
    (dict(status=[]), "status is empty"),
    (dict(status=[200, 999]), "status contains 999"),
    (dict(body="("), "body '(' is not a regular expression"),
    (dict(header="x release"), "header 'x release' is not the name"),
    (dict(digest="ab"), "digest is given without header"),
    (dict(host="a b"), "host 'a b' is not a host name"),
])
def test_bad_input_is_one_sentence(options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(DowntimeError) as caught:
        _health.parse(params(**options))
    assert words in str(caught.value)
    assert "accepted" in str(caught.value)
    assert "\n" not in str(caught.value)


class SlowWire:
    """A socket whose other side takes all the time that it is given to answer."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.timeout = clock, 0.0

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def sendall(self, dummy: bytes) -> None:
        """Taken by the kernel."""

    def recv_into(self, dummy: t.Any) -> int:
        self.clock.sleep(self.timeout)
        raise socket.timeout("timed out")

    def close(self) -> None:
        """Nothing to do."""


class Wire:
    """The far end of one connection: takes the request, answers what was scripted, and closes."""

    def __init__(self, answer: bytes, close: bool = True) -> None:
        self.near, self.far = socket.socketpair()
        self.asked = b""
        self.address: t.Any = None
        self.far.sendall(answer)
        if close:
            self.far.shutdown(socket.SHUT_WR)

    def connect(self, address: t.Any, timeout: float) -> socket.socket:
        self.address = address
        return self.near

    def request(self, url: str = URL, **options: t.Any) -> _health.Answer:
        try:
            answer = _health.request(url, 1.0, options.pop("read_timeout", 1.0), connect=self.connect, **options)
            self.far.settimeout(1)
            self.asked = self.far.recv(65536)
            return answer
        finally:
            self.near.close()
            self.far.close()


def test_request_over_the_wire() -> None:
    wire = Wire(b"HTTP/1.1 200 OK\r\nX-Release: ab\r\nContent-Length: 5\r\n\r\nready")
    answer = wire.request(URL + "?deep=1", headers={"Authorization": "Basic eDp5"})
    assert answer == _health.Answer(200, {"x-release": "ab", "content-length": "5"}, "ready")
    assert wire.address == ("app1.example", 8000)
    lines = wire.asked.decode().split("\r\n")
    assert lines[0] == "GET /ready?deep=1 HTTP/1.1"
    assert {"Host: app1.example:8000", "Connection: close", "Authorization: Basic eDp5"} <= set(lines)


def test_request_names_the_host_that_it_is_told() -> None:
    wire = Wire(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert wire.request("http://[::1]/ready", host="shop.example").status == 204
    assert wire.address == ("::1", 80)
    assert b"\r\nHost: shop.example\r\n" in wire.asked


@pytest.mark.parametrize("told, words", [
    (b"", "app1.example:8000 closed the connection without an answer"),
    (b"SSH-2.0-OpenSSH\r\n", "did not answer in HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "body is cut short"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf", "did not answer in HTTP (IncompleteRead"),
])
def test_broken_answers_are_told_apart(told: bytes, words: str) -> None:
    answer = Wire(told).request()
    assert words in (answer.error or "")
    assert not answer.timed_out


def test_no_answer_is_a_time_out() -> None:
    answer = Wire(b"", close=False).request(read_timeout=0.05)
    assert answer.timed_out
    assert answer.error == "app1.example:8000 did not answer within 0.05 s"
    # What is left of a limit is told as a person would.
    assert (Wire(b"", close=False).request(read_timeout=0.058831).error or "").endswith("did not answer within 0.06 s")


def test_a_trickling_answer_meets_the_same_deadline() -> None:
    wire = Wire(b"HTTP/1.1 200 OK\r\n", close=False)
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            try:
                wire.far.sendall(b"X-More: y\r\n")
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert wire.request(read_timeout=0.3).timed_out
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("error, words", [
    (ConnectionRefusedError(111, "Connection refused"), "refused the connection"),
    (ConnectionResetError(104, "reset"), "reset the connection"),
    (socket.timeout("timed out"), "did not accept a connection within 1 s"),
    (socket.gaierror(-2, "Name or service not known"), "app1.example cannot be resolved (Name or service not known)"),
    (UnicodeError("label empty or too long"), "app1.example:8000 cannot be asked (label empty or too long)"),
    (OSError(113, "No route to host"), "cannot be reached (No route to host)"),
])
def test_connection_errors_are_told_apart(error: Exception, words: str) -> None:
    def connect(address: t.Any, timeout: float) -> socket.socket:
        raise error

    answer = _health.request(URL, 1.0, 1.0, connect=connect)
    assert words in (answer.error or "")
    assert answer.timed_out is isinstance(error, socket.timeout)


def test_json_field() -> None:
    assert _request.json_field('{"http": {"open": 3}}', "http.open") == 3
    assert _request.json_field("0", None) == 0
    assert _request.json_field('{"http": 3}', "http.open") is None
    assert _request.json_field("no json", "a") is None


def test_nobody_to_ask_passes_but_options_are_checked() -> None:
    assert _health.run(params(members=[])) == dict(changed=False, members=[], waited=0.0, problems=[], notes=[])
    with pytest.raises(DowntimeError, match="passes is 0"):
        _health.run(params(members=[], passes=0))


def test_a_failure_can_be_reported_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "http_attempt", lambda check, targets, clock: lambda target, check, left: BAD)
    clock = Clock()
    result = _health.run(params(on_failure="report", timeout=1), False, clock, clock.sleep)
    assert "failed" not in result
    assert result["problems"] == ["1 of 1 members did not reach 3 passes in a row within 1 s: app1 last answered 503"]
    assert _health.run(params(timeout=1), False, clock, clock.sleep)["failed"] is True


def smoked(said: dict[str, list[_health.Answer]], **options: t.Any) -> dict[str, t.Any]:
    """A gate whose members are ready, and answer what users ask as scripted, by path."""
    clock = Clock()
    targets, check = _health.parse(params(timeout=3, read_timeout=1.0, **options))

    def ask(target: _health.Target, smoke: _health.Smoke, dummy: _health.Check, left: float) -> _health.Answer:
        told = said[smoke.path]
        return told.pop(0) if len(told) > 1 else told[0]

    return _health.gate(targets, check, answers({"app1": [GOOD]}), clock, clock.sleep, ask)


def test_a_member_that_is_ready_and_hangs_on_what_users_ask_does_not_pass() -> None:
    hangs = _health.Answer(error="app1.example:8000 did not answer within 1 s", timed_out=True)
    result = smoked({"/": [hangs]}, smoke=[dict(path="/")])
    assert result["failed"] and not result["members"][0]["ok"]
    assert result["msg"] == ("1 of 1 members did not answer what users ask within 3 s: app1 is ready, but GET /: app1.example:8000 did not answer within 1 s")


def test_what_users_ask_may_need_a_moment_longer() -> None:
    result = smoked({"/": [_health.Answer(503), _health.Answer(200)], "/search": [GOOD]}, smoke=[dict(path="/"), dict(path="/search")])
    assert not result.get("failed") and result["members"][0]["ok"]


@pytest.mark.claim("health-timeout-is-the-whole-gates")
def test_several_slow_paths_do_not_outlast_the_gates_time() -> None:
    clock = Clock()
    targets, check = _health.parse(params(timeout=3, read_timeout=2.0, smoke=[dict(path=f"/{number}") for number in range(9)]))
    asked: list[float] = []

    def slow(dummy: _health.Target, dummy2: _health.Smoke, dummy3: _health.Check, left: float) -> _health.Answer:
        asked.append(left)
        clock.sleep(min(1.0, left))
        return GOOD

    result = _health.gate(targets, check, answers({"app1": [GOOD]}), clock, clock.sleep, slow)
    assert result["waited"] <= 3 and len(asked) == 3 and asked == sorted(asked, reverse=True)
    assert result["msg"].endswith("app1 is ready, but GET /3: was not asked any more")


def test_an_attempt_has_no_more_than_the_time_that_is_left_for_all_of_it() -> None:
    """To connect, to shake hands and to answer, together."""
    clock = Clock()

    def connect(place: tuple[str, int], timeout: float) -> t.Any:
        clock.sleep(timeout)
        return SlowWire(clock)

    answer = _health.request("http://app1.example:8000/ready", 2.0, 5.0, clock=clock, connect=connect, left=3.0)
    assert answer.timed_out and clock() <= 1003.0


@pytest.mark.parametrize("smoke, answer, ok", [
    (dict(path="/"), _health.Answer(302), True), (dict(path="/"), _health.Answer(404), True), (dict(path="/"), _health.Answer(500), False),
    (dict(path="/", status=[200]), _health.Answer(404), False), (dict(path="/", status=[401]), _health.Answer(401), True),
    (dict(path="/", body="tea"), _health.Answer(200, body="coffee"), False), (dict(path="/", body="tea"), _health.Answer(200, body="teapot"), True),
])
def test_what_passes_as_an_answer_to_users(smoke, answer, ok) -> None:
    assert (not smoked({"/": [answer]}, smoke=[smoke]).get("failed")) is ok


@pytest.mark.parametrize("entry, words", [
    (dict(path="search"), ["smoke[0].path is 'search'", "begins with /"]), (dict(path="/a b"), ["smoke[0].path"]),
    (dict(path="/", status=[42]), ["smoke[0].status", "42"]),
    (dict(path="/", body="("), ["smoke[0].body", "regular expression"]), (dict(path="/", host="a/b"), ["smoke[0].host"]),
])
def test_bad_smoke_is_refused(entry, words) -> None:
    with pytest.raises(DowntimeError) as refused:
        _health.parse(params(smoke=[entry]))
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("entry, said", [
    ({"detail": "answered 503", "passes": 0}, "did not reach 3 passes in a row within 60 s: it last answered 503"),
    ({"detail": "127.0.0.1:80 refused the connection", "passes": 0}, "did not reach 3 passes in a row within 60 s: 127.0.0.1:80 refused the connection"),
    ({"detail": "is ready, but GET /: answered 500", "passes": 3}, "did not answer what users ask within 60 s: it is ready, but GET /: answered 500"),
])
def test_a_platform_is_told_by_its_name_and_not_counted(entry: dict[str, t.Any], said: str) -> None:
    name = "app shop at the works"
    check = _health.Check(passes=3, timeout=60.0)
    assert _health.sentence([{"name": name, "unproven": False, **entry}], 1, check) == f"{name} {said}"
