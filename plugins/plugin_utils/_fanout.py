# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module on several hosts at the same time, from one action plugin. Private to the collection.

A loop with C(delegate_to) asks one balancer after the other, and an unreachable balancer makes the *application's* host
unreachable. Here each host gets a child process with a connection of its own, so that balancers drain at the same time, and a host
that cannot be reached, or does not end in time, is a failed result that names it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import signal
import sys
import time
import traceback
import typing as t

from ansible import constants as C
from ansible import context as command_line
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import called
from ansible_collections.zero.downtime.plugins.plugin_utils import _floor, _given, _inventory, _payload
from ansible_collections.zero.downtime.plugins.plugin_utils import _in_process

# Whoever asks hosts tells people what to run next.
_commands.found_by(_given.inventories, _given.mode)

Work = t.Callable[[dict[str, t.Any], dict[str, t.Any]], dict[str, t.Any]]

# What starting a module costs on a busy host, beside the connection's own time-out.
MARGIN = 2.0
# What a host that is only asked for something may take to answer.
QUESTION = 5.0
# So often this looks whether its machine stood still, and what it takes for that, in seconds.
WATCH, STANDSTILL = 1.0, 0.5
# Signals that end this process, and its children with it.
ENDING = (signal.SIGINT, signal.SIGTERM)
# What a child writes when it asks its host.
ASKED = b"\0"
# The variable, and its default: seconds of silence after which a host on an open ssh connection counts as lost.
SILENCE, SILENT = "deploy_host_timeout", 30


def limit(action: ActionBase, seconds: float) -> float:
    """The C(timeout) of C(run_on) for a module that takes C(seconds) at most: with the time that Ansible may take to connect."""
    return seconds + (action._play_context.timeout or C.DEFAULT_TIMEOUT) + MARGIN


def run_on(action: ActionBase, hosts: t.Sequence[str], module_name: str, args_for: t.Callable[[str], dict[str, t.Any]],
           task_vars: dict[str, t.Any], what: str = "balancer", on_result: t.Callable[[str, dict[str, t.Any]], None] | None = None,
           work: Work | None = None, timeout: float | None = None) -> dict[str, dict[str, t.Any]]:
    """Run C(module_name) on every one of C(hosts) (inventory names, or those of C(_inventory.hosts_of)) with C(args_for(host)); return each host's result.

    C(on_result) is called in this process as results arrive. C(what) is the word for a host in sentences. C(work) stands in place of one run of
    the module: it gets the arguments and the host's variables, in the child, where the action has the host's connection. As many hosts work at a
    time as Ansible has forks. After C(timeout) seconds, not counted while this machine stood still, a host's child is killed with all that it
    started here, and the host counts as not reached: what it did is as unknown. The time begins when the host is really asked, and not while this
    machine is busy with the others.
    """
    _floor.check()
    # Here, since of a child this process is the parent.
    _payload.begin()
    waiting = selectors.DefaultSelector()
    results: dict[str, dict[str, t.Any]] = {}
    running: dict[str, _Child] = {}
    left = list(hosts)
    forks = max(1, int(command_line.CLIARGS.get("forks") or C.DEFAULT_FORKS))
    with _passed_on(running):
        while left or running:
            while left and len(running) < forks:
                host = left.pop(0)
                args = args_for(host)
                with _undisturbed():
                    child = running[host] = _spawn(action, host, module_name, args, task_vars, what, work, timeout)
                waiting.register(child.reader, selectors.EVENT_READ, host)
            began = time.monotonic()
            wait = min(WATCH, max(0.0, min(child.end for child in running.values()) - began)) if timeout else None
            ready = waiting.select(wait)
            if wait is not None:
                _forgive(running.values(), time.monotonic() - began - wait)
            for key, _events in ready:
                running[key.data].take(os.read(key.fd, 1 << 16))
            for host, child in list(running.items()):
                late = time.monotonic() >= child.end
                if not child.closed and not late:
                    continue
                waiting.unregister(child.reader)
                child.finish()
                del running[host]
                if child.closed and child.answer:
                    results[host] = pickle.loads(bytes(child.answer))
                elif child.closed:
                    results[host] = {"failed": True, "msg": f"the process that worked on {called(host, what)} ended without an answer"}
                else:
                    results[host] = {"failed": True, "unreachable_host": True, "timed_out": True,
                                     "msg": f"{called(host, what)} cannot be reached: it gave no answer within {timeout:g} s"}
                if on_result:
                    on_result(host, results[host])
    waiting.close()
    return {host: results[host] for host in hosts}


