# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for what an API says, with growing pauses that differ from caller to caller. Private to the collection."""

from __future__ import annotations

import random
import time
import typing as t

# Seconds of the first pause, how much longer each next one is, and the longest.
FIRST, GROWTH, LONGEST = 0.5, 1.4, 10.0


class Waiting:
    """Pauses until a time-out.

    :param timeout: seconds that all of it may take.
    :param expected: seconds that it takes anyway: nobody asks a hundred times for what is sure to take minutes, nor
        late for what takes a moment.
    :param draw: a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        timeout: float,
        expected: float = 0.0,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
        draw: t.Callable[[], float] = random.random,
    ) -> None:
        self.clock, self.sleep, self.draw = clock, sleep, draw
        self.began = clock()
        self.end = self.began + timeout
        self.longest = min(LONGEST, max(FIRST, expected / 10))
        self._next = FIRST

    @property
    def waited(self) -> float:
        return round(self.clock() - self.began, 3)

    @property
    def over(self) -> bool:
        return self.clock() >= self.end

    def pause(self) -> None:
        """Sleep for a while, but not beyond the end."""
        length = self._next * (0.75 + 0.5 * self.draw())
        self._next = min(self.longest, self._next * GROWTH)
        self.sleep(max(0.0, min(length, self.end - self.clock())))

    def hold(self, seconds: float) -> None:
        """Sleep for so long, whatever the end is."""
        if seconds > 0:
            self.sleep(seconds)
