# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  memory:
    description:
      - What the journal says, where other hosts keep the lock than this one, for a deploy that has made sure that the lock there is its own, and that has
        noted this move. It takes the place of O(lock). What is to be noted there comes back in C(noted).
    type: dict
    version_added: 0.2.0
    suboptions:
      out:
        description:
          - The members that deploys have out, each with the worker of this host that was told so.
        type: dict
        required: true
      theirs:
        description:
          - By member, the places on this host where somebody else had it out when a deploy came to it.
        type: dict
        required: true
      moved:
        description:
          - The members that this deploy has moved.
        type: list
        elements: str
        required: true
"""
