# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every living worker of one HAProxy, since after a reload no single one knows all requests. Private to the collection.

The runtime socket is answered by the newest worker. Workers from before a reload go on with their requests; the master's socket
reaches them, and without it they are found as processes, where they can only be waited for.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Client, Gone, Refused, Worker, is_tcp, parse_info, parse_proc

SESSION = re.compile(r"(0x[0-9a-f]+): .*? be=(\S+) srv=(\S+) ")
LOCAL = ("127.", "localhost:", "[::1]:", "::1:")


def master_socket(argv: t.Sequence[str]) -> str | None:
    """The path after C(-S) of a haproxy command line."""
    for word, after in zip(argv, argv[1:]):
        if word == "-S":
            return after.split(",")[0]
    return None


class Processes:
    """The few facts about processes that are needed, from /proc."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def _read(self, pid: int, name: str) -> str:
        with open(os.path.join(self.root, str(pid), name), encoding="utf-8", errors="replace") as handle:
            return handle.read()

    def stat(self, pid: int) -> tuple[str, str, int] | None:
        """Name, state and parent; None when there is no such process (that we may see)."""
        try:
            text = self._read(pid, "stat")
        except OSError:
            return None
        name, dummy, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        return name, fields[0], int(fields[1])

    def argv(self, pid: int) -> list[str]:
        try:
            return self._read(pid, "cmdline").rstrip("\0").split("\0")
        except OSError:
            return []

    def cwd(self, pid: int) -> str:
        try:
            return os.readlink(os.path.join(self.root, str(pid), "cwd"))
        except OSError:
            return "/"

    def pids(self) -> list[int]:
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def old_workers(self, current: int) -> list[int] | None:
        """Pids of the other workers of the HAProxy whose newest worker is C(current); None when that is not a process seen from here."""
        found = self.stat(current)
        if found is None or "haproxy" not in found[0]:
            return None
        name, dummy, parent = found
        family = {pid: entry for pid, entry in ((pid, self.stat(pid)) for pid in self.pids()) if entry and entry[0] == name and entry[1] not in "ZX"}
        if parent in family:
            return sorted(pid for pid, entry in family.items() if entry[2] == parent and pid != current)
        # Without a master ("haproxy -D -sf …") the workers have in common what they were started with.
        files = config_files(self.argv(current))
        masters = {entry[2] for entry in family.values()}
        return sorted(pid for pid, entry in family.items()
                      if pid != current and pid not in masters and entry[2] not in family and config_files(self.argv(pid)) == files)


def config_files(argv: t.Sequence[str]) -> list[str]:
    """The C(-f) arguments of a haproxy command line."""
    found: list[str] = []
    taking = False
    for word in argv[1:]:
        if word == "-f":
            taking = True
        elif word == "--":
            found += argv[list(argv).index("--") + 1:]
            break
        elif word.startswith("-"):
            taking = False
        elif taking:
            found.append(word)
            taking = False
    return found


class Snapshot(t.NamedTuple):
    """What all workers said at one moment.

    :param current: pid of the worker that the runtime socket reaches: its change voids what was set and seen before.
    :param replies: the newest worker's replies.
    :param old: replies of the workers from before a reload, by pid.
    :param unreadable: pids of old workers that live and cannot be asked.
    """

    current: int
    info: dict[str, str]
    replies: list[str]
    workers: list[Worker]
    old: dict[int, list[str]]
    unreadable: list[int]

    @property
    def identity(self) -> dict[str, t.Any]:
        """The newest worker, told apart from a later one that happens to get its pid."""
        return {"pid": self.current, "started": self.info.get("Start_time_sec", "")}


class Balancer:
    """One HAProxy: its newest worker, and what is left of the ones before."""

    def __init__(self, runtime: Client, master: Client | None = None, old_workers: str = "wait", processes: Processes | None = None,
                 clock: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.runtime, self.master, self.policy = runtime, master, old_workers
        self.processes = processes or Processes()
        self.clock, self.sleep = clock, sleep
        self._known_old: list[int] = []
        self._answered = False

    def look(self, commands: t.Sequence[str], old_commands: t.Sequence[str] = ()) -> Snapshot:
        """Ask the newest worker C(commands) and every older one C(old_commands)."""
        deadline = self.clock() + self.runtime.timeout
        while True:
            try:
                replies = self.runtime.ask_all(["show info", *commands])
            except Refused:
                # One that has answered before may be in the middle of a reload; one that has not is simply not there.
                if not self._answered or self.clock() >= deadline:
                    raise
                self.sleep(0.02)
                continue
            self._answered = True
            info = parse_info(replies[0])
            if not info.get("Pid", "").isdigit():
                raise DowntimeError(f"{self.runtime.label} answered 'show info' with: {replies[0][:200] or 'nothing'}")
            pid = int(info["Pid"])
            if self.master is None:
                return self._without_master(pid, info, replies[1:])
            workers, old = self._ask_master(self.master, old_commands, deadline)
            # In the middle of a reload the socket may still be the old worker's: then neither view is whole.
            if any(worker.pid == pid for worker in workers) and not any(worker.current and worker.pid != pid for worker in workers):
                seen = [worker._replace(current=worker.pid == pid) for worker in workers]
                old.pop(pid, None)
                return Snapshot(pid, info, replies[1:], seen, old, [])
            if self.clock() >= deadline:
                raise DowntimeError(
                    f"{self.master.label} lists the workers {', '.join(str(worker.pid) for worker in workers) or 'none'}, "
                    f"but worker {pid} answers on {self.runtime.label}: they are two different haproxy, or a reload does not end")
            self.sleep(0.02)

    def _ask_master(self, master: Client, commands: t.Sequence[str], deadline: float) -> tuple[list[Worker], dict[int, list[str]]]:
        while True:
            wanted = self._known_old
            try:
                replies = master.ask(["show proc", *(f"@!{pid} {command}" for pid in wanted for command in commands)])
            except (Gone, Refused) as error:
                # A worker that has just left ends the connection, and so does a master that executes itself again.
                if self.clock() >= deadline:
                    if isinstance(error, Refused):
                        raise
                    raise DowntimeError(f"{master.label} closed the connection without a whole reply"
                                        + (f"; it said: {error.text}" if error.text else "")) from error
                self._known_old = []
                self.sleep(0.01)
                continue
            workers = parse_proc(replies[0])
            if not workers:
                raise DowntimeError(f"{master.label} answered 'show proc' with: {replies[0][:200] or 'nothing'}; the master's socket (haproxy -S) is needed")
            old = [worker.pid for worker in workers if not worker.current]
            if set(old) <= set(wanted) or not commands:
                size = len(commands)
                by_pid = {pid: replies[1 + n * size:1 + (n + 1) * size] for n, pid in enumerate(wanted)}
                self._known_old = old
                return workers, {pid: by_pid[pid] for pid in old} if commands else {pid: [] for pid in old}
            self._known_old = old

    def _without_master(self, pid: int, info: dict[str, str], replies: list[str]) -> Snapshot:
        me = Worker(pid, True, int(info.get("Uptime_sec") or 0))
        if self.policy == "ignore":
            return Snapshot(pid, info, replies, [me], {}, [])
        remote = is_tcp(self.runtime.address) and not self.runtime.address.startswith(LOCAL) and not self.runtime.command
        old = None if remote else self.processes.old_workers(pid)
        if old is None:
            raise DowntimeError(
                f"worker {pid} behind {self.runtime.label} is not a process that can be seen here, so workers from before a reload, which may still hold "
                "requests, cannot be found; name master_socket (haproxy -S), or set old_workers to ignore where haproxy is never reloaded")
        return Snapshot(pid, info, replies, [me, *(Worker(other, False, 0) for other in old)], {}, old)

    def command(self, commands: t.Sequence[str]) -> int:
        """Send commands that answer nothing when they succeed; return the pid of the worker that took them.

        Anything else is a failure that names the command and the reply.
        """
        replies = self.runtime.ask_all([*commands, "show info"])
        for command, reply in zip(commands, replies):
            if reply:
                raise DowntimeError(f"haproxy refused '{command}': {' '.join(reply.split())[:300]}")
        return int(parse_info(replies[-1]).get("Pid") or 0)

    def command_old(self, pid: int, command: str) -> str:
        """Send a command to a worker from before a reload; what it answers, or that it has left, is for whoever asks it again."""
        if self.master is None:
            raise AssertionError("old workers are reached through the master's socket only")
        try:
            return self.master.ask([f"@!{pid} {command}"])[0]
        except Gone:
            return ""

    def cut(self, places: t.Sequence[tuple[str, str]], old: t.Iterable[int]) -> None:
        """Shut the sessions of servers (pool and name), in the newest worker and in each older one."""
        self.command([f"shutdown sessions server {pool}/{name}" for pool, name in places])
        if self.master is None:
            return
        wanted = set(places)
        for pid in old:
            try:
                # A stopping worker refuses commands about its servers ("Proxy is disabled."), but not about its sessions.
                found = [SESSION.match(line) for line in self.master.ask([f"@!{pid} show sess"])[0].splitlines()]
                pointers = [hit.group(1) for hit in found if hit and (hit.group(2), hit.group(3)) in wanted]
                if pointers:
                    self.master.ask([f"@!{pid} shutdown session {pointer}" for pointer in pointers])
            except Gone:
                continue  # the worker has left, and its sessions with it
