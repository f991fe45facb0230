# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys of which each loses a host at another step, each followed by one that finds it again. Before the last of these, a host loses its controller.

    python lose.py RESULTS ansible-playbook OPTION…

A step is hit exactly: the run's own events tell when it has come there, the controller stands still while the host is cut off, and no event must
have been added when that is done. What only the host can see, its own restart, cuts it off from inside. What was seen goes to
C(RESULTS/points.json), each run's output to C(RESULTS/<point>.log), C(RESULTS/<point>-again.log) and C(RESULTS/killed.log), the records where deploys
put them.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

import look  # noqa: E402
from look import BALANCERS, MEMBERS, running  # noqa: E402

HOSTS = str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "image" / "hosts")
# No event comes later than that, even on a machine with much else to do.
PATIENCE = 600.0
POLL = 0.005

# Nobody may be logged in any more at that time, and the one who listens may be gone already.
NO_LOGIN = "systemctl --no-block stop ssh && while pkill -KILL sshd; do :; done"
# Its restart is where the host gets lost: the unit cannot come up before nobody can log in.
NO_LOGIN_IN_RESTART = (
    "mkdir -p /run/systemd/system/shop.service.d && "
    f"printf \"[Service]\\nExecStartPre=+/bin/sh -c '{NO_LOGIN}'\\n\" "
    "> /run/systemd/system/shop.service.d/lose.conf && systemctl daemon-reload")
# It does not come up while a file is there.
HOLD_RESTART = (
    "touch /run/hold && mkdir -p /run/systemd/system/shop.service.d && "
    "printf \"[Service]\\nExecStartPre=/bin/sh -c 'while [ -e /run/hold ]; do sleep 0.1; done'\\n\" "
    "> /run/systemd/system/shop.service.d/hold.conf && systemctl daemon-reload")
RESTART_AGAIN = "rm -r /run/systemd/system/shop.service.d && systemctl daemon-reload && "


class Fact(t.NamedTuple):
    """An event of the running deploy."""
    step: str
    event: str
    batch: int

    def among(self, events: list[dict[str, t.Any]]) -> bool:
        return any((one["step"], one["event"], one.get("batch")) == self for one in events)


class Loss(t.NamedTuple):
    """One host. C(fact) is when it is cut off, C(cut) how, C(mend) how it is reached again. Without a fact it is cut off before the deploy.

    The commands have %s where the host's name goes, and %a for its address.
    """
    host: str
    fact: t.Optional[Fact]
    cut: t.Sequence[t.Sequence[str]]
    mend: t.Sequence[t.Sequence[str]]
    # Whether it answers clients all the time: one that only nobody can log in to does.
    answers: bool = False


class Point(t.NamedTuple):
    """One deploy and its losses, in their order."""
    name: str
    losses: t.Sequence[Loss]
    variables: t.Mapping[str, t.Any] = {}
    again: str = "1.0.0"
    # Of its own, where its health gate is what a host is lost in: as many passes as leave the time to do it.
    health: t.Mapping[str, t.Any] = {}
    # The host that has to be restarted by the deploy that follows: the first controller that does so is killed meanwhile.
    killed: str = ""


def inside(script: str) -> t.Sequence[str]:
    return ("podman", "exec", "%s", "sh", "-c", script)


PAUSE, UNPAUSE = ("podman", "pause", "%s"), ("podman", "unpause", "%s")
UNPLUG, PLUG = (HOSTS, "unplug", "%s"), (HOSTS, "plug", "%s=%a")
LOGIN = "systemctl start ssh"

# Batches of one: app1 has moved when app2 gets lost, app3 and app4 never begin.
POINTS = (
    # And another one on the way back, which app1 goes alone: the others wait for that with less room.
    Point("before_drain", [
        Loss("app3", Fact("verify", "finished", 2), [inside(NO_LOGIN)], [inside(LOGIN)], answers=True),
        Loss("app2", Fact("back_drain", "finished", 2), [PAUSE], [UNPAUSE]),
    ], {"deploy_min_active": "1"}),
    Point("after_drain", [Loss("app2", Fact("drain", "finished", 2), [PAUSE], [UNPAUSE])]),
    Point("in_restart", [Loss("app2", None, [inside(NO_LOGIN_IN_RESTART)], [inside(RESTART_AGAIN + LOGIN)], answers=True)]),
    Point("before_return", [Loss("app2", Fact("gate", "started", 2), [UNPLUG], [PLUG])], health={"passes": 8, "timeout": 15}),
    # Its application tells the balancers first that it goes, or requests would be lost before any deploy began.
    Point("absent", [Loss("app4", None, [inside("touch /var/lib/shop/off"), ("down", "%s"), PAUSE], [UNPAUSE, inside("rm /var/lib/shop/off"), ("up", "%s")])],
          {"deploy_max_absent": 1, "deploy_min_active": "1", "deploy_batches": [2]}, again="2.0.0", killed="app4"),
)


