# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage with a release on blue, shared by all tests of this room: each begins with it as it was first, whatever another one left."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1]), *(str(HERE.parents[2] / room) for room in ("load", "stage"))]

import layout  # noqa: E402
import playing  # noqa: E402
import saved  # noqa: E402
import sides  # noqa: E402
from haproxy_stage import ask, get, status_of, wait_until  # noqa: E402

import stage as stage_code  # noqa: E402

REPO = playing.REPO
SERVED = "1.0.0"
RELEASES = (SERVED, "2.0.0", "3.0.0-bad", "4.0.0-errors", "4.0.0-slow", "4.0.0-tail", "4.0.0-empty", "4.0.0-picky")
# Of the stage, what a deploy changes and leaves.
KEPT = ("hosts", "etc", "state")
# What a first deploy comes from: as long as all of it is the same, so is what it leaves.
SOURCES = ("plugins", "roles", "playbooks", "inventories/local", "tests/stage")
# What most tests can do with: requests cost time, theirs and the members', and nobody has to look on at the end. (The demo has the defaults.)
QUICK = {"deploy_evidence_rate": 20, "deploy_soak": 0}
LOCAL = playing.LOCAL


class Stage:
    """The local stage and the playbooks that act on it."""

    def __init__(self, kept: pathlib.Path) -> None:
        """C(kept) is where what every test begins with lies."""
        self.dir = REPO / "build" / "stage"
        self.artifacts = REPO / "build" / "artifacts"
        self.kept = kept
        self._first: dict[str, t.Any] = {}

    def script(self, *args: str) -> None:
        subprocess.run([sys.executable, str(REPO / "tests" / "stage" / "stage.py"), *args], check=True, timeout=60)

    def play(self, playbook: str, *args: str, timeout: float = 300, inventory: str = LOCAL, env: t.Mapping[str, str] | None = None,
             **variables: t.Any) -> playing.Played:
        """Run a playbook to its end."""
        return playing.play(playing.command(playbook, *args, inventories=[inventory], variables={**QUICK, **variables}), timeout, env)

    def start(self, playbook: str, *args: str, inventory: str = LOCAL, output: t.Any = subprocess.DEVNULL, env: t.Mapping[str, str] | None = None,
              **variables: t.Any) -> "subprocess.Popen[bytes]":
        """Start a playbook."""
        return playing.start(playing.command(playbook, *args, inventories=[inventory], variables={**QUICK, **variables}), output, env)

    def seen(self) -> dict[str, t.Any]:
        """All that a refused deploy must leave alone: links, staged releases, and what the balancer says of each server."""
        found: dict[str, t.Any] = {}
        for root in sorted((self.dir / "hosts").glob("app*/srv")):
            for path in sorted(root.glob("*")):
                found[str(path)] = os.readlink(path) if path.is_symlink() else None
            found[str(root / "releases")] = sorted(os.listdir(root / "releases")) if (root / "releases").is_dir() else None
        answer = ask(self.socket(), "show servers state")
        # Name, address, administrative state and weight: whether a server is up changes by itself.
        found["servers"] = [line.split()[3:5] + line.split()[6:8] for line in answer.splitlines() if re.match(r"\d+ shop_", line)]
        return found

    def socket(self) -> str:
        return os.path.join(layout.run_dir(), "admin.sock")

    # -- as it was first ---------------------------------------------------------------------------------------------
    def save(self) -> None:
        """Keep what lies there now: what every test begins with."""
        self.script("down")
        for name in KEPT:
            # Sockets cannot be copied, and are made anew.
            shutil.copytree(self.dir / name, self.kept / name, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))

    def begin(self) -> None:
        """Serve what was saved, from a stage that is up and empty."""
        self._bring_back()
        self._serve()
        self._first = self._all()

    def restore(self) -> None:
        """Back to what was saved, unless nothing has changed since. Members that run as they should go on running: they cost most."""
        if self.is_as_first():
            return
        # Begun anew, it goes round all members again: one that was out waits for up to three hundred requests of the others.
        stage_code.end(layout.balancer_processes, kindly=False)
        self._stop_what_is_wrong()
        self._bring_back()
        # What is replayed is what a test sends itself.
        os.truncate(os.path.join(layout.LOG, "haproxy.log"), 0)
        self._serve()
        assert self._all() == self._first

    def is_as_first(self) -> bool:
        """Whether shares, members that run, and whatever else a test may change are what every test begins with."""
        return self._all() == self._first

    def _stop_what_is_wrong(self) -> None:
        """End members that run elsewhere than they did first."""
        running = self._running(layout.member_processes())
        wrong = {mark for mark in running.keys() | self._first["running"].keys() if running.get(mark) != self._first["running"].get(mark)}
        stage_code.end(lambda: [process for process in layout.member_processes() if self._mark(process) in wrong], kindly=False)
        for mark in wrong:
            pathlib.Path(mark).unlink(missing_ok=True)

    def _bring_back(self) -> None:
        for name in KEPT:
            saved.bring_back(self.kept / name, self.dir / name)

    def _serve(self) -> None:
        """Start what does not run, and wait until the balancer has seen it."""
        stage_code.start_again([(member, "blue") for member in layout.MEMBERS])
        wanted = {"shop_blue": "UP", "shop_green": "DOWN"}
        wait_until(lambda: {pool: {row[17] for row in self._rows(pool)} for pool in wanted} == {pool: {status} for pool, status in wanted.items()}
                   and all(row[36].strip("* ") for pool in wanted for row in self._rows(pool)), "every check has come to a verdict")

    @staticmethod
    def _mark(process: layout.Process) -> str:
        """The member's pid file: what tells one's processes from another's."""
        return process.argv[process.argv.index("--pid") + 1]

    @classmethod
    def _running(cls, processes: t.Iterable[layout.Process]) -> dict[str, list[str]]:
        """Of each member that runs, the release of each of its processes."""
        found: dict[str, list[str]] = {}
        for process in processes:
            found.setdefault(cls._mark(process), []).append(process.argv[process.argv.index("--chdir") + 1])
        return found

    def _rows(self, pool: str) -> list[list[str]]:
        lines = ask(self.socket(), f"show stat {pool} 4 -1").splitlines()
        rows = [line.split(",") for line in lines if line and not line.startswith("#")]
        return [[*row[:17], status_of(row[17]), *row[18:]] for row in rows]

    def _all(self) -> dict[str, t.Any]:
        """All that a test may change."""
        try:
            return {
                **self.seen(), "up": [(row[1], row[17]) for pool in ("shop_blue", "shop_green") for row in self._rows(pool)],
                "map": ask(self.socket(), f"show map {self.dir}/etc/split.map").split()[1:],
                "etc": {path.name: path.read_text(encoding="utf-8") for path in (self.dir / "etc").iterdir()},
                "state": sorted(str(path) for path in (self.dir / "state").rglob("*")) if (self.dir / "state").is_dir() else None,
                "running": self._running(layout.member_processes()),
                "hosts": sorted(str(path.relative_to(self.dir)) for path in self.dir.glob("hosts/*/*")),
                "answers": [get(f"http://127.0.0.1:{layout.port(member, 'blue')}/ready")[0] for member in layout.MEMBERS],
            }
        except OSError as error:
            return {"broken": str(error)}


