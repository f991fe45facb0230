# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and commands of a document: its fenced blocks, in the order in which they stand there.

A block's first line names what it is: ``yaml title=inventory/hosts.yml`` is a file, ``shell`` are commands for the controller, ``shell title=…``
commands for somewhere else, and ``text`` is what the commands before it print.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

FENCE = re.compile(r"^```(?P<kind>\w+)(?: title=(?P<title>[^\n]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (\d+)\. ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    kind: str
    title: str
    text: str
    # The number of its section, in a document whose sections have one.
    section: int


def blocks(path: pathlib.Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [Block(found["kind"], found["title"] or "", found["text"], int((SECTION.findall(text[:found.start()]) or ["0"])[-1]))
            for found in FENCE.finditer(text)]


def files(found: list[Block]) -> dict[str, str]:
    return {block.title: block.text for block in found if block.title and block.kind != "shell"}
