# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain load on a balancer for tests: kept-alive GETs, fresh GETs and slow POSTs, each failure kept.

Deliberately not the collection's probe: what that one claims has to be checked by something else.
"""

from __future__ import annotations

import http.client
import threading
import time
import typing as t


class Load:
    """``with Load(port) as load: …``; afterwards ``load.sent`` and ``load.failures``."""

    def __init__(self, port: int, keepalive: int = 3, fresh: int = 2, posts: int = 3, post_ms: int = 200, pause: float = 0.01) -> None:
        self.port, self.post_ms, self.pause = port, post_ms, pause
        self.sent = 0
        self.failures: list[str] = []
        self.versions: dict[str, int] = {}
        self.ending = threading.Event()
        self.lock = threading.Lock()
        kinds = [("keepalive", "GET", "/")] * keepalive + [("fresh", "GET", "/")] * fresh + [("post", "POST", f"/slow?ms={post_ms}")] * posts
        self.threads = [threading.Thread(target=self.work, args=kind, daemon=True) for kind in kinds]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(15)

    def more(self, count: int, seconds: float = 60) -> None:
        """Wait until so many further requests have ended, whatever the machine's speed."""
        end, wanted = time.monotonic() + seconds, self.sent + count
        while self.sent < wanted:
            if time.monotonic() > end:
                raise AssertionError(f"{wanted - self.sent} of {count} requests had not ended after {seconds} s")
            time.sleep(0.005)

    def work(self, kind: str, method: str, path: str) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.ending.is_set():
            wrong = ""
            version = ""
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request(method, path, body=b"x" * 100 if method == "POST" else None)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    wrong = f"status {answer.status}"
                else:
                    version = body.decode().partition('"version": "')[2].partition('"')[0]
                if kind == "fresh" or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                wrong = repr(error)
                connection = None
            with self.lock:
                self.sent += 1
                if wrong:
                    self.failures.append(f"{kind}: {wrong}")
                else:
                    self.versions[version] = self.versions.get(version, 0) + 1
            time.sleep(self.pause)
