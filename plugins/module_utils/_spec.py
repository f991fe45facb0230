# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check values against an argument spec, with sentences that name option, value and what is accepted. Private to the collection.

Conversions are Ansible's own; only the sentences are ours, since its validator leaves out the value or the path of a nested option.
"""

from __future__ import annotations

import difflib
import json
import math
import typing as t

from ansible.module_utils.common.parameters import DEFAULT_TYPE_VALIDATORS

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, Refused, refuse

ACCEPTED = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list", "dict": "a mapping", "path": "a path",
    "raw": "any value",
}


def check(values: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any], path: str = "", refused: Refused = refuse) -> dict[str, t.Any]:
    """C(values) converted to the types of C(spec), with its defaults filled in.

    A spec is an argument spec as modules have it; keys that do not matter here (C(description)) are passed over. In addition C(minimum) bounds a number.
    Raises DowntimeError at the first value that does not fit, unless C(refused) goes on: then what is left out stands in for it.
    """
    for name in values:
        if name not in spec:
            near = difflib.get_close_matches(name, spec, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            refused(DowntimeError(f"{path}{name} is no known option; known are {', '.join(sorted(spec)) or 'none'}{hint}"))
    checked: dict[str, t.Any] = {}
    for name, option in spec.items():
        full = path + name
        try:
            checked[name] = _checked(full, values.get(name), option, refused)
        except DowntimeError as error:
            refused(error)
            checked[name] = check({}, option["options"], full + ".", lambda _error: None) if option.get("type") == "dict" and option.get("options") \
                else option.get("default")
    return checked


def _checked(full: str, value: t.Any, option: t.Mapping[str, t.Any], refused: Refused) -> t.Any:
    if value is not None:
        return _convert(full, value, option, refused)
    # A mapping that is left out still gets the defaults of its options.
    if option.get("type") == "dict" and option.get("options") and not option.get("required") and option.get("default") is not None:
        return check(option["default"], option["options"], full + ".", refused)
    if option.get("required"):
        raise DowntimeError(f"{full} is missing; {ACCEPTED[option.get('type', 'str')]} is needed")
    return option.get("default")


def has(value: t.Mapping[str, t.Any], path: str, needed: t.Iterable[str], expected: str) -> None:
    """Refuse a mapping of another's making that lacks something. Raises DowntimeError naming the first that is missing."""
    for name in needed:
        if name not in value:
            raise DowntimeError(f"{path} has no {name}; {expected} is expected")


def _listed(text: str) -> list[t.Any]:
    """A list as -e NAME=… brings it, which is a text: a,b or [a,b] or JSON."""
    inside = text.strip()
    if inside.startswith("[") and inside.endswith("]"):
        try:
            return json.loads(inside)
        except ValueError:
            inside = inside[1:-1]
    if inside.startswith("["):
        raise ValueError
    return [part.strip().strip("'\"") for part in inside.split(",") if part.strip()]


def _shown(value: t.Any, option: t.Mapping[str, t.Any]) -> str:
    return "not shown, since it is secret" if option.get("no_log") else repr(value)


def _convert(full: str, value: t.Any, option: t.Mapping[str, t.Any], refused: Refused = refuse) -> t.Any:
    kind = option.get("type", "str")
    validator = DEFAULT_TYPE_VALIDATORS[kind]
    try:
        # A mapping or list written where a text belongs would be turned into its Python form without a word.
        if kind == "str" and isinstance(value, (dict, list)):
            raise TypeError
        if kind == "float" and isinstance(value, bool):
            raise TypeError
        if kind == "str" and isinstance(value, bool) and option.get("choices"):
            # What YAML reads as a boolean was written as one of the words.
            value = str(value).lower()
        value = _listed(value) if kind == "list" and isinstance(value, str) else validator(value)
        if kind == "float" and not math.isfinite(value):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise DowntimeError(f"{full} is {_shown(value, option)}; {ACCEPTED[kind]} is accepted") from error
    if "minimum" in option and value < option["minimum"]:
        raise DowntimeError(f"{full} is {_shown(value, option)}; {ACCEPTED[kind]} from {option['minimum']} on is accepted")
    if option.get("choices") and kind != "list" and value not in option["choices"]:
        raise DowntimeError(f"{full} is {_shown(value, option)}; accepted are {', '.join(map(str, option['choices']))}")
    if kind == "list":
        element = {key: option[key] for key in ("options", "choices", "no_log") if key in option}
        element["type"] = option.get("elements", "raw")
        return [_convert(f"{full}[{index}]", entry, element, refused) for index, entry in enumerate(value)]
    if kind == "dict" and option.get("options") is not None:
        return check(value, option["options"], full + ".", refused)
    return value
