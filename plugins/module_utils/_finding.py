# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thing that the look at a balancer's configuration has to say, as the playbook doctor shows it. Private to the collection."""

from __future__ import annotations

import typing as t

# The setting of a finding about a file that a configuration needs and that somebody deleted while the balancer runs.
MISSING_FILE = "missing file"
# The setting of a finding that is in the way of what is new, and not of a way back.
FORWARD = "forward"
# So many lines are shown in a sentence.
SHOWN = 60


def with_lines(lines: t.Sequence[str]) -> str:
    """For a sentence, the lines of a finding."""
    if not lines:
        return ""
    return f": {' | '.join(lines[:SHOWN])}" + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")


def finding(level: str, setting: str, text: str, lines: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """C(level) is error (requests will be lost), warning (they may be) or info; C(lines) are those of the configuration that would change it."""
    return {"level": level, "setting": setting, "text": text, "lines": list(lines)}
