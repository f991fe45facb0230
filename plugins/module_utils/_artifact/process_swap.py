# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Swapping the process behind a port: the new release is ready before the old one goes. Private to the collection.

Two methods. C(command) sends a server the signals of its own upgrade, as data: a preset, or steps of the user's. C(systemd_socket) keeps the listening
socket with systemd, and lets a second unit on the same socket serve while the first one restarts.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.zero.downtime.plugins.module_utils._argv import argv_of
from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service
from ansible_collections.zero.downtime.plugins.module_utils._artifact.process_swap_options import PRESETS, UNTIL, signal_of
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url

_POLL = 0.02
PASSES = 5


# --- processes ----------------------------------------------------------------------------------------------------------


class Process(t.NamedTuple):
    """A process, told from a later one with the same id by when it started."""

    pid: int
    started: str


class Processes:
    """The processes of this host, as /proc tells them."""

    def find(self, pid: int) -> Process | None:
        fields = self._stat(pid)
        # A zombie answers to its id but runs no more.
        return None if fields is None or fields[0] in ("Z", "X") else Process(pid, fields[19])

    def alive(self, process: Process) -> bool:
        return self.find(process.pid) == process

    def named_by(self, path: str) -> Process | None:
        """The living process that a pid file names; None when there is neither."""
        try:
            with open(path, encoding="ascii", errors="replace") as handle:
                text = handle.read(64).strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DowntimeError(f"{path} cannot be read: {error.strerror or error}") from error
        # Empty for a moment while its server writes it.
        if not text:
            return None
        if not text.isdigit():
            raise DowntimeError(f"{path} holds {text!r}; the id of a process is accepted")
        return self.find(int(text))

    def command_line(self, pid: int) -> str:
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as handle:
                return handle.read().replace("\0", " ").strip()
        except OSError:
            return ""

    def children(self, pid: int) -> list[int]:
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                fields = self._stat(int(name))
                if fields and fields[0] not in ("Z", "X") and fields[1] == str(pid):
                    found.append(int(name))
        return found

    def send(self, process: Process, number: signal.Signals) -> None:
        if self.alive(process):
            os.kill(process.pid, number)

    @staticmethod
    def _stat(pid: int) -> list[str] | None:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
                return handle.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return None


# --- the port -----------------------------------------------------------------------------------------------------------


class Watch:
    """Asks the port all the time, each time on a fresh connection: how long it did not answer, and whether a question was lost."""

    def __init__(self, ask: t.Callable[[], t.Any], clock: t.Callable[[], float], sleep: t.Callable[[float], None]) -> None:
        self.ask, self.clock, self.sleep = ask, clock, sleep
        self.asked = self.failed = 0
        self.pause = 0.0
        self.waiting: float | None = None

    def once(self) -> None:
        asked_at = self.clock()
        if self.waiting is None:
            self.waiting = asked_at
        self.asked += 1
        try:
            self.ask()
        except Exception:  # pylint: disable=broad-except
            # urllib lets errors of many kinds through; whichever it is, there was no answer.
            self.failed += 1
            self.pause = max(self.pause, self.clock() - self.waiting)
            return
        self.pause = max(self.pause, self.clock() - self.waiting)
        self.waiting = None

    def run(self, ending: threading.Event) -> None:
        while not ending.is_set():
            self.once()
            self.sleep(_POLL)
        # The last question is one that was asked when all was over.
        self.once()

    def told(self) -> dict[str, t.Any]:
        pause = round(self.pause * 1000)
        lost = "no errors" if not self.failed else f"{self.failed} of {self.asked} questions got no answer"
        return {"pause_ms": pause, "asked": self.asked, "failed": self.failed, "summary": f"{lost}, {pause} ms pause"}


