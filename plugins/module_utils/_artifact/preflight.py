# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a member's host has to have before a release can come to it: rights, room, and what runs it.

Nothing is changed. Private to the collection.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service
from ansible_collections.zero.downtime.plugins.module_utils._artifact.store import Store
from ansible_collections.zero.downtime.plugins.module_utils._durable import nearest
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, looked_at

# What a release needs where none tells how large they are.
LEAST = 1 << 20

Statvfs = t.Callable[[str], os.statvfs_result]


def of_root(store: Store, statvfs: Statvfs = os.statvfs) -> list[dict[str, t.Any]]:
    """Whether a release can be staged below the root."""
    root = store.root

    def writable() -> str:
        store.usable()
        return "can be written"

    return [
        looked_at(
            "release_root",
            writable,
            [f"install -d -o USER {root}, with the user that Ansible becomes there (become_user)"],
        ),
        looked_at(
            "disk",
            lambda: _room(store, statvfs),
            [
                f"df -h {nearest(root)} and df -i {nearest(root)} show what is full; a smaller "
                "deploy_keep_releases keeps "
                "fewer old releases"
            ],
        ),
    ]


def _room(store: Store, statvfs: Statvfs) -> str:
    found = store.read()
    newest = max(found.staged, key=lambda digest: found.seen[digest], default=None)
    # It comes as an archive, and is unpacked beside it.
    size, files = _size(store.path(newest)) if newest else (0, 0)
    needed = max(LEAST, 2 * size)
    status = statvfs(nearest(store.root))
    free = status.f_bavail * status.f_frsize
    told = f"{free >> 20} MiB free" + (f" and {status.f_favail} inodes" if status.f_files else "")
    if free < needed or (status.f_files and status.f_favail <= files):
        raise DowntimeError(
            f"root {store.root}: its file system has {told}, and the next release may need {-(-needed >> 20)} MiB"
            + (f" and {files} inodes, by what the newest one takes" if newest else "")
        )
    return "there is room for another release"


def _size(tree: str) -> tuple[int, int]:
    """The bytes and the files of a tree."""
    size = files = 0
    for directory, dummy, names in os.walk(tree):
        for name in names:
            size += os.lstat(os.path.join(directory, name)).st_size
            files += 1
    return size, files


def of_service(
    service: _service.Service, root: str, runs: bool, refuse: t.Callable[[], None] | None
) -> dict[str, t.Any]:
    """Whether what runs a slot is there. C(runs): whether the slot has a release; C(refuse) refuses what cannot be
    swapped.
    """
    if service.unit:
        mend = f"systemctl cat {service.unit} shows the unit; install it, and systemctl daemon-reload"
    else:
        mend = "deploy_service names the commands; install them, or name them with their whole path"
    lacking = None if service.unit else _lacking(service, root)
    if lacking and not runs and os.path.join(root, lacking).startswith(root + os.sep):
        return {"name": "service", "ok": None, "text": f"{lacking} comes with the first release", "mend": []}

    def rule() -> str:
        if lacking:
            raise DowntimeError(f"deploy_service has the command {lacking}, which is not there, or cannot be run")
        if service.unit:
            service.known()
        if refuse:
            refuse()
        if service.unit:
            return f"systemd knows {service.unit}"
        return f"{', '.join(name for name, argv in service.commands.items() if argv)} can be run"

    return looked_at("service", rule, [mend])


def _lacking(service: _service.Service, root: str) -> str | None:
    """The first command that cannot be found; they are run in the root."""
    for argv in service.commands.values():
        if argv and not shutil.which(os.path.join(root, argv[0]) if os.sep in argv[0] else argv[0]):
            return argv[0]
    return None
