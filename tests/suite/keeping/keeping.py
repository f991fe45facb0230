# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what Python has compiled where Python itself does not: sources in archives, and those of a collection.

Ansible packs each module into a new archive, and reads a collection's plugins with a loader of its own. Both are compiled each time they are
imported, which takes a third of what a module costs. Here it is done once for each source, as Python does with files.
"""

from __future__ import annotations

import marshal
import os
import sys

# _imp puts another file's name into a code object, as importlib does with a bytecode file that was moved.
import _imp

# Every process of a run begins with this, and few of them need more.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    import typing as t

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PLACE = os.path.join(REPO, "build", "compiled", sys.implementation.cache_tag)


def compiled(source: str | bytes, filename: str, place: str = PLACE) -> types.CodeType:
    """The code of a whole source, as C(compile(source, filename, "exec", dont_inherit=True)) has it."""
    path = os.path.join(place, name_of(source.encode("utf-8", "surrogatepass") if isinstance(source, str) else bytes(source)))
    try:
        with open(path, "rb") as file:
            code = marshal.load(file)
    except (FileNotFoundError, PermissionError):
        code = compile(source, filename, "exec", dont_inherit=True)
        _keep(path, marshal.dumps(code))
    _imp._fix_co_filename(code, filename)  # pylint: disable=protected-access
    return code


def name_of(source: bytes) -> str:
    """By what the code of a source is kept."""
    import hashlib  # pylint: disable=import-outside-toplevel
    return hashlib.sha256(source).hexdigest()


def _keep(path: str, data: bytes) -> None:
    """In one step, since several processes may keep the same; nothing where this user may not write."""
    # Rooms have processes of the same numbers.
    new = "%s.%s" % (path, os.urandom(8).hex())
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(new, "wb") as file:
            file.write(data)
        os.rename(new, path)
    except PermissionError:
        pass


def environment(given: t.Mapping[str, str]) -> dict[str, str]:
    """C(given) for a process whose modules keep what they have compiled. Whoever has a C(sitecustomize) of his own does without."""
    mine = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in given.get("PYTHONPATH", "").split(os.pathsep) if path and path != mine]
    return {**given, "PYTHONPATH": os.pathsep.join([*others, mine])}


def in_archives() -> None:
    """Of what this process imports from archives."""
    import zipimport  # pylint: disable=import-outside-toplevel
    zipimport._compile_source = lambda pathname, source: compiled(  # pylint: disable=protected-access
        zipimport._normalize_line_endings(source), pathname)  # pylint: disable=protected-access


def in_collections() -> None:
    """Of what this process and its children import from Ansible's collections."""
    from ansible.utils.collection_loader import _collection_finder  # pylint: disable=import-outside-toplevel
    _collection_finder.compile = lambda source, filename, **_how: compiled(source, filename)
