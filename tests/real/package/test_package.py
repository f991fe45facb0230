# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user installs: the built collection, in a directory of its own, far from this checkout."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

REPO = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("[a-z]*.py"))
PLAYBOOKS = sorted(path.stem for path in (REPO / "playbooks").glob("*.yml"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    place = tmp_path_factory.mktemp("package")
    run(place, "ansible-galaxy", "collection", "build", "--output-path", str(place), str(REPO))
    (archive,) = place.glob("zero-downtime-*.tar.gz")
    run(place, "ansible-galaxy", "collection", "install", "--offline", "-p", str(place / "collections"), str(archive))
    return place / "collections" / "ansible_collections" / "zero" / "downtime"


def run(place: pathlib.Path, program: str, *arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environ.update(ANSIBLE_COLLECTIONS_PATH=str(place / "collections"), ANSIBLE_HOME=str(place / "home"))
    done = subprocess.run([str(BIN / program), *arguments], cwd=place, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.claim("installs-as-a-collection")
def test_it_holds_what_a_user_needs_and_nothing_of_the_workshop(installed):
    present = {path.name for path in installed.iterdir()}
    assert {"COPYING", "README.md", "meta", "playbooks", "plugins", "roles"} <= present
    assert not present & {"build", ".git", ".venv", ".pytest_cache", ".ci"}
    assert not list(installed.rglob("*.pyc"))


def test_every_module_is_documented_where_it_was_installed(installed):
    place = installed.parents[3]
    said = json.loads(run(place, "ansible-doc", "--json", *("zero.downtime." + name for name in MODULES)))
    assert sorted(said) == ["zero.downtime." + name for name in MODULES]


@pytest.mark.claim("playbooks-by-their-names")
def test_every_playbook_is_found_by_its_name(installed):
    place = installed.parents[3]
    for name in PLAYBOOKS:
        run(place, "ansible-playbook", "--syntax-check", "zero.downtime." + name)


def test_the_action_groups_name_modules_that_exist():
    groups = yaml.safe_load((REPO / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    named = {name for members in groups.values() for name in members}
    assert named <= set(MODULES)
