# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of the local stage lie, and which processes belong to it.

inventories/local/group_vars/all.yml says the same in Ansible's words; tests/real/stage compares the two.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.join(REPO, "build")
STAGE = os.path.join(BUILD, "stage")
HOSTS = os.path.join(STAGE, "hosts")
ETC = os.path.join(STAGE, "etc")
LOG = os.path.join(STAGE, "log")
PIDS = os.path.join(STAGE, "pids")
CONFIG = os.path.join(ETC, "haproxy.cfg")
HAPROXY_PID = os.path.join(PIDS, "haproxy.pid")
ARTIFACTS = os.path.join(BUILD, "artifacts")
RECORDS = os.path.join(BUILD, "records")

PORT = 8080
STATS_PORT = 8404
SLOTS = {"blue": 8100, "green": 8200}
MEMBERS = ("app1", "app2", "app3", "app4")

# States of a process that has ended.
DEAD = ("Z", "X")

# sockaddr_un holds 108 bytes, and HAProxy binds to a longer name first ("….sock.12345.tmp").
LONGEST_RUN = 80


def run_dir(stage: str = STAGE) -> str:
    """The directory of the sockets: in the stage, or, where that path is too long for a socket, a short one made from it."""
    inside = os.path.join(stage, "run")
    if len(inside.encode()) <= LONGEST_RUN:
        return inside
    return "/tmp/zero-downtime-" + hashlib.sha1(stage.encode()).hexdigest()[:12]


def isolates() -> bool:
    """Whether several stages can be up at the same time, each in a room of its own (tests/bin/isolated)."""
    if os.geteuid() or run_dir() != os.path.join(STAGE, "run"):
        # Sockets that lie outside of the stage, because its path is too long, are the same for all.
        return False
    try:
        return subprocess.run(["unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def port(member: str, slot: str) -> int:
    return SLOTS[slot] + 1 + MEMBERS.index(member)


def off_file(member: str, slot: str) -> str:
    return os.path.join(HOSTS, member, slot + ".off")


def hold_file(member: str, slot: str) -> str:
    """While it is there, requests for /held are not answered."""
    return os.path.join(HOSTS, member, slot + ".hold")


@dataclass(frozen=True)
class Process:
    pid: int
    ppid: int
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return "%d (%s)" % (self.pid, " ".join(self.argv)[:160])


def _stat(pid: str) -> tuple[str, str]:
    """A process's state and its parent."""
    with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as file:
        state, ppid = file.read().rsplit(")", 1)[1].split()[:2]
    return state, ppid


def lives(process: Process) -> bool:
    """Whether it has not ended yet: far cheaper than to look at every process once more."""
    try:
        return _stat(str(process.pid))[0] not in DEAD
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes() -> list[Process]:
    """Every living process of this user. A zombie has ended: nobody here has to collect it."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat("/proc/" + name).st_uid != os.getuid():
                continue
            with open("/proc/%s/cmdline" % name, "rb") as file:
                argv = tuple(part.decode(errors="replace") for part in file.read().rstrip(b"\0").split(b"\0"))
            state, ppid = _stat(name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we were reading
        if argv != ("",) and state not in DEAD:
            found.append(Process(int(name), int(ppid), argv))
    return found


def balancer_processes() -> list[Process]:
    return [p for p in processes() if os.path.basename(p.argv[0]) == "haproxy" and CONFIG in p.argv]


def pid_file(member: str, slot: str) -> str:
    return os.path.join(PIDS, "%s-%s.pid" % (member, slot))


def member_processes(member: str | None = None, slot: str | None = None) -> list[Process]:
    """Gunicorn's master and workers all keep the command line that names their pid file."""
    wanted = [pid_file(m, s) for m in MEMBERS for s in SLOTS if member in (None, m) and slot in (None, s)]
    return [p for p in processes() if "gunicorn" in p.argv and any(path in p.argv for path in wanted)]


def stop_with_sentence(message: str) -> None:
    sys.stderr.write("stage: %s\n" % message)
    raise SystemExit(1)
