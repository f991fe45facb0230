# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller of the local stage that can be killed at an observed fact, and others that come after it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import typing as t

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "stage"))

sys.path.insert(0, str(REPO / "tests" / "real"))

import layout  # noqa: E402  pylint: disable=wrong-import-position
import warm  # noqa: E402  pylint: disable=wrong-import-position

STATE = pathlib.Path(layout.STAGE) / "state"
LOCK = STATE / "local-shop.lock"
JOURNAL = STATE / "local-shop.journal"
SPLIT = pathlib.Path(layout.ETC) / "split.map"
POLL = 0.005
# What the hook flag_off makes, behind the deploy's id.
FLAG = "-flag"

# What makes a controller another one: a process namespace, in which nobody can tell whether the holder's process still lives, or a name of its own.
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
MACHINE = ("unshare", "--uts", "sh", "-c", 'hostname another-controller && exec "$@"', "sh")


class Lost(Exception):
    """A run ended, or stood still, before it came to the point."""


def lines_of(path: pathlib.Path) -> list[dict[str, t.Any]]:
    """The whole lines of a file of JSON lines; none while there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n") and line.strip()]


def lock_of() -> str | None:
    """The deploy that holds the lock."""
    try:
        return json.loads(LOCK.read_text(encoding="utf-8"))["deploy_id"]
    except (FileNotFoundError, NotADirectoryError):
        return None


class Controller:
    """One that runs playbooks from a directory, a home and a records directory of its own."""

    def __init__(self, directory: pathlib.Path, where: t.Sequence[str] = ()) -> None:
        self.home = directory / "home"
        self.records = directory / "records"
        self.where = tuple(where)
        # Unprivileged, a user namespace gives what it takes.
        if self.where and os.geteuid():
            self.where = (self.where[0], "--user", "--map-root-user", *self.where[1:])
        self.home.mkdir(parents=True, exist_ok=True)

    def start(self, playbook: str, log: pathlib.Path, **variables: t.Any) -> "Run":
        """Start a playbook. Its deploy_id is the log's name, so that everything it writes is found without guessing."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        env.update(HOME=str(self.home), ANSIBLE_CONFIG=str(REPO / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
        variables = {"deploy_id": log.stem, "deploy_records_dir": str(self.records), **variables}
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", str(REPO / "inventories" / "local"),
                   "zero.downtime." + playbook, "-e", json.dumps(variables)]
        process: "subprocess.Popen[bytes] | warm.Process"
        with open(log, "wb") as output:
            if self.where:
                process = subprocess.Popen([*self.where, *command], cwd=self.home, env=env, stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=subprocess.STDOUT, start_new_session=True)
            else:
                process = warm.start(command, str(self.home), env, output, new_session=True)
        return Run(process, log, self.records, variables["deploy_id"])

    def play(self, playbook: str, log: pathlib.Path, timeout: float = 240, **variables: t.Any) -> "Run":
        """Run a playbook to its end."""
        run = self.start(playbook, log, **variables)
        try:
            run.process.wait(timeout)
        finally:
            run.kill("tree")
        return run


class Run:
    """A run of ansible-playbook, and what can be seen of it."""

    def __init__(self, process: "subprocess.Popen[bytes] | warm.Process", log: pathlib.Path, records: pathlib.Path, deploy_id: str) -> None:
        self.process = process
        self.log = log
        self.deploy_id = deploy_id
        self.dir = records / ".running" / deploy_id
        self.record = records / (deploy_id + ".json")

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def sentence(self) -> str:
        """Its last message: how it ended."""
        found = re.findall(r'"msg": ("(?:[^"\\]|\\.)*")', self.output)
        return json.loads(found[-1]) if found else self.output[-300:]

    def wait_for(self, fact: "Fact", timeout: float = 120) -> None:
        """Until the fact can be seen. The run must not end before."""
        end = time.monotonic() + timeout
        while not fact(self):
            # What was the last that it did may have come between the two looks.
            if self.process.poll() is not None and not fact(self):
                raise Lost(f"it ended with {self.process.returncode} before that: {self.sentence}")
            if time.monotonic() > end:
                raise Lost(f"it did not come to that within {timeout:g} s")
            time.sleep(POLL)

    def kill(self, how: str) -> None:
        """SIGKILL for the process alone, or for the tree: all that it started, as when its container dies."""
        if self.process.poll() is None:
            for pid in [self.process.pid] if how == "process" else tree_of(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()


def tree_of(pid: int) -> list[int]:
    """A process and all its descendants, each of them stopped, so that none starts another while they are looked for.

    Applications that a service manager's part of the stage has just started are the host's, not the controller's.
    """
    found: list[int] = []
    more = [pid]
    while more:
        for one in more:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGSTOP)
        found += more
        hosts = {one.pid for one in layout.member_processes()}
        more = [one.pid for one in layout.processes() if one.ppid in found and one.pid not in found and one.pid not in hosts]
    return found


# What can be observed of a run, asked again and again until it is so.
Fact = t.Callable[[Run], bool]


def event(step: str, what: str, batch: int | None = None, nth: int = 1) -> Fact:
    """The n-th event of that kind in the run's own file."""
    def seen(run: Run) -> bool:
        return sum((one["step"], one["event"], one.get("batch")) == (step, what, batch) for one in lines_of(run.dir / "events.jsonl")) >= nth
    return seen


def file(name: str) -> Fact:
    """A file among the run's working files."""
    return lambda run: (run.dir / name).exists()


def journal(state: str, nth: int = 1) -> Fact:
    """The run's n-th move of that kind is written down, and about to be made."""
    return lambda run: sum((one.get("deploy_id"), one.get("state")) == (run.deploy_id, state) for one in lines_of(JOURNAL)) >= nth


def shares_journal(nth: int = 1) -> Fact:
    """The run's n-th change of the shares is written down, and about to be made."""
    return lambda run: sum(one.get("deploy_id") == run.deploy_id and bool(one.get("shares")) for one in lines_of(JOURNAL)) >= nth


def flagged(run: Run) -> bool:
    """The hook flag_off has run."""
    return run.log.with_name(run.deploy_id + FLAG).exists()


def serving_side() -> str:
    """The side that the balancer's file sends every request to."""
    return "green" if SPLIT.read_text(encoding="utf-8").split()[1] == "100" else "blue"


def ended(member: str) -> Fact:
    """Nothing of a member runs on the side that is idle then."""
    return lambda _run: not layout.member_processes(member, idle_side())


def after(first: Fact, then: Fact) -> Fact:
    """What may be so from the beginning, once the other is so."""
    return lambda run: first(run) and then(run)


def idle_side() -> str:
    return next(side for side in layout.SLOTS if side != serving_side())


def locked(run: Run) -> bool:
    """The lock is the run's."""
    return lock_of() == run.deploy_id


def unlocked(run: Run) -> bool:
    """The lock was the run's, since it has written its record, and is not any more."""
    return run.record.exists() and lock_of() != run.deploy_id


def record(ending: str) -> Fact:
    """The record is written: C(.json), and then C(.html), the last thing before the lock is given back."""
    return lambda run: run.record.with_suffix(ending).exists()


def linked(member: str, turn: int = 1, slot: str = "blue") -> Fact:
    """The slot of a member leads elsewhere than when this was first asked, for the n-th time: its service is about to be restarted."""
    seen: list[str | None] = []

    def changed(_run: Run) -> bool:
        place = os.path.join(layout.HOSTS, member, "srv", slot)
        now = os.readlink(place) if os.path.islink(place) else None
        if not seen or seen[-1] != now:
            seen.append(now)
        return len(seen) > turn
    return changed
