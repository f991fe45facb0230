# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import pathlib
import re
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "tests" / "suite"))

import meanings  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils import _written  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import VARIABLES  # noqa: E402

# As every action does that needs a driver.
_drivers.load_all()

# What the roles fill in by themselves, or have checked as a variable before a module sees it: no sentence about these reaches a user of the playbooks.
FILLED_IN = {
    "run_dir", "plan", "deploy_id", "members", "weight", "shares", "streams", "lock_timeout", "mirrors", "lasts", "candidate", "result", "timeout",
    "digest", "running", "lock", "records_dir", "mirror_limit", "mirror_timeout", "entry", "step",
}


VALUES = {"header": "'X'", "root": "/X", "url": "http://X"}


def options() -> set[str]:
    """Every option of a module of the collection."""
    found: set[str] = set()
    for path in (ROOT / "plugins" / "modules").glob("*.py"):
        found |= set(meanings.options_of(path))
    return found


def sentences() -> t.Iterator[tuple[str, str]]:
    """Every text of the code that is written for people: place and text, with X for what is filled in."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        if "doc_fragments" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        passed |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper()}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                passed |= {id(value) for value in node.values}
                text = "".join(str(value.value) if isinstance(value, ast.Constant) else "X" for value in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
                text = re.sub(r"%[sr]", "X", node.value)
            else:
                continue
            if " " in text and "\n" not in text:
                # Of some the value stands behind the name: as a quotation, a path or an address.
                yield f"{path.name}:{node.lineno}", re.sub(r"^(header|root|url) X", lambda match: f"{match[1]} {VALUES[match[1]]}", text)


def named(text: str, known: t.Collection[str]) -> list[str]:
    """The options that a sentence names."""
    found = [word for word in re.findall(r"(?<![\w./\-{$'])([a-z]+_[a-z0-9_]+)(?![\w(/])", text) if word in known]
    begins = (re.match(r"([a-z][a-z0-9_]*)(?:\[[^\]]*\])?(?:\.[a-z_]+)?(?: is | are | has ['\"]| names |: X)", text)
              or re.match(r"(header|root|url) (?:['/]|https?://)", text))
    return found + ([begins[1]] if begins and begins[1] in known else [])


@pytest.mark.claim("messages-name-the-variable")
def test_no_sentence_of_a_deploy_names_an_option_that_its_user_did_not_write():
    known = options()
    found = [(place, text) for place, text in sentences() if named(text, known)]
    assert len(found) > 60, "the sentences are not found any more"
    wrong = {place: f"{text} -> {_written.sentence(text)}" for place, text in found if set(named(_written.sentence(text), known)) - FILLED_IN}
    assert wrong == {}


@pytest.mark.claim("messages-name-the-variable")
@pytest.mark.parametrize("said, written", [
    ("min_active is 'most'; a count or a percentage such as 75% is accepted", "deploy_min_active is 'most'; a count or a percentage such as 75% is accepted"),
    ("frontends names shopp, which this haproxy does not have", "deploy_traffic.frontends names shopp, which this haproxy does not have"),
    ("lb1: socket_timeout is 0; seconds above 0 are accepted", "lb1: deploy_traffic.socket_timeout is 0; seconds above 0 are accepted"),
    ("artifact.checksums /srv/SUMS has no line", "deploy_artifact.checksums /srv/SUMS has no line"),
    ("sh ended (service.timeout)", "sh ended (deploy_service.timeout)"),
    ("pools: shop: members: app1 is 'x'", "deploy_traffic.pools: shop: members: app1 is 'x'"),
    ("after 3 s not drained (take_out=maint sends those elsewhere, too)", "after 3 s not drained (deploy_traffic.take_out=maint sends those elsewhere, too)"),
    ("url http://127.0.0.1:1/ does not answer: refused", "deploy_evidence_url http://127.0.0.1:1/ does not answer: refused"),
    ("header 'x y' is not the name of an HTTP header", "deploy_health.header 'x y' is not the name of an HTTP header"),
    ("member app1: root /srv/shop is not usable", "member app1: deploy_artifact.root /srv/shop is not usable"),
    # What has the user's words already, and what are no options.
    ("deploy_min_active is 9; deploy_traffic.take_out and deploy_artifact.url", "deploy_min_active is 9; deploy_traffic.take_out and deploy_artifact.url"),
    ("release 9.9 is unknown; service shop is down; the root is full", "release 9.9 is unknown; service shop is down; the root is full"),
    ("/etc/min_active/off_file.d and x-off_file", "/etc/min_active/off_file.d and x-off_file"),
])
def test_an_option_becomes_the_variable_that_was_written(said, written):
    assert _written.sentence(said) == written
    assert _written.sentence(written) == written


def test_every_option_of_a_driver_has_its_variable():
    for name in _drivers.NAMES:
        for option in set(_drivers.load(name).traffic_spec) - {"balancers"}:
            assert _written.VARIABLES[option] == f"deploy_traffic.{option}", (name, option)


def test_every_variable_exists():
    for variable in (*_written.VARIABLES.values(), *_written.DOTTED.values()):
        top, dot, rest = variable.partition(".")
        assert top in VARIABLES, variable
        if top == "deploy_traffic":
            assert rest == "driver" or any(rest in _drivers.load(name).traffic_spec for name in _drivers.NAMES), variable
        elif dot:
            assert rest in VARIABLES[top]["options"], variable


def test_only_what_is_said_is_worded():
    found = {"msg": "min_active is 3", "problems": ["off_file is x, which"], "plan": {"min_active": "min_active is 3"}, "changed": False,
             "members": [{"name": "min_active", "problem": "probe_path is 'x'; y"}]}
    assert _written.result(found) == {
        "msg": "deploy_min_active is 3", "problems": ["deploy_traffic.off_file is x, which"], "plan": {"min_active": "min_active is 3"}, "changed": False,
        "members": [{"name": "min_active", "problem": "deploy_traffic.probe_path is 'x'; y"}]}
