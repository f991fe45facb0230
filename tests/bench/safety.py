# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What safety costs: the lock, the journal and the fence in a deploy that goes well, and how soon a death is told in one that does not."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.error
import urllib.request

from measure import BUILD, OUTPUT, REPO, Finding, environment, median, playbook, run
from scene import HERE, Scene

FENCED = ("Out of traffic", "Back into traffic")
LOCKING = ("Take the lock", "Give the lock back")
DEATH_MEMBERS = 4
LONGEST = 120.0
REPEAT = 8
POLL = 0.01
# Shorter than the defaults, so that the part does not last; what is added to them stays the same.
SOCKET_TIMEOUT, HEALTH_TIMEOUT, DRAIN_TIMEOUT, READY_TIMEOUT, CONNECT_TIMEOUT = 3.0, 5, 5, 10, 3
# Requests that keep a drain from ending; the members wait for them at the end of a scene.
SLOW_MS = 8000
# What the collection adds to a connection's time-out and to the move's own, for a host that gives no answer.
HOST_MARGIN = 2

# Members that leave and come back in one process, with the fence and without it by turns: what differs between the ways out is the fence.
FENCE = """
import json, sys, time
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import members as _haproxy_members, options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence, lock as _lock
given = json.load(open(sys.argv[1]))
lock = _lock.Lock(given["directory"], "bench-shop")

def move(state, fence):
    options = {name: given[name] for name in ("socket", "master_socket", "config", "members")}
    checked = ArgumentSpecValidator(_haproxy_options.members_spec()).validate({"pools": ["shop"], "state": state, **options, **fence})
    if checked.error_messages:
        raise SystemExit(checked.error_messages)
    began = time.monotonic()
    with _fence.fence(checked.validated_parameters, False) as memory:
        _haproxy_members.move(checked.validated_parameters, memory=memory)
    return time.monotonic() - began

found = {"with": [], "without": []}
for number in range(2 * given["repeat"]):
    # Four batches, and a journal as long as theirs.
    if number % 8 == 0:
        lock.release("bench", True)
        lock.acquire("bench", {})
    kind = ("with", "without")[number % 2]
    fence = {"lock": lock.path, "deploy_id": "bench"} if kind == "with" else {}
    found[kind].append(move("drained", fence))
    move("active", fence)
lock.release("bench", True)
print(json.dumps(found))
"""


class Timeline:
    """A playbook that runs, and what the callback beside it has written so far."""

    def __init__(self, name: str, command: list[str], **more: str) -> None:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.path = OUTPUT / f"{name}.timeline"
        self.path.unlink(missing_ok=True)
        self.ended: float | None = None
        with open(OUTPUT / f"{name}.log", "wb") as log:
            self.began = time.time()
            self.process = subprocess.Popen(command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={
                **environment(), "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
                "BENCH_TIMELINE": str(self.path), **more})

    def __enter__(self) -> Timeline:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def events(self) -> list[dict[str, t.Any]]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        # The last line may be half written.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def until(self, check: t.Callable[[], t.Any], what: str) -> t.Any:
        end = time.monotonic() + LONGEST
        while True:
            ended = self.process.poll() is not None
            if found := check():
                return found
            if ended or time.monotonic() > end:
                raise Finding(f"{self.name} {'ended' if ended else 'took too long'} before {what}; see build/bench/{self.name}.log")
            time.sleep(POLL)

    def wait(self) -> int:
        try:
            self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            raise Finding(f"{self.name} took too long to end; see build/bench/{self.name}.log") from None
        self.ended = time.time()
        return self.process.returncode


def spans(events: t.Sequence[t.Mapping[str, t.Any]], tasks: t.Sequence[str]) -> list[float]:
    """Seconds of each task whose name begins so, until the next one begins or the play ends: with all that Ansible does for it."""
    marks = [event for event in events if event["event"] in ("began", "ended")]
    return [after["time"] - one["time"] for one, after in zip(marks, marks[1:])
            if one["event"] == "began" and one["task"].startswith(tuple(tasks))]


def told(events: t.Sequence[t.Mapping[str, t.Any]], death: float) -> t.Mapping[str, t.Any] | None:
    """The first failure after the death, which is the sentence that names it."""
    return next((event for event in events if event["event"] == "failed" and event["time"] >= death), None)


def _state() -> t.ContextManager[str]:
    """A directory for lock and journal on a disk: in memory, fsync would cost nothing."""
    BUILD.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="state-", dir=BUILD)


