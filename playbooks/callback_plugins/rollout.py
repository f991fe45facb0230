# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout
type: aggregate
short_description: Shows how a running deploy is getting on
version_added: 0.1.0
author: zero.downtime contributors (@zero-downtime)
description:
  - Shows the batch under way, its members and their states, the requests that the probe has sent so far, and failures as they happen.
  - On a terminal this is one line at the bottom that is redrawn twice a second; elsewhere one plain line for every change.
  - What fails in the collection's own tasks is printed once. Where a deploy goes on to end in order, and says at its end what failed, Ansible's report of
    the task is left out until then. With C(-v) nothing is left out.
  - It comes with the collection's playbooks and needs no setting. In plays that run none of the collection's deploys it says nothing.
  - A user's own playbook gets it by naming this directory in C(callback_plugins) of C(ansible.cfg).
  - E(NO_COLOR) (and E(ANSIBLE_NOCOLOR)) turn the colours off, E(TERM=dumb) the redrawn line.
requirements: []
"""

import abc
import json
import os
import shutil
import sys
import threading
import time
import typing as t

from ansible import constants as C
from ansible import context
from ansible.plugins.callback import CallbackBase

COLLECTION = "zero.downtime."

# While a module waits for a drain no task ends, so the files of the run are looked at in between.
EVERY = 0.5

# What a member is at while a step runs, and what it is once the step is done.
DOING = {
    "drain": ("draining", "drained"), "activate": ("activating", "activated"), "gate": ("checking", "ready"), "return": ("returning", "active"),
}
BACK = "back_"

# Of a large batch the line names this many members, then only their number.
NAMED = 6


class Tail:
    """Reads a growing file of JSON lines: each call gives what was completed since the last one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.offset = 0

    def read(self) -> list[dict[str, t.Any]]:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            # Not written yet, or the run is over and its directory gone: nothing new either way.
            return []
        whole = data[:data.rfind(b"\n") + 1]
        self.offset += len(whole)
        found = []
        for line in whole.splitlines():
            value = parse(line)
            if isinstance(value, dict):
                found.append(value)
        return found


def parse(data: bytes) -> t.Any:
    """JSON, or None for what is only half written or no JSON at all: a display has no business failing over it."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def read_json(path: str) -> dict[str, t.Any] | None:
    try:
        with open(path, "rb") as file:
            value = parse(file.read())
    except OSError:
        return None
    return value if isinstance(value, dict) else None


def count(value: t.Any) -> int:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def clean(value: t.Any) -> str:
    """Text without control characters: a server's answer may not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in str(value))


