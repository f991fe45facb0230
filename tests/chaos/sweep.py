# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sweep.py [--short] [--list] [TEXT…]: kills the controller at each step of a deploy, of a rollback and of going back, rolling, blue/green and as a canary, and
lets another one go on.

The local stage is under load all the while. Each point is right only if no request was lost, neither by the balance sheet of the run that
went on nor by a load generator that shares no code with the collection, nobody is out, no lock is left, and every member runs the release
that it should. TEXT chooses the points whose names hold it. The exit code is 0 only if every point was right.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request

from controller import CONTAINER, FLAG, MACHINE, REPO, STATE, Controller, Lost, Run, idle_side, layout, serving_side
from points import POINTS, Point

import artifacts  # noqa: E402  found by controller's path
import stage  # noqa: E402

sys.path.insert(0, str(REPO / "tests" / "load"))

from under_load import Load  # noqa: E402  pylint: disable=wrong-import-position

WORK = pathlib.Path(layout.BUILD) / "chaos"
# Parts that run at the same time: most of a deploy is waiting.
ROOMS = 3
URL = f"http://127.0.0.1:{layout.PORT}"
# Never ready; answers some requests with an error, which only users notice.
BAD, ERRORS = "3.0.0-bad", "4.0.0-errors"
QUICK = {"deploy_batches": [2], "deploy_soak": 0, "deploy_evidence_rate": 20}
# With the old side stopped at the end, so that its end is a part of the deploy.
ENDED = {"deploy_keep_previous": 0, "deploy_idle_for": 1}
FLAG_OFF = WORK / "flag_off.yml"
OPTIONS: dict[str, dict[str, t.Any]] = {
    "rolling": {},
    "blue_green": {"deploy_strategy": "blue_green", **ENDED},
    "canary": {"deploy_strategy": "canary", **ENDED, "deploy_hooks": {"flag_off": str(FLAG_OFF)},
               "deploy_canary": {"steps": [50, 100], "step_time": 2, "interval": 1, "warm_up": 0, "deadline": 60, "latency": "none"}},
}


class Bad(t.NamedTuple):
    """A deploy that goes back: the release, the words of its last sentence, and more options."""
    label: str
    says: str
    options: dict[str, t.Any]


BADS = {
    # The bad release is never ready, so waiting longer for it proves nothing.
    "rolling": Bad(BAD, "went back", {"deploy_health": {"path": "/ready", "header": "x-release", "timeout": 6}}),
    # Who has seen few errors may not be sure of them yet.
    "canary": Bad(ERRORS, "was withdrawn at 50 %", {"deploy_canary": {**OPTIONS["canary"]["deploy_canary"], "step_time": 20}}),
}


