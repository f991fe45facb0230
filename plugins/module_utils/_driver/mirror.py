# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that copies requests to the idle side shares: its options. Private to the collection."""

from __future__ import annotations

import typing as t


def common_spec() -> dict[str, t.Any]:
    """The options that the facade mirror hands to a driver's module."""
    return {
        "share": {"type": "int", "required": True},
        "lasts": {"type": "float", "default": 600.0},
        "timeout": {"type": "int", "default": 30},
        "deploy_id": {"type": "str"},
        "lock": {"type": "path"},
        "lock_key": {"type": "str", "no_log": False},
    }
