# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of a name in DNS, each from an address of its own: one that asks anew when the time to live is over, one that
asks once and for all, and one with a connection that it keeps."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import typing as t

import dns.message
import dns.query
from bind_stage import BindStage

PAUSE = 0.05


class Name:
    """A name as a resolver keeps it: for its time to live.

    :param for_ever: never asked anew.
    """

    def __init__(self, stage: BindStage, name: str, for_ever: bool = False) -> None:
        self.stage, self.name, self.for_ever = stage, f"{name}.{stage.zone}", for_ever
        self._addresses: list[str] = []
        self._until = 0.0

    def address(self) -> str:
        if not self._addresses or (time.monotonic() >= self._until and not self.for_ever):
            asked = dns.message.make_query(self.name, "A")
            (found,) = dns.query.udp(
                asked, self.stage.places["primary"][0], 5, port=self.stage.places["primary"][1]
            ).answer
            self._addresses, self._until = [record.to_text() for record in found], time.monotonic() + found.ttl
        return random.choice(self._addresses)


class User:
    """Asks all the time, from entering to leaving; what came of each request is in C(answers) and C(failures).

    :param source: its own address.
    :param pooled: whether it goes on with a connection as long as that is open.
    """

    def __init__(self, name: Name, port: int, source: str, pooled: bool = False) -> None:
        self.name, self.port, self.source, self.pooled = name, port, source, pooled
        self.answers: list[tuple[float, str]] = []
        self.failures: list[tuple[float, str]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> User:
        self._thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.end()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._ending.wait(PAUSE):
            try:
                self.answers.append((time.monotonic(), self._ask()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._connection = None
                self.failures.append((time.monotonic(), repr(error)))
        if self._connection:
            self._connection.close()

    def _ask(self) -> str:
        """The version that answers."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                self.name.address(), self.port, timeout=20, source_address=(self.source, 0)
            )
        connection = self._connection
        connection.request("GET", "/", headers={} if self.pooled else {"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        if not self.pooled or answer.will_close:
            connection.close()
            self._connection = None
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return str(json.loads(body)["version"])

    def versions(self) -> list[str]:
        """In the order in which they came first."""
        return list(dict.fromkeys(version for _at, version in self.answers))
