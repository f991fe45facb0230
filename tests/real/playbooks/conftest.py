# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage with a release on it, shared by all tests of this room; they leave it as they found it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

import playing  # noqa: E402
import sides  # noqa: E402
from haproxy_stage import ask  # noqa: E402

REPO = playing.REPO
SERVED = "1.0.0"
LOCAL = str(REPO / "inventories" / "local")


class Stage:
    """The local stage and the playbooks that act on it."""

    def __init__(self) -> None:
        self.dir = REPO / "build" / "stage"
        self.artifacts = REPO / "build" / "artifacts"

    def script(self, *args: str) -> None:
        subprocess.run([sys.executable, str(REPO / "tests" / "stage" / "stage.py"), *args], check=True, timeout=60)

    def play(self, playbook: str, *args: str, timeout: float = 300, inventory: str = LOCAL, env: t.Mapping[str, str] | None = None,
             **variables: t.Any) -> playing.Played:
        """Run a playbook to its end."""
        return playing.play(playing.command(playbook, *args, inventories=[inventory], variables=variables), timeout, env)

    def start(self, playbook: str, *args: str, inventory: str = LOCAL, output: t.Any = subprocess.DEVNULL, env: t.Mapping[str, str] | None = None,
              **variables: t.Any) -> "subprocess.Popen[bytes]":
        """Start a playbook."""
        return playing.start(playing.command(playbook, *args, inventories=[inventory], variables=variables), output, env)

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
        sys.path.insert(0, str(REPO / "tests" / "stage"))
        import layout  # pylint: disable=import-outside-toplevel
        return os.path.join(layout.run_dir(), "admin.sock")


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


@pytest.fixture
def side(stage, tmp_path):
    """Back to 1.0.0 on blue, whatever a test left."""
    found = sides.Side(stage, tmp_path)
    yield found
    if found.shares() != ("0", "0") or sides.version() != "1.0.0":
        assert found.play("deploy", deploy_release="1.0.0").rc == 0
        if found.shares() != ("0", "0"):
            # The other tests of this room know one side; bring it the release, then switch there.
            assert found.play("deploy", deploy_release="2.0.0").rc == 0
            assert found.play("deploy", deploy_release="1.0.0", deploy_strategy="rolling").rc == 0
    assert (sides.version(), found.shares()) == ("1.0.0", ("0", "0"))