def cost(sizes: t.Sequence[int]) -> list[dict[str, t.Any]]:
    rows = []
    for count in sizes:
        with _state() as state:
            fence = _fence(count, state)
            with Scene(count, members=True) as scene:
                scene.build("1.0.0", "2.0.0")
                common = {"deploy_state_dir": state}
                run("safety-first", playbook(scene.inventory, "zero.downtime.deploy", deploy_release="1.0.0", **common))
                with Timeline(f"safety-{count}", playbook(scene.inventory, "zero.downtime.deploy", deploy_release="2.0.0", **common)) as deploy:
                    if deploy.wait():
                        raise Finding(f"the deploy of {count} did not succeed; see build/bench/safety-{count}.log")
                    events = deploy.events()
        locking, moves = {name: sum(spans(events, [name])) for name in LOCKING}, len(spans(events, FENCED))
        if not all(locking.values()) or not moves:
            raise Finding(f"the deploy of {count} has no task of the names that safety.py knows")
        whole = (deploy.ended or 0.0) - deploy.began
        spent = sum(locking.values()) + moves * max(0.0, fence)
        rows.append({"members": count, "seconds": round(whole, 3), "take": round(locking[LOCKING[0]], 3), "give": round(locking[LOCKING[1]], 3),
                     "moves": moves, "fence": round(fence, 5), "spent": round(spent, 3), "share": round(spent / whole, 4)})
    return rows


