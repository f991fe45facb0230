# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import map as maps

TEXT = "# shop 1\n\n  shop\t\t5  \r\nshopping 6\nother 7 and more\n"


def test_values_are_read_as_haproxy_reads_them():
    assert maps.values_of(TEXT, "shop") == ["5"] and maps.values_of(TEXT, "other") == ["7 and more"] and maps.values_of(TEXT, "gone") == []
    assert maps.values_of("shop 1\nshop 2", "shop") == ["1", "2"]


def test_only_the_key_changes():
    assert maps.changed(TEXT, "shop", "50") == TEXT.replace("\t5", "\t50")
    assert maps.changed(maps.changed(TEXT, "shop", "50"), "shop", "5") == TEXT
    assert maps.changed("shop 1\nshop 2\n", "shop", "3") == "shop 3\nshop 3\n"
    assert maps.changed("other 7", "shop", "3") == "other 7\nshop 3\n" and maps.changed("", "shop", "3") == "shop 3\n"
    assert maps.changed("other 7\nshop 3\n", "shop", None) == "other 7\n"


def test_the_file_is_replaced_whole_with_its_mode_and_through_a_link(tmp_path):
    path = tmp_path / "real" / "split.map"
    path.parent.mkdir()
    path.write_bytes(b"# \xff\nshop 1\n")
    path.chmod(0o604)
    link = tmp_path / "split.map"
    link.symlink_to(path)
    inode = path.stat().st_ino
    maps.put(str(link), "shop", "2")
    assert path.read_bytes() == b"# \xff\nshop 2\n" and link.is_symlink() and path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o604 and os.listdir(path.parent) == ["split.map"]
    inode = path.stat().st_ino
    maps.put(str(link), "shop", "2")
    assert path.stat().st_ino == inode


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "split.map"
    path.write_text("shop 1\n")

    def full(handle, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maps.os, "write", full)
    with pytest.raises(DowntimeError, match="cannot write with its owner and mode as they are: No space left on device; nothing in it was changed"):
        maps.put(str(path), "shop", "2")
    assert path.read_text() == "shop 1\n" and os.listdir(tmp_path) == ["split.map"]
    with pytest.raises(DowntimeError, match="map is '.*gone', which cannot be read: No such file"):
        maps.put(str(tmp_path / "gone"), "shop", "2")
