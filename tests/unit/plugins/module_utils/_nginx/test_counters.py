# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import gzip
import json
import os
import pathlib
import shutil

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence import placing as _placing
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import counters as _nginx_counters

ENDED = "|1795650000.123"
TAIL = "|shop|0.002" + ENDED + "|192.0.2.11:8000"
GOOD = "200|GET|OK|37|200|0.001|37|37" + TAIL
# As nginx 1.22 wrote each, one kind at a time.
SEEN = [
    (GOOD, {"2xx": 1}),
    ("200|HEAD|OK|0|200|0.001|0|37" + TAIL, {"2xx": 1}),
    ("304|GET|OK|0|304|0.001|0|37" + TAIL, {"3xx": 1}),
    ("503|GET|OK|37|503|0.002|37|37" + TAIL, {"5xx": 1, "server_5xx": 1}),
    ("404|GET|OK|37|404|0.002|37|37" + TAIL, {"4xx": 1, "server_4xx": 1}),
    ("502|GET|OK|157|502, 502, 502|-, -, -|0, 0, 0|-" + TAIL, {"5xx": 1, "retries": 2}),
    ("200|GET|OK|37|502, 200|-, 0.001|0, 37|37" + TAIL, {"2xx": 1, "retries": 1}),
    ("502|POST|OK|157|502|-|0|-" + TAIL, {"5xx": 1}),
    ("499|GET||0|-|-|0|-" + TAIL, {"4xx": 1, "client_aborts": 1}),
    ("200|GET||2113492|200|0.001|2162688|8388608" + TAIL, {"2xx": 1, "client_aborts": 1}),
    ("200|GET|OK|18|200|0.001|18|37" + TAIL, {"2xx": 1, "server_aborts": 1}),
    ("200|GET|OK|4194304|200|0.000|4194304|8388608" + TAIL, {"2xx": 1, "server_aborts": 1}),
    ("000|GET||0|-|-|-|-" + TAIL, {}),
]


@pytest.mark.parametrize("line, expected", SEEN)
def test_each_kind_of_end(line, expected):
    counts = _nginx_counters.empty()
    _nginx_counters.count(counts, line)
    assert {name: number for name, number in counts.items() if number} == {"requests": 1, **expected}


@pytest.mark.claim("nginx-pools-are-told-apart")
def test_each_pool_has_its_requests_its_errors_and_the_time_of_its_members():
    counts = _nginx_counters.empty()
    for line in ("200|GET|OK|37|200|0.001|37|37|shop_blue|0.002", "502|GET|OK|157|502, 502|-, -|0, 0|-|shop_green|0.010, 1.250",
                 "500|GET|OK|9|500|0.001|9|9|shop_green|0.003", "200|GET|OK|37|200|0.001|37|37|evil.example|0.002", "404|GET|OK|9|-|-|-|-|-|-",
                 "499|GET||0|-|-|0|-|shop_blue|-"):
        _nginx_counters.count(counts, line + ENDED, {"shop_blue", "shop_green"})
    assert counts["requests"] == 6 and _nginx_counters.rows(counts, ("shop_green", "api"))[0]["pools"] == {
        "api": {"requests": 0, "errors": 0, "time_ms": 0.0, "average_ms": None},
        "shop_blue": {"requests": 2, "errors": 0, "time_ms": 2.0, "average_ms": None},
        "shop_green": {"requests": 2, "errors": 2, "time_ms": 1263.0, "average_ms": None}}


def counted_lines(*lines, names=None):
    counts = _nginx_counters.empty()
    for line in lines:
        _nginx_counters.count(counts, line, {"shop"})
    return _nginx_counters.rows(counts, ("shop",), names)[0]


@pytest.mark.claim("nginx-counts-its-pools-only")
def test_what_goes_to_no_pool_is_nobodys():
    """A file, a rule that refuses, a malformed request and another application."""
    found = counted_lines(
        GOOD, "200|GET|OK|37|-|-|-|-|-|-" + ENDED + "|-", "503|GET|OK|190|-|-|-|-|-|-" + ENDED + "|-", "444|GET||0|-|-|-|-|-|-" + ENDED + "|-",
        "400|-||150|-|-|-|-|-|-" + ENDED + "|-", "502|GET|OK|157|502|-|0|-|other|0.002" + ENDED + "|192.0.2.99:80")
    assert found["requests"] == 1 and sum(found["responses"].values()) == 1 and found["unreadable"] == 0


