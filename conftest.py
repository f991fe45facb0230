# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes this checkout importable as ``ansible_collections.zero.downtime``, wherever pytest is started.

``ansible_collections`` is a namespace package with a portion in site-packages too (the PyPI package ``ansible``). Should
anything have imported it before, or make a regular package of it, a new entry of sys.path alone would come too late:
its own search path is extended as well.
"""

from __future__ import annotations

import importlib
import os
import sys

REPO = os.path.dirname(os.path.abspath(__file__))
COLLECTIONS = os.path.join(REPO, "build", "collections")
LINK = os.path.join(COLLECTIONS, "ansible_collections", "zero", "downtime")

collect_ignore = ["build", ".venv"]
# It counts what each test takes.
sys.path.insert(0, os.path.join(REPO, "tests", "suite"))
pytest_plugins = ["recorder"]

# Where property tests would keep what they found: beside all else that is built.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(REPO, "build", ".hypothesis"))


def _make_importable() -> None:
    if not os.path.isdir(LINK):
        os.makedirs(os.path.dirname(LINK), exist_ok=True)
        os.symlink(os.path.relpath(REPO, os.path.dirname(LINK)), LINK)
    if COLLECTIONS not in sys.path:
        sys.path.insert(0, COLLECTIONS)
    package = importlib.import_module("ansible_collections")
    portion = os.path.join(COLLECTIONS, "ansible_collections")
    if portion not in list(package.__path__):
        package.__path__.insert(0, portion)  # type: ignore[attr-defined]


def _is_ansible_test() -> bool:
    # ansible-test runs its own copy of the tree, with an import system of its own.
    return any(name.startswith("ansible_test") for name in sys.modules) or "ANSIBLE_TEST_CONTENT_ROOT" in os.environ


if not _is_ansible_test():
    _make_importable()
