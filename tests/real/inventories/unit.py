# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd is to a real host: ``unit.py {start|stop|restart|status} FILE``.

FILE is JSON: ``argv``, ``env``, ``log``, ``mark`` (an argument that no other program has) and ``answers``, the address and port where the program
answers once it has started, or null. ``stop`` returns when its last process has ended.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing as t

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "stage"))

import layout  # noqa: E402  pylint: disable=wrong-import-position

TIMEOUT = 40.0
PAUSE = 0.05


def running(unit: dict[str, t.Any]) -> list[layout.Process]:
    return [process for process in layout.processes() if unit["mark"] in process.argv]


def answers(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(tuple(address)) == 0


def start(unit: dict[str, t.Any]) -> None:
    if running(unit):
        return
    with open(unit["log"], "ab") as log:
        child = subprocess.Popen(unit["argv"], cwd="/", env={**os.environ, **unit["env"]}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    deadline = time.monotonic() + TIMEOUT
    while unit["answers"] and not answers(unit["answers"]):
        if child.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("unit: it does not answer; see %s" % unit["log"])
        time.sleep(PAUSE)


def stop(unit: dict[str, t.Any]) -> None:
    found = running(unit)
    pids = {process.pid for process in found}
    # The main process only (KillMode=mixed): it ends its workers when their requests are done.
    for process in found:
        if process.ppid not in pids:
            os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + TIMEOUT
    while left := running(unit):
        if time.monotonic() > deadline:
            raise SystemExit("unit: %s does not end" % ", ".join(map(str, left)))
        time.sleep(PAUSE)


def main(verb: str, path: str) -> int:
    with open(path, encoding="utf-8") as file:
        unit = json.load(file)
    if verb == "status":
        return 0 if running(unit) else 3
    if verb in ("stop", "restart"):
        stop(unit)
    if verb in ("start", "restart"):
        start(unit)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
