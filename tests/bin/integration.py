# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""integration.py [TARGET…]: runs tests/integration/targets as a user would: with ansible-playbook, against real servers.

A target with a ``playbook.yml`` is played on the local stage, with its inventory. All of them use the same stage, in the order of ``ON_STAGE``,
each with what the one before has left there put away. Any other target is a role, played on localhost, with an empty directory, ``place``; where
``SERVERS`` has it, real servers of its own are started before, and ``stage`` says where they are. ``examples`` are the tasks in the module's
documentation, with the names that are others here put in place of the documented ones. Prints ``ok NAME`` or ``not ok NAME`` for each; the exit code is 0 if
all are ok.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

import yaml

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TESTS = os.path.join(REPO, "tests")
TARGETS = os.path.join(TESTS, "integration", "targets")
WORK = os.path.join(REPO, "build", "integration")
RELEASES = ["1.0.0", "2.0.0", "3.0.0-bad", "4.0.0-errors"]
LONGEST_TARGET = 600
# The first ones want a stage on which no release has ever run; the last one leaves a bad release behind.
ON_STAGE = ("application", "deploy_lock", "plan", "doctor", "status", "idle", "members", "split", "haproxy_split", "replay", "shadow", "push", "judge")
# What a fresh stage has.
FRESH = {"etc", "hosts", "log", "pids", "python", "run"}

ROOMS = ("stage", "real", "real/third_party", "conformance", "suite", "aws")

sys.path[:0] = [os.path.join(TESTS, room) for room in ROOMS] + [os.path.join(REPO, "build", "collections")]

import bind_stage  # noqa: E402  pylint: disable=wrong-import-position
import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import layout  # noqa: E402  pylint: disable=wrong-import-position
import limits  # noqa: E402  pylint: disable=wrong-import-position
import members_stage  # noqa: E402  pylint: disable=wrong-import-position
import nginx_stage  # noqa: E402  pylint: disable=wrong-import-position
import rigs  # noqa: E402  pylint: disable=wrong-import-position
import warm  # noqa: E402  pylint: disable=wrong-import-position
import works  # noqa: E402  pylint: disable=wrong-import-position

import stage as local_stage  # noqa: E402  pylint: disable=wrong-import-position

POOLS = {"shop": ["app1", "app2", "app3"], "api": ["app1"]}
Facts = t.Dict[str, t.Any]


# -- real servers on loopback, for one target each ---------------------------------------------------------------------
@contextlib.contextmanager
def _haproxy() -> t.Iterator[Facts]:
    with haproxy_stage.HaproxyStage(POOLS) as up:
        yield {"socket": up.socket, "master_socket": up.master_socket, "url": up.url, "config": up.config, "ports": up.ports}


@contextlib.contextmanager
def _nginx(split: str = "") -> t.Iterator[Facts]:
    with nginx_stage.NginxStage({f"{split}_blue": ["app1"], f"{split}_green": ["app2"]} if split else POOLS, split=split) as up:
        yield {"options": up.options, "url": up.url, "ports": up.ports, "upstreams": str(up.upstreams)}


@contextlib.contextmanager
def _mirrored() -> t.Iterator[Facts]:
    """With an upstream for the idle side, where nobody listens."""
    with _nginx() as facts:
        pathlib.Path(facts["upstreams"], "shop_green.upstream.conf").write_text("upstream shop_green {\n    server 127.0.0.1:9; # app1\n}\n", encoding="ascii")
        yield facts


@contextlib.contextmanager
def _switchable() -> t.Iterator[Facts]:
    with rigs.SwitchableStage({"shop": POOLS["shop"]}) as up:
        yield {"url": up.url, "stats": f"http://127.0.0.1:{up.stats_port}/stats;csv", "apps": {name: up.app_url(name) for name in up.names},
               "off": {name: up.off_file(name) for name in up.names}}


@contextlib.contextmanager
def _bind() -> t.Iterator[Facts]:
    """A zone whose name is blue."""
    with bind_stage.BindStage(["www 3 A 192.0.2.1"]) as up:
        yield {**up.access(), "key_name": bind_stage.KEY}


