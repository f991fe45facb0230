# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that sentences give to people, written in one place: who reads one can paste it.

Private to the collection.
"""

from __future__ import annotations

import json
import re
import typing as t

# What stands for itself in a shell, and in Ansible's own reading of name=value.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+-]+")
_inventories: t.Callable[[], t.Sequence[str]] = tuple


def found_by(inventories: t.Callable[[], t.Sequence[str]]) -> None:
    """C(inventories) tells how this run finds its hosts, as options of a command line; only the controller knows that."""
    global _inventories  # pylint: disable=global-statement
    _inventories = inventories


def command(verb: str, app: str | None, **variables: t.Any) -> str:
    """The command that runs the playbook of C(verb) for an application; variables without a value are left out.

    :param app: None where whoever writes the sentence does not know it, as a module on a balancer's host.
    """
    words = ["ansible-playbook", *_inventories(), f"zero.downtime.{verb}"]
    for name, value in {"deploy_app": app, **variables}.items():
        if value not in (None, "", [], False):
            words.append(f"-e {_variable(name, value)}")
    return " ".join(words)


def again(plan: t.Mapping[str, t.Any], **variables: t.Any) -> str:
    """The command of this very run, with what was given for it (C(said)), and C(variables) beside."""
    return command(plan["verb"], plan["app"], **{**(plan.get("said") or {}), **variables})


def release(found: t.Mapping[str, t.Any]) -> str:
    """A release, as a command names it."""
    return str(found.get("label") or found["digest"])


def _variable(name: str, value: t.Any) -> str:
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    text = "true" if value is True else str(value)
    if _PLAIN.fullmatch(text):
        return f"{name}={text}"
    quoted = json.dumps({name: text}).replace("'", "'\\''")
    return f"'{quoted}'"
