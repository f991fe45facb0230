# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.action import plan as action
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late


@pytest.mark.claim("late-losses-reach-the-record")
@pytest.mark.parametrize("locked, late, warned", [
    ({}, {"lost": 3, "sentence": "3 were lost"}, ["3 were lost"]),
    ({}, {"lost": 0, "sentence": "none was lost"}, []),
    ({}, None, []),
    # What a deploy moved that has died since has changed the counters.
    ({"taken_over": {"deploy_id": "d2"}}, {"lost": 3, "sentence": "3 were lost"}, []),
    ({"interrupted": {"deploy_id": "d2"}}, {"lost": 3, "sentence": "3 were lost"}, []),
])
def test_the_next_deploy_compares_what_its_first_reading_says(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, locked: dict[str, t.Any], late: dict[str, t.Any] | None, warned: list[str]
) -> None:
    asked = []

    def look(*args: t.Any, write: bool) -> dict[str, t.Any] | None:
        asked.append((args[:3], {host: sample["counters"][0]["requests"] for host, sample in args[3].items()}, write))
        return late

    monkeypatch.setattr(_late, "look", look)
    for number, at in enumerate(("started", "drain")):
        _balance.append(str(tmp_path), "lb1", {"counters": [{"requests": number}]}, at)
    plan = {"run_dir": str(tmp_path), "records_dir": "/records", "app": "shop", "environment": "production"}
    assert action._lost_late(plan, locked) == warned
    assert asked == ([] if locked else [(("/records", "shop", "production"), {"lb1": 0}, True)])
    assert action._lost_late({**plan, "run_dir": None}, locked) == [], "under --check there is no reading of its own"