@pytest.mark.claim("each-loss-names-its-member")
def test_each_member_has_what_it_was_the_last_to_be_asked_for():
    at = "|shop|0.002" + ENDED + "|"
    found = counted_lines(
        "200|GET|OK|37|502, 200|-, 0.001|0, 37|37" + at + "192.0.2.11:8000, 192.0.2.12:8000", "502|POST|OK|157|502|-|0|-" + at + "192.0.2.11:8000",
        "200|GET|OK|18|200|0.001|18|37" + at + "192.0.2.12:8000", "503|GET|OK|37|503|0.002|37|37" + at + "192.0.2.12:8000",
        "404|GET|OK|37|404|0.002|37|37" + at + "192.0.2.13:8000", names={"192.0.2.11:8000": "app1", "192.0.2.12:8000": "app2"})
    assert found["pools"]["shop"]["members"] == {
        "app1": {"requests": 1, "faults": 1}, "app2": {"requests": 3, "cut_short": 1, "errors": 1},
        "192.0.2.13:8000": {"requests": 1, "refused": 1, "status_404": 1}}


@pytest.mark.parametrize("address, member", [
    ("unix:/run/app1.sock", "unix:/run/app1.sock"), ("[2001:db8::11]:8000", "[2001:db8::11]:8000"),
    ("192.0.2.11:8000, unix:/run/app1.sock", "unix:/run/app1.sock"),
    ("shop", None), ("192.0.2.11:8000, shop", "192.0.2.11:8000"), ("192.0.2.11:8000 : shop", "192.0.2.11:8000"), ("-", None)])
def test_where_no_server_was_left_nginx_names_the_upstream_and_that_is_no_member(address, member):
    found = counted_lines("502|POST|OK|157|502|-|0|-|shop|2.002" + ENDED + "|" + address)
    assert found["pools"]["shop"].get("members", {}) == ({member: {"requests": 1, "faults": 1}} if member else {})
    assert found["responses"]["5xx"] == 1 and found["slow_losses"][0]["member"] == (member or "-")


@pytest.mark.claim("each-loss-names-its-member")
def test_a_loss_for_which_no_server_was_left_counts_while_any_member_is_moved():
    """As nginx 1.22 wrote it: an old worker whose two members were out."""
    names = {f"192.0.2.1{number}:8000": f"app{number}" for number in (1, 2, 3)}
    good = [GOOD.replace("192.0.2.11", f"192.0.2.1{number}") for number in (1, 2, 3)]
    rows = {0.0: counted_lines(*good * 500, names=names), 10.0: counted_lines(*good * 1000, names=names),
            20.0: counted_lines(*good * 1500, *["502|POST|OK|157|502|-|0|-|shop|0.000" + ENDED + "|shop"] * 9, names=names)}
    samples = [{"time": when, "balancer": "lb", "at": "checked", "counters": [row]} for when, row in rows.items()]
    cells = _balance.balance(samples, moved_at=12.0)["cells"]
    places = _losses.Places([{"name": "drain", "batch": 1, "started": 12.0, "finished": None, "members": ["app1"]}], 12.0)
    lost = next(one for one in _losses.judge(cells, places) if one.kind == "own_errors")
    assert (lost.lost, {cell.member for cell in lost.where}, lost.others) == (9, {None}, [])


def test_a_request_that_no_server_was_left_for_is_a_request():
    counts = _nginx_counters.empty()
    readings = []
    for when, lines in ((1.0, 0), (2.0, 3)):
        for dummy in range(lines):
            _nginx_counters.count(counts, f"502|GET|OK|157|502|-|0|-|shop|0.000|{when}|shop", ["shop"])
            _nginx_counters.count(counts, f"200|GET|OK|18|200|0.001|18|18|shop|0.001|{when}|10.0.0.1:80", ["shop"])
        readings.append((when, copy.deepcopy(_nginx_counters.rows(counts, ["shop"], {})[0])))
    nameless = [cell for cell in _placing.cells("lb1", readings) if cell.member is None]
    assert [(cell.requests, cell.counts) for cell in nameless] == [(3, {"own_errors": 3})]