class Sweep:
    def __init__(self) -> None:
        self.here = Controller(WORK / "here")
        self.other = Controller(WORK / "other")
        self.container = Controller(WORK / "container", CONTAINER)
        self.machine = Controller(WORK / "machine", MACHINE)
        self.release = ""
        # What a rollback goes to; unknown after a point that may have left it differently on each member.
        self.previous: str | None = None
        self.count = 0
        self.strategy = "rolling"

    def fresh(self) -> str:
        """A release that nobody has seen yet, so that staging it is work."""
        self.count += 1
        label = f"1.{self.count}.0"
        artifacts.build([label])
        return label

    def deploy(self, name: str, label: str, **variables: t.Any) -> None:
        """An ordinary deploy, to begin from."""
        done = self.here.play("deploy", WORK / f"{name}.log", **{**QUICK, **variables}, deploy_release=label)
        if done.process.returncode:
            raise Lost(f"the deploy of {label} to begin from failed: {done.sentence}")
        self.previous, self.release = self.release or None, label

    def renew(self) -> None:
        """A stage that nothing is wrong with: what one point left behind must not be counted against the next one."""
        stage.down()
        shutil.rmtree(layout.STAGE, ignore_errors=True)
        stage.up([BAD, ERRORS])
        self.release, self.previous, self.strategy = "", None, "rolling"
        self.deploy(f"first-{self.count}", self.fresh())

    def point(self, number: int, point: Point) -> dict[str, t.Any]:
        name = f"{number:02d}"
        for left in WORK.glob(name + "-*"):
            left.unlink()
        if point.strategy != self.strategy:
            # What was there before is another thing: on the members' slots, or on the other side.
            self.previous, self.strategy = None, point.strategy
        # A canary that is withdrawn puts back what the idle side had, where it had something.
        if (point.verb == "rollback" or (point.verb, point.strategy) == ("bad", "canary")) and not self.previous:
            self.deploy(name + "-before", self.fresh(), **OPTIONS[point.strategy])
        if point.verb == "retire":
            self.deploy(name + "-before", self.fresh(), deploy_strategy="blue_green")
        began = time.monotonic()
        wrong: list[str] = []
        found: dict[str, t.Any] = {"point": point.name, "done": told(point), "requests": None, "balance": None, "lost": None, "orphans": None, "state": ""}
        served = self.release
        label = {"deploy": self.fresh, "rollback": lambda: self.previous, "bad": lambda: BADS[point.strategy].label, "retire": lambda: served}[point.verb]()
        try:
            with Load([URL], WORK, name) as load:
                self.killed(point, name, str(label))
                resumed, wanted = self.resumed(point, name, str(label), served, wrong)
                wrong += self.judge(name, resumed, wanted, found, point)
        except (Lost, AssertionError) as lost:
            wrong.append(str(lost))
            found["wrong"] = wrong
            return found
        probe = load.report
        found["requests"] = probe["sent"]
        lost = probe["failed"] - known_errors(point, probe["failures"])
        found["lost"] += lost
        found["load"] = {key: probe[key] for key in ("sent", "failed", "failures", "losses", "longest_gap_ms", "stall_ms")}
        if lost:
            wrong.append(f"the load generator lost {lost} of {probe['sent']}: {probe['failures']}")
        found.update(wrong=wrong, seconds=round(time.monotonic() - began, 1))
        return found

    def killed(self, point: Point, name: str, label: str) -> None:
        """A run whose controller is killed there."""
        variables = options_of(point)
        # Without a release, rollback goes to the previous one: the common case.
        if point.verb not in ("rollback", "retire"):
            variables["deploy_release"] = label
        if point.verb == "bad":
            variables.update(BADS[point.strategy].options)
        run = self.here.start("deploy" if point.verb == "bad" else point.verb, WORK / f"{name}-killed.log", **variables)
        try:
            run.wait_for(point.fact())
        finally:
            run.kill(point.kill)
        if run.process.returncode != -signal.SIGKILL:
            raise Lost(f"the run ended with {run.process.returncode} before it could be killed")

    def resumed(self, point: Point, name: str, label: str, served: str, wrong: list[str]) -> tuple[Run, str]:
        """Another controller goes on; the release that every member should run then."""
        if point.in_short and point.locked:
            told_by_status = self.other.play("status", WORK / f"{name}-told.log")
            advised = re.search(r"its controller has died; ansible-playbook (-i \S+ )*zero\.downtime\.", told_by_status.sentence)
            if told_by_status.process.returncode != 2 or not advised:
                wrong.append(f"status said before: {told_by_status.sentence}")
        variables = options_of(point)
        controller = self.other
        if point.elsewhere:
            # From where nobody can know whether the holder lives, nothing may happen until somebody says so.
            # While both sides serve, a restart would be told so before it came to the lock.
            refused = self.container.play("rollback" if point.strategy == "canary" else "restart", WORK / f"{name}-refused.log", **variables)
            if refused.process.returncode != 2 or "deploy_lock_break" not in refused.sentence:
                wrong.append(f"a controller that cannot know was not refused: {refused.sentence}")
            controller = self.machine
            variables["deploy_lock_break"] = True
        playbook = "deploy" if point.resume == "before" else point.resume
        if playbook == "deploy":
            variables["deploy_release"] = {"deploy": served if point.verb == "rollback" else label, "before": served}[point.resume]
        if point.verb == "bad" and point.resume == "deploy":
            variables.update(BADS[point.strategy].options)
        # claim: next-run-takes-over
        run = controller.play(playbook, WORK / f"{name}-resumed.log", **variables)
        bad_again = point.verb == "bad" and point.resume == "deploy"
        if run.process.returncode != (2 if bad_again else 0):
            wrong.append(f"the run that went on ended with {run.process.returncode}: {run.sentence}")
        elif bad_again and BADS[point.strategy].says not in run.sentence:
            wrong.append(f"the run that went on said: {run.sentence}")
        elif point.locked and not point.elsewhere and "whose controller has died" not in run.output:
            wrong.append("the run that went on did not say whose lock it took over")
        forward = (point.verb, point.resume) in (("deploy", "deploy"), ("rollback", "rollback"), ("retire", "retire"))
        wanted = label if forward else served
        # Whoever has moved, in whichever order: only a deploy from a state that is the same everywhere makes what is previous certain.
        self.previous = served if (point.verb, point.resume) == ("deploy", "deploy") else None
        self.release = wanted
        return run, wanted

    def judge(self, name: str, resumed: Run, wanted: str, found: dict[str, t.Any], point: Point) -> list[str]:
        """What is not as it should be, now that it is over."""
        # What only stops a side keeps no record: the load generator alone counts then.
        wrong = self.of_record(resumed, found, point) if point.verb != "retire" else []
        if point.verb == "retire":
            found.update(balance=0, lost=0)
        side = serving_side()
        status = WORK / f"{name}-status.json"
        asked = self.other.play("status", WORK / f"{name}-status.log", status_file=str(status))
        if not status.exists():
            return [*wrong, f"status failed: {asked.sentence}"]
        seen = json.loads(status.read_text(encoding="utf-8"))
        if asked.process.returncode or seen["problems"]:
            wrong.append(f"status found: {asked.sentence}")
        servers = weights(side)
        # claim: crash-sweep-no-orphan
        out = {row["name"] for row in seen["members"] if set(row["states"].values()) != {"active"}} | {
            member for member in layout.MEMBERS if servers.get(member) != "up 100/100"}
        found["orphans"] = len(out)
        if out:
            wrong.append("out of traffic: " + ", ".join(f"{member} ({servers.get(member)})" for member in sorted(out)))
        runs = {member: asked_directly(member, side) for member in layout.MEMBERS}
        labels = {row["name"]: row["release"] for row in seen["members"]}
        found["state"] = "; ".join(sorted({f"{runs[member]}, {servers.get(member)}" for member in layout.MEMBERS}))
        if set(runs.values()) != {wanted} or set(labels.values()) != {wanted}:
            wrong.append(f"every member should run {wanted}; they answer with {runs}, and status says {labels}")
        # A deploy that goes back keeps the idle side as it was.
        if point.strategy != "rolling" and point.verb != "bad":
            left_running = [member for member in layout.MEMBERS if layout.member_processes(member, idle_side())]
            found["state"] += f"; {idle_side()} stopped" if not left_running else f"; {', '.join(left_running)} still on {idle_side()}"
            if left_running:
                wrong.append(f"{idle_side()} should be stopped, and runs on {', '.join(left_running)}")
        # Since when the sides have their shares outlives every deploy.
        if left := sorted(path.name for path in STATE.iterdir() if path.suffix not in (".shares", ".last")):
            wrong.append("left beside the lock: " + ", ".join(left))
        return wrong

    @staticmethod
    def of_record(resumed: Run, found: dict[str, t.Any], point: Point) -> list[str]:
        """What the run that went on counted itself."""
        wrong: list[str] = []
        record: dict[str, t.Any] = json.loads(resumed.record.read_text(encoding="utf-8")) if resumed.record.exists() else {}
        sheet = (record.get("evidence") or {}).get("balance") or {}
        probe = (record.get("evidence") or {}).get("probe") or {}
        if not sheet.get("complete") or not sheet.get("received") or not probe.get("sent"):
            wrong.append(f"the record has no whole evidence: {sheet.get('note') or record.get('sentence') or 'there is none'}")
        found["balance"] = sheet.get("received") or 0
        failed = (probe.get("failed") or 0) - known_errors(point, probe.get("failures") or {})
        # The members' own answers are the release's, where it is known to answer with errors.
        errors = sheet.get("errors_during") if not known_errors(point, {"status_500": 1}) else 0
        found["lost"] = (sheet.get("lost") or 0) + (errors or 0) + failed
        if found["lost"]:
            wrong.append(f"the run that went on lost requests: {record.get('sentence')}")
        return wrong


