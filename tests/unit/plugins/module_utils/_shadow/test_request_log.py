# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._shadow import request_log as _request_log

HAPROXY = ('Nov 25 10:00:00 lb1 haproxy[14389]: 10.0.1.2:33317 [25/Nov/2026:10:00:{time}] {front} {back}/app1 0/0/0/5/5 200 275 - - ---- '
           '1/1/1/1/0 0/0 {{shop.example|}} {{}} "{request}"')
NGINX = '192.0.2.1 - bob [25/Nov/2026:10:00:{time} +0100] "{request}" 200 612 "http://shop.example/" "Mozilla/5.0 (X11)"'


def haproxy(request="GET / HTTP/1.1", time="00.000", back="shop_blue", front="shop"):
    return HAPROXY.format(request=request, time=time, back=back, front=front)


def nginx(request="GET / HTTP/1.1", time="00"):
    return NGINX.format(request=request, time=time)


@pytest.mark.parametrize("line", [haproxy, nginx])
def test_a_get_is_read(line):
    found = _request_log.parse([line("GET /item?id=1&x=%20 HTTP/1.1")])
    assert [entry.path for entry in found.entries] == ["/item?id=1&x=%20"]


@pytest.mark.parametrize("request_line", ["POST / HTTP/1.1", "HEAD / HTTP/1.1", "<BADREQ>", "GET /half-of-a-long-pa", "GET / HTTP/1.1 extra", "-", "",
                                          "OPTIONS * HTTP/1.1", "GET * HTTP/1.1", "CONNECT x:443 HTTP/1.1"])
@pytest.mark.parametrize("line", [haproxy, nginx])
def test_what_is_no_whole_get_is_passed_over(line, request_line):
    assert not _request_log.parse([line(request_line)]).entries


def test_the_address_of_http_2_is_cut_off():
    assert [entry.path for entry in _request_log.parse([haproxy("GET https://shop.example/a?b HTTP/2.0"), haproxy("GET https://shop.example HTTP/2.0")]).entries
            ] == ["/a?b", "/"]


@pytest.mark.claim("replay-own-pools-only")
def test_only_the_backends_that_are_asked_for():
    lines = [haproxy("GET /a HTTP/1.1"), haproxy("GET /b HTTP/1.1", back="api"), haproxy("GET /c HTTP/1.1", front="shop~", back="shop_green")]
    found = _request_log.parse(lines, ["shop_blue", "shop_green"])
    assert [entry.path for entry in found.entries] == ["/a", "/c"] and found.others == {"api"}
    # nginx's lines name none.
    assert len(_request_log.parse([nginx()], ["shop_blue"]).entries) == 1


@pytest.mark.claim("replay-exclude")
def test_excluded_paths():
    lines = [nginx("GET /logout HTTP/1.1"), nginx("GET /a HTTP/1.1"), nginx("GET /b?token=1 HTTP/1.1")]
    assert [entry.path for entry in _request_log.parse(lines, (), [re.compile("^/logout"), re.compile("token=")]).entries] == ["/a"]


def test_order_and_zone():
    found = _request_log.parse([haproxy("GET /late HTTP/1.1", "02.500"), haproxy("GET /early HTTP/1.1", "01.250")])
    assert [entry.path for entry in found.entries] == ["/early", "/late"]
    assert found.entries[1].time - found.entries[0].time == pytest.approx(1.25)
    assert _request_log.parse([haproxy(time="00.000")]).entries[0].time - _request_log.parse([nginx(time="00")]).entries[0].time == 3600


def test_times_that_are_none():
    assert not _request_log.parse([nginx(time="61"), nginx().replace("Nov", "Nix"), "no time at all", ""]).entries


def test_read(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("\n".join(nginx(f"GET /{number} HTTP/1.1") for number in range(100)) + "\n", encoding="utf-8")
    assert len(_request_log.read(str(path)).entries) == 100
    # The end of it, less the line that is cut.
    assert [entry.path for entry in _request_log.read(str(path), most=250).entries] == ["/98", "/99"]


@pytest.mark.parametrize("text, backends, sentence", [
    (None, (), "which cannot be read: No such file or directory"),
    ("", (), "which has no line of a request; the format of HAProxy's option httplog"),
    ("2026 started\n", (), "which has no line of a request"),
    (nginx("POST / HTTP/1.1"), (), "which has 1 requests, and none of them is a GET"),
    (haproxy(back="api"), ("shop_blue",), "which has GET requests for api only, and none for shop_blue"),
])
def test_a_log_without_requests_is_refused(tmp_path, text, backends, sentence):
    path = tmp_path / "access.log"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DowntimeError) as error:
        _request_log.read(str(path), backends)
    assert f"log is '{path}', {sentence}" in str(error.value)


def entries(*times):
    return [_request_log.Entry(time, f"/{number}") for number, time in enumerate(times)]


@pytest.mark.claim("replay-at-its-pace")
def test_the_pace_is_kept_and_scaled():
    assert _request_log.timetable(entries(10.1, 10.6, 12.1), 60, 1, 100) == [(0.0, "/0"), (pytest.approx(0.5), "/1"), (pytest.approx(2.0), "/2")]
    assert [at for at, dummy in _request_log.timetable(entries(10.1, 10.6, 12.1), 60, 2, 100)] == [0.0, pytest.approx(0.25), pytest.approx(1.0)]


def test_the_end_of_the_log_is_taken():
    assert [path for dummy, path in _request_log.timetable(entries(0.1, 10.1, 19.9, 20.1), 5, 1, 100)] == ["/2", "/3"]
    assert [path for dummy, path in _request_log.timetable(entries(0.1, 10.5, 19.9, 20.1), 5, 2, 100)] == ["/1", "/2", "/3"]


@pytest.mark.claim("replay-rate")
def test_the_rate_is_capped_and_the_time_covered_stays():
    found = _request_log.timetable(entries(*(number / 100 + 0.001 for number in range(1000))), 60, 1, 10)
    assert 100 <= len(found) <= 112 and found[-1][0] > 9.8
    assert len(_request_log.timetable(entries(0.5, 0.6, 5.5), 60, 1, 0.1)) == 1


def test_whole_seconds_are_spread():
    assert [at for at, dummy in _request_log.timetable(entries(3.0, 3.0, 4.0), 60, 1, 100)] == [0.0, 0.5, 1.0]


def test_an_empty_timetable():
    assert not _request_log.timetable([], 60, 1, 10)
