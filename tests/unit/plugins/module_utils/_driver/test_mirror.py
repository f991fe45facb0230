# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.zero.downtime.plugins.module_utils._driver import mirror as _mirror
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._nginx import mirror as _nginx_mirror


def test_every_driver_that_mirrors_takes_the_facades_options():
    assert set(_mirror.common_spec()) <= set(_nginx_mirror.mirror_spec())
    for name in _drivers.NAMES:
        driver = _drivers.load(name)
        assert ("mirror" in driver.capabilities) == (driver.mirror_args is not None), name
