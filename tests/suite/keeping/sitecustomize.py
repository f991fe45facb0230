# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python imports first where this directory is on PYTHONPATH: for modules and runs of ansible-playbook, which the tests start by the hundred."""

from __future__ import annotations

import os
import sys

import keeping

keeping.in_archives()
if sys.orig_argv[1:] and os.path.basename(sys.orig_argv[1]) == "ansible-playbook":
    keeping.in_collections()
