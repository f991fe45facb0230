# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user installs: the built collection, in a directory of its own, far from this checkout."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

REPO = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "tests" / "suite"))

import limits  # noqa: E402  pylint: disable=wrong-import-position

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


def started(place: pathlib.Path, program: str, *arguments: str, cwd: pathlib.Path | None = None) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environ.update(ANSIBLE_COLLECTIONS_PATH=str(place / "collections"), ANSIBLE_HOME=str(place / "home"))
    return subprocess.run([str(BIN / program), *arguments], cwd=cwd or place, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=limits.stretched(120), check=False)


def run(place: pathlib.Path, program: str, *arguments: str) -> str:
    done = started(place, program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.claim("installs-as-a-collection")
def test_it_holds_what_a_user_needs_and_nothing_of_the_workshop(installed):
    present = {path.name for path in installed.iterdir()}
    assert present == {"CHANGELOG.rst", "COPYING", "FILES.json", "MANIFEST.json", "README.md", "changelogs", "docs", "inventories", "meta",
                       "playbooks", "plugins",
                       "roles"}
    assert not (installed / "inventories" / "local").exists(), "it is for the stage of a checkout"
    assert not list(installed.rglob("*.pyc")) and not list(installed.rglob("test_*"))


def test_its_changelog_has_its_version(installed):
    version = json.loads((installed / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"]
    assert f"v{version}\n" in (installed / "CHANGELOG.rst").read_text(encoding="utf-8")


def test_what_its_pages_link_to_is_there_too(installed):
    """A page may lead out to the repository, but not to a file that the archive lacks."""
    for page in (installed / "README.md", *(installed / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page.name, link)


@pytest.mark.claim("installs-as-a-collection")
def test_doctor_runs_from_an_empty_directory(installed, tmp_path):
    """Far enough that it refuses, in its own words, what an inventory lacks."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {app1: {ansible_connection: local}}}\n", encoding="utf-8")
    done = started(installed.parents[3], "ansible-playbook", "-i", str(tmp_path / "hosts.yml"), "zero.downtime.doctor", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout.count("deploy_app is missing") == 1, done.stdout + done.stderr


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
