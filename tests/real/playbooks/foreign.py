# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks with drivers of another collection, and what must not be read in their output."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import layout
import playing
from haproxy_stage import get, wait_until

THIRD = pathlib.Path(__file__).resolve().parents[1] / "third_party"


class Runs:
    """Runs playbooks with these inventories, and keeps what was printed.

    :param secret: what must not be read anywhere.
    """

    def __init__(self, inventories: t.Sequence[str], secret: str, place: pathlib.Path, **variables: t.Any) -> None:
        self.inventories, self.secret, self.variables = inventories, secret, variables
        self.records, self.log = place / "records", place / "killed.log"
        self.env = {"ANSIBLE_COLLECTIONS_PATH": f"{playing.REPO}/build/collections:{THIRD}"}
        self.printed: list[str] = []

    def argv(self, playbook: str, *args: str, **variables: t.Any) -> list[str]:
        own = {"deploy_evidence_rate": 20, "deploy_soak": 0, "deploy_records_dir": str(self.records), **self.variables}
        return playing.command(playbook, *args, inventories=self.inventories, variables={**own, **variables})

    def play(self, playbook: str, *args: str, **variables: t.Any) -> playing.Played:
        played = playing.play(self.argv(playbook, *args, **variables), env=self.env)
        self.printed.append(played.output)
        return played

    @staticmethod
    def call(module: str, **options: t.Any) -> list[str]:
        """One call of a module on the controller, as a person makes it."""
        return [str(pathlib.Path(sys.executable).with_name("ansible")), "localhost", "-m", module, "-a", json.dumps(options)]

    def kill(self, playbook: str, begun: t.Callable[[], bool], what: str, **variables: t.Any) -> None:
        """Start it, and kill it as soon as C(begun)."""
        with open(self.log, "wb") as output:
            process = playing.start(self.argv(playbook, **variables), output, self.env)
            try:
                wait_until(lambda: begun() or process.poll() is not None, what, timeout=120)
                assert process.poll() is None, self.log.read_text(encoding="utf-8")
            finally:
                process.kill()
                process.wait(30)
        self.printed.append(self.log.read_text(encoding="utf-8"))

    def leaks(self) -> list[str]:
        """Where the secret can be read: in what was printed, or in the records."""
        files = [
            str(path)
            for path in self.records.rglob("*")
            if path.is_file() and self.secret.encode() in path.read_bytes()
        ]
        return files + [text for text in self.printed if self.secret in text]


def releases() -> list[str]:
    return [
        json.loads(get(f"http://127.0.0.1:{layout.port(member, 'blue')}/")[1])["version"] for member in layout.MEMBERS
    ]
