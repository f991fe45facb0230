# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import streams as _haproxy_streams
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.streams import Held
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Snapshot

APP1, APP2 = ("shop", "app1"), ("shop", "app2")
# As HAProxy 2.6.12 tells a WebSocket, a request without an answer yet, an answer that has begun, and the one who asks.
WEBSOCKET = (
    "0x5646f6087420: proto=tcpv4 src=127.0.0.1:33752 fe=f be=shop srv=app1 ts=00 epoch=0 age=2s calls=3 rate=0 cpu=0 lat=0 rq[f=8c48000h,i=0,an=00h,rx=59m57s,"
    "wx=59m57s,ax=] rp[f=88048000h,i=0,an=00h,rx=59m57s,wx=59m57s,ax=] scf=[8,0h,fd=12] scb=[8,11h,fd=13] exp=2s rc=0 c_exp=")
WAITING = (
    "0x5646f61a3200: proto=tcpv4 src=127.0.0.1:33762 fe=f be=shop srv=app1 ts=00 epoch=0 age=2s calls=2 rate=0 cpu=0 lat=0 rq[f=49c40080h,i=0,an=8000h,rx=,wx=,"
    "ax=] rp[f=80400000h,i=0,an=1400000h,rx=57s,wx=,ax=] scf=[8,80h,fd=16] scb=[8,11h,fd=17] exp=2s rc=0 c_exp=")
ANSWERING = (
    "0x7fe828041fd0: proto=tcpv4 src=127.0.0.1:33754 fe=f be=shop srv=app1 ts=00 epoch=0 age=2s calls=3 rate=0 cpu=0 lat=0 rq[f=49c40080h,i=0,an=8000h,rx=,wx=,"
    "ax=] rp[f=80040202h,i=0,an=4000000h,rx=1m,wx=,ax=] scf=[8,80h,fd=14] scb=[8,11h,fd=15] exp=2s rc=0 c_exp=")
ASKING = (
    "0x5646f61a3f10: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1 rate=1 cpu=0 lat=0 rq[f=c08002h,i=0,an=00h,"
    "rx=10s,wx=,ax=] rp[f=80008002h,i=0,an=00h,rx=,wx=,ax=] scf=[8,0h,fd=18] scb=[8,1h,fd=-1] exp=10s rc=0 c_exp=")


def look(*lines: str, old: tuple[str, ...] = ()) -> Snapshot:
    return Snapshot(100, {}, ["\n".join(lines)], [], {99: ["\n".join(old)]} if old else {}, [])


@pytest.mark.parametrize("age, seconds", [("0s", 0), ("59s", 59), ("2m3s", 123), ("1h5m", 3900), ("3d2h", 266400)])
def test_ages(age, seconds):
    assert _haproxy_streams.seconds(age) == seconds


def test_an_upgrade_is_a_stream_at_once_and_what_is_young_is_a_request():
    assert _haproxy_streams.held(look(WEBSOCKET, WAITING, ANSWERING, ASKING), [APP1, APP2], 30) == {APP1: Held(1, 2, 1), APP2: Held(0, 0)}


def test_what_is_older_than_any_request_is_a_stream_in_an_old_worker_too():
    old = ANSWERING.replace("age=2s", "age=31s")
    assert _haproxy_streams.held(look(WAITING, old=(old, WEBSOCKET)), [APP1], 30) == {APP1: Held(2, 1, 1)}
    assert _haproxy_streams.held(look(old), [APP1], 31) == {APP1: Held(0, 1)}


def test_others_do_not_count():
    assert _haproxy_streams.held(look(WEBSOCKET), [APP2], 30) == {APP2: Held(0, 0)}
