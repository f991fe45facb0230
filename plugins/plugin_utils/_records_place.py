# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run can keep its records where it is told to, and where else it could. Private to the collection."""

from __future__ import annotations

import errno
import os
import pwd
import tempfile
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands, _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence

# What the events, samples and the record of a run of usual length take, and some more: one that starts with less would fail half-way.
ROOM = 1 << 20
# Where most machines have another file system, for whoever cannot wait until this one is put right.
OTHERS = ("~/deploy-records", "/var/tmp/deploy-records", "/tmp/deploy-records", "/dev/shm/deploy-records")


def prove(directory: str) -> None:
    """Raise OSError, with what the operating system says, where a run could not keep its records in a directory, or in one made there.

    Nothing is left: rights, a quota and a file system that is read-only or full show only where something is really written.
    """
    with tempfile.TemporaryFile(dir=_durable.nearest(directory)) as handle:
        os.posix_fallocate(handle.fileno(), 0, ROOM)


def refusal(directory: str, error: OSError, run: t.Mapping[str, t.Any], others: t.Sequence[str] = OTHERS) -> DowntimeError:
    """Why there, and how this very C(run) goes on without: whoever flees from a release has no time to put a disk right."""
    place = _durable.nearest(directory)
    why = (error.strerror or str(error)).lower()
    if error.errno in _fence.FULL:
        why += f" (of {ROOM >> 20} MiB that a run needs)"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why += f" ({place} has mode {oct(os.stat(place).st_mode & 0o7777)})"
    found = _elsewhere(directory, others)
    ways = f"{_commands.again(run, deploy_records_dir=found)} keeps its record there" if found else "another deploy_records_dir is accepted"
    return DowntimeError(f"deploy_records_dir is '{directory}', where user {user()} cannot write: {why}; {ways}")


def _elsewhere(directory: str, others: t.Sequence[str]) -> str | None:
    """The first other place that can be used."""
    for place in map(os.path.expanduser, others):
        try:
            prove(place)
        except OSError:
            continue
        if place != directory:
            return place
    return None


def user() -> str:
    """Who runs this; a container's arbitrary user has a number and no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
