# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are in flight until a test has seen what it looks for, however fast or slow the machine is."""

from __future__ import annotations

import json
import pathlib
import threading
import typing as t

import layout
from haproxy_stage import get, wait_until

URL = f"http://127.0.0.1:{layout.PORT}"
# As long as the sample application holds a request at most.
LONGEST = 600.0
LOOK = 0.05


def in_flight(member: str) -> int:
    """How many requests the member works on."""
    return json.loads(get(f"http://127.0.0.1:{layout.port(member, 'blue')}/in_flight")[1])["in_flight"]


class Held:
    """At least C(each) requests on every member's blue side.

    They are let go once C(until) is so, or when the C(with) block ends.
    """

    def __init__(self, until: t.Callable[[Held], t.Any] = lambda held: False, each: int = 1) -> None:
        self.answers: list[int] = []
        # How many each member holds: the balancer chooses, and does not always go round.
        self.at: dict[str, int] = {}
        self._until, self._each = until, each
        self._ended = threading.Event()
        self._files = [pathlib.Path(layout.hold_file(member, "blue")) for member in layout.MEMBERS]
        self._threads: list[threading.Thread] = []
        self._watch = threading.Thread(target=self._let_go)

    @property
    def count(self) -> int:
        return sum(self.at.values())

    @property
    def lost(self) -> list[int]:
        """What became of those that were not answered: a status, or 0 where there was none."""
        return [answer for answer in self.answers if answer != 200]

    def _ask(self) -> None:
        try:
            self.answers.append(get(URL + "/held", timeout=LONGEST)[0])
        except OSError:
            self.answers.append(0)

    def _let_go(self) -> None:
        try:
            while not self._ended.wait(LOOK) and not self._until(self):
                pass
        finally:
            for file in self._files:
                file.unlink(missing_ok=True)

    def _look(self) -> int:
        self.at = {member: in_flight(member) for member in layout.MEMBERS}
        return self.count

    def _send(self) -> None:
        thread = threading.Thread(target=self._ask)
        self._threads.append(thread)
        thread.start()
        wait_until(lambda: self._look() == len(self._threads), "every request is held")

    def __enter__(self) -> Held:
        for file in self._files:
            file.touch()
        try:
            while not self.at or min(self.at.values()) < self._each:
                assert len(self._threads) < 4 * self._each * len(layout.MEMBERS), self.at
                self._send()
        except BaseException:
            self._ended.set()
            self._let_go()
            raise
        self._watch.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._ended.set()
        for thread in (self._watch, *self._threads):
            thread.join()


def events(records: pathlib.Path) -> list[dict[str, t.Any]]:
    """What the deploys that run now, and keep their records there, have written of their steps."""
    found = []
    for path in records.glob(".running/*/events.jsonl"):
        found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
    return found
