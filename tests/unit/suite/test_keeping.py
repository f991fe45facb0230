# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was compiled is kept by its source, and is otherwise as if compiled anew."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

PLACE = pathlib.Path(__file__).resolve().parents[2] / "suite" / "keeping"
sys.path.insert(0, str(PLACE))

import keeping  # noqa: E402  pylint: disable=wrong-import-position

SOURCE = "def told():\n    return __file__\n"


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse():
        def compiler(source, *_args, **_more):
            raise AssertionError(f"{source!r} is compiled")
        monkeypatch.setattr(keeping, "compile", compiler, raising=False)
    return refuse


def test_a_source_is_compiled_once_and_bears_the_name_that_it_has_now(tmp_path, no_compiler):
    first = keeping.compiled(SOURCE, "/first.py", str(tmp_path))
    no_compiler()
    second = keeping.compiled(SOURCE.encode(), "/second.py", str(tmp_path))
    assert (first.co_filename, second.co_filename) == ("/first.py", "/second.py")
    (told,) = [constant for constant in second.co_consts if hasattr(constant, "co_code")]
    assert told.co_filename == "/second.py"
    scope = {"__file__": "here"}
    exec(second, scope)  # pylint: disable=exec-used
    assert scope["told"]() == "here"


def test_another_source_is_compiled(tmp_path, no_compiler):
    keeping.compiled(SOURCE, "/same.py", str(tmp_path))
    no_compiler()
    with pytest.raises(AssertionError, match="is compiled"):
        keeping.compiled(SOURCE + "\n", "/same.py", str(tmp_path))


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(tmp_path, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError

    monkeypatch.setattr(keeping.os, "makedirs", refuse)
    assert keeping.compiled(SOURCE, "/told.py", str(tmp_path / "none")).co_filename == "/told.py"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def kept():
    """A source that nobody else has, and whether its code is kept, for as long as a test lasts."""
    source = f"# {os.urandom(8).hex()}\nTOLD = 5\n"
    path = pathlib.Path(keeping.PLACE, keeping.name_of(source.encode()))
    yield source, path.exists
    path.unlink()


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], env=keeping.environment(os.environ), check=True, capture_output=True, text=True).stdout


def test_a_process_keeps_what_it_imports_from_an_archive(tmp_path, kept):
    source, is_kept = kept
    for number in range(2):
        archive = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("told.py", source)
        assert is_kept() == bool(number)
        # The same source in another archive is no other code.
        assert _python(f"import sys; sys.path.insert(0, {str(archive)!r}); import told; print(told.TOLD, told.__file__)") == f"5 {archive}/told.py\n"
    assert is_kept()


def test_a_run_keeps_what_it_imports_from_a_collection(tmp_path, kept):
    source, is_kept = kept
    place = tmp_path / "ansible_collections" / "zero" / "told" / "plugins" / "module_utils"
    place.mkdir(parents=True)
    (place / "told.py").write_text(source, encoding="utf-8")
    program = f"""
import keeping
keeping.in_collections()
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder(paths=[{str(tmp_path)!r}])._install()
from ansible_collections.zero.told.plugins.module_utils import told
print(told.TOLD, told.__file__)
"""
    for number in range(2):
        assert is_kept() == bool(number)
        assert _python(program) == f"5 {place}/told.py\n"
    assert is_kept()