class Rollout:
    """What is known of the running deploy. Knows neither Ansible nor the terminal."""

    def __init__(self, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.run_dir: str | None = None
        self.reset()

    def reset(self) -> None:
        self.started = self.clock()
        self.app = ""
        self.release = ""
        self.batches: list[list[str]] = []
        self.batch: int | None = None
        self.step = ""
        self.members: dict[str, str] = {}
        self.sent = 0
        self.failed = 0
        self.kinds: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.told_failed = 0
        self.told = ""
        self.news: list[str] = []
        self.events: Tail | None = None
        self.over = False

    # -- learning -----------------------------------------------------------------------------------------------------

    def follow(self, run_dir: str) -> bool:
        """A run directory that a task of ours named. True when it is a new run."""
        if run_dir == self.run_dir:
            return False
        self.run_dir = run_dir
        self.reset()
        self.events = Tail(os.path.join(run_dir, "events.jsonl"))
        return True

    def learn_plan(self, plan: t.Any) -> None:
        if not isinstance(plan, dict):
            return
        release = plan.get("release")
        if isinstance(release, dict):
            self.release = clean(release.get("label") or str(release.get("digest") or "")[:12])
        self.app = clean(plan.get("app") or self.app)
        batches = plan.get("batches")
        if isinstance(batches, list) and batches:
            self.batches = [
                [clean(name) for name in batch["members"]] if isinstance(batch, dict) and isinstance(batch.get("members"), list) else [] for batch in batches
            ]
            for name in (name for batch in self.batches for name in batch):
                self.members.setdefault(name, "waiting")

    def learn_host(self, host: str, state: str) -> None:
        """What a task of ours did on a member's own host; a host that is no member is none of our business."""
        if host in self.members and self.members[host] != state:
            self.members[host] = state

    def learn_event(self, event: dict[str, t.Any]) -> None:
        name = clean(event.get("step") or "")
        back = name.startswith(BACK)
        kind = name[len(BACK):] if back else name
        what = event.get("event")
        named = event.get("members")
        members = [clean(member) for member in named] if isinstance(named, list) else []
        batch = event.get("batch")
        if isinstance(batch, int):
            self.batch = batch
        if what == "started":
            self.step = name
        if kind in DOING:
            doing, done = DOING[kind]
            state = {"started": doing, "finished": done, "failed": f"{kind} failed"}.get(str(what))
            if state:
                if back and what != "failed":
                    state = f"{state} (back)"
                for member in members:
                    self.members[member] = state
        if what == "failed":
            detail = event.get("detail")
            reason = detail.get("reason") if isinstance(detail, dict) else None
            who = f" of {self.names(members)}" if members else ""
            self.news.append(f"{name.replace('_', ' ')}{who} failed" + (f": {clean(reason)}" if reason else ""))

    def learn_progress(self, progress: dict[str, t.Any]) -> None:
        self.sent = count(progress.get("sent"))
        self.failed = count(progress.get("failed"))
        kinds, versions = progress.get("failures"), progress.get("versions")
        self.kinds = {clean(kind): count(number) for kind, number in kinds.items()} if isinstance(kinds, dict) else {}
        self.versions = {clean(label): count(number) for label, number in versions.items()} if isinstance(versions, dict) else {}

    def look(self) -> None:
        """Reads what is new in the run directory."""
        if self.run_dir is None or self.events is None or self.over:
            return
        for event in self.events.read():
            self.learn_event(event)
        progress = read_json(os.path.join(self.run_dir, "progress.json"))
        if progress is not None:
            self.learn_progress(progress)

    # -- telling ------------------------------------------------------------------------------------------------------

    @staticmethod
    def names(members: t.Sequence[str]) -> str:
        if len(members) <= NAMED:
            return ", ".join(members)
        return f"{', '.join(members[:NAMED - 1])} and {len(members) - NAMED + 1} more"

    def where(self) -> str:
        """The batch and its members' states: what a line is about."""
        if self.batch is None:
            return self.step.replace("_", " ") or "starting"
        place = f"batch {self.batch}" + (f" of {len(self.batches)}" if self.batches else "")
        if self.batches and 0 < self.batch <= len(self.batches):
            members = self.batches[self.batch - 1]
        else:
            members = list(self.members)
        states: dict[str, list[str]] = {}
        for member in members:
            states.setdefault(self.members.get(member, "waiting"), []).append(member)
        return f"{place}: " + "; ".join(f"{self.names(names)} {state}" for state, names in states.items())

    def traffic(self) -> str:
        if not self.sent:
            return ""
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.kinds.items()) if number)
        return f"{self.sent:,} requests, {self.failed:,} failed" + (f" ({kinds})" if kinds and self.failed else "")

    def title(self) -> str:
        return " ".join(part for part in (self.app, self.release) if part)

    def moved(self) -> str:
        """How many members are through, of how many."""
        if not self.members:
            return ""
        done = sum(1 for state in self.members.values() if state == "active")
        return f"{done}/{len(self.members)} done"

    def changes(self) -> list[str]:
        """The plain lines for what has changed since the last call. The number of requests alone is no change, a failure is."""
        lines = [f"rollout: {news}" for news in self.news]
        self.news.clear()
        if self.failed > self.told_failed:
            more = self.failed - self.told_failed
            lines.append(f"rollout: {more} more request{'' if more == 1 else 's'} failed: {self.traffic()}")
            self.told_failed = self.failed
        where = self.where() if self.batch is not None or self.step else ""
        if where and where != self.told:
            self.told = where
            lines.append("rollout: " + "; ".join(part for part in (where, self.traffic()) if part))
        return lines

    def line(self, width: int) -> tuple[str, bool]:
        """The redrawn line, at most `width` columns, and whether it is one to worry about."""
        seconds = max(0, int(self.clock() - self.started))
        took = f"{seconds // 60}:{seconds % 60:02d}"
        # The traffic must never be cut off: it comes before the members, whose names may be long.
        parts = [part for part in (self.title(), took, self.traffic(), self.moved(), self.where()) if part]
        text = " | ".join(parts)
        if len(text) > width:
            text = text[:max(width - 3, 0)] + "..."
        return text[:width], self.failed > 0


