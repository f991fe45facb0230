# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy that does with requests what load balancers of the stage are told.

Each listener is a frontend, each target group a backend. A change of targets or weights reaches it through its runtime
socket, a change of listeners or rules by a reload. All of it comes C(lag) seconds after the API has accepted it, as the
nodes of a real load balancer take their time.
"""

from __future__ import annotations

import fnmatch
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

import elbv2
import targets

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "suite"))

from limits import wait_until  # noqa: E402  pylint: disable=wrong-import-position

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
# The number that shares are drawn from.
DRAWN = 1_000_000
TICK = 0.05

# What HAProxy is to have: its configuration but for what follows, the bounds of draws, and the state of each target's
# place.
Places = t.Dict[t.Tuple[str, str], t.Tuple[str, int, str]]


class Wanted(t.NamedTuple):
    lines: tuple[str, ...]
    bounds: dict[str, int]
    places: Places


class Traffic:
    """Follows the stage while it is entered."""

    def __init__(self, lag: float) -> None:
        self.lag = lag
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zda-"))
        self.socket, self.map = str(self.dir / "admin.sock"), str(self.dir / "bounds.map")
        self.process: subprocess.Popen[bytes] | None = None
        self._slots: dict[str, dict[str, int]] = {}
        self._seen: list[tuple[float, Wanted]] = []
        self._has = Wanted((), {}, {})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._begin(Wanted((), {}, {}))
        self._thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._over.set()
        self._thread.join()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- what is wanted ------------------------------------------------------------------------------------------------
    def wanted(self) -> Wanted:
        lines: list[str] = []
        bounds: dict[str, int] = {}
        places: Places = {}
        with elbv2.LOCK:
            for backend in elbv2.backends():
                for balancer in backend.load_balancers.values():
                    for listener in balancer.listeners.values():
                        lines += self._frontend(backend, listener, bounds)
                for group in backend.target_groups.values():
                    lines += [
                        f"backend {group.name}",
                        "    balance roundrobin",
                        *(f"    server s{number} 127.0.0.1:1 disabled" for number in range(targets.MOST)),
                    ]
                    places.update(self._places(backend, group))
        return Wanted(tuple(lines), bounds, places)

    def _frontend(self, backend: elbv2.Stage, listener: t.Any, bounds: dict[str, int]) -> list[str]:
        name = listener.arn.rsplit("/", 1)[1]
        lines = [
            f"frontend {name}",
            f"    bind 127.0.0.1:{listener.port}",
            f"    http-request set-var(txn.draw) rand({DRAWN})",
        ]
        rules = [rule for rule in listener.rules.values() if not rule.is_default]
        ends = []
        for rule in [*sorted(rules, key=lambda rule: int(rule.priority)), None]:
            key = f"{name}.{rule.priority if rule else 'default'}"
            tests = [f"{{ {_test(condition)} }}" for condition in rule.conditions] if rule else []
            lines.append(
                f"    http-request set-var(txn.rule) str({key}) if !{{ var(txn.rule) -m found }} {' '.join(tests)}"
                .rstrip()
            )
            for action in rule.actions if rule else listener.default_actions:
                if action.type == "fixed-response":
                    config = action.data["FixedResponseConfig"]
                    lines.append(
                        f"    http-request return status {config['StatusCode']} if {{ var(txn.rule) -m str {key} }}"
                    )
                if action.type != "forward":
                    continue
                groups = [group for group in _groups(action.data) if group["TargetGroupArn"] in backend.target_groups]
                total, reached = sum(weight(group) for group in groups), 0
                for group in groups:
                    target_group = backend.target_groups[group["TargetGroupArn"]]
                    reached += weight(group)
                    bound = f"{key}/{target_group.name}"
                    bounds[bound] = DRAWN * reached // total if total else 0
                    lines.append(
                        f"    http-request set-var(txn.bound) str({bound}),map_str_int({self.map},0) if {{"
                        f" var(txn.rule) -m str {key} }} !{{ var(txn.group) -m found }}"
                    )
                    lines.append(
                        f"    http-request set-var(txn.group) str({target_group.name}) if {{ var(txn.rule) -m str {key}"
                        " } !{ var(txn.group) -m found } { var(txn.draw),sub(txn.bound) -m int lt 0 }"
                    )
                    end = f"    use_backend {target_group.name} if {{ var(txn.group) -m str {target_group.name} }}"
                    ends += [end] if end not in ends else []
        return lines + ends

    def _places(self, backend: elbv2.Stage, group: t.Any) -> Places:
        """Where each target is, and whether it gets requests. Where none is healthy, all that are registered get them,
        as with the real one."""
        backend.tidy(group.arn)
        here = backend.targets.get(group.arn, {})
        states = {key: backend.health(group, target)[0] for key, target in here.items()}
        serves = ("healthy", "unavailable")
        open_to_all = not any(state in serves for state in states.values())
        slots = self._slots.setdefault(group.name, {})
        found: Places = {}
        for (ident, port), state in states.items():
            name = f"{ident}:{port}"
            number = slots[name] if name in slots else _slot(slots, name, states)
            told = {"draining": "drain", "unused": "maint"}.get(
                state, "ready" if state in serves or open_to_all else "drain"
            )
            found[group.name, f"s{number}"] = (backend.address(here[ident, port]), port, told)
        for name in [
            name for name in slots if tuple(name.rsplit(":", 1)) not in {(ident, str(port)) for ident, port in states}
        ]:
            found[group.name, f"s{slots[name]}"] = ("127.0.0.1", 1, "maint")
        return found

    # -- following -----------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._over.wait(TICK):
            now, wanted = time.monotonic(), self.wanted()
            if not self._seen or self._seen[-1][1] != wanted:
                self._seen.append((now, wanted))
            due = [one for seen, one in self._seen if seen <= now - self.lag]
            if due:
                self._apply(due[-1]._replace(places=_judged(due[-1].places, wanted.places)))
                self._seen = self._seen[len(due) - 1 :]

    def _apply(self, wanted: Wanted) -> None:
        if wanted == self._has:
            return
        if wanted.lines != self._has.lines:
            self._begin(wanted)
        for name, bound in wanted.bounds.items():
            if self._has.bounds.get(name) != bound:
                self.ask(f"set map {self.map} {name} {bound}")
        for (pool, place), (address, port, told) in wanted.places.items():
            had = self._has.places.get((pool, place), ("127.0.0.1", 1, "maint"))
            if had == (address, port, told):
                continue
            if told == "maint":
                self.ask(f"set server {pool}/{place} state maint")
                # Its deregistration is over: what it still has is cut.
                self.ask(f"shutdown sessions server {pool}/{place}")
                continue
            if had[:2] != (address, port):
                self.ask(f"set server {pool}/{place} addr {address} port {port}")
            self.ask(f"set server {pool}/{place} state {told}")
        self._has = wanted

    def _begin(self, wanted: Wanted) -> None:
        """Start, or reload, with listeners and rules as they are now, and with all else as it was a moment ago."""
        pathlib.Path(self.map).write_text(
            "".join(f"{name} {bound}\n" for name, bound in wanted.bounds.items()), encoding="ascii"
        )
        # A place that is served from the very start: a reload must not stop anybody's requests.
        lines = [
            re.sub(r"127\.0\.0\.1:1 disabled$", lambda _match, at=at: _at(at), line) if at else line
            for line, at in self._with_places(wanted)
        ]
        pathlib.Path(self.dir / "haproxy.cfg").write_text(
            "\n".join(
                [
                    "global",
                    f"    stats socket {self.socket} mode 600 level admin expose-fd listeners",
                    "    stats timeout 60s",
                    "    maxconn 2000",
                    "defaults",
                    "    mode http",
                    "    timeout connect 2s",
                    "    timeout client 60s",
                    "    timeout server 60s",
                    "    timeout queue 5s",
                    "    timeout http-keep-alive 60s",
                    # A worker from before a reload answers those who it has kept alive once more, and says goodbye.
                    "    option idle-close-on-response",
                    # A load balancer of Amazon tries no other target.
                    "    retries 0",
                    *lines,
                    "",
                ]
            ),
            encoding="utf-8",
        )
        if self.process is None:
            with open(self.dir / "haproxy.log", "ab") as log:
                self.process = subprocess.Popen(
                    [HAPROXY, "-W", "-f", str(self.dir / "haproxy.cfg")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            wait_until(self._answers, "the stage's HAProxy answers")
        else:
            before = self.worker()
            os.kill(self.process.pid, signal.SIGUSR2)
            wait_until(
                lambda: self._answers() and self.worker() != before,
                f"a new worker of the stage's HAProxy ({self.dir}/haproxy.log)",
            )
        started = {key: place for key, place in wanted.places.items() if place[2] == "ready"}
        self._has = Wanted(wanted.lines, dict(wanted.bounds), started)

    def _with_places(self, wanted: Wanted) -> t.Iterator[tuple[str, tuple[str, int, str] | None]]:
        pool = ""
        for line in wanted.lines:
            pool = line.split()[1] if line.startswith("backend ") else pool
            at = wanted.places.get((pool, line.split()[1])) if line.startswith("    server ") else None
            yield line, at if at and at[2] == "ready" else None

    def reload(self) -> None:
        """A new worker with what is wanted now; the old one ends when its requests do."""
        self._has = Wanted((), {}, {})
        before = self.worker()
        wait_until(
            lambda: self._answers() and self.worker() != before and self._has.lines,
            "a new worker of the stage's HAProxy",
        )

    # -- asking --------------------------------------------------------------------------------------------------------
    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.socket)
            connection.sendall(command.encode() + b"\n")
            data = b""
            while part := connection.recv(65536):
                data += part
            return data.decode()

    def _answers(self) -> bool:
        try:
            return "Pid: " in self.ask("show info")
        except OSError:
            return False

    def worker(self) -> int:
        return int(next(line for line in self.ask("show info").splitlines() if line.startswith("Pid: "))[5:])

    def serving(self) -> dict[str, list[str]]:
        """The addresses that get requests, by group, as the running process has it."""
        found: dict[str, list[str]] = {}
        for line in self.ask("show stat -1 4 -1").splitlines():
            row = line.split(",")
            if len(row) > 73 and row[17].startswith(("UP", "no check")):
                found.setdefault(row[0], []).append(row[73])
        return found


def _slot(slots: dict[str, int], name: str, states: t.Collection[tuple[str, int]]) -> int:
    """A place for another target: a free one, or that of one that has left."""
    taken = set(slots.values())
    number = next((number for number in range(targets.MOST) if number not in taken), None)
    if number is None:
        there = {f"{ident}:{port}" for ident, port in states}
        # The API takes no more targets than there are places.
        number = slots.pop(next(other for other in slots if other not in there))
    slots[name] = number
    return number


def _judged(due: Places, now: Places) -> Places:
    """The places of a moment ago, with whom health checks have passed since: the nodes of a load balancer are who
    checks, and know it first."""
    return {key: now[key] if now.get(key) == (*place[:2], "ready") else place for key, place in due.items()}


def _at(place: tuple[str, int, str]) -> str:
    return f"{place[0]}:{place[1]}"


def weight(group: t.Mapping[str, t.Any]) -> int:
    return int(group.get("Weight", 1))


def _groups(action: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    if (action.get("ForwardConfig") or {}).get("TargetGroups"):
        return list(action["ForwardConfig"]["TargetGroups"])
    return [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]


def _test(condition: t.Mapping[str, t.Any]) -> str:
    """A rule's condition, as HAProxy has it. Paths and hosts are enough here."""
    field = condition["Field"]
    values = (
        condition.get("Values")
        or (condition.get("PathPatternConfig") or condition.get("HostHeaderConfig") or {}).get("Values")
        or []
    )
    pattern = "|".join(fnmatch.translate(value).replace(r"\Z", "$").replace(" ", "[ ]") for value in values)
    asked = {"path-pattern": "path", "host-header": "req.hdr(host)"}.get(field)
    if not asked:
        raise ValueError(f"the stage knows rules by path-pattern and host-header, not {field}")
    return f"{asked} -m reg '{pattern}'"
