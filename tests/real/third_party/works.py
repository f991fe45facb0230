# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform that runs the local stage's application by itself, for those who have its token.

It is handed a release, and brings its own members to it, one after the other behind the stage's real HAProxy. What does
not become ready it gives up: then it says so in its events, and the members have what they had before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
import time
import typing as t

import layout
from guarded import Guarded
from haproxy_stage import ask, get, wait_until

POOL, SLOT = "shop_blue", "blue"
# Seconds that a member of the platform has to become ready.
PATIENCE = 5.0
# Seconds between a push that was accepted and the first member.
ACCEPTED = 0.3


class Works(Guarded):
    """Serves while it is entered.

    :param socket: of the balancer before its members.
    :param token: what it asks for.
    :param active: the release that its members run already.
    """

    def __init__(self, socket: str, token: str, active: str) -> None:
        super().__init__(token)
        self.socket = socket
        # What the members ran, the last one now. What was gone back from is no part of it.
        self.history = [active]
        self.rolling: str | None = None
        self.phase = "settled"
        self.pushed: list[str] = []
        self.rejected: list[str] = []
        self.given_up: list[str] = []
        self.events: list[str] = []
        self.asked = 0
        self.broken: BaseException | None = None
        # A test that needs a moment between two members clears it.
        self.go_on = threading.Event()
        self.go_on.set()
        self._stop = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __exit__(self, *exc: t.Any) -> None:
        self.go_on.set()
        if self._thread:
            self._thread.join(60)
        super().__exit__(*exc)
        assert self.broken is None, self.broken

    # -- the API -----------------------------------------------------------------------------------------------------
    def answer(self, method: str, path: list[str], body: t.Any) -> tuple[int, t.Any]:
        if path[:2] != ["apps", "shop"]:
            return 404, {"error": f"there is no {'/'.join(path)}"}
        with self._lock:
            if method == "PUT":
                return self._push(str(body["release"]))
            if method == "DELETE":
                return self._give_up()
            self.asked += 1
            return 200, self.look()

    def look(self) -> dict[str, t.Any]:
        return {
            "phase": self.phase,
            "events": self.events,
            "releases": [self._named(label) for label in self._known()],
            **{
                name: self._named(label) if label else None
                for name, label in (
                    ("active", self.active),
                    ("previous", self.history[-2] if len(self.history) > 1 else None),
                    ("rolling", self.rolling),
                )
            },
        }

    @property
    def active(self) -> str:
        return self.history[-1]

    def _push(self, label: str) -> tuple[int, t.Any]:
        if self.phase != "settled":
            self.rejected.append(label)
            return 409, {"error": f"{self.rolling} is {self.phase}"}
        if label not in self._known():
            return 404, {"error": f"there is no release {label}"}
        self.pushed.append(label)
        self.rolling, self.phase, self._stop = label, "accepted", False
        self._thread = threading.Thread(target=self._work, args=(label, self.active), daemon=True)
        self._thread.start()
        return 202, self.look()

    def _give_up(self) -> tuple[int, t.Any]:
        self._stop = True
        self.given_up.append(str(self.rolling))
        self.go_on.set()
        return 202, self.look()

    def _known(self) -> list[str]:
        return sorted(
            name[len("shop-") : -len(".tar.gz")] for name in os.listdir(layout.ARTIFACTS) if name.endswith(".tar.gz")
        )

    def _named(self, label: str) -> dict[str, str]:
        return {"label": label, "digest": digest_of(label)}

    # -- what it does by itself --------------------------------------------------------------------------------------
    def _work(self, label: str, before: str) -> None:
        try:
            self._roll(label, before)
        except BaseException as error:
            # Nobody waits for ever for a platform that broke; the test is told at its end.
            self.broken = error
            self.events.append(f"the works broke: {error!r}")
            self.rolling, self.phase = None, "settled"
            raise

    def _roll(self, label: str, before: str) -> None:
        time.sleep(ACCEPTED)
        self.phase = "rolling"
        done: list[str] = []
        why = None
        for member in layout.MEMBERS:
            done.append(member)
            why = self._bring(member, label)
            self.go_on.wait(120)
            if why or self._stop:
                break
        if why or self._stop:
            self.events.append(f"{label} was given up: {why or 'somebody asked for that'}")
            for member in reversed(done):
                failed = self._bring(member, before)
                assert not failed, failed
        else:
            self.events.append(f"{label} runs on {len(done)} members")
        with self._lock:
            if not (why or self._stop):
                self.history = self.history[: self.history.index(label)] if label in self.history else self.history
                self.history.append(label)
            self.rolling, self.phase = None, "settled"

    def _bring(self, member: str, label: str) -> str | None:
        """Bring one member to a release, without losing a request. It stays out of traffic where it does not become
        ready; this says why.
        """
        self._told(f"set server {POOL}/{member} state drain")
        wait_until(lambda: self._row(member)[4] == "0", f"{member} is empty")
        place(member, label)
        service("restart", member)
        url = f"http://127.0.0.1:{layout.port(member, SLOT)}/ready"
        end = time.monotonic() + PATIENCE
        while (status := get(url)[0]) != 200:
            if time.monotonic() > end:
                return f"{member} was not ready within {PATIENCE:g} s (GET /ready answered {status})"
            time.sleep(0.05)
        self._told(f"set server {POOL}/{member} state ready")
        wait_until(lambda: self._row(member)[17].startswith("UP"), f"{member} serves")
        return None

    def _told(self, command: str) -> None:
        answer = ask(self.socket, command).strip()
        assert not answer, answer

    def _row(self, member: str) -> list[str]:
        rows = [
            line.split(",")
            for line in ask(self.socket, f"show stat {POOL} 4 -1").splitlines()
            if line and not line.startswith("#")
        ]
        return next(row for row in rows if row[1] == member)


def digest_of(label: str) -> str:
    with open(os.path.join(layout.ARTIFACTS, "SHA256SUMS"), encoding="utf-8") as sums:
        return next(line.split()[0] for line in sums if line.split()[1].lstrip("*").endswith(f"shop-{label}.tar.gz"))


def place(member: str, label: str) -> None:
    """Unpack a release for a member, and let its slot lead there."""
    srv = os.path.join(layout.HOSTS, member, "srv")
    there = os.path.join(srv, "works", digest_of(label))
    if not os.path.isdir(there):
        with tarfile.open(os.path.join(layout.ARTIFACTS, f"shop-{label}.tar.gz")) as archive:
            archive.extractall(there)
    link = os.path.join(srv, SLOT)
    os.symlink(there, link + ".new")
    os.rename(link + ".new", link)


def service(verb: str, *members: str) -> None:
    """The stage's init system, for all of these members at once."""
    here = os.path.join(layout.REPO, "tests", "stage", "service.py")
    running = [subprocess.Popen([sys.executable, here, verb, member, SLOT]) for member in members]
    assert [process.wait(60) for process in running] == [0] * len(members)
