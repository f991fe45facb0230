# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name on real name servers, and the driver's modules, called as Ansible calls them."""

from __future__ import annotations

import typing as t

import calling
from bind_stage import BindStage

from ansible_collections.zero.downtime.plugins.module_utils._rfc2136 import options as specs

BLUE, GREEN = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}


SPECS = {"info": specs.info_spec, "lock": specs.lock_spec, "split": specs.split_spec}


class Zone:
    """The name C(www) of a zone, and the modules that know it."""

    def __init__(self, stage: BindStage) -> None:
        self.stage = stage
        self.options = {
            "name": "www",
            "blue": [f"{stage.net}.11"],
            "green": [f"{stage.net}.21"],
            "ttl": 3,
            "short_ttl": 1,
            "effective_timeout": 20,
            "query_timeout": 2.0,
        }

    def begin(self) -> None:
        """Blue serves, nobody has the lock, and all servers know it."""
        for name in ("_zero-downtime.www", "_journal._zero-downtime.www", "_state._zero-downtime.www", "www"):
            assert self.stage.update(("delete", name)) == "NOERROR"
        self.stage.set("www", *self.options["blue"])

    def call(
        self,
        kind: str,
        check: bool = False,
        start: calling.Start = calling.by_main,
        **options: t.Any,
    ) -> dict[str, t.Any]:
        """The module C(rfc2136_<kind>); what it returns, also where it fails."""
        given = {**self.stage.access(), **self.options, **options}
        if kind == "lock":
            given["record"], given["name"] = given["name"], "production-shop"
        known = SPECS[kind]()
        given = {name: value for name, value in given.items() if name in known or name in options}
        return start(f"zero.downtime.rfc2136_{kind}", given, check).result()

    def split(self, shares: dict[str, int] | None = None, **options: t.Any) -> dict[str, t.Any]:
        return self.call("split", **({"shares": shares} if shares else {}), **options)

    def lock(self, state: str, deploy_id: str | None = None, **options: t.Any) -> dict[str, t.Any]:
        return self.call("lock", state=state, **({"deploy_id": deploy_id} if deploy_id else {}), **options)
