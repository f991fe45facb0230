# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
import types
import typing as t

import dns.exception
import dns.message
import dns.rcode
import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import client, lock, place, split

SERVER = client.Server("192.0.2.53", 53, "ns1")
KEY = ("deploy", "c2VjcmV0", "hmac-sha256")


def of(query: t.Any = None) -> client.Client:
    return client.Client("shop.example", SERVER, KEY, query=query)


def test_without_dnspython_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.update", None)
    with pytest.raises(
        DowntimeError, match="the driver rfc2136 needs dnspython, which .* does not have; pip install dnspython"
    ):
        of()


@pytest.mark.parametrize(
    "text, server",
    [
        ("ns1.example", ("ns1.example", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_servers_as_people_write_them(text: str, server: tuple[str, int]) -> None:
    assert client.parse_server(text, "server")[:2] == server


def test_names_are_whole_or_relative_to_the_zone() -> None:
    found = of()
    assert [found.shown(found.below(name)) for name in ("www", "www.shop.example", "www.shop.example.", "@")] == [
        "www.shop.example",
        "www.shop.example",
        "www.shop.example",
        "shop.example",
    ]
    for name, sentence in (("www.other.example.", "no name of zone shop.example"), ("a..b", "which is no name in DNS")):
        with pytest.raises(DowntimeError, match=sentence):
            found.below(name)


def test_a_text_of_any_length_is_one_record() -> None:
    record = of().text_record(b"x" * 600)
    assert [len(part) for part in record.strings] == [255, 255, 90] and of().text_record(b"").strings == (b"",)


@pytest.mark.parametrize(
    "broken, sentence",
    [
        (
            dns.exception.Timeout(),
            "name server ns1 gave no answer within 3 s, so nobody knows whether the update was made",
        ),
        (EOFError(), "name server ns1 cannot be asked: it hung up, so nobody knows whether the update was made"),
        (ConnectionRefusedError(111, "Connection refused"), "name server ns1 cannot be asked: connection refused"),
    ],
)
def test_an_update_that_nobody_answers_is_neither_made_nor_refused(broken: Exception, sentence: str) -> None:
    def tcp(*dummy: t.Any, **more: t.Any) -> t.Any:
        raise broken

    asked = of(types.SimpleNamespace(tcp=tcp))
    with pytest.raises(client.Unknown, match=sentence):
        asked.send(asked.update())


class Zone:
    """A place whose server makes the first update, and loses its answer."""

    kinds = ("A",)
    sides = {"blue": {"A": ("192.0.2.1",)}, "green": {"A": ("192.0.2.2",)}}
    label, ttl, name = "www.shop.example", 3, None

    def __init__(self) -> None:
        self.client, self.now, self.sent = of(), dict(self.sides["blue"]), 0
        self.client.send = self.send  # type: ignore[method-assign]
        self.name = self.client.below("www")

    def send(self, dummy: t.Any) -> None:
        self.sent += 1
        if self.sent == 1:
            self.now = dict(self.sides["green"])
            raise client.Unknown("name server ns1 gave no answer")
        raise client.Refused("name server ns1 refused the update (NXRRSET)")

    def look(self) -> place.Look:
        return place.Look(client.Records(self.now, 3), {"blue": 0, "green": 100}, False)


def test_an_update_that_was_made_and_not_answered_is_found_out() -> None:
    zone: t.Any = Zone()
    params = {"lock": None, "deploy_id": None}
    moving = split.Split(params, zone, clock=lambda: 7.0, sleep=lambda seconds: None)
    found = place.Look(client.Records(dict(zone.sides["blue"]), 3), {"blue": 100, "green": 0}, False)
    assert moving._set(found, zone.sides["green"], 3, {"blue": 0, "green": 100}) == 7.0 and zone.sent == 2


def test_what_is_packed_comes_back_and_strangers_texts_are_nothing() -> None:
    for value in ({"a": 1}, {"a": "é" * 4000}):
        packed = lock._packed(value)
        assert packed.decode("ascii") and lock._unpacked(packed) == value
    assert len(lock._packed({"a": "x" * 4000})) < 200
    assert [lock._unpacked(raw) for raw in (b"", b"v=spf1 -all", b"z:!", b"z:AAAA", b"[1]", b"\xff")] == [None] * 6


class Locked:
    """A store whose server loses answers: C(made) says of each update whether it was made before."""

    def __init__(self, held: dict[str, t.Any] | None, made: t.Sequence[bool]) -> None:
        self.client = of()
        self.made, self.held = list(made), held
        self.client.texts = self.texts  # type: ignore[method-assign]
        self.client.send = self.send  # type: ignore[method-assign]
        self.store = lock.Store(self.client, self.client.below("www"), "production-shop", clock=lambda: 7.0)

    def texts(self, name: t.Any) -> list[bytes]:
        return [lock._packed(self.held)] if self.held and name == self.store.lock else []

    def send(self, dummy: t.Any) -> None:
        if self.made.pop(0):
            self.held = {"deploy_id": "d2", "key": "k2", "since": 7.0}
        raise client.Unknown("name server ns1 gave no answer")


def test_a_lock_that_was_taken_and_not_answered_is_ours() -> None:
    for held in (None, {"deploy_id": "d1", "key": "k1"}):
        for made in ([True], [False, False, True]):
            got = Locked(held, made).store.acquire("d2", {}, "k1", False, "k2")
            assert got["acquired"] and got["taken_over"] == held


def test_a_lock_that_cannot_be_taken_is_no_lock() -> None:
    with pytest.raises(
        DowntimeError, match="the lock _zero-downtime.www.shop.example could not be taken in 3 tries: .* gave no answer"
    ):
        Locked(None, [False] * 3).store.acquire("d2", {}, None, False, "k2")
    got = Locked({"deploy_id": "d1", "key": "k1", "since": 5.0}, []).store.acquire("d2", {}, None, False, "k2")
    assert not got["acquired"] and got["holder"]["age"] == 2.0 and got["taken_over"] is None
