# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small HTTP servers behind the AWS stage, in place of the HAProxy of ``HaproxyStage``."""

from __future__ import annotations

import typing as t

import haproxy_stage
from api import KEY, SECRET
from aws_stage import REGION, AwsStage
from limits import wait_until


class MembersStage(haproxy_stage.HaproxyStage):
    """Each pool is a target group; the listener forwards to all of them, with the weight 100 for the first one and 0
    for others.

    :param delay: deregistration delay of each target group.
    """

    def __init__(self, pools: dict[str, list[str]], delay: int = 2) -> None:
        super().__init__(pools, master=False)
        self.delay = delay
        self.aws = AwsStage()
        self.listener_arn = ""

    def start_haproxy(self) -> None:
        self.aws.__enter__()
        for pool in self.pools:
            self.aws.group(pool, 8000, self.delay)
        self.listener_arn = self.aws.listener(
            "shop", self.port, {pool: 100 * (not number) for number, pool in enumerate(self.pools)}
        )
        for pool, names in self.pools.items():
            self.aws.register(pool, *(self.target(name) for name in names))
        wait_until(self.settled, "every target is healthy")

    def settled(self) -> bool:
        healthy = [state == "healthy" for pool in self.pools for state in self.aws.states(pool).values()]
        return len(healthy) == len(self.names) and all(healthy) and len(self.aws.traffic.serving()) == len(self.pools)

    def target(self, name: str) -> str:
        return f"10.0.0.1:{self.ports[name]}"

    def states(self) -> dict[str, str]:
        """What the API says of each member, without a call that would be counted."""
        found = {}
        for pool, names in self.pools.items():
            told = self.aws.states(pool)
            found.update({name: told.get(self.target(name), "unused") for name in names})
        return found

    def access(self) -> dict[str, t.Any]:
        return {
            "region": REGION,
            "access_key": KEY,
            "secret_key": SECRET,
            "endpoint_url": self.aws.api.url,
            "hold": 2.5 * self.aws.lag,
        }

    def groups(self, **of_pool: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """The pools of deploy_traffic; C(of_pool) has more of each."""
        return [
            {
                "name": pool,
                "members": {name: self.target(name) for name in names},
                **of_pool.get(pool.rpartition("-")[2], {}),
            }
            for pool, names in self.pools.items()
        ]

    def reload(self) -> int:
        self.aws.traffic.reload()
        return self.aws.traffic.worker()

    def stop(self) -> None:
        self.aws.__exit__()
        super().stop()
