# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.zero.downtime.plugins.module_utils._driver import kernel as _kernel

TEXT = """TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts
TcpExt: 1 20 30 4
IpExt: InNoRoutes ListenDrops
IpExt: 0 999
"""


def test_names_and_numbers_are_joined():
    assert _kernel.parse(TEXT) == {"listen_overflows": 20, "listen_drops": 30}


def test_a_counter_that_the_kernel_lacks_is_unknown_and_not_zero():
    assert _kernel.parse("TcpExt: ListenDrops\nTcpExt: 7\n") == {"listen_overflows": None, "listen_drops": 7}
    assert _kernel.parse("") == {"listen_overflows": None, "listen_drops": None}


def test_a_system_without_the_file_knows_nothing():
    assert _kernel.read("/nonexistent/netstat") == {"listen_overflows": None, "listen_drops": None}


def test_growth():
    first = {"listen_overflows": 5, "listen_drops": 9}
    assert _kernel.delta(first, {"listen_overflows": 7, "listen_drops": 9}) == {"overflows": 2, "drops": 0}
    # A host that restarted counts from 0 again.
    assert _kernel.delta(first, {"listen_overflows": 3, "listen_drops": 9}) == {"overflows": 3, "drops": 0}
    assert _kernel.delta(None, first) == {"overflows": None, "drops": None}
