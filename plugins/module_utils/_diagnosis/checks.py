# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbook doctor has looked at: one line each, what mends it, and for which strategies that makes the
configuration ready. Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _written
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

MARKS = {True: "✓", False: "✗", None: "–"}
# Of what is wrong and keeps no strategy.
WARNING = "⚠"
Lines = t.Sequence[str]


class Checks:
    """What was looked at, in order.

    :param strategies: all strategies; what is wrong bars each of them, unless it is said to bar only some.
    """

    def __init__(self, strategies: t.Sequence[str]) -> None:
        self.strategies = list(strategies)
        self.found: list[dict[str, t.Any]] = []

    def well(self, name: str, host: str | None, text: str) -> None:
        self._add(name, host, True, text)

    def passed_over(self, name: str, host: str | None, why: str, bars: t.Sequence[str] = ()) -> None:
        """What does not apply here, or could not be looked at. Without it, C(bars) cannot be carried out."""
        self._add(name, host, None, why, bars=bars)

    def take(self, entry: t.Mapping[str, t.Any], host: str) -> None:
        """What a host says that it has looked at."""
        if entry["ok"] is False:
            self.wrong(entry["name"], host, entry["text"], entry["mend"])
        else:
            self._add(entry["name"], host, entry["ok"], entry["text"])

    def wrong(self, name: str, host: str | None, text: str, mend: Lines, bars: t.Sequence[str] | None = None) -> None:
        """C(mend) are the lines or the commands that put it right; C(bars) the strategies that cannot be carried
        out meanwhile.
        """
        if not [line for line in mend if line.strip()]:
            raise AssertionError(f"nothing mends {name}: {text}")
        bars = self.strategies if bars is None else list(bars)
        known = next(
            (
                check
                for check in self.found
                if (check["name"], check["host"], check["text"]) == (name, host, _bare(text))
            ),
            None,
        )
        if known:
            # One rule may be asked for each strategy.
            known["bars"] = [strategy for strategy in self.strategies if strategy in {*known["bars"], *bars}]
            return
        self._add(name, host, False, text, mend, bars)

    def tried(
        self, name: str, host: str | None, mend: Lines, rule: t.Callable[[], t.Any], bars: t.Sequence[str] | None = None
    ) -> t.Any:
        """What a rule returns; None where it refuses, which is then noted."""
        try:
            return rule()
        except DowntimeError as error:
            self.wrong(name, host, str(error), mend, bars)
            return None

    def _add(
        self, name: str, host: str | None, okay: bool | None, text: str, mend: Lines = (), bars: t.Sequence[str] = ()
    ) -> None:
        self.found.append(
            {"name": name, "host": host, "ok": okay, "text": _bare(text), "mend": list(mend), "bars": list(bars)}
        )

    # -- what they come to ---------------------------------------------------------------------------------------------
    def barring(self, strategy: str) -> list[str]:
        """What keeps a strategy from being carried out."""
        return list(dict.fromkeys(check["text"] for check in self.found if strategy in check["bars"]))

    def mended(self) -> bool:
        """Whether nothing at all is wrong."""
        return all(check["ok"] is not False for check in self.found)

    def ready(self) -> list[str]:
        return [strategy for strategy in self.strategies if not self.barring(strategy)]

    def sentence(self) -> str:
        """For which strategies the configuration is ready, and what keeps it from the others."""
        ready = self.ready()
        parts = [f"ready for {', '.join(ready)}"] if ready else []
        reasons: dict[tuple[str, ...], list[str]] = {}
        for strategy in self.strategies:
            if why := self.barring(strategy):
                reasons.setdefault(tuple(why), []).append(strategy)
        for why, strategies in reasons.items():
            more = f" (and {len(why) - 1} more ✗ above)" if len(why) > 1 else ""
            parts.append(f"not ready for {', '.join(strategies)} because {why[0]}{more}")
        return "; ".join(parts)

    def lines(self) -> list[str]:
        """All of it for a person, with what mends it below what is wrong.

        What is the same on several hosts is one line.
        """
        hosts: dict[tuple[t.Any, ...], list[str]] = {}
        for check in self.found:
            hosts.setdefault(_same(check), []).append(check["host"])
        lines = []
        for check in self.found:
            names = [name for name in hosts.pop(_same(check), ()) if name]
            if not names and check["host"]:
                continue
            lines.append(f"{_mark(check)} {', '.join([check['name'], *names])}: {check['text']}")
            lines += [f"    {line}" for line in check["mend"]]
        return lines


def _mark(check: t.Mapping[str, t.Any]) -> str:
    return WARNING if check["ok"] is False and not check["bars"] else MARKS[check["ok"]]


def _same(check: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    return check["name"], _mark(check), check["text"], tuple(check["mend"]), check["host"] is None


def _bare(text: str) -> str:
    """A sentence as a part of others, with the variables that its reader has written."""
    return _written.sentence(text.strip().rstrip("."))
