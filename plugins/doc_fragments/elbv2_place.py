# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  load_balancer:
    description:
      - Name of the load balancer whose weights are the shares of two sides. It is not needed where O(listener) or
        O(rule) is an ARN.
    type: str
  listener:
    description:
      - Port or ARN of the listener. Without it, the only one that the load balancer has.
    type: str
  rule:
    description:
      - Priority or ARN of the listener's rule that forwards to both sides. Without it, what the listener does by
        default.
    type: str
"""
