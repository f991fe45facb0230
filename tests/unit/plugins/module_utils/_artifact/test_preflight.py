# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import types

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import preflight as _preflight
from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._artifact.store import MARKER
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock

DIGEST = "a" * 64
ROOMY = {"f_bavail": 1 << 20, "f_frsize": 4096, "f_files": 1000, "f_favail": 500}


def disk(**found):
    """A file system as statvfs tells of it."""
    return lambda path: types.SimpleNamespace(**{**ROOMY, **found})


def examined(root, service=None, run=None, statvfs=disk()):
    """The checks of one member's host, by name."""
    world = _release.World(run=run or (lambda *args: (0, "LoadState=loaded\n")), statvfs=statvfs)
    params = {name: option.get("default") for name, option in _release.argument_spec().items()}
    if service:
        service = {**{name: option.get("default") for name, option in _release.service_spec().items()}, **service}
    result = _release.run({**params, "root": str(root), "state": "examined", "service": service}, world=world)
    assert not result["changed"]
    return {check["name"]: check for check in result["checks"]}


def tree(root: pathlib.Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*"))


def test_a_host_where_a_release_can_come(tmp_path):
    found = examined(tmp_path / "srv" / "shop", {"unit": "shop.service"})
    assert {name: (check["ok"], check["text"]) for name, check in found.items()} == {
        "release_root": (True, "can be written"),
        "disk": (True, "there is room for another release"),
        "service": (True, "systemd knows shop.service"),
    }
    assert tree(tmp_path) == []


def test_a_root_that_is_somebody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = examined(tmp_path / "shop")["release_root"]
    assert (
        not found["ok"]
        and f"root {tmp_path}/shop is not usable for user" in found["text"]
        and f"install -d -o USER {tmp_path}/shop" in found["mend"][0]
    )


@pytest.mark.parametrize(
    "found, text",
    [
        (
            {"f_bavail": 100},
            "0 MiB free and 500 inodes, and the next release may need 6 MiB and 1 inodes, by what the newest one takes",
        ),
        ({"f_favail": 0}, "4096 MiB free and 0 inodes, and the next release may need 6 MiB and 1 inodes"),
    ],
)
def test_a_disk_without_room_for_what_the_newest_release_takes(tmp_path, found, text):
    release = tmp_path / "releases" / DIGEST
    release.mkdir(parents=True)
    with open(release / MARKER, "wb") as file:
        file.truncate(3 << 20)
    check = examined(tmp_path, statvfs=disk(**found))["disk"]
    assert not check["ok"] and text in check["text"] and f"df -h {tmp_path}" in check["mend"][0]
    # File systems without a table of inodes tell none.
    assert examined(tmp_path, statvfs=disk(f_files=0, f_favail=0))["disk"]["ok"]


def test_a_unit_that_systemd_does_not_know(tmp_path):
    asked = []

    def run(argv, timeout):
        asked.append(list(argv))
        return 0, "LoadState=not-found\n"

    check = examined(tmp_path, {"unit": "shop.service"}, run)["service"]
    assert not check["ok"] and check["text"].startswith("service.unit shop.service is not-found to systemd")
    assert asked == [["systemctl", "show", "--property=LoadState", "shop.service"]]


def test_a_command_that_is_not_there(tmp_path):
    check = examined(tmp_path, {"start": "/nowhere/start now", "stop": "true"})["service"]
    assert not check["ok"] and "deploy_service has the command /nowhere/start, which is not there" in check["text"]
    assert examined(tmp_path, {"start": "sh -c true", "stop": "true"})["service"]["text"] == "start, stop can be run"


def test_a_command_that_comes_with_the_first_release(tmp_path):
    service = {"command": f"{tmp_path}/current/bin/restart"}
    assert examined(tmp_path, service)["service"]["ok"] is None
    release = tmp_path / "releases" / DIGEST
    release.mkdir(parents=True)
    (release / MARKER).write_text("{}")
    (tmp_path / "current").symlink_to(release)
    assert examined(tmp_path, service)["service"]["ok"] is False


def test_what_cannot_be_swapped(tmp_path):
    def refuse():
        raise _preflight.DowntimeError("service.socket shop.socket is unknown to systemd")

    service = types.SimpleNamespace(unit=None, commands={"start": ["true"]})
    check = _preflight.of_service(service, str(tmp_path), True, refuse)
    assert not check["ok"] and "shop.socket is unknown" in check["text"]


def test_a_place_for_the_lock_is_looked_at_and_not_made(tmp_path, monkeypatch):
    lock = _lock.Lock(str(tmp_path / "state" / "here"), "production-shop")
    assert lock.usable(disk()) == f"{tmp_path}/state/here can be written" and tree(tmp_path) == []
    with pytest.raises(
        _preflight.DowntimeError, match="no space left for the lock and the journal of a deploy .256 KiB."
    ):
        lock.usable(disk(f_bavail=10))
    found = _lock.run({"state": "examined", "directory": lock.directory, "name": "production-shop"}, check_mode=True)
    assert found["checks"][0]["ok"] and found["lock"] is None and tree(tmp_path) == []
    (tmp_path / "state").write_text("")
    with pytest.raises(_preflight.DowntimeError, match="which cannot be made: .*state is no directory"):
        lock.usable(disk())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = _lock.run({"state": "examined", "directory": str(tmp_path), "name": "production-shop"}, check_mode=True)[
        "checks"
    ][0]
    assert not found["ok"] and "cannot write" in found["text"] and found["mend"]