class Before(abc.ABC):
    """Stands before Ansible's own way to print a line, or before another one of these, until it is restored."""

    def __init__(self, display: t.Any) -> None:
        self.display = display
        self.owner = os.getpid()
        self._found = display.__dict__.get("display")
        self.original = display.display
        display.display = self._display

    @abc.abstractmethod
    def _display(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Print a line, or see to it otherwise."""

    def restore(self) -> None:
        if self.display.__dict__.get("display") != self._display:
            return
        if self._found is None:
            del self.display.display
        else:
            self.display.display = self._found


class Once(Before):
    """Lets the sentence of a failure be printed once: Ansible prints it as an error with its origin, as the task's result, and again when a rescue tells it."""

    ERROR, RESULT = "[ERROR]: Task failed", "fatal: ["

    def __init__(self, display: t.Any, root: str) -> None:
        self.rooms = tuple(os.path.join(root, room, "") for room in ("playbooks", "roles"))
        self.ours = self.later = False
        super().__init__(display)

    def at(self, task: t.Any) -> None:
        """The task whose end comes next; what is no file of the collection, such as a hook, is none of our business."""
        path = os.path.realpath(str(task.get_path() if hasattr(task, "get_path") else "").rpartition(":")[0])
        self.ours = path.startswith(self.rooms)
        self.later = self.ours and rescued(task)

    def nowhere(self) -> None:
        self.ours = self.later = False

    def _display(self, msg: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if self.ours and os.getpid() == self.owner and isinstance(msg, str):
            if msg.startswith(self.ERROR):
                return None
            if self.later and msg.startswith(self.RESULT):
                msg = msg.partition(" => ")[0] + " => what failed is said at the end"
        return self.original(msg, *args, **kwargs)


def rescued(task: t.Any) -> bool:
    """Whether a failure of the task is followed by a rescue: it is in the main part of a block that has one."""
    while (parent := getattr(task, "_parent", None)) is not None:
        if getattr(parent, "rescue", None) and any(entry._uuid == task._uuid for entry in parent.block):
            return True
        task = parent
    return False


class Screen(Before):
    """One line below everything else that is printed: taken away before another line comes, and put back after it."""

    def __init__(self, display: t.Any, columns: t.Callable[[], int], colour: bool) -> None:
        self.columns = columns
        self.colour = colour
        self.text: str | None = None
        self.worried = False
        self.drawn = False
        self.paused = False
        # Display's own lock where it has one: Ansible forks its workers under it, and two locks could be taken crosswise.
        self.lock = getattr(display, "_lock", None) or threading.RLock()
        super().__init__(display)

    def _display(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        # Ansible's workers are forks of this process: they hand their lines to it and have no line of their own, and may not
        # touch a lock that another thread held at the moment of the fork.
        if os.getpid() != self.owner:
            return self.original(*args, **kwargs)
        with self.lock:
            self._wipe()
            try:
                return self.original(*args, **kwargs)
            finally:
                # A line without its end is somebody's prompt or progress: ours would run into it.
                if kwargs.get("newline", True):
                    self._draw()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _wipe(self) -> None:
        if self.drawn:
            self._write("\r\x1b[K")
            self.drawn = False

    def _draw(self) -> None:
        if self.text is None or self.paused:
            return
        shown = self.text
        if self.colour:
            shown = f"\x1b[{'1;31' if self.worried else '36'}m{shown}\x1b[0m"
        self._write("\r\x1b[K" + shown)
        self.drawn = True

    def show(self, text: str, worried: bool) -> None:
        with self.lock:
            if self.drawn and (text, worried) == (self.text, self.worried):
                return
            self.text, self.worried = text, worried
            self._draw()

    def pause(self, paused: bool) -> None:
        """While somebody is asked something, the line is theirs."""
        with self.lock:
            self.paused = paused
            if paused:
                self._wipe()

    def close(self) -> None:
        with self.lock:
            self._wipe()
            self.text = None
        self.restore()


class CallbackModule(CallbackBase):
    """Follows the collection's deploys, and says nothing about anything else."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "rollout"
    CALLBACK_NEEDS_ENABLED = False
    CALLBACK_NEEDS_WHITELIST = False

    def __init__(self, display: t.Any = None, options: t.Any = None) -> None:
        super().__init__(display=display, options=options)
        self.rollout = Rollout()
        self.screen: Screen | None = None
        self.once: Once | None = None
        self.thread: threading.Thread | None = None
        self.ended = threading.Event()
        # Events come from Ansible's main thread, the look at the files from ours.
        self.turn = threading.RLock()

    # -- what Ansible tells -------------------------------------------------------------------------------------------

    @staticmethod
    def _ours(task: t.Any) -> str | None:
        """The short name of a task's action when it is one of the collection's."""
        for name in (getattr(task, "resolved_action", None), getattr(task, "action", None)):
            if isinstance(name, str) and name.startswith(COLLECTION):
                return name[len(COLLECTION):]
        return None

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Refuse to begin a playbook of ours in the middle: no task of it would be there to refuse that, and none may run, with success."""
        task = (context.CLIARGS or {}).get("start_at_task")
        ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
        if task and os.path.dirname(os.path.realpath(str(getattr(playbook, "_file_name", "")))) == ours:
            self._display.error(f"--start-at-task is '{task}'; the steps before it are needed, so a run without that option is accepted")
            raise SystemExit(2)
        if not self._display.verbosity:
            self.once = Once(self._display, os.path.dirname(ours))

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        if self.once is not None:
            self.once.at(task)
        if self.screen is not None:
            self.screen.pause(str(getattr(task, "action", "")).rpartition(".")[2] == "pause")

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        self._host(host, task, "activating")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._host(result._host, result._task, "activated")
        self._result(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._host(result._host, result._task, "activate failed")
        self._result(result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if self.rollout.run_dir is not None and not self.rollout.over:
            with self.turn:
                self.rollout.learn_host(result._host.get_name(), "unreachable")
            self._tell()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        if self.once is not None:
            self.once.nowhere()

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._stop()
        if self.once is not None:
            self.once.restore()
            self.once = None

    # -- following ----------------------------------------------------------------------------------------------------

    def _host(self, host: t.Any, task: t.Any, state: str) -> None:
        """Activating is the one step that runs on the members' own hosts; all others report as events."""
        if self.rollout.run_dir is None or self.rollout.over or self._ours(task) != "release":
            return
        args = getattr(task, "args", None)
        if isinstance(args, dict) and args.get("state") == "activated":
            with self.turn:
                self.rollout.learn_host(host.get_name(), state)
            # On a thousand hosts this is called a thousand times at once: the thread tells them together.

    def _result(self, result: t.Any) -> None:
        action = self._ours(result._task)
        if action is None:
            return
        values = result._result
        run_dir = values.get("run_dir")
        begins = False
        with self.turn:
            # The directory of a run is there as long as it runs: one that is gone has nothing to follow (as under --check).
            if isinstance(run_dir, str) and run_dir and os.path.isdir(run_dir):
                begins = self.rollout.follow(run_dir)
            if self.rollout.run_dir is None or self.rollout.over:
                return
            if action == "plan":
                self.rollout.learn_plan(values.get("plan"))
        if begins:
            self._start()
        self._tell()
        if action == "record":
            self._finish(values)

    def _finish(self, values: t.Any) -> None:
        with self.turn:
            self.rollout.look()
            traffic, report = self.rollout.traffic(), values.get("report")
            self.rollout.over = True
        self._stop()
        if traffic:
            self._display.display(f"rollout: {traffic}")
        if isinstance(report, str) and os.path.exists(report):
            self._display.display(f"rollout: report {clean(report)}")

    def _start(self) -> None:
        if self.screen is None and self._terminal():
            colour = not (os.environ.get("NO_COLOR") or C.ANSIBLE_NOCOLOR)
            self.screen = Screen(self._display, lambda: shutil.get_terminal_size().columns, colour)
        if self.thread is None:
            self.ended.clear()
            self.thread = threading.Thread(target=self._watch, name="rollout", daemon=True)
            self.thread.start()

    @staticmethod
    def _terminal() -> bool:
        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def _watch(self) -> None:
        while not self.ended.wait(EVERY):
            self._tell()

    def _tell(self) -> None:
        with self.turn:
            if self.rollout.over or self.rollout.run_dir is None:
                return
            self.rollout.look()
            if self.screen is not None:
                # One column stays free: a full line would wrap on some terminals.
                text, worried = self.rollout.line(self.screen.columns() - 1)
                lines = [f"rollout: {news}" for news in self.rollout.news]
                self.rollout.news.clear()
            else:
                lines = self.rollout.changes()
        for line in lines:
            self._display.display(line)
        if self.screen is not None:
            self.screen.show(text, worried)

    def _stop(self) -> None:
        self.ended.set()
        if self.thread is not None:
            self.thread.join(timeout=EVERY * 4)
            self.thread = None
        if self.screen is not None:
            self.screen.close()
            self.screen = None
