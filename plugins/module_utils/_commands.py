# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that sentences give to people, written in one place: who reads one can paste it.

Private to the collection.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

# What stands for itself in a shell, and in Ansible's own reading of name=value.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+-]+")
Options = t.Callable[[], t.Sequence[str]]
_inventories: Options = tuple
_mode: Options = tuple


def found_by(inventories: Options, mode: Options = tuple) -> None:
    """C(inventories) tells how this run finds its hosts, and C(mode) whether it only looks, as options of a command line; only the controller knows that."""
    global _inventories, _mode  # pylint: disable=global-statement
    _inventories, _mode = inventories, mode


def command(verb: str, app: str | None, **variables: t.Any) -> str:
    """The command that runs the playbook of C(verb) for an application; variables without a value are left out. It acts, also where this run only looks.

    :param app: None where whoever writes the sentence does not know it, as a module on a balancer's host.
    """
    return _written(verb, (), {"deploy_app": app, **variables})


def _written(verb: str, options: t.Sequence[str], variables: t.Mapping[str, t.Any]) -> str:
    words = ["ansible-playbook", *_inventories(), f"zero.downtime.{verb}", *options]
    for name, value in variables.items():
        if value not in (None, "", [], False):
            words.append(f"-e {_variable(name, value)}")
    return " ".join(words)


def on_host(host: str, module: str, **options: t.Any) -> str:
    """The command that runs one of Ansible's own modules on a host, with the connection and the rights that the inventory has for it."""
    return _ad_hoc(host, module, json.dumps(options, ensure_ascii=False) if options else None)


def in_shell(host: str, line: str) -> str:
    """As C(on_host), for a line of the host's shell; without a double quote, which the output of Ansible would put a backslash before."""
    return _ad_hoc(host, "shell", line)


def _ad_hoc(host: str, module: str, args: str | None) -> str:
    words = ["ansible", *_inventories(), shlex.quote(host), f"-m ansible.builtin.{module}"]
    return " ".join([*words, *([] if args is None else [f"-a {shlex.quote(args)}"])])


def anew(app: str | None, label: str, sides: bool) -> str:
    """The command that begins members anew which should serve and do not, and leaves alone whoever serves that release.

    :param sides: whether there are two, so that a deploy might be taken for one to the other side.
    """
    return command("deploy", app, deploy_strategy="rolling" if sides else None, deploy_release=label)


def again(plan: t.Mapping[str, t.Any], **variables: t.Any) -> str:
    """The command of this very run, with what was given for it (C(said)), and C(variables) beside; one that only looks, only looks again."""
    return _written(plan["verb"], _mode(), {"deploy_app": plan["app"], **(plan.get("said") or {}), **variables})


def instead(plan: t.Mapping[str, t.Any], verb: str, **variables: t.Any) -> str:
    """The command of another playbook, with what was given for this run, that makes this one possible."""
    return command(verb, plan["app"], **{**(plan.get("said") or {}), **variables})


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
