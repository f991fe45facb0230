# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wall clock that jumps, for every Python process that starts with this directory on its path; the monotonic clock goes on as it should."""

from __future__ import annotations

import os
import time

_real = time.time
_real_ns = time.time_ns


def _offset() -> float:
    with open(os.environ["JUMPING_CLOCK"], encoding="ascii") as stream:
        return float(stream.read() or 0)


time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + int(_offset() * 1e9)
