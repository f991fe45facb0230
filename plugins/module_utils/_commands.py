# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that sentences give to people, written in one place: who reads one can paste it.

Private to the collection.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import typing as t

# What stands for itself in a shell, and in Ansible's own reading of name=value.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+-]+")


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


def _inventories() -> list[str]:
    """The inventories that this run was given, as options; none of them on a managed host, where nobody knows that."""
    try:
        from ansible import constants, context  # pylint: disable=import-outside-toplevel
    except ImportError:
        return []
    given = list(context.CLIARGS.get("inventory") or ())
    # Those of the configuration are found without being named.
    return [] if given == list(constants.DEFAULT_HOST_LIST) else [word for place in given for word in ("-i", shlex.quote(_as_given(place)))]


def _as_given(place: str) -> str:
    """Ansible makes a path of an inventory absolute; a list of hosts, with a comma in it, is left as it is."""
    near = os.path.relpath(place) if "," not in place else place
    return place if near.startswith(os.pardir) else near


def _variable(name: str, value: t.Any) -> str:
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    text = "true" if value is True else str(value)
    if _PLAIN.fullmatch(text):
        return f"{name}={text}"
    quoted = json.dumps({name: text}).replace("'", "'\\''")
    return f"'{quoted}'"
