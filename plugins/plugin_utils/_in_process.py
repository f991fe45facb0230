# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module whose host is this very process's: then it runs here. Private to the collection.

Ansible starts a Python for each module run, which takes most of the time that a move takes. Where that Python would be the same program, of the
same user, on the same host, with the same environment, there is nothing that a second one could do better. A module opts in with
C(IN_PROCESS), its argument spec and its function, in the file C(_<driver>/<kind>.py), or C(_<module>.py), of its collection's module_utils; its
secrets are masked in what is returned, as Ansible does it for a module.
"""

from __future__ import annotations

import sys
import typing as t

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, failure

# A module that is no driver's is behind a rule, whose room says what it is about.
KEPT = {
    f"{_drivers.COLLECTION}.{module}": f"{_drivers.path_of(_drivers.COLLECTION)}.{file}"
    for module, file in (("clients", "_driver.clients"), ("lock", "_state.lock"))
}


def is_here(action: ActionBase, connection: t.Any, variables: t.Mapping[str, t.Any]) -> bool:
    """Whether a module on this connection would run as what this process is: local, nobody else, the same Python, the same environment."""
    python = action._templar.template(variables.get("ansible_python_interpreter") or sys.executable)
    return connection.transport == "local" and connection.become is None and python == sys.executable and not any(action._task.environment or ())


def opted_in(name: str) -> tuple[t.Callable[[], dict[str, t.Any]], t.Callable[..., dict[str, t.Any]]] | None:
    """The argument spec and the function of the module of that full name; None for one that has not opted in."""
    return next((file.IN_PROCESS for path in _places(name) if hasattr(file := _drivers.found(path), "IN_PROCESS")), None)


def _places(name: str) -> list[str]:
    """Where the function behind the module of that full name may be."""
    collection, dummy, short = name.rpartition(".")
    driver, dummy, kind = short.rpartition("_")
    place = _drivers.path_of(collection)
    return [KEPT[name]] if name in KEPT else [*([f"{place}._{driver}.{kind}"] if driver else []), f"{place}._{short}"]


def run(action: ActionBase, name: str, args: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """What the module of that full name returns; None for one that has not opted in."""
    behind = opted_in(name)
    if behind is None:
        return None
    argument_spec, function = behind
    spec = argument_spec()
    try:
        result = {"changed": False, **function(_spec.check(args, spec), action._task.check_mode)}
    except DowntimeError as error:
        result = {"failed": True, **failure(error)}
    secrets = [str(args[name]) for name, option in spec.items() if option.get("no_log") and args.get(name)]
    return t.cast("dict[str, t.Any]", remove_values(result, secrets)) if secrets else result
