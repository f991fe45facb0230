# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import socket
import time
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import clients as _clients

NOW = 1767225600.0  # 2026-01-01 00:00:00 UTC


def line(ago: float, client: str = "192.0.2.9", path: str = "/", zone: str = "+0000") -> str:
    away = (int(zone[1:3]) * 3600 + int(zone[3:]) * 60) * (-1 if zone[0] == "-" else 1)
    at = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(NOW - ago + away))
    return f'{client} - - [{at} {zone}] "GET {path} HTTP/1.1" 200 12 "-" "curl"\n'


def look(tmp_path: pathlib.Path, *lines: str, **more: t.Any) -> dict[str, t.Any]:
    log = tmp_path / "access.log"
    log.write_text("".join(lines), encoding="utf-8")
    member = {"name": "app1", "address": "127.0.0.1", "port": 1, "access_log": str(log), **more}
    (found,) = _clients.run({"members": [member], "ignored": ["/ready"]}, False, now=lambda: NOW)["members"]
    return found


def test_the_last_request_is_that_of_a_user(tmp_path: pathlib.Path) -> None:
    found = look(
        tmp_path,
        line(90, "192.0.2.7"),
        line(61),
        line(31, path="/x?y=1"),
        line(3, path="/ready?verbose"),
        line(1, path="/ready"),
    )
    # A line tells whole seconds.
    assert (found["requests"], found["idle_s"], found["unknown"]) == (3, 30, None)
    assert list(found["recent"].items()) == [("192.0.2.9", 30), ("192.0.2.7", 89)]


@pytest.mark.parametrize("zone", ["+0000", "+0530", "-0800"])
def test_a_log_tells_the_time_of_any_zone(tmp_path: pathlib.Path, zone: str) -> None:
    assert look(tmp_path, line(11, zone=zone))["idle_s"] == 10


def test_a_log_that_was_begun_anew_has_its_requests_beside_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "access.log.1").write_text(line(21), encoding="utf-8")
    assert look(tmp_path)["idle_s"] == 20
    assert look(tmp_path, line(11, path="/ready"))["idle_s"] == 20


def test_where_nobody_asked_it_is_since_the_log_begins(tmp_path: pathlib.Path) -> None:
    assert look(tmp_path, line(101, path="/ready"), line(1, path="/ready"))["idle_s"] == 100


@pytest.mark.parametrize(
    "lines, more, unknown",
    [
        (["what is this\n"], {}, "has no line in the common or the combined format"),
        ([], {"access_log": None}, "access_log is not set in deploy_traffic.pools"),
        (
            [],
            {"access_log": "/nowhere/access.log"},
            "the access log /nowhere/access.log cannot be read: no such file or directory",
        ),
    ],
)
def test_what_cannot_be_known_is_said(
    tmp_path: pathlib.Path, lines: list[str], more: dict[str, t.Any], unknown: str
) -> None:
    found = look(tmp_path, *lines, **more)
    assert unknown in found["unknown"] and found["idle_s"] is None and found["requests"] is None


@pytest.mark.parametrize(
    "family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1")]
)
def test_the_kernel_tells_who_is_connected(family: int, address: str) -> None:
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        asked = address.rpartition("ffff:")[2]
        member = {"name": "app1", "address": asked, "port": port, "access_log": None}

        def told() -> tuple[bool, int, dict[str, int]]:
            (found,) = _clients.run({"members": [member], "ignored": []}, False)["members"]
            return found["listens"], found["open"], found["clients"]

        assert told() == (True, 0, {})
        with socket.create_connection((asked, port)) as client:
            accepted, _peer = server.accept()
            assert told() == (True, 1, {client.getsockname()[0]: 1})
            accepted.close()
    assert told()[0] is False


def test_two_members_are_one_pool_and_what_is_unknown_of_one_is_unknown() -> None:
    sides = {"blue": {"pools": ["shop_blue"], "hosts": {"app1": {"server": "app1"}, "app2": {"server": "b"}}}}
    known = {
        "name": "blue",
        "listens": True,
        "open": 1,
        "clients": {"192.0.2.9": 1},
        "requests": 3,
        "idle_s": 5.0,
        "recent": {"192.0.2.9": 5.0},
        "unknown": None,
    }
    (pool,) = _clients.pools(
        sides,
        {"app1": {"members": [known]}, "app2": {"members": [{**known, "idle_s": 2.0, "recent": {"192.0.2.9": 2.0}}]}},
    )
    assert (pool["name"], pool["requests"], pool["idle_s"], pool["clients"], pool["recent"]) == (
        "shop_blue",
        6,
        2.0,
        {"192.0.2.9": 2},
        {"192.0.2.9": 2.0},
    )
    assert pool["members"] == [
        {"name": "app1", "state": "active", "in_flight": 1},
        {"name": "b", "state": "active", "in_flight": 1},
    ]
    (pool,) = _clients.pools(
        sides, {"app1": {"members": [known]}, "app2": {"failed": True, "msg": "member app2 cannot be reached"}}
    )
    assert pool["idle_s"] is None and pool["members"][1] == {"name": "b", "state": "down", "in_flight": None}
    assert pool["uncountable"] == "app2: member app2 cannot be reached"
