# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a playbook as a user does, for tests: ``ansible-playbook`` with one inventory or several.

Runs are forked from a process that has imported Ansible already (warm.py), which saves half a second of processor time each. What tests the start
of ansible-playbook itself runs it as a command.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import typing as t

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "suite"))

import limits  # noqa: E402  pylint: disable=wrong-import-position
import warm  # noqa: E402  pylint: disable=wrong-import-position

REPO = pathlib.Path(__file__).resolve().parents[2]
# The inventory of the local stage.
LOCAL = str(REPO / "inventories" / "local")
ENV = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), **limits.environment()}


class Played:
    """What a run of ansible-playbook printed, and how it ended."""

    def __init__(self, rc: int, output: str) -> None:
        self.rc = rc
        self.output = output

    @property
    def sentence(self) -> str:
        """The last message: how it ended."""
        found = re.findall(r'"msg": ("(?:[^"\\]|\\.)*")', self.output)
        return json.loads(found[-1]) if found else ""

    @property
    def text(self) -> str:
        """All of it in one line: an ansible-core before 2.19 breaks its warnings into lines."""
        return " ".join(self.output.split())


def command(playbook: str, *args: str, inventories: t.Sequence[str], variables: t.Mapping[str, t.Any]) -> list[str]:
    """The command line of one run."""
    argv = [str(pathlib.Path(sys.executable).with_name("ansible-playbook"))]
    for inventory in inventories:
        argv += ["-i", inventory]
    argv += [playbook, *args]
    return argv + (["-e", json.dumps(variables)] if variables else [])


def start(argv: t.Sequence[str], output: t.Any = subprocess.DEVNULL, env: t.Mapping[str, str] | None = None) -> "subprocess.Popen[bytes] | warm.Process":
    """Start a run, or any other command."""
    environment = {**os.environ, **ENV, **(env or {})}
    if os.path.basename(argv[0]) == "ansible-playbook":
        return warm.start(argv, str(REPO), environment, output)
    return subprocess.Popen(argv, cwd=REPO, env=warm.keeping.environment(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def play(argv: t.Sequence[str], timeout: float = 300, env: t.Mapping[str, str] | None = None) -> Played:
    """Run to the end."""
    with tempfile.TemporaryFile() as output:
        process = start(argv, output, env)
        try:
            process.wait(limits.stretched(timeout))
        finally:
            process.kill()
        output.seek(0)
        return Played(process.returncode, output.read().decode())
