# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuses an ansible-core that is too old. Private to the collection.

Ansible itself only warns of what C(meta/runtime.yml) requires. An older one gets as far as the first module, which breaks in the middle of things.
"""

from __future__ import annotations

import re

from ansible import release

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

# As requires_ansible in meta/runtime.yml, and as the role deploy has it.
OLDEST = "2.17"


def check(version: str = release.__version__) -> None:
    """Raises DowntimeError where this ansible-core is older than C(OLDEST)."""
    if _numbers(version) < _numbers(OLDEST):
        raise DowntimeError(f"ansible-core is {version}; zero.downtime needs {OLDEST} or newer")


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers: a pre-release of the oldest one is good enough."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
