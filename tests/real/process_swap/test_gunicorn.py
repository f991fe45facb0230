# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swapping a real gunicorn under an open-loop load: nothing lost, whatever the new release is like. The naive way loses on the same stage."""

from __future__ import annotations

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import typing as t

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "stage"), str(TESTS / "real")]

import artifacts  # noqa: E402
import haproxy_stage  # noqa: E402
from swap_stage import Stage  # noqa: E402

from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap as _process_swap  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError  # noqa: E402
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe  # noqa: E402

OLD, NEW, BAD, BROKEN = "1.0.0", "2.0.0", "3.0.0-bad", "4.0.0-broken"


def broken() -> bytes:
    """A release whose application cannot even be imported."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data in (("VERSION", BROKEN.encode()), ("app.py", b"raise SystemError('this release is broken')\n")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


class Killed(BaseException):
    """The module's process ends here, as with SIGKILL."""


class Killing(_process_swap.Processes):
    """Ends the module at a signal that it would send."""

    def __init__(self, at: signal.Signals) -> None:
        self.at = at

    def send(self, process: _process_swap.Process, number: signal.Signals) -> None:
        if number == self.at:
            raise Killed
        super().send(process, number)


class Load:
    """The probe as a process of its own, while something happens."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.report = stage, t.cast("dict[str, t.Any]", {})
        self.run_dir = stage.place / f"load{len(list(stage.place.glob('load*')))}"

    def __enter__(self) -> Load:
        self.run_dir.mkdir()
        # Kept-alive connections that a server closes when they are idle are every server's right; what is lost is told apart from that.
        config = {"url": f"http://127.0.0.1:{self.stage.port}/", "rate": 60, "timeout": 8, "run_dir": str(self.run_dir), "max_run": 90, "seed": 1,
                  "streams": {"fresh": 0.8, "post": 0.2}}
        (self.run_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")
        self.process = subprocess.Popen([sys.executable, _probe.__file__, str(self.run_dir / "config.json")])
        haproxy_stage.wait_until(self.probing, "the probe probes")
        return self

    def probing(self) -> bool:
        path = self.run_dir / "progress.json"
        return path.exists() and json.loads(path.read_text(encoding="utf-8")).get("sent", 0) > 20

    def __exit__(self, *dummy: t.Any) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
        self.report = json.loads((self.run_dir / "probe.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Stage]:
    found = Stage(tmp_path_factory.mktemp("swap"))
    for label in (OLD, NEW, BAD):
        found.stage(label, artifacts.pack(label))
    found.stage(BROKEN, broken())
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(autouse=True)
def serving(stage: Stage) -> t.Iterator[None]:
    """Each test begins with the old release, served by one master; what it leaves behind does not matter."""
    stage.end()
    stage.pidfile.unlink(missing_ok=True)
    first = stage.activate(OLD)
    assert first["restarted"] and first["running"]["digest"] == stage.digests[OLD] and "swap" not in first
    yield


@pytest.mark.claim("swap-gunicorn")
def test_a_swap_and_the_way_back_lose_nothing(stage: Stage) -> None:
    before = stage.pidfile.read_text()
    assert stage.call("activated", NEW, check=True)["changed"]
    with Load(stage) as load:
        there = stage.activate(NEW)
        assert there["swap"]["method"] == "command" and not there["swap"]["resumed"] and there["swap"]["failed"] == 0, there["swap"]
        assert there["swap"]["summary"] == f"no errors, {there['swap']['pause_ms']} ms pause" and there["swap"]["asked"] > 10
        assert stage.serves() == NEW and stage.pidfile.read_text() != before
        after = stage.pidfile.read_text()
        assert not stage.activate(NEW)["changed"] and stage.pidfile.read_text() == after
        back = stage.activate("previous")
        assert back["swap"]["failed"] == 0 and stage.serves() == OLD and stage.active() == OLD
    assert load.report["failed"] == 0 and load.report["sent"] > 60, load.report["losses"]
    assert set(load.report["versions"]) == {OLD, NEW}
    print({"there": there["swap"], "back": back["swap"], "sent": load.report["sent"], "longest_gap_ms": load.report["longest_gap_ms"]})


def test_the_naive_restart_loses_on_the_same_stage(stage: Stage) -> None:
    naive = ["sh", "-c", " ".join(stage.stop[2:]) + "; exec " + " ".join(stage.start)]
    with Load(stage) as load:
        stage.activate(NEW, swap=None, preset=None, pidfile=None, start=None, stop=None, command=naive)
    assert load.report["failed"] > 0 and "refused" in load.report["failures"], load.report["failures"]
    print({"sent": load.report["sent"], "failed": load.report["failed"]})


@pytest.mark.claim("swap-broken-release-never-takes-over")
@pytest.mark.parametrize("label, why", [
    (BAD, r"after 12 s the new release has not answered through the port, as ready as the old one was \(its last answer was 'status 503, .*'\)"),
    (BROKEN, "the new process [0-9]+ ended by itself before it was ready"),
])
def test_a_broken_release_never_takes_over(stage: Stage, label: str, why: str) -> None:
    before = stage.pidfile.read_text()
    with Load(stage) as load:
        with pytest.raises(DowntimeError, match=f"release {label} .* did not take over: {why}; release {OLD} .* goes on serving, and slot current points at"):
            stage.activate(label, ready_within=12.0)
        assert stage.serves() == OLD and stage.active() == OLD and stage.pidfile.read_text() == before
        # Nothing is left of it, so that the next one can come.
        assert stage.activate(NEW)["swap"]["failed"] == 0
    assert load.report["failed"] == 0, load.report["losses"]
    assert stage.call("observed", NEW)["slots"]["current"]["previous"]["label"] == OLD


@pytest.mark.claim("swap-killed-in-the-middle")
@pytest.mark.parametrize("at", [signal.SIGUSR2, signal.SIGWINCH, signal.SIGTERM])
@pytest.mark.parametrize("then", [NEW, OLD])
def test_a_second_run_resumes_or_goes_back(stage: Stage, at: signal.Signals, then: str) -> None:
    with Load(stage) as load:
        with pytest.raises(Killed):
            stage.activate(NEW, _release.World(processes=Killing(at)))
        second = stage.activate(then)
        assert second["changed"] and second["swap"]["failed"] == 0, second["swap"]
        assert stage.serves() == then and stage.active() == then
        assert not stage.activate(then)["changed"]
        masters = [process for process in stage.processes() if process.ppid not in {other.pid for other in stage.processes()}]
        assert [str(process.pid) for process in masters] == [stage.pidfile.read_text().strip()]
    assert load.report["failed"] == 0, load.report["losses"]


@pytest.mark.claim("swap-gunicorn-without-pidfile")
def test_gunicorn_without_a_pid_file_is_refused(stage: Stage) -> None:
    stage.end()
    stage.pidfile.unlink(missing_ok=True)
    subprocess.run(stage.argv(), check=True)
    haproxy_stage.wait_until(lambda: stage.serves() == OLD, "gunicorn serves")
    with pytest.raises(DowntimeError, match="service.pidfile .*gunicorn.pid names no running process, but http://.* answers: a server without a pid file"):
        stage.activate(NEW)
    stage.pidfile.write_text(f"{os.getpid()}\n")
    with pytest.raises(DowntimeError, match="service.pidfile .* names process [0-9]+, which is .* and no gunicorn"):
        stage.activate(NEW)
    assert stage.serves() == OLD and stage.active() == OLD
