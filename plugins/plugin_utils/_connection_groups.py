# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which inventory hosts are one machine, reached in one and the same way. Private to the collection."""

from __future__ import annotations

import itertools
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader, shell_loader

# What says where a host is. A local connection is this machine, whatever they say.
PLACE = ("ansible_host", "ansible_port", "ansible_ssh_host", "ansible_ssh_port", "inventory_hostname")
HOW = ("ansible_connection", "ansible_python_interpreter", "ansible_become", "ansible_become_method", "ansible_shell_type", "ansible_shell_executable")


def group(action: ActionBase, hosts: t.Sequence[str], task_vars: t.Mapping[str, t.Any]) -> list[list[str]]:
    """C(hosts) by machine, in order. Two are one machine only when everything that bears on the connection is the same, so that a doubt costs a call."""
    found: dict[t.Hashable, list[str]] = {}
    for host in hosts:
        found.setdefault(_key(action, host, task_vars), []).append(host)
    return list(found.values())


def own(answer: dict[str, t.Any], first: str, name: str) -> dict[str, t.Any]:
    """What a machine's answer says of one of its members. A failure of the whole call is everybody's, in everybody's own name."""
    if name in answer.get("done", {}):
        result = dict(answer["done"][name])
        result.pop("needed", None)
        return result
    text = str(answer.get("msg") or "it ended without an answer")
    found = {"failed": True, "changed": False, "msg": text.replace(f"member {first} ", f"member {name} ")}
    return {**found, **{key: answer[key] for key in ("unreachable_host", "exception", "unlisted", "differs") if answer.get(key)}}


def _key(action: ActionBase, host: str, task_vars: t.Mapping[str, t.Any]) -> t.Hashable:
    raw = task_vars["hostvars"].raw_get(host)
    templar = action._templar.copy_with_new_env(available_variables={**raw, "inventory_hostname": host, "hostvars": task_vars["hostvars"]})

    def value(name: str) -> str | None:
        return str(templar.template(raw[name])) if name in raw else None

    connection = value("ansible_connection") or action._task.connection
    become = value("ansible_become_method") or action._task.become_method or C.DEFAULT_BECOME_METHOD
    names = {*HOW, *itertools.chain.from_iterable(C.MAGIC_VARIABLE_MAPPING.values())}
    for kind, loader, plugin in (("connection", connection_loader, connection), ("become", become_loader, become),
                                 ("shell", shell_loader, value("ansible_shell_type") or "sh")):
        # Ansible knows a plugin's options only once it has been loaded.
        loader.get(plugin, class_only=True)
        names |= set(C.config.get_plugin_vars(kind, plugin))
    if connection in ("local", "ansible.builtin.local"):
        names -= set(PLACE)
        place = None
    else:
        place = value("ansible_host") or value("ansible_ssh_host") or host
    return connection, place, tuple(sorted((name, value(name)) for name in names - {"ansible_host", "ansible_ssh_host", "inventory_hostname"} if name in raw))
