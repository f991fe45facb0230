# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What doctor does by itself; what it finds is tried with real servers (tests/real/playbooks/test_doctor.py)."""

from __future__ import annotations

import pytest
from ansible_collections.zero.downtime.plugins.plugin_utils import _examining

ANSWERS = "before every balancer answers"
LACKS = "as long as balancer lb1 lacks the pool nope"


@pytest.mark.parametrize(
    "balancers, without, seen, lacking, told",
    [
        (["lb1"], [], [], {}, ANSWERS),
        (["lb1"], [], ["lb1"], {"lb1": ["nope"]}, LACKS),
        (["lb1", "lb2"], [], ["lb1"], {"lb1": ["nope"]}, ANSWERS),
        (["lb1", "lb2"], ["lb2"], ["lb1"], {"lb1": ["nope"]}, LACKS),
        (
            ["lb1", "lb2"],
            [],
            ["lb1", "lb2"],
            {"lb1": ["nope", "no"], "lb2": ["no"]},
            f"{LACKS}, no; lb2 lacks the pool no",
        ),
    ],
)
def test_a_balancer_that_lacks_a_pool_is_not_said_to_be_silent(balancers, without, seen, lacking, told):
    examination = _examining.Examination.__new__(_examining.Examination)
    examination.balancers, examination.without, examination.lacking = balancers, without, lacking
    examination.seen = {name: {"pools": []} for name in seen}
    assert examination._before() == told
