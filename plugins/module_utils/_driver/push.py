# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that hands a release to a platform shares: its options, and what it returns.

Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

# What it returns of releases: each is C({digest, label}), or nothing.
RELEASES = ("active", "previous", "release", "pending")


def common_spec() -> dict[str, t.Any]:
    """The options of every C(<driver>_push); a driver adds its own to them."""
    return {
        "state": {"type": "str", "choices": ["observed", "settled", "activated"], "default": "activated"},
        "release": {"type": "str"},
        "going_back": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 900},
        "deploy_id": {"type": "str"},
        "lock": {"type": "path"},
        "lock_key": {"type": "str", "no_log": False},
        "intent": {"type": "dict"},
    }


def told(result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a driver's module returned, as whoever plans by it needs it.

    Raises DowntimeError where that is no answer to go by.
    """
    if "active" not in result:
        raise DowntimeError(
            "its module said nothing of the release that is active; active, a mapping or null, is needed"
        )
    found = {"previous": None, "release": None, "pending": None, "staged": [], "changed": False, **result}
    for name in RELEASES:
        entry = found[name]
        if entry is not None and not (isinstance(entry, dict) and entry.get("digest")):
            raise DowntimeError(
                f"its module said that {name} is {entry!r}; a mapping with digest and label, or null, is needed"
            )
    return found
