# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import typing as t

import ansible_collections
import pytest

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

DRIVER = """
from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import Driver

DRIVER = Driver(
    name="pigeon", runs_on="controller", capabilities=("members",), traffic_spec={"loft": {"type": "str"}},
    member_args=lambda traffic, members: {"loft": traffic["loft"], "members": members})
"""


@pytest.fixture
def post(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    """A collection C(acme.post) that is not ours; its C(module_utils)."""
    place = tmp_path / "ansible_collections" / "acme" / "post" / "plugins" / "module_utils"
    place.mkdir(parents=True)
    searched = [*ansible_collections.__path__, str(tmp_path / "ansible_collections")]
    monkeypatch.setattr(ansible_collections, "__path__", searched)
    yield place
    for name in [name for name in sys.modules if name.startswith("ansible_collections.acme")]:
        del sys.modules[name]


@pytest.mark.claim("drivers-of-other-collections")
def test_a_dotted_name_is_a_driver_of_another_collection(post: pathlib.Path) -> None:
    (post / "_pigeon.py").write_text(DRIVER, encoding="utf-8")
    driver = _drivers.load("acme.post.pigeon")
    assert driver.module("members") == "acme.post.pigeon_members" and driver.strategies == ["rolling"]
    assert driver.member_args({"loft": "roof"}, ["app1"]) == {"loft": "roof", "members": ["app1"]}
    with pytest.raises(DowntimeError, match="is 'acme.post.raven', but no collection acme.post with such a driver"):
        _drivers.load("acme.post.raven")


def test_a_driver_may_be_a_room_of_its_own(post: pathlib.Path) -> None:
    (post / "_pigeon").mkdir()
    (post / "_pigeon" / "driver.py").write_text(DRIVER, encoding="utf-8")
    (post / "_loft").mkdir()
    assert _drivers.load("acme.post.pigeon").module("members") == "acme.post.pigeon_members"
    with pytest.raises(DowntimeError, match="is 'acme.post.loft', but no collection acme.post with such a driver"):
        _drivers.load("acme.post.loft")


def test_one_that_breaks_is_not_taken_for_one_that_is_not_there(post: pathlib.Path) -> None:
    (post / "_pigeon.py").write_text("import no_such_thing\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        _drivers.load("acme.post.pigeon")


def test_a_platform_has_to_have_a_name_and_a_driver_with_members_is_none() -> None:
    pushes: t.Any = {"name": "works", "runs_on": "controller", "capabilities": ("push",), "traffic_spec": {}, "push_args": lambda traffic, app: {}}
    with pytest.raises(DowntimeError, match="driver works hands releases to a platform, and names none; endpoint, a phrase that names it, is needed"):
        _drivers.Driver(**pushes)
    driver = _drivers.Driver(**pushes, endpoint=lambda traffic: "app shop at the works")
    assert driver.has_platform and driver.strategies == ["push"] and driver.module("push") == "zero.downtime.works_push"
    with pytest.raises(DowntimeError, match="driver works has the capabilities members and push"):
        _drivers.Driver(**{**pushes, "capabilities": ("members", "push")}, member_args=lambda traffic, members: {})
