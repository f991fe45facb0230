# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shop on one machine whose two sides users reach by a name in DNS: the example inventory, real BIND servers, a real
application on each side."""

from __future__ import annotations

import pathlib
import typing as t

from bind_stage import BindStage
from one_machine import Machine

HOSTS = {"app1": 11, "app2": 12}
# What is added to a host's own number for the address of a side.
OF_SIDE = {"blue": 10, "green": 20}


class Shop(Machine):
    """Serves while it is entered; its name servers are ``stage``."""

    def __init__(self, stage: BindStage, labels: t.Sequence[str]) -> None:
        super().__init__("bind", {"shop": HOSTS}, labels=labels)
        self.stage = stage

    def add_unit(self, app: str, host: str, address: str, slot: str = "", more: t.Sequence[str] = ()) -> None:
        (self.dir / host / "log").mkdir()
        for side in OF_SIDE:
            log = ["--access-logfile", str(self.log(side, host))]
            super().add_unit(app, host, self.address(side, host), side, log)

    def address(self, side: str, host: str) -> str:
        return f"{self.net}.{HOSTS[host] + OF_SIDE[side]}"

    def addresses(self, side: str) -> list[str]:
        return [self.address(side, host) for host in HOSTS]

    def log(self, side: str, host: str) -> pathlib.Path:
        return self.dir / host / "log" / f"{side}.log"

    def command(self, playbook: str, *args: str, **variables: t.Any) -> list[str]:
        servers = self.stage.access()["servers"]
        # The driver's calls run on the controller, which is no host of its own here.
        here, own = "inventory_hostname == 'localhost'", "machine_dir ~ '/' ~ inventory_hostname ~ '/python'"
        machine = {
            "ansible_python_interpreter": f"{{{{ ansible_playbook_python if {here} else {own} }}}}",
            "machine_zone": self.stage.zone,
            "machine_name_server": self.stage.server("primary"),
            "machine_name_servers": servers,
        }
        return super().command(playbook, *args, **{**machine, **variables})

    @property
    def ENV(self) -> dict[str, str]:  # type: ignore[override]  # pylint: disable=invalid-name
        return {**Machine.ENV, "SHOP_DNS_KEY": self.stage.secret}