def told(point: Point) -> str:
    """What was done, in short."""
    again = {"before": "deploy of what served"}.get(point.resume, point.resume)
    return f"{point.kill} killed; {again} by {'another machine, lock broken' if point.elsewhere else 'another controller'}"


def options_of(point: Point) -> dict[str, t.Any]:
    return {**QUICK, **OPTIONS[point.strategy]}


def known_errors(point: Point, failures: t.Mapping[str, int]) -> int:
    """Of what failed, the answers of a release that is known to answer so: an error of the application is no lost request."""
    return failures.get("status_500", 0) if point.verb == "bad" and point.strategy == "canary" else 0


def weights(side: str) -> dict[str, str]:
    """What the balancer itself says of each member of a side."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(os.path.join(layout.run_dir(), "admin.sock"))
        client.sendall(f"show servers state shop_{side}\n".encode())
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    found = {}
    for line in answer.decode().splitlines():
        columns = line.split()
        if len(columns) > 8 and columns[1] == "shop_" + side:
            # Operational state 2 is running, administrative state 0 that nobody took it out.
            how = "up" if columns[5:7] == ["2", "0"] else f"state {columns[5]}/{columns[6]}"
            found[columns[3]] = f"{how} {columns[7]}/{columns[8]}"
    return found


def asked_directly(member: str, side: str) -> str:
    """The release that answers at a member's own port of a side."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{layout.port(member, side)}/", timeout=5) as answer:
            return json.load(answer)["version"]
    except OSError as error:
        return f"nothing ({error})"


