# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._elbv2.targets import Group, as_target, written

STATES = {
    ("10.0.0.1", 8000): ("healthy", "", ""),
    ("10.0.0.1", 8001): ("initial", "Elb.InitialHealthChecking", ""),
    ("10.0.0.2", 8000): ("unused", "Target.NotInUse", "nobody forwards"),
    ("10.0.0.3", 8000): ("draining", "Target.DeregistrationInProgress", ""),
    ("10.0.0.4", 8000): ("unavailable", "Target.HealthCheckDisabled", ""),
}


@pytest.mark.parametrize(
    "text, port, target",
    [
        ("i-0123456789abcdef0", None, ("i-0123456789abcdef0", None)),
        ("i-0123456789abcdef0", 8000, ("i-0123456789abcdef0", 8000)),
        ("i-01234567:9000", 8000, ("i-01234567", 9000)),
        ("10.0.0.1:8000", None, ("10.0.0.1", 8000)),
        ("2001:db8::1", 8000, ("2001:db8::1", 8000)),
        ("[2001:db8::1]:9000", 8000, ("2001:db8::1", 9000)),
        ("app1", 8000, None),
        ("i-not-one", 8000, None),
        ("", 8000, None),
    ],
)
def test_a_target_is_an_instance_or_an_address_with_its_port(text, port, target):
    assert as_target(text, port) == target
    if target:
        assert as_target(written(target), None) == target


def test_states_are_told_in_the_words_of_all_drivers():
    known = {f"app{number}": target for number, target in enumerate([*STATES, ("10.0.0.9", 8000)])}
    group = Group("shop", "arn", None, 300, 0, known, STATES)
    found = {name: (entry["state"], entry["full"], entry["known"]) for name in known for entry in [group.entry(name)]}
    assert found == {
        "app0": ("active", True, True),
        "app1": ("down", False, False),
        "app2": ("down", False, True),
        "app3": ("draining", False, True),
        "app4": ("active", True, True),
        "app5": ("drained", False, True),
    }
    assert group.told("app2") == "app2 is unused (nobody forwards)" and group.told("app0") == "app0 is healthy"
