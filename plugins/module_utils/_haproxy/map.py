# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's map files: one key's value read and changed, all other lines left as they are. Private to the collection."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

# As HAProxy reads a line: blanks, the key up to a blank, the value up to the blanks at its end. A comment begins the line.
LINE = re.compile(r"^([ \t]*)([^\s#]\S*)([ \t]+)(.*?)([ \t]*\r?\n?)$")


class NoFile(DowntimeError):
    """The map is not there: haproxy runs with what it read of it, and cannot be started or reloaded without it."""


def values_of(text: str, key: str) -> list[str]:
    """The values of every line of C(key); HAProxy goes by the first."""
    return [found.group(4) for line in text.splitlines(True) if (found := LINE.match(line)) and found.group(2) == key]


def changed(text: str, key: str, value: str | None) -> str:
    """C(text) with C(value) in every line of C(key), or with a new line at its end; None takes the lines out."""
    lines: list[str] = []
    there = False
    for line in text.splitlines(True):
        found = LINE.match(line)
        if found and found.group(2) == key:
            there = True
            if value is None:
                continue
            line = found.group(1) + key + found.group(3) + value + found.group(5)
        lines.append(line)
    if not there and value is not None:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{key} {value}\n")
    return "".join(lines)


def read(path: str) -> str:
    """Raises NoFile for a file that is not there, and DowntimeError for one that cannot be read."""
    try:
        # Bytes that are no text come back as they were.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        raise (NoFile if gone else DowntimeError)(
            f"map is '{path}', which cannot be read: {error.strerror}; the file that haproxy.cfg names, on this host, is needed") from error


def hindrance(path: str) -> str | None:
    """Why a map that is not there cannot be written again; None where it can."""
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        return f"{directory} is no directory"
    return None if os.access(directory, os.W_OK | os.X_OK) else f"user id {os.geteuid()} cannot write in {directory}"


def put(path: str, key: str, value: str | None, instead: str | None = None) -> None:
    """Write C(value) of C(key), whole or not at all, with owner and mode as they were. Raises DowntimeError when that cannot be done.

    :param instead: the content of a file that is not there; None where one has to be.
    """
    # A link goes on leading to its file.
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    try:
        with _alone(directory):
            new = instead is not None and not os.path.exists(path)
            before = instead if new and instead is not None else read(path)
            after = changed(before, key, value)
            if new:
                _durable.create(path, after.encode("utf-8", "surrogateescape"))
                _durable.sync_directory(directory)
            elif after != before:
                _durable.rewrite(path, after.encode("utf-8", "surrogateescape"))
                _durable.sync_directory(directory)
    except OSError as error:
        raise DowntimeError(f"map is '{path}', which user id {os.geteuid()} cannot write with its owner and mode as they are: {error.strerror}; "
                            "nothing in it was changed") from error


@contextlib.contextmanager
def _alone(directory: str) -> t.Iterator[None]:
    """Two applications may share a map: without this, one could write back what it had read before the other's change."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