# Requests: by the load generator, all the while; counted: by the balance sheet of the run that went on, its own probe's included.
COLUMNS = f"{'point':<42} {'what was done':<62} {'requests':>8} {'counted':>8} {'lost':>5} {'orphans':>7}  end state"


def line(found: dict[str, t.Any]) -> str:
    numbers = ["?" if found[key] is None else str(found[key]) for key in ("requests", "balance", "lost", "orphans")]
    row = f"{found['point']:<42} {found['done']:<62} {numbers[0]:>8} {numbers[1]:>8} {numbers[2]:>5} {numbers[3]:>7}  {found['state']}"
    return "\n".join([("not ok " if found["wrong"] else "ok ") + row, *("    " + text for text in found["wrong"])])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one point of each kind")
    parser.add_argument("--list", action="store_true", help="say which points there are, and do nothing")
    parser.add_argument("--part", metavar="N", type=int, help=f"only the points of that part of {ROOMS}, each told as JSON, for whoever puts them together")
    parser.add_argument("text", nargs="*", help="points whose names hold it")
    options = parser.parse_args(arguments)
    chosen = [point for point in POINTS if (point.in_short or not options.short) and (not options.text or any(text in point.name for text in options.text))]
    if options.list:
        print("\n".join(f"{point.name:<42} {told(point)}" for point in chosen))
        return 0
    if not chosen:
        print("chaos: no point has a name with %s in it; --list says which there are" % " or ".join(options.text))
        return 2
    # A terminated sweep ends its stage as well.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    if options.part is not None:
        return 0 if in_turn(part_of(chosen, options.part), json.dumps)[1] else 1
    began = time.monotonic()
    print("   " + COLUMNS, flush=True)
    at_once = not options.short and len(chosen) > ROOMS and layout.isolates()
    results, whole = in_rooms(options.text) if at_once else in_turn(chosen, line)
    pathlib.Path(layout.BUILD, "chaos.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    bad = [found for found in results if found["wrong"]]
    print("chaos: the controller was killed at %d of %d points; %d ended as they should, %d did not; %d requests, %d lost; %.0f s" % (
        len(results), len(chosen), len(results) - len(bad), len(bad), sum(found["requests"] or 0 for found in results),
        sum(found["lost"] or 0 for found in results), time.monotonic() - began))
    return 0 if whole and len(results) == len(chosen) and not bad else 1


def part_of(points: t.Sequence[Point], number: int) -> t.Sequence[Point]:
    """Points that follow each other, since a change of strategy costs a deploy."""
    return points[(number - 1) * len(points) // ROOMS:number * len(points) // ROOMS]


def in_rooms(texts: t.Sequence[str]) -> tuple[list[dict[str, t.Any]], bool]:
    """All parts at the same time, each with a stage of its own: what was found, in the order in which it was, and whether every part ended by itself."""
    results: list[dict[str, t.Any]] = []
    turn = threading.Lock()

    def follow(room: "subprocess.Popen[str]") -> None:
        assert room.stdout is not None
        for text in room.stdout:
            with turn:
                if text.startswith("{"):
                    results.append(json.loads(text))
                    print(line(results[-1]), flush=True)
                elif not text.startswith("stage: "):
                    print(text, end="", flush=True)

    rooms = [subprocess.Popen([str(REPO / "tests" / "bin" / "isolated"), f"chaos-{number}", "stage artifacts records chaos", sys.executable, __file__,
                               "--part", str(number), *texts], cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
             for number in range(1, ROOMS + 1)]
    try:
        followers = [threading.Thread(target=follow, args=(room,)) for room in rooms]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
        return results, all(room.wait() == 0 for room in rooms)
    finally:
        for room in rooms:
            room.terminate()


def in_turn(chosen: t.Sequence[Point], told_as: t.Callable[[dict[str, t.Any]], str]) -> tuple[list[dict[str, t.Any]], bool]:
    """One point after the other, on the stage that is here."""
    results: list[dict[str, t.Any]] = []
    try:
        shutil.rmtree(WORK, ignore_errors=True)
        # In a room of its own (tests/bin/isolated) it is a mount, which stays.
        WORK.mkdir(parents=True, exist_ok=True)
        task = {"name": "Switch the flag off", "ansible.builtin.copy": {"content": "off", "dest": f"{WORK}/{{{{ deploy_id }}}}{FLAG}", "mode": "0600"}}
        FLAG_OFF.write_text(json.dumps([task]), encoding="utf-8")
        sweep = Sweep()
        sweep.renew()
        for number, point in enumerate(chosen, 1):
            if results and results[-1]["wrong"]:
                sweep.renew()
            results.append(sweep.point(number, point))
            print(told_as(results[-1]), flush=True)
    except Lost as lost:
        print(f"not ok chaos: {lost}", flush=True)
        return results, False
    finally:
        stage.down()
    return results, True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