def test_a_log_without_the_members_is_counted_all_the_same():
    found = counted_lines(GOOD.rpartition("|")[0], "502|POST|OK|157|502|-|0|-|shop|0.002" + ENDED)
    assert found["requests"] == 2 and found["responses"]["5xx"] == 1 and "members" not in found["pools"]["shop"] and not found["unreadable"]


def test_a_pool_is_idle_since_its_last_request_or_since_the_log_is_read(tmp_path):
    path = tmp_path / "access.log"
    lines = [f"200|GET|OK|37|200|0.001|37|37|{pool}|0.002|{ended}" for pool, ended in (("blue", "1000.250"), ("blue", "1010.5"), ("green", "-"))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def read(at):
        return _nginx_counters.read(str(path), str(tmp_path / "counted.json"), pools=("blue", "green", "api"), clock=lambda: at)

    counts = read(1020.0)
    assert [_nginx_counters.idle(counts, pool, 1030.0) for pool in ("blue", "green", "api")] == [19.5, None, 10.0]
    # It is not forgotten, nor does a later reading begin anew; another host's clock may be ahead.
    assert [_nginx_counters.idle(read(1040.0), pool, 1005.0) for pool in ("blue", "api")] == [0.0, 0.0]
    assert _nginx_counters.idle(read(1040.0), "api", 1050.0) == 30.0


def test_what_nginx_sent_in_place_of_an_answer_was_not_cut_short():
    counts = _nginx_counters.empty()
    _nginx_counters.count(counts, "200|GET|OK|9000|200|0.001|0|37" + TAIL)
    assert counts["server_aborts"] == 0


def test_a_line_in_another_format_is_none_of_ours():
    counts = _nginx_counters.empty()
    _nginx_counters.count(counts, '127.0.0.1 - - [25/Nov/2026] "GET / HTTP/1.1" 200 37')
    assert counts["unreadable"] == 1 and counts["requests"] == 0


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("", encoding="utf-8")

    def read(keep=True):
        return _nginx_counters.read(str(path), str(tmp_path / "counted.json"), keep)["requests"]

    def add(count, name=path, half=""):
        with open(name, "a", encoding="utf-8") as stream:
            stream.write((GOOD + "\n") * count + half)

    return path, read, add


def test_each_line_is_read_once_and_a_half_one_later(log, tmp_path):
    path, read, add = log
    add(3, half=GOOD[:10])
    assert read() == 3 and read() == 3
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(GOOD[10:] + "\n")
    assert read() == 4
    assert oct((tmp_path / "counted.json").stat().st_mode & 0o777) == "0o644"


@pytest.mark.claim("nginx-log-that-is-cut")
def test_rotation_loses_nothing_while_the_old_file_lies_beside(log):
    path, read, add = log
    add(3)
    assert read() == 3
    add(2)
    os.rename(path, str(path) + ".1")
    add(1, str(path) + ".1")
    add(4)
    assert read() == 10
    # nginx' processes write to the old one until they have opened the new one.
    add(1, str(path) + ".1")
    assert read() == 11 and gaps(path) == 0
    # The next time it is packed at once.
    add(2)
    os.rename(path, str(path) + ".1")
    add(1)
    with gzip.open(str(path) + ".2.gz", "wb") as packed:
        packed.write(pathlib.Path(str(path) + ".1").read_bytes())
    os.unlink(str(path) + ".1")
    assert read() == 14 and gaps(path) == 0


def gone(path):
    os.rename(path, path.parent / "elsewhere")
    path.write_text(GOOD + "\n", encoding="utf-8")


def emptied(path):
    path.write_text("", encoding="utf-8")


def emptied_and_grown(path):
    path.write_text((GOOD.replace("GET", "POST") + "\n") * 9, encoding="utf-8")


@pytest.mark.claim("nginx-log-that-is-cut")
@pytest.mark.parametrize("cut, counted", [(gone, 6), (emptied, 5), (emptied_and_grown, 14)])
def test_a_log_that_was_cut_before_it_was_read_to_its_end_is_no_whole_sheet(log, tmp_path, cut, counted):
    path, read, add = log
    add(5)
    assert read() == 5
    samples = [sample(tmp_path, path, 1.0)]
    add(3)
    cut(path)
    samples.append(sample(tmp_path, path, 2.0))
    assert samples[-1]["counters"][0]["requests"] == counted
    sheet = _balance.balance(samples)
    assert not sheet["complete"] and sheet["note"] == ("lb1: its access log was cut, or moved away, before it was read to its end: what it had meanwhile is "
                                                       "not counted")
    samples = [samples[-1], sample(tmp_path, path, 3.0)]
    assert _balance.balance(samples)["complete"]


def test_a_copy_of_a_log_that_was_emptied_is_read_and_what_came_between_is_not_known(log):
    path, read, add = log
    add(5)
    assert read() == 5
    add(3)
    shutil.copy(path, str(path) + ".1")
    path.write_text(GOOD + "\n", encoding="utf-8")
    assert read() == 9 and gaps(path) == 1
    # Nobody writes to a copy: it is read once.
    assert read() == 9 and gaps(path) == 1


def sample(tmp_path, path, when):
    rows = _nginx_counters.rows(_nginx_counters.read(str(path), str(tmp_path / "counted.json")))
    return {"time": when, "balancer": "lb1", "at": "x", "counters": rows}


def gaps(path):
    """How often some of the log was gone before it was read."""
    return json.loads((path.parent / "counted.json").read_text(encoding="utf-8"))["counts"]["gaps"]


def test_check_mode_keeps_nothing(log, tmp_path):
    _path, read, add = log
    add(3)
    assert read(keep=False) == 3 and not (tmp_path / "counted.json").exists()


def test_another_log_is_begun_anew_and_a_missing_one_is_told(log, tmp_path):
    _path, read, add = log
    add(3)
    read()
    with pytest.raises(DowntimeError, match="access_log is '.*other.log', which cannot be read: No such file or directory"):
        _nginx_counters.read(str(tmp_path / "other.log"), str(tmp_path / "counted.json"))


@pytest.mark.claim("nginx-sheet-from-the-log")
def test_the_balance_sheet_takes_them(log, tmp_path):
    path, read, add = log
    add(5)
    samples = []
    for when, more in ((1.0, 0), (2.0, 4)):
        add(more)
        if when == 2.0:
            with open(path, "a", encoding="utf-8") as stream:
                stream.write("502|POST|OK|157|502|-|0|-|shop|0.001|1.5\n200|GET|OK|18|200|0.001|18|37|shop|0.001|1.5\n")
        rows = _nginx_counters.rows(_nginx_counters.read(str(path), str(tmp_path / "counted.json")))
        samples.append({"time": when, "balancer": "lb1", "at": "x", "counters": rows})
    sheet = _balance.balance(samples, moved_at=1.5)
    assert (sheet["received"], sheet["answered"], sheet["truncated"], sheet["unanswered"], sheet["own_errors_during"]) == (6, 5, 1, 0, 1)
    assert sheet["complete"]


def findings(inside, path="/var/log/nginx/zd.log"):
    dump = f"# configuration file /etc/nginx/nginx.conf:\nhttp {{\n{inside}\n}}\n"
    return [(finding["level"], finding["setting"]) for finding in _nginx_counters.lint(_nginx_config.parse(dump), path)]


def test_the_lines_that_are_missing():
    assert findings("", None) == [("warning", "access_log")]
    assert findings("access_log /var/log/nginx/access.log;") == [("error", "access_log")]
    assert findings("access_log /var/log/nginx/zd.log combined;") == [("error", "log_format")]
    own = _nginx_counters.LINE
    assert findings(f"{own} access_log /var/log/nginx/zd.log zero_downtime;") == []
    # nginx joins what is written in parts.
    parts = own.replace("|$upstream_status", "|' '$upstream_status")
    assert parts != own and findings(f"{parts} access_log /var/log/nginx/zd.log zero_downtime;") == []
    assert findings(f"{own} access_log /var/log/nginx/zd.log zero_downtime buffer=32k;") == [("warning", "access_log")]