def key() -> str:
    """A name for what a first deploy leaves."""
    digest = hashlib.sha256(sys.version.encode())
    for source in SOURCES:
        for path in sorted((REPO / source).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(REPO)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def first_deploy(found: Stage, kept: pathlib.Path) -> None:
    """Let C(kept) hold what a first deploy leaves. It is made once for all that run these tests on the same code, in whichever room: paths are alike."""
    common = REPO / "build" / "saved-stage"
    common.mkdir(parents=True, exist_ok=True)
    with open(common / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = common / key()
        if not place.exists():
            for old in common.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            first = found.play("zero.downtime.deploy", deploy_release=SERVED, deploy_batches=["100%"])
            assert first.rc == 0, first.output
            found.save()
            shutil.copytree(kept, common / "new", symlinks=True)
            (common / "new").rename(place)
            found.script("up", *RELEASES)
        else:
            shutil.copytree(place, kept, symlinks=True)


@pytest.fixture(scope="session")
def remote_tmp(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[None]:
    """Where hosts keep what is temporary. After all tests of this room, deploys that were killed among them, nothing is left there of a module."""
    place = tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(playing.ENV, "ANSIBLE_REMOTE_TMP", str(place))
        yield
    assert [str(path) for path in place.rglob("*") if path.name.startswith(("zero-downtime-", "AnsiballZ_"))] == []


@pytest.fixture(scope="session")
def saved_stage(remote_tmp: None, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Stage]:
    found = Stage(tmp_path_factory.mktemp("stage") / "saved")
    found.script("down")
    found.script("up", *RELEASES)
    try:
        first_deploy(found, found.kept)
        found.begin()
        yield found
    finally:
        found.script("down")


@pytest.fixture
def stage(saved_stage):
    """1.0.0 serves on blue, and nothing has ever run on green."""
    saved_stage.restore()
    return saved_stage


@pytest.fixture
def side(stage, tmp_path):
    return sides.Side(stage, tmp_path)