@contextlib.contextmanager
def _elbv2(*names: str) -> t.Iterator[Facts]:
    """Target groups of two or four targets each; with two of them, a rule beside the listener's default."""
    pools = {name: [f"app{number}" for number in range(1, 5)] if len(names) == 1 else [f"{name[5]}1", f"{name[5]}2"] for name in names}
    with members_stage.MembersStage(pools) as up:
        if len(names) > 1:
            weights = dict(zip(names, (100, 0)))
            up.aws.backend.create_rule(up.listener_arn, [{"Field": "path-pattern", "Values": ["/cart"]}], 10, [up.aws.forward(weights)])
        yield {"access": up.access(), "targets": {name: up.target(name) for name in up.names}, "port": up.port,
               "bucket": up.aws.bucket("shop-deploys")}


SERVERS: dict[str, t.Callable[[], t.ContextManager[Facts]]] = {
    "evidence": _haproxy, "haproxy_info": _haproxy, "haproxy_members": _haproxy, "health_gate": _switchable, "healthcheck_members": _switchable,
    "mirror": _mirrored, "nginx_info": _nginx, "nginx_members": _nginx, "nginx_mirror": _mirrored, "nginx_split": lambda: _nginx("shop"),
    "elbv2_info": lambda: _elbv2("shop-blue", "shop-green"), "elbv2_lock": lambda: _elbv2("shop-blue", "shop-green"), "elbv2_members": lambda: _elbv2("shop"),
    "elbv2_split": lambda: _elbv2("shop-blue", "shop-green"),
    "rfc2136_info": _bind, "rfc2136_lock": _bind, "rfc2136_split": _bind,
}


@contextlib.contextmanager
def _works() -> t.Iterator[Facts]:
    """A platform that runs the local stage's members by itself."""
    token = "planted-works-token-8c1f"
    with works.Works(os.path.join(layout.run_dir(), "admin.sock"), token, RELEASES[0]) as up:
        yield {"url": up.url, "token": token}


# What is started beside the local stage.
BESIDE: dict[str, t.Callable[[], t.ContextManager[Facts]]] = {"push": _works}


# -- the local stage, for all of its targets in turn -------------------------------------------------------------------
class LocalStage:
    """Started when the first target needs it, and anew after one that failed."""

    def __init__(self) -> None:
        self._up = False

    def prepare(self) -> None:
        if self._up:
            self._tidy()
        else:
            self._up = True
            local_stage.down()
            local_stage.up(RELEASES)

    def down(self) -> None:
        """Nothing where no target has needed it: somebody may use it."""
        if self._up:
            local_stage.down()
        self._up = False

    @staticmethod
    def _tidy() -> None:
        """As a fresh stage is, but for the releases that serve."""
        for path in pathlib.Path(layout.STAGE).iterdir():
            if path.is_dir() and path.name not in FRESH:
                shutil.rmtree(path)
            elif path.name not in FRESH:
                path.unlink()
        split = os.path.join(layout.ETC, "split.map")
        pathlib.Path(split).write_text("shop 0\n", encoding="utf-8")
        # HAProxy appends to it.
        os.truncate(os.path.join(layout.LOG, "haproxy.log"), 0)
        servers = [f"shop_{side}/{member}" for side in layout.SLOTS for member in layout.MEMBERS]
        _told(f"set map {split} shop 0", "clear counters all",
              *(f"set server {server} {what}" for server in servers for what in ("state ready", "weight 100%")))


def _told(*commands: str) -> None:
    for command in commands:
        answer = haproxy_stage.ask(os.path.join(layout.run_dir(), "admin.sock"), command).strip()
        assert not answer, f"haproxy answered {command!r} with {answer!r}"