def in_background(work: t.Callable[[threading.Event], None]) -> t.Callable[[], None]:
    """Run C(work) in a thread; what is returned ends it and waits for its end."""
    ending = threading.Event()
    thread = threading.Thread(target=work, args=(ending,), daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        thread.join()

    return end


@dataclasses.dataclass
class Port:
    """What answers where the service is asked, and how long to wait for it."""

    read: t.Callable[[], dict[str, t.Any]]
    url: str
    passes: int
    timeout: float
    interval: float
    clock: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep
    # As ready as the service was when the swap began: a member that is drained by its own health check calls itself not ready.
    demand: bool = True

    def begin(self) -> None:
        self.demand = _good(self.read())

    def shows(self, answer: t.Mapping[str, t.Any], digest: str) -> bool:
        return answer["digest"] == digest and (not self.demand or _good(answer))

    def settled(self, digest: str) -> str | None:
        """None once the digest was answered C(passes) times in a row; what else was answered when time was over."""
        end = self.clock() + self.timeout
        row = 0
        while True:
            answer = self.read()
            row = row + 1 if self.shows(answer, digest) else 0
            if row >= self.passes:
                return None
            if self.clock() >= end:
                return str(answer["detail"])
            self.sleep(self.interval if row == 0 else _POLL)


def _good(answer: t.Mapping[str, t.Any]) -> bool:
    return answer["status"] is not None and answer["status"] < 400


class Failed(Exception):
    """A swap that did not succeed; the text says why."""

    def __init__(self, message: str, rc: int | None = None, output: str = "") -> None:
        super().__init__(message)
        self.details: dict[str, t.Any] = {"rc": rc, "output": output} if output else {}


class Job(t.NamedTuple):
    """One swap: to which digest, seen through which port, with what in the commands' environment, and where they run."""

    digest: str
    port: Port
    env: dict[str, str]
    root: str


Runner = t.Callable[..., "tuple[int | None, str]"]


# --- by command ---------------------------------------------------------------------------------------------------------


class CommandSwap:
    """The server's own upgrade, told by signals and commands."""

    method = "command"

    def __init__(self, options: t.Mapping[str, t.Any], run: Runner, processes: Processes) -> None:
        preset = PRESETS.get(options.get("preset") or "", {})
        self.run, self.processes = run, processes
        self.timeout: float = options.get("timeout") or 120.0
        self.pidfile: str = options["pidfile"]
        self.new_pidfile = (preset.get("new_pidfile") or options.get("new_pidfile") or "{pidfile}").replace("{pidfile}", self.pidfile)
        self.old_pidfile: str | None = options.get("old_pidfile")
        self.process: str | None = preset.get("process") or options.get("process")
        self.steps: list[dict[str, t.Any]] = preset.get("steps") or options["steps"]
        self.undoing: list[dict[str, t.Any]] = preset.get("undo") or options.get("undo") or []
        self.warnings: list[str] = []
        self.old: Process | None = None
        self.new: Process | None = None
        self.final = False

    def pair(self) -> tuple[Process | None, Process | None]:
        """The process that serves, and one beside it that an unfinished swap left."""
        aside = self.processes.named_by(self.old_pidfile) if self.old_pidfile else None
        named = self.processes.named_by(self.pidfile)
        if aside:
            return aside, named if named != aside else None
        other = self.processes.named_by(self.new_pidfile)
        if named is None and other is not None:
            # The old one has ended, and the new one is about to take its file.
            return other, None
        return named, other if other != named else None

    def is_up(self) -> bool:
        return self.pair()[0] is not None

    def cost(self, summary: str) -> str | None:
        """What the user has to be told of the way itself."""
        del summary
        return None

    def refuse(self, answer: t.Mapping[str, t.Any], url: str) -> None:
        """Raise DowntimeError when what serves cannot be swapped."""
        old, dummy = self.pair()
        if old is None:
            if answer["status"] is not None:
                raise DowntimeError(f"service.pidfile {self.pidfile} names no running process, but {url} answers: a server without a pid file cannot be "
                                    "swapped; start it with one (gunicorn --pid), once with a restart")
            return
        line = self.processes.command_line(old.pid)
        if self.process and not _runs(self.process, line):
            raise DowntimeError(f"service.pidfile {self.pidfile} names process {old.pid}, which is '{line[:100]}' and no {self.process}; "
                                f"the pid file of a running {self.process} is accepted")

    def leftover(self) -> bool:
        return self.pair()[1] is not None

    def busy(self) -> str:
        old, new = self.pair()
        return (f"service.pidfile {self.pidfile}: process {old.pid if old else '?'} still finishes its requests beside {new.pid if new else '?'}, from the "
                "swap before; another swap is possible when it has ended")

    def go(self, job: Job, resume: bool) -> None:
        self.old, self.new = self.pair()
        steps = list(self.steps)
        finals = [index for index, step in enumerate(steps) if step.get("final")]
        final = finals[0] if finals else max((index for index, step in enumerate(steps) if "until" not in step), default=-1)
        first = 0
        if resume:
            # The new process is there already; what asked for it must not be asked again.
            first = next((index for index, step in enumerate(steps) if step.get("until") == "new"), 0)
        for index in range(first, len(steps)):
            if index == final:
                self.final = True
            self._step(steps[index], job)

    def undo(self, job: Job) -> list[str]:
        """Let the old process serve on; what did not work. The slot's link leads to its release again."""
        problems = []
        old, new = self.pair()
        self.old, self.new = self.old or old, self.new or new
        for step in self.undoing:
            try:
                self._step(step, job)
            except Failed as error:
                problems.append(str(error))
        return problems

    def _step(self, step: t.Mapping[str, t.Any], job: Job) -> None:
        if step.get("only_if") == "old_idle" and (self.old is None or self._workers()):
            return
        if "signal" in step:
            self._signal(step)
        elif "command" in step:
            argv = t.cast("list[str]", argv_of("service.steps.command", step["command"]))
            env = dict(job.env, OLD_PID=str(self.old.pid) if self.old else "", NEW_PID=str(self.new.pid) if self.new else "")
            rc, output = self.run(argv, self.timeout, env, job.root)
            if rc != 0:
                how = f"did not end within {self.timeout:g} s (service.timeout)" if rc is None else f"failed with rc {rc}"
                raise Failed(f"{' '.join(argv)} {how}: {_service.tail(output)}", rc, output)
        else:
            self._until(step, job)

    def _workers(self) -> list[int]:
        new = self.new.pid if self.new else None
        return [pid for pid in self.processes.children(t.cast(Process, self.old).pid) if pid != new]

    def _signal(self, step: t.Mapping[str, t.Any]) -> None:
        who = step.get("to", "old")
        process = self.old if who == "old" else self.new
        if process is None:
            return
        number = signal_of(step["signal"], "service.steps")
        try:
            self.processes.send(process, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise Failed(f"{number.name} cannot be sent to the {who} process {process.pid}, which belongs to another user") from None

    def _until(self, step: t.Mapping[str, t.Any], job: Job) -> None:
        what, port = step["until"], job.port
        limit = step.get("timeout") or (port.timeout if what in ("new", "ready", "only_new") else self.timeout)
        if what == "only_new":
            last = dataclasses.replace(port, timeout=limit).settled(job.digest)
            if last is not None:
                raise Failed(f"{port.url} answered {last!r} last, {limit:g} s after the old process was asked to go")
            return
        end = port.clock() + limit
        seen: dict[str, t.Any] = {"good": 0, "detail": None}
        while not self._holds(what, job, seen):
            if what == "ready" and self.new and not self.processes.alive(self.new):
                raise Failed(f"the new process {self.new.pid} ended by itself before it was ready")
            if port.clock() >= end:
                if self.final and what in ("old_gone", "pidfile"):
                    self.warnings.append(f"{limit:g} s after it was asked to go, the old process {self.old.pid if self.old else '?'} still finishes requests; "
                                         "the new one serves, and the next swap has to wait for its end")
                    return
                detail = f" (its last answer was {seen['detail']!r})" if seen["detail"] else ""
                raise Failed(f"after {limit:g} s {UNTIL[what]}{detail}")
            port.sleep(_POLL)

    def _holds(self, what: str, job: Job, seen: dict[str, t.Any]) -> bool:
        processes = self.processes
        if what == "new":
            if self.new is None:
                # The old one may have been named by another file before.
                named = processes.named_by(self.new_pidfile)
                self.new = named if named != self.old else None
            return self.new is not None
        if what == "old_gone":
            return self.old is None or not processes.alive(self.old)
        if what == "new_gone":
            return self.new is None or not processes.alive(self.new)
        if what == "pidfile":
            return processes.named_by(self.pidfile) == self.new
        answer = job.port.read()
        if answer["digest"] == job.digest:
            seen["detail"] = answer["detail"]
            # Each answer that is not good counts against those that are: some of its workers are not ready.
            seen["good"] = seen["good"] + 1 if job.port.shows(answer, job.digest) else 0
        return seen["good"] >= job.port.passes


# --- by systemd's socket ------------------------------------------------------------------------------------------------


class SocketSwap:
    """The socket stays with systemd; a second unit on it serves while the first one restarts, or connections wait."""

    method = "systemd_socket"

    def __init__(self, options: t.Mapping[str, t.Any], run: Runner, read_ready: t.Callable[[str], dict[str, t.Any]]) -> None:
        self.run, self.read_ready = run, read_ready
        self.timeout: float = options.get("timeout") or 120.0
        self.systemctl = ["systemctl"] + (["--user"] if options.get("scope") == "user" else [])
        self.unit: str = options["unit"]
        self.socket: str = options["socket"]
        self.overlap: str | None = options.get("overlap")
        self.ready_url: str | None = options.get("ready_url")
        self.warnings: list[str] = []
        self.final = False
        self.touched = False

    def is_up(self) -> bool:
        return self._state(self.unit) or bool(self.overlap and self._state(self.overlap))

    def cost(self, summary: str) -> str | None:
        """What the user has to be told of the way itself."""
        if self.overlap:
            return None
        return f"{self.unit} was restarted behind its held socket, with {summary}; service.overlap names a second unit that would serve meanwhile"

    def refuse(self, answer: t.Mapping[str, t.Any], url: str) -> None:
        """Raise DowntimeError unless systemd holds the socket, and the units are those behind it."""
        del answer
        found = self._show("service.socket", self.socket, ("LoadState", "ActiveState", "Accept", "Listen", "Triggers"))
        whose = f"service.socket {self.socket}"
        if found.get("LoadState") != "loaded":
            raise DowntimeError(f"{whose} is unknown to systemd, which therefore does not hold the socket; the name of a socket unit is accepted")
        # Before the first start it need not be: its unit brings it, and an active socket would start a unit that has no release yet.
        if found.get("ActiveState") != "active" and self.is_up():
            raise DowntimeError(f"{whose} is {found.get('ActiveState')}, so systemd does not hold the socket; an active socket unit is accepted")
        if found.get("Accept") == "yes":
            raise DowntimeError(f"{whose} has Accept=yes, which starts a process for each connection; Accept=no is accepted")
        listening = [line.rpartition(" (")[0] for line in found.get("Listen", "").splitlines()]
        port = urllib.parse.urlsplit(url).port or {"http": 80, "https": 443}[urllib.parse.urlsplit(url).scheme]
        if not any(address.rpartition(":")[2] == str(port) for address in listening if ":" in address):
            raise DowntimeError(f"{whose} holds {', '.join(listening) or 'nothing'}, and not port {port}, which systemd therefore does not hold; "
                                "the socket unit of the port that running.url asks is accepted")
        if self.unit not in found.get("Triggers", "").split():
            raise DowntimeError(f"{whose} belongs to {found.get('Triggers') or 'no unit'}, not to service.unit {self.unit}; "
                                f"Service={self.unit} in the socket unit makes it so")
        if self.overlap:
            self._refuse_overlap()

    def _refuse_overlap(self) -> None:
        found = self._show("service.overlap", t.cast(str, self.overlap), ("LoadState", "Type", "TriggeredBy"))
        whose = f"service.overlap {self.overlap}"
        if found.get("LoadState") != "loaded":
            raise DowntimeError(f"{whose} is unknown to systemd; a second unit like {self.unit}, with Sockets={self.socket}, is accepted")
        if self.socket not in found.get("TriggeredBy", "").split():
            raise DowntimeError(f"{whose} does not get the socket of {self.socket}; Sockets={self.socket} in its section [Service] makes it so")
        if not self.ready_url and found.get("Type") not in ("notify", "notify-reload"):
            raise DowntimeError(f"{whose} has Type={found.get('Type')}, so systemd cannot know when it is ready; Type=notify or service.ready_url is accepted")

    def leftover(self) -> bool:
        return bool(self.overlap and self._state(self.overlap))

    def busy(self) -> str | None:
        # A second unit that was left running is no obstacle: it is stopped first.
        return None

    def go(self, job: Job, resume: bool) -> None:
        del resume
        if not self.overlap:
            self.touched = True
            self._do("restart", self.unit, job)
            self._only_new(job)
            return
        if self._state(self.unit):
            if self._state(self.overlap):
                self._do("stop", self.overlap, job)
            self._do("start", self.overlap, job)
            self._ready(job)
        # From here on the second unit serves alone, if need be.
        self.touched = True
        self._do("restart", self.unit, job)
        # While the second unit could still serve through a way back.
        self._only_new(job)
        self._do("stop", self.overlap, job)

    def undo(self, job: Job) -> list[str]:
        """The first unit serves what the link names again; then the second one may go."""
        try:
            if self.touched or not self._state(self.unit):
                self._do("restart", self.unit, job)
            if self.overlap:
                self._do("stop", self.overlap, job)
        except Failed as error:
            return [str(error)]
        return []

    def _ready(self, job: Job) -> None:
        """Asked directly: through the port both units answer."""
        if not self.ready_url:
            return
        end = job.port.clock() + job.port.timeout
        while True:
            answer = self.read_ready(self.ready_url)
            if answer["digest"] == job.digest and _good(answer):
                return
            if job.port.clock() >= end:
                raise Failed(f"{shown_url(self.ready_url)} (service.ready_url) answered {answer['detail']!r} last, {job.port.timeout:g} s after {self.overlap} "
                             "was started")
            job.port.sleep(job.port.interval)

    def _only_new(self, job: Job) -> None:
        last = job.port.settled(job.digest)
        if last is not None:
            raise Failed(f"{job.port.url} answered {last!r} last, {job.port.timeout:g} s after {self.unit} was restarted")

    def _state(self, unit: str) -> bool:
        return self._show("service.unit", unit, ("ActiveState",)).get("ActiveState") in ("active", "activating", "reloading", "refreshing")

    def _show(self, option: str, unit: str, names: t.Sequence[str]) -> dict[str, str]:
        rc, output = self.run(self.systemctl + ["show", f"--property={','.join(names)}", unit], self.timeout)
        if rc != 0:
            raise DowntimeError(f"{option} {unit}: systemctl show ended with rc {rc}: {_service.tail(output)}")
        found: dict[str, str] = {}
        for line in output.splitlines():
            name, sign, value = line.partition("=")
            if sign and name in names:
                # Listen comes once for each address.
                found[name] = found[name] + "\n" + value if name in found else value
        return found

    def _do(self, verb: str, unit: str, job: Job) -> None:
        rc, output = self.run(self.systemctl + [verb, unit], self.timeout, job.env, job.root)
        if rc == 0:
            return
        how = f"did not end within {self.timeout:g} s (service.timeout)" if rc is None else f"failed with rc {rc}"
        dummy, status = self.run(self.systemctl + ["status", "--no-pager", "--full", "--lines=12", unit], self.timeout)
        raise Failed(f"systemctl {verb} {unit} {how}: {_service.tail(output)}", rc, f"{_service.tail(output)}\n{_service.tail(status)}")


def _runs(program: str, line: str) -> bool:
    """Whether a command line is of that program: C(/usr/bin/gunicorn3), C(python /usr/lib/gunicorn/__main__.py), C(nginx: master process)."""
    return any(re.fullmatch(re.escape(program) + r"[\d.]*:?", part) for word in line.split() for part in word.split("/"))


Swap = t.Union[CommandSwap, SocketSwap]


def of(options: t.Mapping[str, t.Any], run: Runner, processes: Processes, read_ready: t.Callable[[str], dict[str, t.Any]]) -> Swap:
    """The way to swap that a service names. The options have been checked."""
    if options["swap"] == "systemd_socket":
        return SocketSwap(options, run, read_ready)
    return CommandSwap(options, run, processes)
