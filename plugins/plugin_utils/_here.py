# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module whose host is this very process's: then it runs here. Private to the collection.

Ansible starts a Python for each module run, which takes most of the time that a move takes. Where that Python would be the same program, of the
same user, on the same host, with the same environment, there is nothing that a second one could do better. A module opts in with
C(IN_PROCESS), its argument spec and its function, in the file C(_<module>.py) of its collection's module_utils; the spec has no secrets, since
nobody masks them in what is returned.
"""

from __future__ import annotations

import sys
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _drivers, _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, failure


def is_here(action: ActionBase, connection: t.Any, variables: t.Mapping[str, t.Any]) -> bool:
    """Whether a module on this connection would run as what this process is: local, nobody else, the same Python, the same environment."""
    python = action._templar.template(variables.get("ansible_python_interpreter") or sys.executable)
    return connection.transport == "local" and connection.become is None and python == sys.executable and not any(action._task.environment or ())


def run(action: ActionBase, name: str, args: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """What the module of that full name returns; None for one that has not opted in."""
    collection, dummy, short = name.rpartition(".")
    opted_in = getattr(_drivers.found(f"ansible_collections.{collection}.plugins.module_utils._{short}"), "IN_PROCESS", None)
    if opted_in is None:
        return None
    argument_spec, function = opted_in
    try:
        return {"changed": False, **function(_spec.check(args, argument_spec()), action._task.check_mode)}
    except DowntimeError as error:
        return {"failed": True, **failure(error)}
