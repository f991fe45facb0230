# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that moves members shares: its options and the words for a member's state. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing

STATES = ("active", "drained", "down")
# What a drain does about streams: connections that last for as long as their client likes.
STREAMS = ("wait", "leave", "end", "cut")
# The option of doc fragment zero.downtime.memory.
MEMORY: dict[str, t.Any] = {"type": "dict", "options": {
    "out": {"type": "dict", "required": True},
    "theirs": {"type": "dict", "required": True},
    "moved": {"type": "list", "elements": "str", "required": True},
}}


def common_spec() -> dict[str, t.Any]:
    """The argument spec of doc fragment zero.downtime.members; a driver adds its own options to it."""
    return {
        "members": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": list(STATES), "required": True},
        "weight": {"type": "int"},
        "wait": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 60},
        "timeout_action": {"type": "str", "choices": ["fail", "cut"], "default": "fail"},
        "streams": {"type": "str", "choices": list(STREAMS)},
        "min_active": {"type": "str", "default": "0"},
        "restored": {"type": "list", "elements": "str"},
        "deploy_id": {"type": "str"},
        "lock": {"type": "path"},
        "lock_key": {"type": "str", "no_log": False},
        "memory": MEMORY,
        "intent": {"type": "dict"},
    }


def no_streams(streams: str | None) -> None:
    """For a driver that cannot tell streams from requests: raises DowntimeError where it is asked to."""
    if streams not in (None, "wait"):
        raise DowntimeError(f"streams is '{streams}'; accepted: wait, since this driver cannot tell streams from requests")


def told_gone(names: t.Sequence[str], balancer: str) -> str:
    """A note about members that have no server any more where a deploy had taken them out."""
    were = agreeing(names, f"is no server of {balancer} any more, and was one when this deploy took it out: it gets",
                    f"are no servers of {balancer} any more, and were some when this deploy took them out: they get")
    return f"{were} no requests, and nothing is done about it here"


def told_theirs(names: t.Sequence[str]) -> str:
    """A note about members that somebody else took out."""
    return agreeing(names, "was taken out of traffic by somebody else: it stays out, and is theirs to bring back",
                    "were taken out of traffic by somebody else: they stay out, and are theirs to bring back")


def told_back(names: t.Sequence[str]) -> str:
    """A note about members that a deploy has out and somebody else has brought back."""
    return f"{agreeing(names, 'was', 'were')} brought back into traffic by somebody else while this deploy had {'it' if len(names) == 1 else 'them'} out"


def floor_of(min_active: str | int, configured: int, option: str = "min_active") -> int:
    """How many of C(configured) members have to serve at full weight: C("4"), or C("75%") rounded up.

    Raises DowntimeError for anything else, and for a percentage over 100; C(option) is what the user knows it by.
    """
    text = str(min_active).strip()
    number = text[:-1] if text.endswith("%") else text
    if not number.isdigit() or (text.endswith("%") and int(number) > 100):
        raise DowntimeError(f"{option} is '{min_active}'; a count of members such as 4, or a percentage up to 100% such as 75%, is accepted")
    if text.endswith("%"):
        return -(-int(number) * configured // 100)
    return int(number)


def told_untold(given: str, driver: str, modes: t.Mapping[str, str]) -> str:
    """That nothing can be taken for a stream in these pools, by the C(modes) they are in; C(given) is what was asked for."""
    return f"{given}, but " + " and ".join(f"the pool {pool} is in mode {mode}" for pool, mode in modes.items()) \
        + f", in which {driver} does not tell streams from requests; wait is accepted"
