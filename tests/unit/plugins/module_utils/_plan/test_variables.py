# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import VARIABLES, check_names, distance


@pytest.mark.parametrize("one, other, expected", [
    ("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "acb", 1), ("", "abc", 3), ("kitten", "sitting", 3),
])
def test_distance(one, other, expected):
    assert [distance(*pair) for pair in ((one, other), (other, one))] == [expected, expected]


@pytest.mark.claim("typing-errors-refused")
@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_every_typing_error_is_refused(name):
    for wrong in (name[:-1] + name[-1] * 2, name[:-2] + name[-1] + name[-2], name[:9] + name[10:]):
        if wrong in VARIABLES:
            continue
        with pytest.raises(DowntimeError, match=f"{wrong} is no known variable; did you mean deploy_"):
            check_names([wrong])


@pytest.mark.claim("other-unknown-names-warn")
def test_another_unknown_name_only_warns():
    assert check_names(["deploy_app", "deploy_colour_of_the_curtains"]) == [
        "deploy_colour_of_the_curtains is no variable of zero.downtime; it has no effect here"]


WRONG = {"int": "many", "float": "some", "bool": "perhaps", "list": {"a": 1}, "dict": "not a mapping", "str": {"a": 1}}


def leaves(spec, path=""):
    for name, option in spec.items():
        yield path + name, option
        if "options" in option:
            # Of a list, in its first entry.
            yield from leaves(option["options"], path + name + ("[0]." if option["type"] == "list" else "."))


@pytest.mark.claim("values-are-checked")
@pytest.mark.parametrize("path, option", [pytest.param(path, option, id=path) for path, option in leaves(VARIABLES) if option.get("type", "str") in WRONG])
def test_a_value_of_the_wrong_type_is_named(path, option):
    """Generated from the registry: each option, with a value that it cannot take, is refused by its own name."""
    wrong = WRONG[option.get("type", "str")]
    values = wrong
    for name in reversed(path.split(".")):
        # What an entry needs it has, so that nothing else is wrong with it.
        values = {name.removesuffix("[0]"): [{"path": "/", **values}] if name.endswith("[0]") else values}
    needed = {name: {} if spec.get("type") == "dict" else "x" for name, spec in VARIABLES.items() if spec.get("required")}
    values = {**needed, **values}
    if path.startswith("deploy_artifact."):
        values["deploy_artifact"] = {"root": "/srv", **values["deploy_artifact"]}
    elif path != "deploy_artifact":
        values["deploy_artifact"] = {"root": "/srv"}
    with pytest.raises(DowntimeError) as caught:
        _spec.check(values, VARIABLES)
    assert str(caught.value).startswith(path)
    assert "accepted" in str(caught.value)


@pytest.mark.parametrize("path, option", [pytest.param(path, option, id=path) for path, option in leaves(VARIABLES) if "minimum" in option])
def test_a_number_below_its_minimum_is_named(path, option):
    value = option["minimum"] - 1
    with pytest.raises(DowntimeError, match=f"from {option['minimum']} on"):
        _spec.check({path: value}, {path: option})


@pytest.mark.parametrize("path, option", [pytest.param(path, option, id=path) for path, option in leaves(VARIABLES) if "choices" in option])
def test_a_value_that_is_no_choice_is_named(path, option):
    with pytest.raises(DowntimeError, match="accepted are"):
        _spec.check({path: "neither"}, {path: option})
