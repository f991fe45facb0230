# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


@pytest.mark.parametrize("shares, found", [
    (None, None),
    ({"blue": 95, "green": 5}, {"blue": 95, "green": 5}),
    ({"green": "100"}, {"blue": 0, "green": 100}),
])
def test_shares(shares, found):
    assert _split.check_shares(shares) == found


@pytest.mark.parametrize("shares, sentence", [
    ({"blue": 95, "green": 6}, "shares is blue 95, green 6, which adds up to 101; whole percents for blue and green that add up to 100 are accepted"),
    ({}, "which adds up to 0"),
    ({"red": 100}, "shares has the side 'red'; whole percents"),
    ({"blue": 110, "green": -10}, "shares.blue is 110; whole percents"),
    ({"green": -10, "blue": 110}, "shares.green is -10; whole percents"),
    ({"blue": 99.5, "green": 0.5}, "shares.blue is 99.5; whole percents"),
    ({"blue": True}, "shares.blue is True"),
    ({"blue": None, "green": 100}, "shares.blue is None"),
])
def test_bad_shares_are_named(shares, sentence):
    with pytest.raises(DowntimeError) as error:
        _split.check_shares(shares)
    assert sentence in str(error.value)


def test_a_number_out_of_range_means_all_or_nothing():
    assert _split.of_green(250) == {"blue": 0, "green": 100} and _split.of_green(-1) == {"blue": 100, "green": 0}