# -- one target --------------------------------------------------------------------------------------------------------
def _playbook(target: str) -> str:
    path = os.path.join(WORK, target + ".yml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump([{"name": "Target " + target, "hosts": "localhost", "gather_facts": False, "roles": [target]}], file)
    return path


def _examples(target: str) -> str:
    """A file with the documented examples. Where they are included, C(examples_here) lists what is documented and what it is here."""
    with open(os.path.join(REPO, "plugins", "modules", target + ".py"), encoding="utf-8") as file:
        documented = re.search(r'^EXAMPLES = r"""\n(.*?)^"""', file.read(), re.DOTALL | re.MULTILINE)
    assert documented, f"{target} has no EXAMPLES"
    tasks = documented.group(1)
    for here in _all_values(_playbook_of(target), "examples_here"):
        for old, new in here:
            assert old in tasks, f"the examples of {target} do not have {old!r}"
            tasks = tasks.replace(old, new.replace("{{ stage_run }}", layout.run_dir()).replace("{{ stage_dir }}", layout.STAGE))
    path = os.path.join(WORK, target + ".examples.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(tasks)
    return path


def _playbook_of(target: str) -> t.Any:
    """What stands in a target's only file of plays or tasks."""
    own = _on_stage(target)
    with open(own if os.path.exists(own) else os.path.join(TARGETS, target, "tasks", "main.yml"), encoding="utf-8") as file:
        return yaml.safe_load(file)


def _all_values(data: t.Any, name: str) -> t.Iterator[t.Any]:
    """Of that name, however deep they are."""
    if isinstance(data, dict):
        yield from ([data[name]] if name in data else ())
    for part in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _all_values(part, name)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    # Pipelining: without it a module costs five processes more.
    kept.update(limits.environment(), ANSIBLE_CONFIG=os.path.join(REPO, "ansible.cfg"), ANSIBLE_ROLES_PATH=TARGETS,
                ANSIBLE_COLLECTIONS_PATH=os.pathsep.join(os.path.join(REPO, *parts) for parts in (("build", "collections"), ("tests", "real", "third_party"))),
                ANSIBLE_PIPELINING="1")
    kept["PATH"] = os.path.dirname(sys.executable) + os.pathsep + kept.get("PATH", "")
    return kept


def _play(target: str, playbook: str, **variables: t.Any) -> bool:
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", os.path.join(REPO, "inventories", "local"), playbook,
            "-e", json.dumps({"examples": _examples(target), **variables})]
    log = os.path.join(WORK, target + ".log")
    with open(log, "wb") as file:
        child = warm.start(argv, REPO, _environment(), file, new_session=True)
        try:
            child.wait(limits.stretched(LONGEST_TARGET))
        except subprocess.TimeoutExpired:
            file.write(b"integration: stopped after %d s\n" % limits.stretched(LONGEST_TARGET))
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        with open(log, encoding="utf-8", errors="replace") as file:
            print("".join(file.readlines()[-40:]))
    return child.returncode == 0


def _on_stage(target: str) -> str:
    return os.path.join(TARGETS, target, "playbook.yml")


def _run(target: str, local: LocalStage) -> bool:
    """Whether the target is ok; why it is not has been said."""
    try:
        return _run_on_stage(target, local) if os.path.exists(_on_stage(target)) else _run_role(target)
    except AssertionError as broken:
        print(broken)
        return False


def _run_role(target: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="zero-downtime-") as place:
        if target not in SERVERS:
            return _play(target, _playbook(target), place=place)
        with SERVERS[target]() as facts:
            return _play(target, _playbook(target), place=place, stage=facts)


def _run_on_stage(target: str, local: LocalStage) -> bool:
    ok = False
    try:
        local.prepare()
        with BESIDE[target]() if target in BESIDE else contextlib.nullcontext() as facts:
            ok = _play(target, _on_stage(target), **({"stage": facts} if facts else {}))
    except SystemExit as stopped:
        if stopped.code != 1:
            raise  # somebody ended this run
        # The stage has said why it did not start; the targets that need none may still run.
    finally:
        if not ok:
            local.down()
    return ok


def _turn(target: str) -> tuple[int, str]:
    """Those of the stage last, in their order."""
    return (ON_STAGE.index(target) if target in ON_STAGE else len(ON_STAGE) if os.path.exists(_on_stage(target)) else -1, target)


def main(wanted: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    os.makedirs(WORK, exist_ok=True)
    present = sorted(name for name in os.listdir(TARGETS) if os.path.isdir(os.path.join(TARGETS, name)))
    if unknown := sorted(set(wanted) - set(present)):
        sys.stderr.write("integration: there is no target %s; there are: %s\n" % (", ".join(unknown), ", ".join(present)))
        return 2
    good = True
    local = LocalStage()
    try:
        for target in sorted(wanted or present, key=_turn):
            began = time.monotonic()
            ok = _run(target, local)
            good = good and ok
            print("%s integration %s (%.0f s)" % ("ok" if ok else "not ok", target, time.monotonic() - began), flush=True)
    finally:
        local.down()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
