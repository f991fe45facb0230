# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/tutorial.md, step by step as it stands there, on a real HAProxy, under load of both of its applications; and the way from before on the same hosts."""

from __future__ import annotations

import contextlib
import pathlib
import re
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "load"), str(HERE.parent)]

import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import http2  # noqa: E402  pylint: disable=wrong-import-position
import shop as shops  # noqa: E402  pylint: disable=wrong-import-position
from shop import BILLING, WEBSHOP, Shop  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.skipif(haproxy_stage.HAPROXY is None, reason="haproxy is not installed")
# What the page says of three hosts is so with fewer requests of the probe, and a bad release is as bad after a few seconds.
QUICK: dict[str, t.Any] = {"deploy_evidence_rate": 20, "deploy_soak": 0, "deploy_health": {"timeout": 10}}
# The section about a second side, which needs lines in haproxy.cfg.
SIDES = 9
# A round of restarts loses a handful of some hundred requests; should one be lucky, the next one is not.
ROUNDS = 5
COOKIES = ("", "SRV=a", "SRV=b", "SRV=c")


class Crowd:
    """All who ask while something happens: users of both applications, and users who speak HTTP/2 and stick to a server."""

    def __init__(self, shop: Shop, name: str, per_second: int = 5) -> None:
        self.shop = shop
        self.loads = {app: shop.users(app, name, per_second) for app in ("webshop", "billing")}
        self.sticky = [shop.sticky_user(cookie, per_second) for cookie in COOKIES]

    def __enter__(self) -> Crowd:
        with contextlib.ExitStack() as stack:
            for user in (*self.loads.values(), *self.sticky):
                stack.enter_context(user)
            haproxy_stage.wait_until(lambda: all(user.answers for user in self.sticky), "every user who sticks to a server was answered")
            self.ending = stack.pop_all()
        return self

    def __exit__(self, *dummy: object) -> None:
        self.ending.close()

    def report(self, app: str) -> dict[str, t.Any]:
        return self.loads[app].report

    @property
    def lost(self) -> int:
        return self.report("webshop")["failed"] + len(http2.lost(self.sticky))


def pattern(sentence: str) -> str:
    """A sentence of the document, whatever its counts and durations are; the names and labels in it are to be the same."""
    return re.sub(r"(?<![\w.-])\\?\d[\d,]*(?= (?:probe|real) requests| ms| s:)", "[0-9,]+", re.escape(sentence).replace("\\ ", " "))


def follow(shop: Shop, sections: t.Container[int]) -> t.Iterator[tuple[str, str, str]]:
    """Do what these sections say, in their order: the command, how it ended, and what the document says of that."""
    last: tuple[str, str] | None = None
    for block in shop.blocks:
        if block.section not in sections:
            continue
        if block.kind == "shell" and block.title:
            for host in WEBSHOP:
                shop.on_host(host, block.text)
        elif block.kind == "shell":
            (command,) = block.text.splitlines()
            played = shop.run(command, **QUICK)
            assert played.rc == (2 if command.endswith("-bad") else 0), played.output
            # Here the probe asks less often than a reader's does, and nobody looks on at the end.
            last = (command, re.sub(r"; what serves now has answered \d+ requests? only: [^;]*(?=\.$)", "", played.sentence))
        elif block.kind == "text":
            assert last is not None
            assert re.fullmatch(pattern(block.text.strip()), last[1]), f"{last[0]}: {last[1]}"
            yield (*last, block.text)


@pytest.mark.claim("tutorial-loses-nothing", "tutorial-spares-the-neighbour", "record-says-the-protocol")
def test_the_tutorial_as_it_stands_there():
    with Shop() as shop:
        shop.write_inventory()
        # What the neighbour did by hand is his: a server that drains, and a weight.
        for command in ("set server bk_billing/bill-2 state drain", "set weight bk_billing/bill-1 50%"):
            haproxy_stage.ask(shop.edge.socket, command)
        before, worker = shop.neighbour(), shop.edge.worker_pid()
        with Crowd(shop, "tutorial") as crowd:
            said = list(follow(shop, range(SIDES)))
        assert [sentence.split(":")[0].split(" failed")[0] for dummy, sentence, dummy in said] == [
            "Deploy of webshop would move 3 of 3 members to 1.0.0; nothing has been changed.", "Deploy of webshop", "webshop (production)",
            "Deploy of webshop to 1.1.0-bad", "Deploy of webshop", "Rollback of webshop"]

        users, neighbours = crowd.report("webshop"), crowd.report("billing")
        assert users["failed"] == 0 and http2.lost(crowd.sticky) == [], (users["losses"], http2.lost(crowd.sticky))
        assert users["sent"] > 500 and set(users["versions"]) == {"before", "1.0.0", "1.1.1"}, users["versions"]
        for user in crowd.sticky:
            # One connection from before the first deploy to behind the last one.
            assert {answer.version for answer in user.answers} == {"2"} and sum(answer.connects for answer in user.answers) == 1
            assert len(user.answers) > 100
        assert shops.Sorry.asked == []

        assert neighbours["failed"] == 0, neighbours["losses"]
        assert neighbours["sent"] > 500 and set(neighbours["versions"]) == {"before"}
        assert len(before) == len(BILLING) and shop.neighbour() == before and shop.edge.worker_pid() == worker
        records = shop.records()
        switch(shop)
        assert [(record["result"], record["evidence"]["probe"]["failed"]) for record in records] == [
            ("succeeded", 0), ("rolled_back", 0), ("succeeded", 0), ("succeeded", 0)]
        assert all(record["evidence"]["balance"]["received"] > 0 for record in records)
        # As its users do: the page's bind line has alpn h2.
        assert [set(record["evidence"]["probe"]["protocols"]) for record in records] == [{"HTTP/2"}] * 4


def switch(shop: Shop) -> None:
    """The second side: a reload of the balancer, a switch to green and the one back, under load."""
    (changed,) = (block.text for block in shop.blocks if block.section == SIDES and block.kind == "yaml")
    before = shop.neighbour()
    with Crowd(shop, "sides") as crowd:
        shop.add_green(changed)
        said = list(follow(shop, [SIDES]))
    assert len(said) == 2
    users, neighbours = crowd.report("webshop"), crowd.report("billing")
    assert users["failed"] == 0 and http2.lost(crowd.sticky) == [], (users["losses"], http2.lost(crowd.sticky))
    assert set(users["versions"]) == {"1.0.0", "1.1.1"} and all(len(user.answers) > 40 for user in crowd.sticky)
    assert neighbours["failed"] == 0 and set(neighbours["versions"]) == {"before"}, neighbours["losses"]
    assert len(before) == len(BILLING) and shops.Sorry.asked == []


@pytest.mark.claim("naive-restart-loses")
def test_restarting_host_after_host_loses_requests():
    """What the page says of the way from before; the witnesses are the same."""
    with Shop() as shop:
        for number in range(ROUNDS):
            with Crowd(shop, f"naive-{number}", per_second=10) as crowd:
                for host in WEBSHOP:
                    shop.on_host(host, "systemctl restart webshop")
            assert crowd.report("billing")["failed"] == 0
            if crowd.lost:
                break
        assert crowd.lost > 0, f"{ROUNDS} rounds of restarts lost nothing"