def _fence(count: int, state: str) -> float:
    """Seconds that the fence adds to one move of a batch: the difference of two medians."""
    with Scene(count) as scene:
        arguments = scene.dir / "fence.json"
        arguments.write_text(json.dumps({
            "directory": state, "socket": scene.balancer.socket, "master_socket": scene.balancer.master_socket, "config": scene.balancer.config,
            "members": scene.names[:-(-count // 4)], "repeat": REPEAT}), encoding="utf-8")
        run("safety-fence", [sys.executable, "-c", FENCE, str(arguments)], PYTHONPATH=str(REPO / "build" / "collections"))
    found = json.loads((OUTPUT / "safety-fence.log").read_text(encoding="utf-8").splitlines()[-1])
    return median(found["with"]) - median(found["without"])


def deaths() -> list[dict[str, t.Any]]:
    """Each on a scene of its own: what one leaves behind must not be the next one's beginning."""
    return [
        _dead_balancer("the balancer's process hangs (SIGSTOP) during a drain", "stopped", signal.SIGSTOP, SOCKET_TIMEOUT, "`socket_timeout`"),
        _dead_balancer("the balancer's process is killed during a drain", "killed", signal.SIGKILL, SOCKET_TIMEOUT,
                       "`socket_timeout`: it may be reloading"),
        _lost_host("the balancer's host gives no answer from the start of a drain on", "hang", "lb1", "Out of traffic, batch 1",
                   DRAIN_TIMEOUT + CONNECT_TIMEOUT + HOST_MARGIN, "`deploy_drain_timeout` + Ansible's `timeout` + %d s" % HOST_MARGIN),
        _lost_host("a member's host cannot be reached from its activation on", "gone", "app1", "Activate the release, batch 1", 0,
                   "none: no route at once"),
        _never_ready(),
    ]


def _row(what: str, deploy: Timeline, death: float, limit: float, governs: str, words: str) -> dict[str, t.Any]:
    said = deploy.until(lambda: told(deploy.events(), death), "it said that something is wrong")
    if words not in said["sentence"]:
        raise Finding(f"{deploy.name} failed for another reason, '{said['sentence']}'; '{words}' was expected in it")
    if deploy.wait() == 0:
        raise Finding(f"{deploy.name} ended well, in spite of the death")
    seconds = said["time"] - death
    return {"what": what, "limit": limit, "governs": governs, "seconds": round(seconds, 3), "over": round(seconds - limit, 3),
            "ended": round((deploy.ended or 0.0) - death, 3), "sentence": said["sentence"]}


@contextlib.contextmanager
def _deployed(name: str, release: str, change: t.Callable[[dict[str, t.Any]], None] = lambda inventory: None, more: t.Mapping[str, str] | None = None,
              **variables: t.Any) -> t.Iterator[tuple[Scene, Timeline]]:
    """A scene on which 1.0.0 serves, and a deploy of C(release) that has begun there."""
    with _state() as state, Scene(DEATH_MEMBERS, members=True) as scene:
        inventory = json.loads(pathlib.Path(scene.inventory).read_text(encoding="utf-8"))
        inventory["all"]["vars"].update(deploy_state_dir=state, deploy_drain_timeout=DRAIN_TIMEOUT, deploy_ready_timeout=READY_TIMEOUT)
        inventory["all"]["vars"]["deploy_traffic"]["socket_timeout"] = SOCKET_TIMEOUT
        inventory["all"]["vars"]["deploy_health"]["timeout"] = HEALTH_TIMEOUT
        change(inventory)
        pathlib.Path(scene.inventory).write_text(json.dumps(inventory), encoding="utf-8")
        scene.build("1.0.0", release)
        lose = {"BENCH_LOSE": str(scene.dir / "never"), "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection")}
        run(f"safety-{name}-first", playbook(scene.inventory, "zero.downtime.deploy", deploy_release="1.0.0"), **lose)
        with Timeline(f"safety-{name}", playbook(scene.inventory, "zero.downtime.deploy", deploy_release=release, **variables),
                      **{key: value.format(dir=scene.dir) for key, value in {**lose, **(more or {})}.items()}) as deploy:
            yield scene, deploy


def _dead_balancer(what: str, name: str, number: int, limit: float, governs: str) -> dict[str, t.Any]:
    with _deployed(name, "2.0.0") as (scene, deploy), contextlib.ExitStack() as left:
        deploy.until(lambda: _has_begun(deploy.events(), "Begin, batch 1"), "a batch began")
        for _number in range(2 * DEATH_MEMBERS):
            request = left.enter_context(socket.create_connection(("127.0.0.1", scene.balancer.port), 5))
            request.sendall(f"GET /slow?ms={SLOW_MS} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        deploy.until(lambda: _draining(scene), "a member was drained")
        processes = [scene.balancer.worker_pid(), scene.balancer.process.pid if scene.balancer.process else 0]
        if number == signal.SIGSTOP:
            left.callback(_signal, processes, signal.SIGCONT)
        death = time.time()
        _signal(processes, number)
        return _row(what, deploy, death, limit, governs, "socket")


def _signal(processes: t.Sequence[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _has_begun(events: t.Sequence[t.Mapping[str, t.Any]], task: str) -> bool:
    return any(event["event"] == "began" and event["task"].startswith(task) for event in events)


def _draining(scene: Scene) -> bool:
    rows = [line.split(",") for line in scene.ask("show stat shop 4 -1").splitlines()[1:] if line]
    return any(row[17].startswith(("MAINT", "DRAIN")) and int(row[4]) > 0 for row in rows)


def _lost_host(what: str, how: str, host: str, task: str, limit: float, governs: str) -> dict[str, t.Any]:
    def change(inventory: dict[str, t.Any]) -> None:
        group = next(found for found in inventory["all"]["children"].values() if host in found["hosts"])
        # A port of its own, or it is one machine with the others.
        group["hosts"][host].update(ansible_connection="lost", ansible_port=1)

    more = {"BENCH_LOSE": "{dir}/lost." + how, "BENCH_LOSE_AT": task, "ANSIBLE_TIMEOUT": str(CONNECT_TIMEOUT)}
    with _deployed(f"{host}-{how}", "2.0.0", change, more) as (_scene, deploy):
        lost = deploy.until(lambda: next((event for event in deploy.events() if event["event"] == "lost"), None), "it came to the loss")
        return _row(what, deploy, lost["time"], limit, governs, f"{host} cannot be reached")


def _never_ready() -> dict[str, t.Any]:
    label = "2.0.0-bad"
    with _deployed("bad", label) as (scene, deploy):
        urls = [f"http://127.0.0.1:{port}/ready" for port in scene.balancer.ports.values()]
        death = deploy.until(lambda: _runs(urls, scene.digests[label]) and time.time(), "the release ran anywhere")
        return _row("a release runs and never becomes ready", deploy, death, HEALTH_TIMEOUT, "`deploy_health.timeout`", "app1 last answered 503")


def _runs(urls: t.Sequence[str], digest: str) -> bool:
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                headers = answer.headers
        except urllib.error.HTTPError as error:
            headers = error.headers
            error.close()
        except OSError:
            continue
        if digest in (headers.get("x-release") or ""):
            return True
    return False
