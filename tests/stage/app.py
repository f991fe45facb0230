# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample application of the local stage: plain WSGI, so that nothing hides what the servers do.

It is packed into every sample artifact beside a file VERSION, and learns its release digest from the name of the
directory it was unpacked into. Its label decides how it behaves: ``-bad`` never becomes ready, ``-slow`` answers ten
times slower, ``-errors`` answers a fifth of the requests with 500, ``-hangs`` is ready and answers nothing else,
``-stuck`` is ready and answers ``/``, and nothing else, ``-silent`` does not say in a header which release it is,
``-empty`` answers ``/`` without a body, ``-picky`` answers ``/slow`` with 403, ``-tail`` takes a second more for one of
twenty requests.
``/held`` is answered once the file APP_HOLD_FILE is gone, at the latest after ten minutes: a test that needs a request
in flight ends it when it has seen enough, however fast the machine is. ``/events`` and ``/socket`` are streams: app_streams.py.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from urllib.parse import parse_qs

import app_streams

HERE = os.path.realpath(os.path.dirname(os.path.abspath(__file__)))
DIGEST = os.path.basename(HERE)
with open(os.path.join(HERE, "VERSION"), encoding="utf-8") as _file:
    VERSION = _file.read().strip()

MEMBER = os.environ.get("APP_MEMBER", "")
SLOT = os.environ.get("APP_SLOT", "")
OFF_FILE = os.environ.get("APP_OFF_FILE", "")
HOLD_FILE = os.environ.get("APP_HOLD_FILE", "")

NEVER_READY = VERSION.endswith("-bad")
SLOWNESS = 10 if VERSION.endswith("-slow") else 1
ERROR_SHARE = 0.2 if VERSION.endswith("-errors") else 0.0
# It calls itself ready, and users wait for ever.
HANGS = VERSION.endswith("-hangs")
# It also answers what a smoke check asks, and whoever wants more than that waits for ever.
STUCK = VERSION.endswith("-stuck")
SILENT = VERSION.endswith("-silent")
EMPTY = VERSION.endswith("-empty")
TAIL_SHARE, TAIL_S = (0.05 if VERSION.endswith("-tail") else 0.0), 1.0
PICKY = VERSION.endswith("-picky")
WORK_MS = 5.0
LONGEST_MS = 600_000
LOOK_MS = 20.0


class Gauge:
    """How many requests are being worked on, checks, streams and the gauge's own readers left out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def __enter__(self) -> None:
        with self._lock:
            self.value += 1

    def __exit__(self, *_exc) -> None:
        with self._lock:
            self.value -= 1


GAUGE = Gauge()


Refused = app_streams.Refused
app_streams.STREAMS.end_on_sigterm()


def _is_ready() -> bool:
    return not NEVER_READY and not (OFF_FILE and os.path.exists(OFF_FILE))


def _body_size(environ) -> int:
    size = 0
    while True:
        chunk = environ["wsgi.input"].read(65536)
        if not chunk:
            return size
        size += len(chunk)


def _asked_ms(environ) -> float:
    text = parse_qs(environ.get("QUERY_STRING", "")).get("ms", ["0"])[0]
    try:
        asked = float(text)
    except ValueError:
        asked = -1.0
    if not 0 <= asked <= LONGEST_MS:
        raise Refused("ms is %r; accepted is a number from 0 to %d" % (text, LONGEST_MS))
    return asked


def _wait_while_held() -> None:
    end = time.monotonic() + LONGEST_MS / 1000
    while HOLD_FILE and os.path.exists(HOLD_FILE) and time.monotonic() < end:
        time.sleep(LOOK_MS / 1000)


def _work(environ, milliseconds: float, held: bool = False) -> tuple[int, dict]:
    with GAUGE:
        if STUCK and environ.get("PATH_INFO") != "/":
            time.sleep(LONGEST_MS / 1000)
        received = _body_size(environ)
        time.sleep(milliseconds * SLOWNESS / 1000)
        if random.random() < TAIL_SHARE:
            time.sleep(TAIL_S)
        if held:
            _wait_while_held()
        # Drawn at random: a counter would single out one of several clients that take turns.
        if random.random() < ERROR_SHARE:
            return 500, {"error": "this release answers a fifth of its requests with 500"}
        answer = {"received": received} if environ["REQUEST_METHOD"] == "POST" else {}
        return 200, answer


def _signed() -> list[tuple[str, str]]:
    return [] if SILENT else [("x-release", DIGEST)]


def _answer(environ) -> tuple[int, dict]:
    path = environ.get("PATH_INFO", "/")
    method = environ["REQUEST_METHOD"]
    if path == "/health":
        return 200, {"alive": True}
    if path == "/ready":
        ready = _is_ready()
        return (200 if ready else 503), {"ready": ready}
    if path == "/in_flight":
        return 200, {"in_flight": GAUGE.value, "streams": app_streams.STREAMS.count}
    if path not in ("/", "/slow", "/held", *app_streams.PATHS):
        return 404, {"error": "there is no %s here" % path}
    if method not in ("GET", "HEAD", "POST"):
        return 405, {"error": "%s is not accepted" % method}
    if PICKY and path == "/slow":
        return 403, {"error": "this release lets nobody in here"}
    if HANGS:
        time.sleep(LONGEST_MS / 1000)
    if path in app_streams.PATHS:
        app_streams.serve(environ, [*_signed(), ("x-version", VERSION), ("x-member", MEMBER)])
    return _work(environ, _asked_ms(environ) if path == "/slow" else WORK_MS, held=path == "/held")


def application(environ, start_response):
    try:
        status, answer = _answer(environ)
    except Refused as error:
        status, answer = 400, {"error": str(error)}
    reasons = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
               500: "Internal Server Error", 503: "Service Unavailable"}
    body = json.dumps({"version": VERSION, "release": DIGEST, "member": MEMBER, "slot": SLOT, "pid": os.getpid(),
                       **answer}).encode() + b"\n"
    if EMPTY and environ.get("PATH_INFO") == "/":
        body = b""
    start_response("%d %s" % (status, reasons[status]), [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *_signed(),
    ])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
