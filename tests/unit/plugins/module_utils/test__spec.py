# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def test_what_lacks_something_is_refused_by_the_first_that_is_missing():
    _spec.has({"a": None, "b": 1}, "plan", ("a", "b"), "a plan")
    with pytest.raises(DowntimeError, match="^plan has no b; a plan is expected$"):
        _spec.has({"a": None}, "plan", ("a", "b", "c"), "a plan")


@pytest.mark.parametrize("written, found", [(True, "true"), (False, "false"), ("auto", "auto")])
def test_a_word_that_yaml_reads_as_a_boolean_is_the_word(written, found):
    assert _spec.check({"http2": written}, {"http2": {"type": "str", "choices": ["auto", "true", "false"]}}) == {"http2": found}


@pytest.mark.parametrize("written", ["nan", "inf", float("nan"), "ten", True])
def test_what_is_no_number_to_count_with_is_refused(written):
    with pytest.raises(DowntimeError, match=r"^deploy_x is .*; a number is accepted$"):
        _spec.check({"deploy_x": written}, {"deploy_x": {"type": "float", "minimum": 1}})


@pytest.mark.parametrize("written, found", [
    ("a,b", ["a", "b"]), ("[a,b]", ["a", "b"]), ("[a, b]", ["a", "b"]), ('["a", "b"]', ["a", "b"]), ("['a','b']", ["a", "b"]),
    ("a", ["a"]), ("[]", []), ("a, b,", ["a", "b"]),
])
def test_a_list_may_be_written_as_a_person_writes_one_on_a_command_line(written, found):
    assert _spec.check({"names": written}, {"names": {"type": "list", "elements": "str"}}) == {"names": found}


@pytest.mark.parametrize("option, value", [
    ({"type": "str"}, ["planted"]), ({"type": "int"}, "planted"), ({"type": "str", "choices": ["a"]}, "planted"),
    ({"type": "list", "elements": "int"}, ["planted"]),
])
def test_what_does_not_fit_is_not_shown_where_it_is_secret(option, value):
    with pytest.raises(DowntimeError, match=r"^token(\[0\])? is not shown, since it is secret; ") as refused:
        _spec.check({"token": value}, {"token": {**option, "no_log": True}})
    assert "planted" not in str(refused.value)
