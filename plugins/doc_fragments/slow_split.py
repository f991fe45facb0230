# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hold:
    description:
      - For how long others may keep what they are told, V(short) as before a switch, or V(usual). Without it, as it is.
    type: str
    choices: [short, usual]
  until:
    description:
      - Whether the task ends when the shares are V(effective), or when nobody has an answer from before any more
        (V(settled)).
    type: str
    choices: [effective, settled]
    default: effective
  not_before:
    description:
      - Seconds since 1970. A change of the shares waits until then, such as until the end of the time for which others
        could keep what they knew before O(hold=short).
    type: float
  going_back:
    description:
      - Whether this is the way back. Nothing is put back then where the shares do not become effective, and a server
        that does not answer at all is named in RV(notes) and holds up nothing.
    type: bool
    default: false
"""
