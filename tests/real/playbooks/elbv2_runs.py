# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage's members behind the AWS stage: one load balancer with a target group for each side."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import layout
import playing
from foreign import Runs
from haproxy_stage import free_port, get, wait_until

sys.path.insert(0, str(playing.REPO / "tests" / "aws"))

from api import KEY, SECRET  # noqa: E402  pylint: disable=wrong-import-position
from aws_stage import REGION, AwsStage  # noqa: E402  pylint: disable=wrong-import-position

GROUPS = {side: f"shop-{side}" for side in layout.SLOTS}
# Seconds: a deregistration delay that outlasts the slowest request of the load, and as long as the load balancer may
# take to follow.
DELAY, HOLD = 1, 0.5


# Calls of S3, where the lock lies, by their method.
OF_S3 = ("GET", "PUT")
BUCKET = "shop-deploys"


class Elb(AwsStage):
    """Serves while it is entered. Blue has all of the requests, as on the local stage itself."""

    def __enter__(self) -> Elb:
        super().__enter__()
        try:
            self.port = free_port()
            self.bucket(BUCKET)
            for side, name in GROUPS.items():
                self.group(name, 8000, DELAY)
            self.listener_arn = self.listener("shop", self.port, {"shop-blue": 100, "shop-green": 0})
            for side, name in GROUPS.items():
                self.register(name, *(target(member, side) for member in layout.MEMBERS))
            wait_until(
                lambda: set(self.states("shop-blue").values()) == {"healthy"}
                and self.traffic.serving().get("shop-blue"),
                "blue serves",
            )
            self.api.calls.clear()
        except BaseException:
            super().__exit__()
            raise
        return self

    def version(self) -> str:
        return str(json.loads(get(f"http://127.0.0.1:{self.port}/")[1])["version"])

    def moves(self) -> list[str]:
        """The calls that changed something."""
        return [call for call in self.api.calls if not call.startswith("Describe") and call not in OF_S3]

    def traffic_of(self, *sides: str, **more: t.Any) -> dict[str, t.Any]:
        """deploy_traffic, for a member's own variables."""
        pools = [
            {
                "name": GROUPS[side],
                "port": f"{{{{ stage_{side}_port }}}}",
                "server": f"10.0.0.1:{{{{ stage_{side}_port }}}}",
                **({"side": side} if len(sides) > 1 else {}),
            }
            for side in sides
        ]
        return {
            "driver": "elbv2",
            "region": REGION,
            "access_key": KEY,
            "secret_key": SECRET,
            "endpoint_url": self.api.url,
            "hold": HOLD,
            "state_bucket": BUCKET,
            "pools": pools,
            **({"load_balancer": "shop", "listener": str(self.port)} if len(sides) > 1 else {}),
            **more,
        }

    def runs(self, place: pathlib.Path, *sides: str, **variables: t.Any) -> Runs:
        """Playbooks on the local stage, whose members' own group names the driver."""
        inventory = place / "elbv2"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "hosts.yml").write_text("{}", encoding="utf-8")
        one_side = {
            "deploy_slot": "blue",
            "deploy_service": {"command": "{{ stage_service }} restart {{ inventory_hostname }} blue"},
        }
        own = {
            "deploy_traffic": self.traffic_of(*sides),
            "deploy_evidence_url": f"http://127.0.0.1:{self.port}/",
            **(one_side if len(sides) == 1 else {}),
        }
        (inventory / "group_vars" / "shop_app.yml").write_text(json.dumps(own), encoding="utf-8")
        return Runs([playing.LOCAL, str(inventory)], SECRET, place, deploy_batches=[2], **variables)


def target(member: str, side: str) -> str:
    return f"10.0.0.1:{layout.port(member, side)}"
