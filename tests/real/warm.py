# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook that do not import Ansible again each time: a process that has imported it forks a child for each run.

Nothing of a run can reach the next one, since each begins as a fresh copy of a process in which no playbook has ever run. What Ansible reads
while it is imported (its settings, the home directory) is the same for all runs of one such process; each environment gets one of its own.

What Ansible works out of files alone, and would work out again in each run, is kept for the next one: what it has compiled (keeping.py), and the
archives that it packs modules into.

C(start) is what tests call. C(warm.py FD) is the process itself.
"""

from __future__ import annotations

import array
import atexit
import gc
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "suite", "keeping"))

import keeping  # noqa: E402  pylint: disable=wrong-import-position

# Imported by every run, and nothing of a run's own.
IMPORTS = (
    "ansible.cli.playbook", "ansible.executor.module_common", "ansible.executor.playbook_executor", "ansible.module_utils.basic",
    "ansible.playbook.role_include", "ansible.plugins.action.normal", "ansible.plugins.callback.default", "ansible.plugins.connection.local",
    "ansible.plugins.connection.ssh", "ansible.plugins.inventory.auto", "ansible.plugins.inventory.host_list", "ansible.plugins.inventory.ini",
    "ansible.plugins.inventory.yaml", "ansible.plugins.shell.sh", "ansible.plugins.strategy.linear", "ansible.plugins.vars.host_group_vars",
    "asyncio", "concurrent.futures", "http.client", "ssl", "urllib.request",
)


# Where Ansible keeps the archives of modules, in a run's temporary directory.
ARCHIVES = "ansiballz_cache"


class Process:
    """A run: what C(subprocess.Popen) offers of it, and nothing that a fork of another process could not offer."""

    def __init__(self, args: t.Sequence[str], server: "Server") -> None:
        self.args = list(args)
        self.pid = 0
        self.returncode: int | None = None
        self._server = server
        self._begun, self._ended = threading.Event(), threading.Event()

    def began(self, pid: int) -> None:
        self.pid = pid
        self._begun.set()

    def ended(self, code: int) -> None:
        self.returncode = code
        self._begun.set()
        self._ended.set()

    def wait_begun(self) -> None:
        self._begun.wait()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Server:
    """The process that forks, and the thread that hears of its children's ends."""

    def __init__(self, environment: t.Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(theirs.fileno())], env=dict(environment),
                                            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._numbers = itertools.count(1)
        self._runs: dict[int, Process] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._hear, daemon=True).start()

    def start(self, argv: t.Sequence[str], cwd: str, environment: t.Mapping[str, str], output: int, new_session: bool) -> Process:
        run = Process(argv, self)
        with self._lock:
            number = next(self._numbers)
            self._runs[number] = run
            message = json.dumps({"run": number, "argv": list(argv), "cwd": cwd, "env": dict(environment), "session": new_session}).encode()
            self._socket.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))])
        run.wait_begun()
        return run

    def _hear(self) -> None:
        while message := _received(self._socket):
            said = json.loads(message)
            run = self._runs[said["run"]]
            if "pid" in said:
                run.began(said["pid"])
            else:
                run.ended(said["code"])
        for run in self._runs.values():
            if run.returncode is None:
                run.ended(-signal.SIGKILL)

    def close(self) -> None:
        # Closing alone would leave the thread that listens where it is.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.process.wait()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


_SERVERS: dict[tuple[tuple[str, str], ...], Server] = {}
_LOCK = threading.Lock()


def start(argv: t.Sequence[str], cwd: str, environment: t.Mapping[str, str], output: t.Any, new_session: bool = False) -> Process:
    """Start C(argv), which is ansible-playbook and its arguments; what it prints goes to C(output), as with C(subprocess.Popen)."""
    environment = keeping.environment(environment)
    # What Ansible or Python read before the run's own environment is there.
    key = tuple(sorted((name, value) for name, value in environment.items()
                       if name.startswith(("ANSIBLE_", "PYTHON", "LC_")) or name in ("HOME", "LANG", "TMPDIR")))
    with _LOCK:
        if key not in _SERVERS:
            if not _SERVERS:
                atexit.register(close)
            _SERVERS[key] = Server(environment)
    server = _SERVERS[key]
    if output is subprocess.DEVNULL:
        with open(os.devnull, "wb") as nowhere:
            return server.start(argv, cwd, environment, nowhere.fileno(), new_session)
    return server.start(argv, cwd, environment, output.fileno(), new_session)


def close() -> None:
    """End the processes that fork, and the runs that have not ended."""
    for server in _SERVERS.values():
        server.close()
    _SERVERS.clear()


# -- the process that forks -------------------------------------------------------------------------------------------
def _child(message: dict[str, t.Any], output: int, connection: socket.socket, mine: t.Iterable[int]) -> t.NoReturn:
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    if message["session"]:
        os.setsid()
    # It tells of itself, so that what was asked of it is so when its start returns.
    connection.send(json.dumps({"run": message["run"], "pid": os.getpid()}).encode())
    os.chdir(message["cwd"])
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in (*mine, output):
        if fd > 2:
            os.close(fd)
    os.environ.clear()
    os.environ.update(message["env"])
    # The temporary directory of the process that forks is not this run's to remove.
    atexit._clear()  # type: ignore[attr-defined]  # pylint: disable=protected-access
    code = 250
    try:
        from ansible import constants  # pylint: disable=import-outside-toplevel
        from ansible.cli.playbook import PlaybookCLI  # pylint: disable=import-outside-toplevel
        shared = os.path.join(constants.DEFAULT_LOCAL_TMP, ARCHIVES)
        constants.DEFAULT_LOCAL_TMP = constants.config.get_config_value("DEFAULT_LOCAL_TMP", variables=vars(constants))
        os.symlink(shared, os.path.join(constants.DEFAULT_LOCAL_TMP, ARCHIVES))
        sys.argv = message["argv"]
        try:
            PlaybookCLI.cli_executor(message["argv"])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        atexit._run_exitfuncs()  # pylint: disable=protected-access
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _collect(connection: socket.socket, runs: dict[int, int]) -> None:
    """Tell of each child that has ended."""
    while runs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        connection.send(json.dumps({"run": runs.pop(pid), "code": os.waitstatus_to_exitcode(status)}).encode())


def _serve(fd: int) -> None:
    for name in IMPORTS:
        __import__(name)
    keeping.in_collections()
    os.mkdir(os.path.join(sys.modules["ansible.constants"].DEFAULT_LOCAL_TMP, ARCHIVES))
    gc.collect()
    gc.freeze()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_args: None)
    connection = socket.socket(fileno=fd)
    runs: dict[int, int] = {}
    while True:
        ready, _write, _error = select.select([connection, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _collect(connection, runs)
        if connection not in ready:
            continue
        message, ancillary, _flags, _address = connection.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if not message:
            break
        (output,) = array.array("i", ancillary[0][2])
        said = json.loads(message)
        pid = os.fork()
        if not pid:
            _child(said, output, connection, (connection.fileno(), ended, wake))
        os.close(output)
        runs[pid] = said["run"]
        _collect(connection, runs)
    # Whoever asked for these runs has gone.
    for pid in runs:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 10
    while runs and time.monotonic() < end:
        pid, _status = os.waitpid(-1, os.WNOHANG)
        runs.pop(pid, None)
        time.sleep(0.05)
    for pid in runs:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
