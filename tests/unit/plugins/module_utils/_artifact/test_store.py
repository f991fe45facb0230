# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root that belongs to the service's user, who wants whoever deploys to write elsewhere."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import store as _release_store
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

SECRET = "root's own words\n"


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    found = tmp_path / "srv"
    found.mkdir()
    return found


@pytest.fixture
def theirs(tmp_path) -> pathlib.Path:
    """A file of somebody else's that nobody may touch."""
    path = tmp_path / "etc" / "shadow"
    path.parent.mkdir()
    path.write_text(SECRET, encoding="utf-8")
    return path


def store(root: pathlib.Path) -> _release_store.Store:
    return _release_store.Store(str(root), 0)


@pytest.mark.parametrize("name", ["stage.lock", "root.lock", "slot-current.lock", "ledger.jsonl"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_in_place_of_a_file_is_refused_and_its_aim_left_alone(root, theirs, name, kind):
    store(root).prepare()
    place = root / ".releases" / name
    place.symlink_to(theirs) if kind == "symbolic" else place.hardlink_to(theirs)
    victim = store(root)
    with pytest.raises(DowntimeError, match=f"{name} (is a link|has another name, too)"):
        victim.prepare()
        with victim.lock(name.removesuffix(".lock")):
            victim.note("staged", None, None)
    assert theirs.read_text(encoding="utf-8") == SECRET


@pytest.mark.parametrize("name", ["releases", ".releases", ".releases/tmp"])
def test_a_link_in_place_of_a_directory_is_refused(root, theirs, name):
    (root / ".releases").mkdir()
    place = root / name
    if name == ".releases":
        place.rmdir()
    place.symlink_to(theirs.parent)
    with pytest.raises(DowntimeError, match="is in the way, a directory is needed there, and no link to one"):
        store(root).prepare()
    assert os.listdir(theirs.parent) == ["shadow"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", ["releases", ".releases", ".releases/tmp"])
def test_a_directory_of_the_services_user_is_refused_by_name(root, name):
    store(root).prepare()
    os.chown(root, 65534, 65534)
    os.chown(root / name, 65534, 65534)
    with pytest.raises(DowntimeError, match=f"{name} belongs to nobody, who could have user root write to files of others"):
        store(root).prepare()


@pytest.mark.claim("hostile-service-user")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_root_of_the_services_user_is_worked_in_by_descriptors(root, theirs):
    """He swaps the directory for one of his own while we are at it: what we write stays in ours."""
    os.chown(root, 65534, 65534)
    mine = store(root)
    mine.prepare()
    aside = root / "aside"
    (root / ".releases").rename(aside)
    (root / ".releases").mkdir()
    (root / ".releases" / "ledger.jsonl").symlink_to(theirs)
    (root / ".releases" / "root.lock").symlink_to(theirs)
    with mine.lock("root"):
        mine.note("staged", _release_store.Release("d" * 64, "1.0.0"), "d1")
        mine.link("current", "d" * 64)
    assert theirs.read_text(encoding="utf-8") == SECRET
    assert json.loads((aside / "ledger.jsonl").read_text(encoding="utf-8"))["label"] == "1.0.0"
    assert os.readlink(root / "current") == "releases/" + "d" * 64
    mine.close()


def test_what_others_may_write_to_is_closed_to_them(root):
    store(root).prepare()
    for name in ("releases", ".releases", ".releases/tmp"):
        (root / name).chmod(0o777)
    again = store(root)
    again.prepare()
    assert [(root / name).stat().st_mode & 0o022 for name in ("releases", ".releases", ".releases/tmp")] == [0, 0, 0]
    again.close()


def test_descriptors_are_let_go_of(root):
    before = len(os.listdir("/proc/self/fd"))
    found = store(root)
    found.prepare()
    assert len(os.listdir("/proc/self/fd")) == before + 4 and found.at(found.ledger).startswith("/proc/self/fd/")
    found.close()
    assert len(os.listdir("/proc/self/fd")) == before and found.at(found.ledger) == str(root / ".releases" / "ledger.jsonl")


def test_a_tree_that_is_too_deep_to_be_named_is_removed(tmp_path):
    top = place = tmp_path / "deep"
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _level in range(1200):
        os.mkdir("d" * 20, 0o700, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    _release_store.remove(str(top))
    assert os.listdir(tmp_path) == []


def test_a_tree_whose_directories_deny_it_is_removed_and_no_link_is_followed(tmp_path, theirs):
    (tmp_path / "tree" / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "closed" / "inner" / "file").touch()
    (tmp_path / "tree" / "link").symlink_to(theirs.parent)
    (tmp_path / "tree" / "closed").chmod(0o500)
    _release_store.remove(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == ["etc"] and theirs.read_text(encoding="utf-8") == SECRET
