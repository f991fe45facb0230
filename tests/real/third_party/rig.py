# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig of the driver desk: what the suite of all drivers has to know of it and of its real parts."""

from __future__ import annotations

import typing as t

import rigs
from desk import Desk

TOKEN = "token-of-the-rig"


class DeskRig(rigs.BalancedRig):
    name, driver = "desk", "acme.edge.desk"

    def __enter__(self) -> rigs.Rig:
        super().__enter__()
        self.desk = Desk(self.stage.socket, TOKEN, "", self.stage.master_socket)
        self.desk.__enter__()
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.desk.__exit__(*exc)
        super().__exit__(*exc)

    def traffic(self, member: str | None = None) -> dict[str, t.Any]:
        return {"url": self.desk.url, "token": TOKEN, "pools": [{"name": "shop", "port": 8000}]}
