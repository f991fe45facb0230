# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long tests wait for what must come, on this machine.

A limit that says "this host is lost" is right for users within seconds, and wrong for a test on a machine that is ten times busier than theirs.
All such limits of the tests are stretched here: SUITE_STRETCH is the factor, which the suite sets on a slow machine, and tests under stress set
higher. What a test wants to be hit (a drain that times out) is no such limit and stays as short as it is.
"""

from __future__ import annotations

import os
import time
import typing as t

STRETCH = max(1.0, float(os.environ.get("SUITE_STRETCH") or 1.0))
# Seconds within which Ansible has to reach a host, and a host has to answer what it is only asked. Ansible's own default is 10.
REACH = 30
POLL = 0.02


def stretched(seconds: float) -> float:
    return seconds * STRETCH


def environment() -> dict[str, str]:
    """What runs of ansible-playbook in tests get: hosts here are slow to answer at times, and none of them is lost by that."""
    return {"ANSIBLE_TIMEOUT": str(int(stretched(REACH)))}


def wait_until(check: t.Callable[[], t.Any], what: str, timeout: float = 30.0, logs: t.Any = None) -> t.Any:
    """Wait until C(check) returns something true, and return that. What cannot be asked (OSError) is asked again.

    After C(timeout) seconds, stretched, AssertionError says what was waited for, what was seen instead, and where the logs lie.
    """
    end = time.monotonic() + stretched(timeout)
    while True:
        try:
            value = seen = check()
            if value:
                return value
        except OSError as error:
            seen = error
        if time.monotonic() > end:
            where = f"; its logs: {logs}" if logs else ""
            raise AssertionError(f"waited {stretched(timeout):g} s until {what}; last seen: {seen!r}{where}")
        time.sleep(POLL)
