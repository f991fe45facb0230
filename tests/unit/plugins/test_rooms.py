# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of module_utils and the order of their imports: down, and never up."""

from __future__ import annotations

import ast
import pathlib

import pytest

UTILS = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
PREFIX = "ansible_collections.zero.downtime.plugins.module_utils"
# From the ground up. A file beside the rooms that begins with an underscore is on the ground; a room that is not named here is a driver's.
FLOORS = (
    {"ground"},
    {"_driver", "_health", "_record", "_state"},
    {"_artifact", "_evidence", "_shadow", "drivers"},
    {"_judge", "_plan"},
    {"_strategy", "_diagnosis", "driver"},
)


def room_of(path: pathlib.Path) -> str:
    parts = path.relative_to(UTILS).parts
    if len(parts) == 1:
        return "driver" if path.name == "driver.py" else "ground"
    return parts[0] if any(parts[0] in floor for floor in FLOORS) else "drivers"


def file_of(dotted: str) -> pathlib.Path | None:
    path = UTILS.joinpath(*dotted.removeprefix(PREFIX).strip(".").split(".")).with_suffix(".py")
    return path if path.is_file() else None


def imported(path: pathlib.Path) -> set[pathlib.Path]:
    """Files of module_utils that this one imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PREFIX):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {found for name in names if (found := file_of(name))}


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


FILES = sorted(UTILS.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UTILS)))
def test_imports_run_down(path: pathlib.Path) -> None:
    room = room_of(path)
    for other in imported(path):
        beside = path.parent == other.parent
        assert beside or floor_of(room_of(other)) < floor_of(room), f"{path.relative_to(UTILS)} imports {other.relative_to(UTILS)}, which is no floor below"


def test_no_file_imports_itself_by_way_of_others() -> None:
    left = {path: imported(path) for path in FILES}
    while left:
        free = [path for path, needs in left.items() if not needs & set(left)]
        assert free, f"a circle of imports among {sorted(str(path.relative_to(UTILS)) for path in left)}"
        for path in free:
            del left[path]


def test_every_room_is_named_once_and_each_driver_has_its_file() -> None:
    rooms = {path.name for path in UTILS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    named = [room for floor in FLOORS for room in floor]
    assert len(named) == len(set(named))
    assert {room for room in named if room.startswith("_")} <= rooms
    assert all((UTILS / room / "driver.py").is_file() for room in rooms - set(named))
