# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server for this process and all that it starts, and for nobody else: its own /etc/resolv.conf, in a mount
namespace of its own."""

from __future__ import annotations

import ctypes
import os
import pathlib
import subprocess

CLONE_NEWNS = 0x00020000
RESOLV = "/etc/resolv.conf"


def ask_only(address: str, place: pathlib.Path) -> None:
    """Let every name be asked of the server at C(address), on port 53. Needs root; it holds for as long as this process
    is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, stdin=subprocess.DEVNULL)
    file = place / "resolv.conf"
    file.write_text(f"nameserver {address}\noptions timeout:2 attempts:3\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(file), RESOLV], check=True, stdin=subprocess.DEVNULL)
