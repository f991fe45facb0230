# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of one running deploy: a file of JSON lines on the controller. Private to the collection.

Several processes append to it (the controller's workers), so each event is one short write to a file opened for appending,
which Linux keeps whole. Readers take only complete lines.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _written

FILE = "events.jsonl"
CLOCK = "clock.json"
# What the judge and the shadow leave there for the record.
CANARY, SHADOW = "canary.json", "shadow.json"


def records_in(records_dir: str) -> str:
    """The directory of records as a path that does not depend on where somebody is."""
    return os.path.abspath(os.path.expanduser(records_dir))


def start_clock(run_dir: str, wall: t.Callable[[], float] = time.time, monotonic: t.Callable[[], float] = time.monotonic) -> None:
    """From now on this deploy has a clock of its own, which goes on evenly when somebody sets the machine's."""
    with open(os.path.join(run_dir, CLOCK), "w", encoding="ascii") as handle:
        json.dump({"offset": wall() - monotonic()}, handle)


def clock(run_dir: str | None, wall: t.Callable[[], float] = time.time, monotonic: t.Callable[[], float] = time.monotonic) -> t.Callable[[], float]:
    """The clock of a deploy, in seconds since the epoch: all of the controller's processes share it. Without one, the machine's."""
    try:
        with open(os.path.join(run_dir or "", CLOCK), encoding="ascii") as handle:
            offset = json.load(handle)["offset"]
    except (OSError, ValueError):
        return wall
    return lambda: monotonic() + offset


def load(run_dir: str | None, name: str) -> t.Any:
    """What one of the JSON files of a deploy's working directory holds; None while there is no such file, or no such directory."""
    if not run_dir:
        return None
    try:
        with open(os.path.join(run_dir, name), encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return None


def append(run_dir: str | None, step: str, event: str, members: t.Sequence[str] = (), batch: int | None = None,
           balancer: str | None = None, now: t.Callable[[], float] | None = None, **detail: t.Any) -> None:
    """Append one event; without a C(run_dir) (check mode, a module used by itself) nothing is written.

    C(event) is one of started, finished, failed, note. Times are seconds since the epoch.
    """
    if not run_dir:
        return
    line = {"time": (now or clock(run_dir))(), "step": step, "event": event}
    if members:
        line["members"] = list(members)
    if batch is not None:
        line["batch"] = batch
    if balancer is not None:
        line["balancer"] = balancer
    if detail:
        # A deploy has written variables, whatever the module that failed calls its options.
        line["detail"] = _written.result(detail)
    data = (json.dumps(line, default=str) + "\n").encode()
    handle = os.open(os.path.join(run_dir, FILE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)


class Notes:
    """Writes that must not stop a move: on a full disk members still have to go back. What could not be written is told as warnings.

    The proof does not get weaker by it: the evidence reads its own files, and fails where those cannot be written.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def write(self, call: t.Callable[..., t.Any], *args: t.Any, **options: t.Any) -> None:
        try:
            call(*args, **options)
        except OSError as error:
            text = f"the events of this deploy cannot be written ({error.strerror}: {error.filename or 'its working directory'}); its record will lack some"
            if text not in self.warnings:
                self.warnings.append(text)


def read(run_dir: str) -> list[dict[str, t.Any]]:
    """All complete events so far, oldest first; none when nothing has been written yet."""
    try:
        with open(os.path.join(run_dir, FILE), encoding="utf-8") as handle:
            text = handle.read()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]


def steps(events: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Pair C(started) with C(finished) or C(failed) of the same step, batch, balancer and members.

    Returns C([{name, started, finished, result, members, batch, balancer}]) by time of start. A step that never ended has
    C(finished) null and the result C(running).
    """
    found: list[dict[str, t.Any]] = []
    running: dict[tuple[t.Any, ...], dict[str, t.Any]] = {}
    for event in events:
        key = (event["step"], event.get("batch"), event.get("balancer"), tuple(event.get("members", ())))
        if event["event"] == "started":
            step = {"name": event["step"], "started": event["time"], "finished": None, "result": "running",
                    "members": event.get("members", []), "batch": event.get("batch"), "balancer": event.get("balancer")}
            # Where a move happens: its pools, and what balancers call members that have another name there.
            step.update({name: event["detail"][name] for name in ("servers", "pools") if event.get("detail", {}).get(name)})
            running[key] = step
            found.append(step)
        elif event["event"] in ("finished", "failed") and key in running:
            step = running.pop(key)
            step["finished"] = event["time"]
            step["result"] = "succeeded" if event["event"] == "finished" else "failed"
            detail = event.get("detail", {})
            step.update({name: detail[name] for name in ("asked", "cut", "cut_by") if detail.get(name) not in (None, 0)})
            if event.get("detail", {}).get("reason"):
                step["reason"] = event["detail"]["reason"]
    return found
