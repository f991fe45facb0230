# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  split_map:
    description:
      - The map that keeps the shares, by the very name that it has in haproxy.cfg. Without it, the one that the configuration's topology shows
        as the file of its C(map_str_int).
    type: str
  split_key:
    description:
      - The key of the shares in the map. Without it, the one that the configuration's topology shows.
    type: str
"""
