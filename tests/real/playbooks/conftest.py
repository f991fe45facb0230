# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage with a release on it, shared by all tests of this room; they leave it as they found it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import typing as t

import pytest

REPO = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "tests" / "real"))

from haproxy_stage import ask  # noqa: E402
SERVED = "1.0.0"
LOCAL = str(REPO / "inventories" / "local")


class Stage:
    """The local stage and the playbooks that act on it."""

    def __init__(self) -> None:
        self.dir = REPO / "build" / "stage"
        self.artifacts = REPO / "build" / "artifacts"
        self.ansible = pathlib.Path(sys.executable).with_name("ansible-playbook")

    def script(self, *args: str) -> None:
        subprocess.run([sys.executable, str(REPO / "tests" / "stage" / "stage.py"), *args], check=True, timeout=60)

    def play(self, playbook: str, *args: str, timeout: float = 300, inventory: str = LOCAL, env: t.Mapping[str, str] | None = None,
             **variables: t.Any) -> "Played":
        """Run a playbook to its end."""
        with tempfile.TemporaryFile() as output:
            process = self.start(playbook, *args, inventory=inventory, output=output, env=env, **variables)
            try:
                process.wait(timeout)
            finally:
                process.kill()
            output.seek(0)
            return Played(process.returncode, output.read().decode())

    def start(self, playbook: str, *args: str, inventory: str = LOCAL, output: t.Any = subprocess.DEVNULL, env: t.Mapping[str, str] | None = None,
              **variables: t.Any) -> "subprocess.Popen[bytes]":
        """Start a playbook."""
        command = [str(self.ansible), "-i", inventory, playbook, *args]
        if variables:
            command += ["-e", json.dumps(variables)]
        env = {**os.environ, **(env or {}), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": str(REPO / "ansible.cfg")}
        return subprocess.Popen(command, cwd=REPO, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def seen(self) -> dict[str, t.Any]:
        """All that a refused deploy must leave alone: links, staged releases, and what the balancer says of each server."""
        found: dict[str, t.Any] = {}
        for root in sorted((self.dir / "hosts").glob("app*/srv")):
            for path in sorted(root.glob("*")):
                found[str(path)] = os.readlink(path) if path.is_symlink() else None
            found[str(root / "releases")] = sorted(os.listdir(root / "releases")) if (root / "releases").is_dir() else None
        answer = ask(self.socket(), "show servers state")
        # Columns 5 to 8: operational state, administrative state, weights.
        found["servers"] = [line.split()[3:8] for line in answer.splitlines() if re.match(r"\d+ shop_", line)]
        return found

    def socket(self) -> str:
        sys.path.insert(0, str(REPO / "tests" / "stage"))
        import layout  # pylint: disable=import-outside-toplevel
        return os.path.join(layout.run_dir(), "admin.sock")


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


@pytest.fixture(scope="session")
def stage() -> t.Iterator[Stage]:
    found = Stage()
    found.script("down")
    found.script("up", SERVED, "2.0.0", "3.0.0-bad")
    try:
        first = found.play("zero.downtime.deploy", deploy_release=SERVED)
        assert first.rc == 0, first.output
        yield found
    finally:
        found.script("down")
