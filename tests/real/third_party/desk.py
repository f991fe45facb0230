# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API before a real HAProxy: who has its token may take servers out and bring them back, sets the shares of two sides, and sees who serves."""

from __future__ import annotations

import threading
import typing as t

from guarded import Guarded
from haproxy_stage import ask


class Conflict(Exception):
    """What was asked for holds only under a condition that is not so any more."""


class Desk(Guarded):
    """Serves while it is entered.

    :param socket: of the balancer that it moves servers of.
    :param token: what it asks for.
    :param shares: the balancer's map with green's share of each application.
    :param master: the balancer's master socket, which knows its processes from before a reload.
    """

    def __init__(self, socket: str, token: str, shares: str, master: str) -> None:
        super().__init__(token)
        self.socket, self.shares, self.master = socket, shares, master
        self.moved: list[tuple[str, str]] = []
        self.set: list[int] = []
        # What it keeps for others, each with a version that the next one who writes it has to know.
        self.documents: dict[str, dict[str, t.Any]] = {}
        self.compared = threading.Lock()

    def answer(self, method: str, path: list[str], body: t.Any) -> tuple[int, t.Any]:
        kind, name, *rest = path
        works: dict[tuple[str, str], t.Callable[[str, str, t.Any], t.Any]] = {
            ("GET", "pools"): lambda pool, _server, _body: self.servers(pool), ("PUT", "pools"): self.move,
            ("GET", "documents"): lambda name, _none, _body: self.document(name), ("PUT", "documents"): self.keep,
            ("GET", "splits"): lambda app, _none, _body: self.split(app), ("PUT", "splits"): self.set_split}
        try:
            return 200, works[method, kind](name, rest[1] if len(rest) > 1 else "", body)
        except Conflict:
            return 409, {"error": "not as it was"}

    def document(self, name: str) -> dict[str, t.Any]:
        return self.documents.get(name, {"content": None, "version": 0})

    def keep(self, name: str, _none: str, body: dict[str, t.Any]) -> dict[str, t.Any]:
        with self.compared:
            if body["version"] != self.document(name)["version"]:
                raise Conflict
            self.documents[name] = {"content": body["content"], "version": body["version"] + 1}
        return self.documents[name]

    def servers(self, pool: str) -> list[dict[str, t.Any]]:
        old = [line.split()[0] for line in ask(self.master, "show proc").partition("# old workers")[2].splitlines() if line.split()[1:2] == ["worker"]]
        held: dict[str, int] = {}
        for pid in old:
            for row in self._rows(self.master, f"@!{pid} show stat {pool} 4 -1"):
                held[row[1]] = held.get(row[1], 0) + int(row[4])
        # What it was told stands, whatever its checks say meanwhile.
        states = [line.split() for line in ask(self.socket, f"show servers state {pool}").splitlines() if line[:1].isdigit()]
        told = {fields[3]: "maint" if int(fields[6]) & 1 else "drain" if int(fields[6]) & 8 else "ready" for fields in states if len(fields) > 6}
        return [{"name": row[1], "status": row[17].split()[0], "told": told[row[1]], "in_flight": int(row[4]) + held.get(row[1], 0), "address": row[73]}
                for row in self._rows(self.socket, f"show stat {pool} 4 -1")]

    @staticmethod
    def _rows(socket: str, command: str) -> list[list[str]]:
        return [line.split(",") for line in ask(socket, command).splitlines() if line and not line.startswith("#")]

    def move(self, pool: str, server: str, body: dict[str, str]) -> dict[str, str]:
        lock = body.pop("lock", None)
        with self.compared:
            if lock and ((self.document(lock["name"])["content"] or {}).get("lock") or {}).get("key") != lock["key"]:
                raise Conflict
            return self._move(pool, server, body)

    def _move(self, pool: str, server: str, body: dict[str, str]) -> dict[str, str]:
        self.moved.append((server, body["state"]))
        if body["state"] == "ready":
            # Its checks have to pass anew: what they said is of before, when another process may have run there.
            ask(self.socket, f"set server {pool}/{server} health down")
        ask(self.socket, f"set server {pool}/{server} state {body['state']}")
        return body

    def split(self, app: str) -> dict[str, int]:
        lines = [line.split() for line in ask(self.socket, f"show map {self.shares}").splitlines() if line.strip()]
        return {"green": next((int(value) for _address, name, value in lines if name == app), 0)}

    def set_split(self, app: str, _none: str, body: dict[str, int]) -> dict[str, int]:
        self.set.append(body["green"])
        had = any(line.split()[1] == app for line in ask(self.socket, f"show map {self.shares}").splitlines() if line.strip())
        ask(self.socket, f"{'set' if had else 'add'} map {self.shares} {app} {body['green']}")
        return body
