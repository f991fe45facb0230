# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import pathlib

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _records_place

RUN = {"verb": "rollback", "app": "shop", "said": {"deploy_release": "1.0.0"}}
COMMAND = "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_release=1.0.0 -e deploy_records_dir="


def test_a_place_is_proven_by_writing_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    _records_place.prove(str(tmp_path / "not" / "there" / "yet"))
    assert not list(tmp_path.iterdir())
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError):
        _records_place.prove(str(file / "records"))


@pytest.mark.parametrize("number, why", [
    (errno.ENOSPC, "no space left on device (of 1 MiB that a run needs)"),
    (errno.EDQUOT, "disk quota exceeded (of 1 MiB that a run needs)"),
    (errno.EROFS, "read-only file system"),
    (errno.EACCES, "permission denied ({place} has mode 0o40)"),
])
def test_a_refusal_says_why_and_how_the_run_goes_on(tmp_path: pathlib.Path, number: int, why: str) -> None:
    place, other, file = tmp_path / "disk", tmp_path / "other", tmp_path / "file"
    place.mkdir()
    file.touch()
    place.chmod(0o040)
    error = OSError(number, os.strerror(number))
    found = _records_place.refusal(str(place / "records"), error, RUN, [str(file / "records"), str(other)])
    start = f"deploy_records_dir is '{place}/records', where user {_records_place.user()} cannot write: {why.format(place=place)}; "
    assert str(found) == f"{start}{COMMAND}{other} keeps its record there"
    assert str(_records_place.refusal(str(place / "records"), error, RUN, [str(file / "records")])) == f"{start}another deploy_records_dir is accepted"
