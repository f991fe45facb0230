# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that splits traffic between the sides shares: its options, and the rule for shares. Private to the collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import MEMORY
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

SIDES = ("blue", "green")
ACCEPTED = "whole percents for blue and green that add up to 100 are accepted, such as {blue: 95, green: 5}"

Shares = t.Dict[str, int]


class NotSet(DowntimeError):
    """Shares that could not be set; C(shares) are those that the balancer has now, None where nobody can say."""

    def __init__(self, sentence: str, shares: Shares | None) -> None:
        super().__init__(sentence)
        self.details = {"shares": shares}


def common_spec() -> dict[str, t.Any]:
    """The argument spec of doc fragment zero.downtime.split; a driver adds its own options to it."""
    return {
        "shares": {"type": "dict"},
        "app": {"type": "str"},
        "min_active": {"type": "str", "default": "0"},
        "timeout": {"type": "int", "default": 20},
        "deploy_id": {"type": "str"},
        "lock": {"type": "path"},
        "lock_key": {"type": "str", "no_log": False},
        "memory": MEMORY,
        "intent": {"type": "dict"},
    }


def slow_spec() -> dict[str, t.Any]:
    """What the module of a driver has beside that, where shares are set at one moment and effective at another (C(Driver.holds))."""
    return {
        "hold": {"type": "str", "choices": ["short", "usual"]},
        "until": {"type": "str", "choices": ["effective", "settled"], "default": "effective"},
        "not_before": {"type": "float"},
        "going_back": {"type": "bool", "default": False},
    }


def check_whole(shares: Shares | None, what: str) -> Shares | None:
    """Refuse shares for both sides where C(what) can only give everything to one of them."""
    if shares and 0 < shares["green"] < 100:
        raise DowntimeError(f"shares is {told(shares)}, and {what}; {{blue: 100}} and {{green: 100}} are accepted")
    return shares


def check_shares(shares: t.Mapping[str, t.Any] | None) -> Shares | None:
    """C(shares) of both sides as numbers; a side that is left out gets nothing, and None is only a question.

    Raises DowntimeError for an unknown side, for what is no whole percent, and for what does not add up to 100.
    """
    if shares is None:
        return None
    for side, share in shares.items():
        if side not in SIDES:
            raise DowntimeError(f"shares has the side '{side}'; {ACCEPTED}")
        # A template's number may arrive as its text.
        if isinstance(share, bool) or not re.fullmatch(r"\d+", str(share).strip()) or int(share) > 100:
            raise DowntimeError(f"shares.{side} is {share!r}; {ACCEPTED}")
    found = {side: int(shares.get(side, 0)) for side in SIDES}
    if sum(found.values()) != 100:
        raise DowntimeError(f"shares is {told(found)}, which adds up to {sum(found.values())}; {ACCEPTED}")
    return found


def of_green(percent: int) -> Shares:
    """The shares of both sides when green gets C(percent)."""
    green = min(100, max(0, percent))
    return {"blue": 100 - green, "green": green}


def told(shares: t.Mapping[str, int]) -> str:
    """Shares for a sentence."""
    return ", ".join(f"{side} {shares[side]}" for side in SIDES)
