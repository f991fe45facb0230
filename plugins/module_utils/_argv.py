# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command as users write it. Private to the collection."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def argv_of(option: str, value: t.Any) -> list[str] | None:
    """A command as a list of words, or DowntimeError."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            argv = shlex.split(value)
        except ValueError as error:
            raise DowntimeError(f"{option} is {value!r}, which cannot be split into words: {error}") from error
    elif isinstance(value, list):
        argv = [str(word) for word in value]
    else:
        raise DowntimeError(f"{option} is {value!r}; a text or a list of words is accepted (no shell reads it)")
    if not argv or not argv[0]:
        raise DowntimeError(f"{option} is empty; a command is accepted")
    return argv
