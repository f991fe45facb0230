# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that are brought back to what they were, at the cost of what has changed in them."""

from __future__ import annotations

import filecmp
import os
import pathlib
import shutil


def bring_back(saved: pathlib.Path, place: pathlib.Path) -> None:
    """Make C(place) what C(saved) is: what differs is replaced, and the rest is left as it is."""
    place.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in saved.iterdir()}
    for path in place.iterdir():
        if path.name not in wanted or not _alike(wanted[path.name], path):
            _remove(path)
    for name, path in wanted.items():
        if path.is_symlink():
            if not (place / name).is_symlink():
                (place / name).symlink_to(os.readlink(path))
        elif path.is_dir():
            bring_back(path, place / name)
        elif not (place / name).exists():
            shutil.copy2(path, place / name)


def _alike(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether nothing has to be replaced; what lies in directories is another question."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    if one.is_dir() or other.is_dir():
        return one.is_dir() and other.is_dir()
    return filecmp.cmp(one, other, shallow=False)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
