# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users whom HAProxy keeps at their server by a cookie, while the sides change places: what docs/blue_green.md says of them, measured."""

from __future__ import annotations

import http.client
import json
import threading
import typing as t

import pytest
from haproxy_stage import HaproxyStage, ask, wait_until

BLUE, GREEN, HALF = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}, {"blue": 50, "green": 50}
POOLS = {"shop_blue": ["b1", "b2"], "shop_green": ["g1", "g2"]}
# The cookies of the second servers of both sides.
SAME = {"b1": "cookie one", "b2": "cookie two", "g1": "cookie one", "g2": "cookie two"}
OWN = {name: f"cookie {name}" for name in ("b1", "b2", "g1", "g2")}
MANY = 40


@pytest.fixture
def sides(stage, tmp_path):
    def start(cookies: dict[str, str], draw: str = "rand(100)") -> HaproxyStage:
        path = tmp_path / "split.map"
        path.write_text("shop 0\n", encoding="ascii")
        return stage(POOLS, server_options=cookies, backend_lines=["cookie SRV insert indirect nocache"], frontend_lines=[
            f"http-request set-var(txn.green) str(shop),map_str_int({path},0)", f"http-request set-var(txn.draw) {draw}",
            "use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"])
    return start


class User:
    """A browser: it keeps its connection and what cookie it was given last."""

    def __init__(self, balancer: HaproxyStage, **cookies: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=20)
        self.cookies = dict(cookies)
        self.given: list[str] = []

    def ask(self) -> str:
        """The server that answered."""
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.connection.request("GET", "/", headers={"Cookie": sent} if sent else {})
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        if new := answer.headers.get("Set-Cookie"):
            name, dummy, value = new.split(";")[0].partition("=")
            self.cookies[name] = value
            self.given.append(value)
        return str(json.loads(data)["name"])

    def servers(self, number: int = MANY) -> set[str]:
        return {self.ask() for _number in range(number)}


class Crowd:
    """Users who ask all the time; what failed is kept."""

    def __init__(self, users: t.Sequence[User]) -> None:
        self.users, self.failures, self.asked, self.ending = users, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(user,)) for user in users]

    def run(self, user: User) -> None:
        while not self.ending.is_set():
            try:
                user.ask()
                self.asked += 1
            except (AssertionError, OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return

    def __enter__(self) -> Crowd:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.claim("cookies-across-sides")
def test_the_same_cookie_on_both_sides_leads_to_the_same_place_on_the_other_one(sides, split):
    balancer = sides(SAME)
    user = User(balancer, SRV="two")
    assert user.servers() == {"b2"}
    split(balancer, GREEN)
    assert user.servers() == {"g2"} and user.given == [], "nobody had to give him another cookie"
    split(balancer, BLUE)
    assert user.servers() == {"b2"} and user.given == []


@pytest.mark.claim("cookies-across-sides")
def test_a_cookie_that_the_other_side_does_not_know_is_replaced_once(sides, split):
    balancer = sides(OWN)
    user = User(balancer, SRV="b2")
    assert user.servers() == {"b2"}
    split(balancer, GREEN)
    there = user.servers()
    assert len(there) == 1 and there < {"g1", "g2"} and user.given == list(there)


@pytest.mark.claim("cookies-outlive-the-old-side")
@pytest.mark.parametrize("cookies", [SAME, OWN], ids=["same", "own"])
def test_switching_and_stopping_the_old_side_loses_nobody_who_sticks_to_it(sides, split, cookies):
    balancer = sides(cookies)
    users = [User(balancer, SRV=cookies[name].split()[1]) for name in ("b1", "b2")]
    with Crowd(users) as crowd:
        wait_until(lambda: crowd.asked > MANY, "both were answered by blue")
        split(balancer, GREEN)
        wait_until(lambda: not balancer_in_flight(balancer, "shop_blue"), "blue has answered what it had taken")
        for name in ("b1", "b2"):
            balancer.kill(name)
        reached = crowd.asked
        wait_until(lambda: crowd.asked > reached + MANY, "they go on with green alone")
    assert crowd.failures == []
    assert all(user.ask() in ("g1", "g2") for user in users)


def balancer_in_flight(balancer: HaproxyStage, pool: str) -> int:
    rows = [line.split(",") for line in ask(balancer.socket, "show stat").splitlines()]
    return sum(int(row[4] or 0) for row in rows if row[:2] == [pool, "BACKEND"])


@pytest.mark.claim("cookies-and-shares")
def test_a_server_s_cookie_does_not_keep_a_user_on_his_side_while_there_are_shares(sides, split):
    balancer = sides(SAME)
    split(balancer, HALF)
    user = User(balancer, SRV="two")
    # Each request is drawn by itself: the side is chosen first, and the cookie only says where on it.
    assert user.servers() == {"b2", "g2"}


@pytest.mark.claim("cookies-and-shares")
def test_a_draw_by_the_user_s_own_cookie_keeps_him_on_his_side(sides, split):
    balancer = sides(SAME, draw="req.cook(USER),xxh32,mod(100)")
    split(balancer, HALF)
    found = [User(balancer, SRV="two", USER=f"user{number}").servers(5) for number in range(MANY)]
    assert all(len(servers) == 1 for servers in found)
    assert set().union(*found) == {"b2", "g2"}
