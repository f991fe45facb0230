# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  state_bucket:
    description:
      - A bucket of S3 in which lock and journal of a deploy are kept, in place of hosts (C(deploy_state_hosts)). An
        object of it is written only if it is as it was read, so of two deploys that begin at once one is refused.
    type: str
  state_prefix:
    description:
      - How the name of that object begins in the bucket.
    type: str
    default: zero-downtime
"""
