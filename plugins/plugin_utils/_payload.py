# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module and its arguments get to a host, and what is left of them there: nothing. Private to the collection.

Ansible writes a module, with its arguments, into a file on the host, and leaves it to the task's own connection to remove it. Arguments may hold a
secret, and connections that an action sets up for itself are nobody's. So here:

- Where nobody has decided about C(pipelining) and the connection can do it, the module goes over its standard input, and no file is written.
- Elsewhere the file is removed as soon as the host has opened it, before the module begins, and its directory when the module has ended.
- What a controller that was killed could not remove is removed by the next run. The directory's name says whose it is, so that only those of runs
  that are proven dead are touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder

# Ansible removes no directory whose name lacks "-tmp-".
DIRECTORY, RUN, CLEARED = "zero-downtime-tmp-", "zero-downtime-run-", "zero-downtime-cleared-"
# What a machine is known by, in the order of a mark. Names of machines and the like are nobody's business on a host, and a few digits tell them apart.
MACHINE = ("controller", "machine_id", "boot_id", "pid_namespace", "hardware")
MARK = re.compile(r"(?P<machine>(?:[0-9a-f]*\.){4}[0-9a-f]*)-(?P<pid>\d+)-(?P<start_time>\d*)-(?P<made>\d+)")
# What sudo says where it is told to want a terminal (requiretty), which nobody has whose module goes over standard input.
NO_TERMINAL = "must have a tty"


def execute(action: ActionBase, name: str, args: t.Mapping[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run a module on the action's connection. Nothing is left of it, unless the host is lost meanwhile."""
    begin()
    quiet = _arrange(action._connection, task_vars)
    _clear(action)
    try:
        result = action._execute_module(module_name=name, module_args=dict(args), task_vars=task_vars)
        if quiet and NO_TERMINAL in f"{result.get('module_stderr')}{result.get('module_stdout')}":
            # Nothing has run: sudo has refused.
            action._connection.set_option("pipelining", False)
            result = action._execute_module(module_name=name, module_args=dict(args), task_vars=task_vars)
    except AnsibleConnectionFailure:
        # Nobody is there to remove it: asking once more would only take as long again.
        raise
    except BaseException:
        clean(action)
        raise
    if not result.get("unreachable"):
        clean(action)
    return result


def clean(action: ActionBase) -> None:
    """Remove the action's temporary directory on the host. What was done there is known, whether or not this can be done as well."""
    with contextlib.suppress(AnsibleConnectionFailure):
        action._remove_tmp_path(action._connection._shell.tmpdir)


_begun: dict[str, str] = {}


def begin() -> str:
    """This run's mark; called first in the worker, whose parent is ansible-playbook. Runs of this controller that were killed are cleared away."""
    if "mark" not in _begun:
        pid = os.getppid()
        _begun["mark"] = f"{'.'.join(_short(_lock_holder.machine()).values())}-{pid}-{_probe.start_time_of(pid) or ''}-{time.time():.0f}"
        here = C.DEFAULT_LOCAL_TMP
        # Once a run, though each task has a worker of its own.
        if not any(name.startswith(RUN) for name in os.listdir(here)):
            with open(os.path.join(here, RUN + _begun["mark"]), "w", encoding="ascii"):
                pass
            _clear_here(os.path.dirname(here))
    return _begun["mark"]


def dead(name: str, prefix: str) -> bool:
    """Whether a file or a directory of that name is a run's that is proven dead."""
    found = MARK.match(name, len(prefix)) if name.startswith(prefix) else None
    if not found or not found["start_time"]:
        return False
    holder = {**dict(zip(MACHINE, found["machine"].split("."))), "pid": int(found["pid"]), "start_time": found["start_time"]}
    return _lock_holder.dead({"holder": holder, "age": max(0.0, time.time() - int(found["made"]))}, _short(_lock_holder.machine()))


def _short(machine: t.Mapping[str, t.Any]) -> dict[str, str]:
    return {name: hashlib.sha256(machine[name].encode()).hexdigest()[:10] if machine[name] else "" for name in MACHINE}


def _clear_here(parent: str) -> None:
    """Remove what killed runs left of Ansible's own temporary directories on this controller: each that one of ours has signed."""
    for entry in os.scandir(parent):
        if entry.name.startswith("ansible-local-") and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                if any(dead(name, RUN) for name in os.listdir(entry.path)):
                    shutil.rmtree(entry.path, ignore_errors=True)


def _arrange(connection: t.Any, task_vars: dict[str, t.Any]) -> bool:
    """Let modules on this connection leave nothing behind. Whether they go over its standard input by this collection's own decision."""
    shell = connection._shell
    quiet = False
    with contextlib.suppress(KeyError):
        if connection.get_option_and_origin("pipelining", hostvars=task_vars)[1] == "default":
            connection.set_option("pipelining", True)
            quiet = True
    if getattr(shell, "SHELL_FAMILY", None) == "sh" and "build_module_command" not in vars(shell):
        build = shell.build_module_command
        shell.build_module_command = lambda env_string, shebang, cmd, arg_path=None: _unlinked(build, shell.quote, env_string, shebang, cmd, arg_path)
        shell._generate_temp_dir_name = lambda: f"{DIRECTORY}{begin()}-{secrets.token_hex(6)}"
    return quiet


def _unlinked(build: t.Callable[..., str], quote: t.Callable[[str], str], env_string: str, shebang: str, cmd: str, arg_path: str | None) -> str:
    """The command that runs a module's file, and removes it before: the interpreter reads what the shell has opened."""
    if not cmd or arg_path or C.DEFAULT_KEEP_REMOTE_FILES:
        return build(env_string, shebang, cmd, arg_path)
    file = quote(cmd)
    # Whoever it runs as may not be allowed to remove it: then its directory goes at the end, by who made it.
    return f"{{ rm -f {file} 2>/dev/null; {build(env_string, shebang, '')}; }} < {file}"


def _clear(action: ActionBase) -> None:
    """Remove from the host what dead runs of this controller left there; once a run and host."""
    connection, shell = action._connection, action._connection._shell
    if "build_module_command" not in vars(shell):
        return
    who = repr((connection.transport, action._play_context.remote_addr, action._play_context.port, action._get_remote_user()))
    try:
        os.close(os.open(os.path.join(C.DEFAULT_LOCAL_TMP, CLEARED + hashlib.sha256(who.encode()).hexdigest()[:16]), os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    places = [action.get_shell_option("remote_tmp", default="~/.ansible/tmp"), *action.get_shell_option("system_tmpdirs", default=[])]
    # As the shell plugin has it where it makes one: the host's shell knows the user's home.
    globs = [f"{shell._SHELL_SUB_LEFT} echo {place} {shell._SHELL_SUB_RIGHT}/{DIRECTORY}*" for place in dict.fromkeys(places)]
    told = action._low_level_execute_command(f"ls -1d {' '.join(globs)} 2>/dev/null", sudoable=False)
    left = [path for path in told["stdout"].splitlines() if dead(os.path.basename(path), DIRECTORY)]
    if left:
        action._low_level_execute_command(f"rm -rf {' '.join(shell.quote(path) for path in left)}", sudoable=False)
