# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of deploy_traffic mean: none without a meaning, each in words that a user can write."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "suite"))

import meanings  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import VARIABLES  # noqa: E402


@pytest.mark.claim("every-traffic-option-has-its-meaning")
@pytest.mark.parametrize("name", _drivers.NAMES)
def test_every_option_has_a_meaning_in_the_words_of_its_user(name):
    spec = _drivers.load(name).traffic_spec
    found = list(meanings.of_traffic(name, spec))
    assert {path.split(".")[1].removesuffix("[]") for path, _option, _text in found} == set(spec)
    for path, _option, text in found:
        assert re.match(r"[A-Z]", text) and text.endswith("."), (path, text)
        assert not re.search(r"\b(O|RV)\(", text), (path, text)
        # A bracket inside of a markup's brackets would end it.
        assert not re.search(r"\b[VCM]\([^)]*\(", text), (path, text)
        for word in re.findall(r"\bdeploy_\w+", text):
            assert word in VARIABLES, (path, word)


def test_an_option_that_nobody_describes_is_told():
    with pytest.raises(SystemExit, match=r"deploy_traffic.colour has no meaning"):
        list(meanings.of_traffic("haproxy", {"colour": {"type": "str"}}))


@pytest.mark.claim("every-traffic-option-has-its-meaning")
def test_ansible_doc_tells_them_too():
    done = subprocess.run([str(pathlib.Path(sys.executable).with_name("ansible-doc")), "-t", "role", "zero.downtime.deploy"], cwd=ROOT, check=True,
                          capture_output=True, text=True, timeout=300)
    told = re.sub(r"\s+", " ", done.stdout)
    for name in _drivers.NAMES:
        for path, _option, _text in meanings.of_traffic(name, _drivers.load(name).traffic_spec):
            assert path in told, path
