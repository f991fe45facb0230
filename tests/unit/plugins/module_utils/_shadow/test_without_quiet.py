# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._shadow.shadow import without_quiet

QUIET = {"failed": True, "nothing_logged": True, "msg": "log is '/l', which has no line of a request"}


def test_a_balancer_without_requests_is_left_out_as_long_as_another_has_some():
    assert without_quiet({"lb1": {"requests": 1}, "lb2": QUIET}) == {"lb1": {"requests": 1}}
    with pytest.raises(DowntimeError, match="balancer lb1: log is '/l', which has no line of a request; balancer lb2: log"):
        without_quiet({"lb1": QUIET, "lb2": QUIET})


def test_any_other_failure_counts():
    with pytest.raises(DowntimeError, match="balancer lb1: no route"):
        without_quiet({"lb1": {"failed": True, "msg": "no route"}, "lb2": {"requests": 1}, "lb3": QUIET})
