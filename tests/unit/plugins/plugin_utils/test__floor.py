# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _floor

REPO = pathlib.Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("version", ["2.17.0", "2.17.0rc1", "2.17.14", "2.21.5", "2.22.0.dev0", "3.0.0"])
def test_new_enough(version: str) -> None:
    _floor.check(version)


def test_this_one_is() -> None:
    _floor.check()


@pytest.mark.parametrize("version", ["2.16.19", "2.9.27", "1.9"])
def test_too_old(version: str) -> None:
    with pytest.raises(DowntimeError, match=rf"^ansible-core is {re.escape(version)}; zero\.downtime needs 2\.17 or newer$"):
        _floor.check(version)


@pytest.mark.claim("ansible-core-versions")
def test_every_place_says_the_same() -> None:
    def text(path: str) -> str:
        return (REPO / path).read_text(encoding="utf-8")

    assert yaml.safe_load(text("meta/runtime.yml"))["requires_ansible"] == f">={_floor.OLDEST}.0"
    assert re.findall(r"ansible_version\.full is ansible\.builtin\.version\('([^']+)', '>='\)", text("roles/deploy/tasks/main.yml")) == [_floor.OLDEST]
    tried = sorted(((int(major), int(minor)) for path in (REPO / "tests" / "cores").glob("*.txt") for major, minor in [path.stem.split(".")]))
    assert "%d.%d" % tried[0] == _floor.OLDEST
    assert f"ansible-core {_floor.OLDEST} to {'%d.%d' % tried[-1]} on the controller" in text("README.md")
    assert f"ansible-core {_floor.OLDEST} or newer" in " ".join(yaml.safe_load(text("galaxy.yml"))["description"].split())
