# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests a change runs, on this repository as it is."""

from __future__ import annotations

import choosing
import pytest
from pieces import PIECES


def chosen(*changed: str) -> dict[str, list[str]]:
    """Pieces that are left, with the files of those that pytest runs."""
    left = [choosing.chosen_piece(piece, changed) for piece in PIECES if not piece.nightly]
    return {piece.name: piece.paths for piece in left if piece}


def files(*changed: str) -> set[str]:
    return {path for paths in chosen(*changed).values() for path in paths}


def test_what_everything_stands_on_runs_everything():
    every = {piece.name for piece in PIECES if not piece.nightly}
    for path in ("conftest.py", "Makefile", "tests/suite/running.py", "tests/requirements-test.txt"):
        assert set(chosen(path)) == every


def test_prose_is_linted():
    assert set(chosen("docs/canary.md", "changelogs/fragments/x.yml", "CHANGELOG.rst")) == {"lint"}


def test_a_page_that_a_test_follows_runs_that_test():
    found = set(chosen("docs/tutorial.md"))
    assert "real/tutorial" in found and not found & {"real/haproxy", "demo", "chaos"}


def test_a_driver_runs_its_own_tests_and_no_other_drivers():
    found = files("plugins/module_utils/_nginx/mover.py")
    assert "tests/real/nginx/test_nginx_move.py" in found and "tests/unit/plugins/module_utils/_nginx/test_mover.py" in found
    assert "tests/conformance/test_members.py" in found and "tests/real/inventories/test_examples.py" in found
    assert not [path for path in found if "/haproxy/" in path or "/playbooks/" in path]
    assert not [name for name in chosen("plugins/module_utils/_nginx/mover.py") if name in ("chaos", "demo")]


def test_the_stages_driver_runs_the_playbooks_too():
    found = chosen("plugins/module_utils/_haproxy/mover.py")
    assert {"chaos", "demo"} <= set(found)
    assert "tests/real/playbooks/test_canary.py" in files("plugins/module_utils/_haproxy/mover.py")
    assert not [path for path in files("plugins/module_utils/_haproxy/mover.py") if "/nginx/" in path]


def test_the_core_runs_all_that_runs_the_collection():
    found = files("plugins/module_utils/_plan/plan.py")
    assert {"tests/unit/plugins/module_utils/_plan/test_plan.py", "tests/real/playbooks/test_canary.py", "tests/real/inventories/test_examples.py"} <= found
    assert "tests/unit/suite/test_cpu.py" not in found


def test_a_role_runs_what_runs_playbooks():
    found = chosen("roles/canary/tasks/main.yml")
    assert {"lint", "sanity", "demo", "chaos"} <= set(found) and "tests/real/playbooks/test_canary.py" in files("roles/canary/tasks/main.yml")
    assert "tests/unit/plugins/module_utils/_judge/test_judge.py" not in files("roles/canary/tasks/main.yml")


def test_a_test_runs_itself_and_a_helper_those_that_use_it():
    assert files("tests/real/nginx/test_nginx_roll.py") == {"tests/real/nginx/test_nginx_roll.py"}
    found = files("tests/real/nginx_stage.py")
    assert "tests/real/nginx/test_nginx_roll.py" in found and "tests/conformance/test_split.py" in found
    assert "tests/real/haproxy/test_haproxy_move.py" not in found


def test_a_program_that_tests_start_is_theirs():
    assert "tests/real/load/test_load.py" in files("tests/load/load.py")


@pytest.mark.parametrize("path, driver", [
    ("plugins/module_utils/_haproxy/mover.py", "haproxy"), ("plugins/modules/nginx_split.py", "nginx"), ("plugins/module_utils/_none/driver.py", "none"),
    ("plugins/module_utils/_plan/plan.py", None), ("tests/real/nginx/test_nginx_roll.py", "nginx"), ("plugins/module_utils/_nonesuch.py", None),
])
def test_whose_a_file_is(path, driver):
    assert choosing.driver_of(path) == driver
