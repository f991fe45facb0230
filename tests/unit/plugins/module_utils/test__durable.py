# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _durable


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def full_disk(monkeypatch):
    """write(2) takes a few bytes, as on a disk that is nearly full, and then fails."""
    write, left = os.write, [5]

    def some(handle, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(handle, bytes(data)[:left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", some)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("make", [_durable.create, _durable.replace])
def test_the_mode_is_as_asked_whatever_the_umask_is(tmp_path, make):
    make(str(tmp_path / "file"), b"new", 0o640)
    assert (tmp_path / "file").read_bytes() == b"new" and mode(tmp_path / "file") == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_create_takes_nobodys_place(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileExistsError):
        _durable.create(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_text() == "old"


def test_rewrite_keeps_the_mode(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o664)
    _durable.rewrite(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_text() == "new" and mode(tmp_path / "file") == 0o664


def test_an_owner_that_cannot_be_kept_is_a_fault_only_where_it_is_needed(tmp_path, monkeypatch):
    def refused(handle, user, group):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    (tmp_path / "file").write_text("old")
    found = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((found.st_mode, 0, 0, 1, found.st_uid + 1, found.st_gid, 3, 0, 0, 0)))
    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(PermissionError):
        _durable.rewrite(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_text() == "old" and os.listdir(tmp_path) == ["file"]
    _durable.rewrite(str(tmp_path / "file"), b"new", needs_owner=False)
    assert (tmp_path / "file").read_text() == "new" and os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        _durable.replace(str(tmp_path / "file"), b"longer than five")
    assert (tmp_path / "file").read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(OSError, match="No space left"):
        _durable.create(str(tmp_path / "fresh"), b"longer than five")
    assert os.listdir(tmp_path) == ["file"]


def test_append_makes_the_file_and_adds_lines(tmp_path):
    for line in ("one", "two"):
        _durable.append(str(tmp_path / "file"), line)
    assert (tmp_path / "file").read_text() == "one\ntwo\n" and mode(tmp_path / "file") == 0o644


def test_a_line_that_was_cut_short_spoils_itself_only(tmp_path):
    (tmp_path / "file").write_text("one\ntw")
    _durable.append(str(tmp_path / "file"), "three")
    assert (tmp_path / "file").read_text() == "one\ntw\nthree\n"


def test_a_line_that_the_disk_takes_only_some_of_is_a_fault(tmp_path, full_disk):
    """write(2) says so by a short count, and not by an error."""
    with pytest.raises(OSError, match="No space left"):
        _durable.append(str(tmp_path / "file"), "longer than five")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in ("file", "file.12.34", ".file.12.34", ".file2.12.34", ".other.12.34"):
        (tmp_path / name).write_text("")
    _durable.remove_unfinished(str(tmp_path / "file"))
    assert sorted(os.listdir(tmp_path)) == [".file2.12.34", ".other.12.34", "file", "file.12.34"]
