# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring real servers: the probe as its own process, the counters of a real HAProxy, without Ansible between."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest
import haproxy_stage
from certificate import self_signed
from haproxy_stage import stage  # noqa: F401  pylint: disable=unused-import

from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import info as _haproxy_info
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events


class Measurement:
    """One probe on ``url``, and the counters of ``stage`` (if there is one) at its begin and end."""

    def __init__(self, run_dir: pathlib.Path, url: str, stage: haproxy_stage.HaproxyStage | None, config: dict[str, t.Any]) -> None:
        self.run_dir, self.url, self.stage = run_dir, url, stage
        self.config = {"url": url, "rate": 60, "timeout": 2, "run_dir": str(run_dir), "events": str(run_dir / _events.FILE), "max_run": 60, "seed": 1,
                       "answers": str(run_dir / _answers.FILE), "moves": list(_evidence.MOVES), **config}
        self.max_slowdown: float | None = None
        self.evidence: dict[str, t.Any] = {}

    def __enter__(self) -> Measurement:
        (self.run_dir / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        self.sample("started")
        self.process = subprocess.Popen([sys.executable, _probe.__file__, str(self.run_dir / "config.json")])
        haproxy_stage.wait_until(lambda: self.progress().get("sent", 0) > 20 or self.config.get("expect_serving") is False, "the probe probes")
        self.sample("before")
        return self

    def sample(self, at: str) -> None:
        if self.stage is None:
            return
        params = {name: option.get("default") for name, option in _haproxy_options.info_spec().items()}
        params.update(socket=self.stage.socket, master_socket=self.stage.master_socket)
        try:
            result = _haproxy_info.info(params)
        except _haproxy_info.DowntimeError as error:
            result = {"failed": True, "msg": str(error)}
        _balance.append(str(self.run_dir), "lb1", result, at)

    def knows(self, releases: dict[str, str], signed: bool = True) -> None:
        """What the deploy knows of releases, as a plan has it."""
        known = {"releases": [{"digest": digest, "label": label} for digest, label in releases.items()], "signed": signed}
        _probe.write_json(str(self.run_dir / _answers.FILE), known)

    def progress(self) -> dict[str, t.Any]:
        path = self.run_dir / "progress.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def step(self, name: str, event: str, members: t.Sequence[str] = ()) -> None:
        _events.append(str(self.run_dir), name, event, members=members)

    def __exit__(self, *failed: t.Any) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if failed[0] is not None:
            return
        self.sample("stopped")
        probe = json.loads((self.run_dir / "probe.json").read_text(encoding="utf-8"))
        events = _events.read(str(self.run_dir))
        self.evidence = _evidence.compose(probe, _balance.read(str(self.run_dir)), events, _events.steps(events), max_slowdown=self.max_slowdown)


@pytest.fixture
def measure(tmp_path):
    number = iter(range(100))

    def begin(url, stage=None, **config):
        run_dir = tmp_path / ("run%d" % next(number))
        run_dir.mkdir()
        return Measurement(run_dir, url, stage, config)

    return begin


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path)


@pytest.fixture
def pause():
    return time.sleep