def ask(balancer: str, command: str) -> str:
    return subprocess.run(["podman", "exec", balancer, "sh", "-c", f"echo '{command}' | socat - /run/haproxy/admin.sock"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout


def until_checked(host: str, status: str) -> None:
    """Until both balancers think so of a member, and none of them waits for an answer of one that is down."""
    end = time.monotonic() + PATIENCE
    for balancer in BALANCERS:
        while True:
            row = next(line.split(",") for line in ask(balancer, "show stat -1 4 -1").splitlines() if line.startswith(f"shop,{host},"))
            if row[17].startswith(status) and (status == "UP" or row[4] == "0"):
                break
            if time.monotonic() > end:
                raise SystemExit(f"gave up: waited {PATIENCE:g} s until {balancer} found {host} {status}; it says: {row}")
            time.sleep(0.05)


def do(commands: t.Iterable[t.Sequence[str]], host: str) -> None:
    for command in commands:
        if command[0] in ("down", "up"):
            until_checked(host, command[0].upper())
        else:
            subprocess.run([word.replace("%s", host).replace("%a", MEMBERS[host]) for word in command], check=True, stdout=subprocess.DEVNULL)


def processes(host: str) -> str:
    return look.ask(host, "processes")["processes"]


def tree_of(pid: int) -> list[int]:
    """A process and those below it. The probe is not among them: who started it has ended."""
    parents: dict[int, list[int]] = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def tell(pids: t.Iterable[int], number: int) -> None:
    for one in pids:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue


class Runs:
    """The deploys of this scenario."""

    def __init__(self, results: pathlib.Path, command: t.Sequence[str]) -> None:
        self.results, self.command = results, command
        (variables,) = (word.partition("=")[2] for word in command if word.startswith("--extra-vars="))
        self.health = json.loads(variables)["deploy_health"]
        self.process: t.Optional["subprocess.Popen[bytes]"] = None

    def events(self, deploy_id: str) -> list[dict[str, t.Any]]:
        try:
            text = (self.results / "records" / ".running" / deploy_id / "events.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]

    def start(self, deploy_id: str, **variables: t.Any) -> "subprocess.Popen[bytes]":
        with open(self.results / f"{deploy_id}.log", "wb") as log:
            self.process = subprocess.Popen([*self.command, "-e", json.dumps({"deploy_id": deploy_id, **variables}), "zero.downtime.deploy"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        return self.process

    def end(self) -> None:
        """A deploy that is still on when this ends would work on the hosts of the next scenario."""
        if self.process and self.process.poll() is None:
            tell(tree_of(self.process.pid), signal.SIGKILL)
            self.process.wait()

    def lose(self, point: Point) -> dict[str, t.Any]:
        for loss in point.losses:
            if not loss.fact:
                do(loss.cut, loss.host)
        process = self.start(point.name, deploy_release="2.0.0", deploy_health={**self.health, **point.health}, **point.variables)
        seen: dict[str, t.Any] = {"lost": [loss.host for loss in point.losses], "at": []}
        for loss in point.losses:
            if loss.fact:
                self._wait(process, point, loss.fact)
                # First who would begin the next step, since it takes a moment to find the others.
                os.kill(process.pid, signal.SIGSTOP)
                tell(tree_of(process.pid), signal.SIGSTOP)
                try:
                    do(loss.cut, loss.host)
                    seen["at"].append(self.events(point.name)[-1])
                finally:
                    tell(tree_of(process.pid), signal.SIGCONT)
        seen["rc"] = process.wait()
        seen["servers"] = {balancer: ask(balancer, "show servers state shop") for balancer in BALANCERS}
        silent = [loss.host for loss in point.losses if not loss.answers]
        seen["running"] = running([name for name in MEMBERS if name not in silent])
        for loss in point.losses:
            do(loss.mend, loss.host)
        if point.killed:
            seen["left"] = self.kill(point.killed, point.again)
        # The load goes on and counts what is lost: this deploy needs no probe of its own.
        seen["again"] = self.start(f"{point.name}-again", deploy_release=point.again, deploy_batches=[2], deploy_evidence_url="").wait()
        seen["running_again"] = running()
        seen["servers_again"] = {balancer: ask(balancer, "show servers state shop") for balancer in BALANCERS}
        return seen

    def kill(self, host: str, release: str) -> list[str]:
        """A controller is killed, with all that it started here, while a module on a host waits for a service; what was left there."""
        do([inside(HOLD_RESTART)], host)
        process = self.start("killed", deploy_release=release)
        self._until("the module waits for the service", lambda: process.poll() is None and "systemctl restart shop" in processes(host))
        tell(tree_of(process.pid), signal.SIGKILL)
        process.wait()
        left = look.modules(processes(host))
        do([inside("rm /run/hold")], host)
        self._until("the module has ended", lambda: not look.modules(processes(host)))
        return left

    @staticmethod
    def _until(what: str, fact: t.Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not fact():
            if time.monotonic() > end:
                raise SystemExit(f"gave up: waited {PATIENCE:g} s until {what}")
            time.sleep(0.1)

    def _wait(self, process: "subprocess.Popen[bytes]", point: Point, fact: Fact) -> None:
        end = time.monotonic() + PATIENCE
        while not fact.among(self.events(point.name)):
            if process.poll() is not None or time.monotonic() > end:
                seen = self.events(point.name)[-1:]
                raise SystemExit(f"gave up: waited for {fact} of the deploy {point.name}, which ended with {process.poll()}; its last event was {seen}; "
                                 f"see {self.results / point.name}.log")
            time.sleep(POLL)


def main(results: str, *command: str) -> None:
    runs = Runs(pathlib.Path(results), command)
    seen = {}
    try:
        for point in POINTS:
            began = time.monotonic()
            seen[point.name] = runs.lose(point)
            print(f"{point.name}: {time.monotonic() - began:.1f} s", flush=True)
            (runs.results / "points.json").write_text(json.dumps(seen, indent=1), encoding="utf-8")
    finally:
        runs.end()


if __name__ == "__main__":
    # Whoever ends this must not leave a controller that stands still, nor one that goes on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(*sys.argv[1:])
