# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or not there, with an explicit mode, and on the disk when the call returns.

Private to the collection: it may change without notice.

A reader finds the old content or the new one, never a part (written beside, fsynced, rename(2)). A disk that takes only some of the bytes is a
fault here: write(2) reports that as a short count, and the next call only as ENOSPC. The name itself is durable once its directory has been
synced, which is the caller's, since several files may share one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import typing as t


def nearest(path: str) -> str:
    """The path, or the directory above it that is there: where it would be made."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def create(path: str, data: bytes, mode: int = 0o644, owner: t.Callable[[int], None] | None = None) -> None:
    """Make a new file. Raises OSError, and leaves nothing there, when that cannot be done.

    :param mode: as it shall be, whatever the umask is.
    :param owner: is given the open file to set its owner, before it has content.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            if owner:
                owner(handle)
            os.fchmod(handle, mode)
            _write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Put a file there, in the place of one that may be there. Raises OSError, and leaves what was there, when that cannot be done."""
    _over(path, lambda temporary: create(temporary, data, mode))


def rewrite(path: str, data: bytes, needs_owner: bool = True) -> None:
    """As L(replace), with owner, group and mode of the file that is there.

    :param needs_owner: whether it is a fault when the owner cannot be kept, as for users other than root; else the file becomes the writer's.
    """
    before = os.stat(path)

    def owner(handle: int) -> None:
        own = os.fstat(handle)
        if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
            with contextlib.nullcontext() if needs_owner else contextlib.suppress(PermissionError):
                os.fchown(handle, before.st_uid, before.st_gid)

    _over(path, lambda temporary: create(temporary, data, stat.S_IMODE(before.st_mode), owner))


def append(path: str, line: str, mode: int = 0o644) -> None:
    """Add a line to a file that is made when there is none. Raises OSError when not all of it went to the disk.

    A line that a crash or a full disk cut short is ended first, so that it spoils itself only.
    """
    new = not os.path.exists(path)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        size = os.fstat(handle).st_size
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        # One call: two processes may append at the same time.
        data = (b"\n" if torn else b"") + line.encode() + b"\n"
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if new:
            os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the names in a directory durable: files that were made, renamed or removed there."""
    handle = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(path: str) -> None:
    """Remove what writers of this file left beside it when they were killed; only for a caller that keeps others from writing it now."""
    directory, start = os.path.dirname(path) or ".", _unfinished(path)
    for name in os.listdir(directory):
        if name.startswith(start):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))


def _unfinished(path: str) -> str:
    # Hidden, and of a name that ends unlike any other: a server that reads *.conf there does not take it for one.
    return f".{os.path.basename(path)}."


def _over(path: str, make: t.Callable[[str], None]) -> None:
    temporary = os.path.join(os.path.dirname(path), f"{_unfinished(path)}{os.getpid()}.{time.monotonic_ns()}")
    make(temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write(handle: int, data: bytes) -> None:
    # A disk that takes some of the bytes now says why it takes no more at the next call.
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]
