# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._record import report_text as _report_text


@pytest.mark.parametrize("value, expected", [(0.12, "120 ms"), (3.21, "3.2 s"), (74, "1 min 14 s"), (59.97, "1 min 00 s"), (3700, "1 h 01 min"), (None, "–")])
def test_duration(value, expected):
    assert _report_text._duration(value) == expected


@pytest.mark.parametrize("value, expected", [
    (3.14, "3.1 ms"), (3.0, "3 ms"), (1180, "1,180 ms"), (12500, "12.5 s"), (10000, "10 s"), (None, "–"), (True, "–"),
])
def test_ms(value, expected):
    assert _report_text._ms(value) == expected


@pytest.mark.parametrize("value, expected", [(0.00081, "0.081 %"), (0.05, "5.0 %"), (0.5, "50 %"), (1e-9, "0.000000 %")])
def test_share(value, expected):
    assert _report_text._share(value) == expected
