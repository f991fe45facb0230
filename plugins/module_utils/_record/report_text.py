# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of a record as words, for the parts of its page. Private to the report."""

from __future__ import annotations

import html
import math
import typing as t
from datetime import datetime, timezone

Record = t.Mapping[str, t.Any]


def _text(value: t.Any) -> str:
    """Any value as harmless HTML text, for attributes too."""
    return html.escape("" if value is None else str(value), quote=True)


def _number(value: t.Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _mapping(value: t.Any) -> Record:
    return value if isinstance(value, dict) else {}


def _dicts(value: t.Any) -> list[Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: t.Any) -> str:
    """1,203,441; a dash where nobody counted."""
    number = _number(value)
    if number is None:
        return "–"
    return f"{int(number):,}" if number == int(number) else f"{number:,.1f}"


def _ms(value: t.Any) -> str:
    number = _number(value)
    if number is None:
        return "–"
    if number >= 10000:
        return f"{number / 1000:,.0f} s" if number % 1000 == 0 else f"{number / 1000:,.1f} s"
    if number >= 100 or number == int(number):
        return f"{number:,.0f} ms"
    return f"{number:.1f} ms"


def _duration(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 0.95:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(round(value)), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _clock(epoch: float | None, form: str = "%H:%M:%S") -> str:
    if epoch is None:
        return "–"
    try:
        return datetime.fromtimestamp(epoch, timezone.utc).strftime(form)
    except (OverflowError, ValueError, OSError):
        return "–"


def _name(release: t.Any) -> str:
    release = _mapping(release)
    return str(release.get("label") or str(release.get("digest") or "")[:19] or "")


def _plural(number: t.Any, one: str, many: str | None = None) -> str:
    return f"{_count(number)} {one if _number(number) == 1 else many or one + 's'}"


def _nice(value: float) -> float:
    """The next round number up."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        if value <= factor * power * 1.0000001:
            return factor * power
    return 10 * power


def _share(rate: float) -> str:
    percent = rate * 100
    digits = 0 if percent >= 10 else min(6, 1 - math.floor(math.log10(percent)))
    return f"{percent:.{digits}f} %"
