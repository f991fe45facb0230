# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._none import members as _none
from ansible_collections.zero.downtime.plugins.module_utils._none.driver import DRIVER


def params(**options: t.Any) -> dict[str, t.Any]:
    given = {name: option.get("default") for name, option in _none.argument_spec().items()}
    given.update(members=["worker1", "worker2"], state="drained")
    given.update(options)
    return given


@pytest.mark.claim("none-moves-nothing")
def test_nothing_is_done_and_nothing_is_claimed() -> None:
    result = _none.run(params())
    assert result["changed"] is False
    assert result["waited"] == 0.0
    assert result["floor"] == "unenforced"
    assert result["diff"]["before"] == result["diff"]["after"]
    assert result["members"][0] == dict(name="worker1", pool=None, address=None, state="drained", weight=None, in_flight=None, drained_by=None, cut=0)


@pytest.mark.parametrize("options, words", [
    (dict(members=[]), "members is empty"),
    (dict(members=["a", ""]), r"members\[1\] is empty"),
    (dict(members=["a", "a"]), "'a' twice"),
    (dict(weight=3), "weight is 3"),
    (dict(streams="cut"), "streams is 'cut'; accepted: wait, since this driver cannot tell streams from requests"),
    (dict(timeout=0), "timeout is 0"),
    (dict(min_active="x"), "min_active is 'x'"),
])
def test_bad_input_is_one_sentence(options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(DowntimeError, match=words):
        _none.run(params(**options))


def test_driver() -> None:
    assert DRIVER.runs_on == "controller"
    assert DRIVER.member_args({}, ["worker1"]) == {"members": ["worker1"]}
