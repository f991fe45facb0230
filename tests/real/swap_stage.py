# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real gunicorn whose releases are swapped by the module C(release), for tests and for measurements."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import signal
import sys
import typing as t

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "stage")]

import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import layout  # noqa: E402  pylint: disable=wrong-import-position

from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release  # noqa: E402  pylint: disable=wrong-import-position

GUNICORN = (sys.executable, "-m", "gunicorn")
OPTIONS = ("--worker-class", "gthread", "--threads", "8", "--keep-alive", "90", "--no-control-socket")


class Stage:
    """A gunicorn that serves what the slot's link leads to; C(gunicorn) is how it is called, C(options) what its kind of workers needs."""

    def __init__(self, place: pathlib.Path, gunicorn: t.Sequence[str] = GUNICORN, options: t.Sequence[str] = OPTIONS) -> None:
        self.place, self.root = place, place / "srv"
        self.gunicorn, self.options = gunicorn, options
        self.port = haproxy_stage.free_port()
        self.pidfile = place / "gunicorn.pid"
        self.digests: dict[str, str] = {}
        self.stop = ["sh", "-c", f'pid=$(cat {self.pidfile}); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.02; done']

    @property
    def start(self) -> list[str]:
        return self.argv("--pid", str(self.pidfile))

    def argv(self, *more: str) -> list[str]:
        return [*self.gunicorn, "--daemon", *more, "--name", str(self.place), "--chdir", str(self.root / "current"),
                "--bind", f"127.0.0.1:{self.port}", "--workers", "2", *self.options, "--graceful-timeout", "20", "--timeout", "0",
                "--worker-tmp-dir", "/dev/shm", "--log-file", str(self.place / "log"), "app:application"]

    def stage(self, label: str, data: bytes) -> None:
        path = self.place / f"{label}.tar.gz"
        path.write_bytes(data)
        self.digests[label] = hashlib.sha256(data).hexdigest()
        self.call("staged", label, artifact={"src": str(path), "remote_src": True, "digest": self.digests[label]})

    def call(self, state: str, release: str, world: _release.World | None = None, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        params = {name: option.get("default") for name, option in _release.argument_spec().items()}
        params.update(root=str(self.root), state=state, release=release)
        for name, spec in (("artifact", _release.artifact_spec()), ("service", _release.service_spec()), ("running", _release.running_spec())):
            if name in options:
                options[name] = dict({key: option.get("default") for key, option in spec.items()}, **options[name])
        params.update(options)
        return _release.run(params, check, world)

    def activate(self, release: str, world: _release.World | None = None, ready_within: float = 60.0, **service: t.Any) -> dict[str, t.Any]:
        found = {"start": self.start, "stop": self.stop, "timeout": 30.0, "swap": "command", "preset": "gunicorn", "pidfile": str(self.pidfile), **service}
        return self.call("activated", release, world, service=found, running={"url": f"http://127.0.0.1:{self.port}/ready", "timeout": ready_within})

    def serves(self) -> str:
        return json.loads(haproxy_stage.get(f"http://127.0.0.1:{self.port}/")[1])["version"]

    def active(self) -> str:
        return next(label for label, digest in self.digests.items() if digest in os.readlink(self.root / "current"))

    def processes(self) -> list[layout.Process]:
        return [process for process in layout.processes() if str(self.place) in process.argv or f"127.0.0.1:{self.port}" in process.argv]

    def end(self) -> None:
        for process in self.processes():
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        haproxy_stage.wait_until(lambda: not self.processes(), "gunicorn has ended")
