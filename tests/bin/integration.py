# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""integration.py [TARGET…]: runs tests/integration/targets as a user would: with ansible-playbook, against real servers.

A target with a ``playbook.yml`` gets the local stage, freshly started, with its inventory; any other is a role, run on
localhost, that brings its own servers. Prints ``ok NAME`` or ``not ok NAME`` for each; the exit code is 0 if all are ok.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TARGETS = os.path.join(REPO, "tests", "integration", "targets")
WORK = os.path.join(REPO, "build", "integration")
RELEASES = ["1.0.0", "2.0.0", "3.0.0-bad", "4.0.0-errors"]
LONGEST_TARGET = 600

sys.path.insert(0, os.path.join(REPO, "tests", "stage"))

import stage  # noqa: E402  pylint: disable=wrong-import-position


def _playbook(target: str) -> str:
    path = os.path.join(WORK, target + ".yml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump([{"name": "Target " + target, "hosts": "localhost", "gather_facts": False, "roles": [target]}], file)
    return path


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    kept.update(ANSIBLE_CONFIG=os.path.join(REPO, "ansible.cfg"), ANSIBLE_ROLES_PATH=TARGETS)
    kept["PATH"] = os.path.dirname(sys.executable) + os.pathsep + kept.get("PATH", "")
    return kept


def _run(target: str) -> bool:
    own = os.path.join(TARGETS, target, "playbook.yml")
    needs_stage = os.path.exists(own)
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", os.path.join(REPO, "inventories", "local"),
            own if needs_stage else _playbook(target)]
    log = os.path.join(WORK, target + ".log")
    if needs_stage:
        stage.down()
        try:
            stage.up(RELEASES)
        except SystemExit as stopped:
            if stopped.code != 1:
                raise  # somebody ended this run
            return False  # it has said why; the targets that need no stage may still run
    try:
        with open(log, "wb") as file:
            child = subprocess.Popen(argv, cwd=REPO, env=_environment(), stdin=subprocess.DEVNULL, stdout=file,
                                     stderr=subprocess.STDOUT, start_new_session=True)
            try:
                child.wait(LONGEST_TARGET)
            except subprocess.TimeoutExpired:
                file.write(b"integration: stopped after %d s\n" % LONGEST_TARGET)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
    finally:
        if needs_stage:
            stage.down()
    if child.returncode:
        with open(log, encoding="utf-8", errors="replace") as file:
            print("".join(file.readlines()[-40:]))
    return child.returncode == 0


def main(wanted: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    os.makedirs(WORK, exist_ok=True)
    present = sorted(name for name in os.listdir(TARGETS) if os.path.isdir(os.path.join(TARGETS, name)))
    if unknown := sorted(set(wanted) - set(present)):
        sys.stderr.write("integration: there is no target %s; there are: %s\n" % (", ".join(unknown), ", ".join(present)))
        return 2
    good = True
    for target in wanted or present:
        began = time.monotonic()
        ok = _run(target)
        good = good and ok
        print("%s integration %s (%.0f s)" % ("ok" if ok else "not ok", target, time.monotonic() - began), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