def prepare(action: ActionBase, modules: t.Sequence[str], task_vars: dict[str, t.Any]) -> None:
    """Build the modules that will be needed while a host is asked for something else.

    Ansible packs a module once a run, before its first use, which takes a quarter of a second. Here a process of its own does it, which
    nobody waits for: whoever needs a module meanwhile waits at Ansible's own lock for it.
    """
    if os.fork():
        return
    try:
        os.setpgid(0, 0)
        for name in modules:
            action._configure_module(module_name=name, module_args={}, task_vars={**task_vars, "ansible_python_interpreter": sys.executable})
    finally:
        # Whatever went wrong goes wrong again, with its sentence, where the module is used.
        os._exit(0)


class _Child:
    """One host's process, and what it has answered so far."""

    def __init__(self, pid: int, reader: int, timeout: float) -> None:
        self.pid, self.reader, self.timeout = pid, reader, timeout
        self.end = time.monotonic() + timeout
        self.answer = bytearray()
        self.asked = self.closed = False

    def take(self, chunk: bytes) -> None:
        """Some of what it wrote: first that its host is asked now, then the answer."""
        self.closed = not chunk
        if chunk and not self.asked:
            self.asked = True
            self.end = time.monotonic() + self.timeout
            chunk = chunk[len(ASKED):]
        self.answer += chunk

    def finish(self) -> None:
        """Collect it; one that has not ended is killed, with its connection."""
        os.close(self.reader)
        if not self.closed:
            self.signal(signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def signal(self, number: int) -> None:
        # Of its group, some may be another user's (sudo); those end when their pipes do.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _forgive(children: t.Iterable[_Child], overslept: float) -> None:
    """What this machine stood still (a suspended virtual machine, a stopped process) is not the hosts' silence: their processes stood still, too."""
    if overslept > STANDSTILL:
        for child in children:
            child.end += overslept


@contextlib.contextmanager
def _passed_on(running: t.Mapping[str, _Child]) -> t.Iterator[None]:
    """Hand signals that end this process on to the children, which are groups of their own."""
    before = {}

    def hand_on(number: int, frame: t.Any) -> None:
        for child in running.values():
            child.signal(number)
        signal.signal(number, before[number])
        os.kill(os.getpid(), number)

    for number in ENDING:
        # None is a handler that Python cannot put back.
        found = signal.getsignal(number)
        if found is not None:
            before[number] = found
            signal.signal(number, hand_on)
    try:
        yield
    finally:
        # None is left but when this process was interrupted, as by a task's own time limit.
        for child in running.values():
            child.signal(signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _undisturbed() -> t.Iterator[None]:
    """What ends this process waits: between the begin of a child and its being known, nobody would hand it on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _spawn(action: ActionBase, host: str, module_name: str, args: dict[str, t.Any], task_vars: dict[str, t.Any], what: str,
           work: Work | None, timeout: float | None) -> _Child:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # as the child does, whoever comes first: it must be a group before it can be killed as one
        return _Child(pid, reader, timeout or float("inf"))
    asked: list[int] = []

    def ask() -> None:
        asked.append(os.write(writer, ASKED))

    # The child must never return into the worker's code: whatever happens, it answers and leaves.
    try:
        os.setpgid(0, 0)
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.close(reader)
        try:
            result = _run(action, host, module_name, args, task_vars, what, work, ask)
            # Through JSON: what a module returned is plain data, and the template engine's tags do not survive another process.
            answer = pickle.dumps(json.loads(json.dumps(result, default=str)))
        except AnsibleError as error:
            answer = pickle.dumps({"failed": True, "msg": f"{called(host, what)}: {error}"})
        except Exception:  # pylint: disable=broad-except
            answer = pickle.dumps({"failed": True, "msg": f"{called(host, what)}: {module_name} broke", "exception": traceback.format_exc()})
        # Whoever was never asked, because the connection could not be set up, says so as well.
        view = memoryview(answer if asked else ASKED + answer)
        while view:
            view = view[os.write(writer, view):]
    finally:
        os._exit(0)


def _run(action: ActionBase, host: str, module_name: str, args: dict[str, t.Any], task_vars: dict[str, t.Any], what: str,
         work: Work | None, ask: t.Callable[[], t.Any]) -> dict[str, t.Any]:
    variables = {name: task_vars[name] for name in ("hostvars", "groups", "group_names", "ansible_version", "vars") if name in task_vars}
    at = _inventory.host_of(host)
    variables.update(task_vars["hostvars"].raw_get(at))
    variables["inventory_hostname"] = at
    variables["ansible_delegated_vars"] = {at: dict(variables)}
    connection = None
    try:
        connection = _connect(action, at, variables)
        action._connection = connection
        action._remote_address = at
        ask()
        if work:
            result = work(args, variables)
        else:
            here = _in_process.run(action, module_name, args) if _in_process.is_here(action, connection, variables) else None
            result = here or _payload.execute(action, module_name, args, variables)
    except AnsibleConnectionFailure as error:
        return {"failed": True, "unreachable_host": True, "msg": f"{called(host, what)} cannot be reached: {error}"}
    finally:
        if connection is not None:
            connection.close()
    if result.pop("unreachable", False):
        result.update(failed=True, unreachable_host=True, msg=f"{called(host, what)} cannot be reached: {result.get('msg', 'no answer')}")
    result.pop("invocation", None)
    # Where a module failed with a sentence this holds the sentence once more, as an object of Ansible's own; a traceback is a text.
    if not isinstance(result.get("exception"), str):
        result.pop("exception", None)
    return result


def _connect(action: ActionBase, host: str, variables: dict[str, t.Any]) -> t.Any:
    """A connection to C(host), set up as the task executor sets up that of a delegated task."""
    templar = action._templar.copy_with_new_env(available_variables=variables)
    action._templar = templar
    context = action._play_context.copy()
    context.remote_addr = None
    action._task.delegate_to = host
    context = context.set_task_and_variable_override(task=action._task, variables=variables, templar=templar)
    context.post_validate(templar=templar)
    if not context.remote_addr:
        context.remote_addr = str(templar.template(variables.get("ansible_host", host)))
    action._play_context = context

    name = templar.template(variables["ansible_connection"]) if variables.get("ansible_connection") else action._task.connection
    connection = connection_loader.get(name, context, new_stdin=None, task_uuid=action._task._uuid, ansible_playbook_pid=str(os.getppid()))
    if connection is None:
        raise AnsibleError(f"the connection plugin '{name}' was not found")

    wanted = variables.get("ansible_become")
    become = boolean(templar.template(wanted)) if wanted is not None else action._task.become
    if become:
        method = templar.template(variables.get("ansible_become_method") or action._task.become_method or C.DEFAULT_BECOME_METHOD)
        plugin = become_loader.get(method)
        connection.set_become_plugin(plugin)
        context.set_become_plugin(plugin.name)
    else:
        connection.set_become_plugin(None)
    context.set_attributes_from_plugin(connection)

    task_keys = action._task.dump_attrs()
    task_keys["timeout"] = context.timeout
    if context.password:
        task_keys["password"] = context.password
    del task_keys["retries"]
    connection.set_options(task_keys=task_keys, var_options=connection._resolve_option_variables(variables, templar))
    _keep_alive(connection, templar.template(variables.get(SILENCE, SILENT)))
    _set_options(connection._shell, "shell", variables, templar, task_keys)
    if connection.become is not None:
        if context.become_pass:
            task_keys["become_pass"] = context.become_pass
        _set_options(connection.become, "become", variables, templar, task_keys)
        for option in ("become_user", "become_flags", "become_exe", "become_pass"):
            if option in connection.become.get_options():
                setattr(context, option, connection.become.get_option(option))
        context.prompt = connection.become.prompt
    return connection


def _keep_alive(connection: t.Any, silence: t.Any) -> None:
    """Let ssh itself find out that a host has fallen silent: a module that waits for it would wait as long as its step may take.

    Whoever has set this up is left alone, and so is every other connection, which has no such thing.
    """
    options = ("ssh_args", "ssh_common_args", "ssh_extra_args")
    if getattr(connection, "transport", None) != "ssh" or any("serveralive" in str(connection.get_option(name) or "").lower() for name in options):
        return
    if not str(silence).isdigit() or int(silence) < 2:
        raise AnsibleError(f"{SILENCE} is {silence!r}; whole seconds from 2 on are accepted")
    # ssh gives up when one more than this many of its questions went unanswered.
    interval = max(1, int(silence) // 5)
    extra = f"{connection.get_option('ssh_extra_args') or ''} -o ServerAliveInterval={interval} -o ServerAliveCountMax={max(1, int(silence) // interval - 1)}"
    connection.set_option("ssh_extra_args", extra.strip())


def _set_options(plugin: t.Any, kind: str, variables: dict[str, t.Any], templar: t.Any, task_keys: dict[str, t.Any]) -> None:
    names = C.config.get_plugin_vars(kind, plugin._load_name)
    plugin.set_options(task_keys=task_keys, var_options={name: templar.template(variables[name]) for name in names if name in variables})
