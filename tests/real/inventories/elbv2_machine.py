# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine that stands for instances of EC2 behind a load balancer, on the AWS stage."""

from __future__ import annotations

import sys
import typing as t

import one_machine
import playing

sys.path.insert(0, str(playing.REPO / "tests" / "aws"))

from aws_stage import AwsStage  # noqa: E402  pylint: disable=wrong-import-position


class Machine(one_machine.Machine):
    """The example's hosts, each an instance, in the target group C(shop)."""

    def __init__(self, hosts: t.Mapping[str, int], labels: t.Sequence[str]) -> None:
        super().__init__("elbv2", {"shop": hosts}, labels=labels)
        self.aws = AwsStage()
        self.instances: dict[str, str] = {}

    def __enter__(self) -> Machine:
        super().__enter__()
        try:
            self.ending.enter_context(t.cast(t.Any, self.aws))
            # As the example has it: http://10.1.2.11:port is, on this machine, http://127.1.2.11:port.
            self.instances = {
                name: self.aws.instance(f"10.{self.net.split('.', 1)[1]}.{last}")
                for name, last in self.apps["shop"].items()
            }
            self.aws.group("shop", self.ports["shop"], kind="instance")
            self.aws.listener("shop", self.fronts["shop"], {"shop": 1})
            self.aws.register("shop", *self.instances.values())
        except BaseException:
            self.ending.close()
            raise
        # Region and credentials come from the environment, as on many a controller.
        self.ENV = {**one_machine.Machine.ENV, **self.aws.env}
        return self

    def command(self, playbook: str, *args: str, **variables: t.Any) -> list[str]:
        return super().command(playbook, *args, machine_instances=self.instances, **variables)

    def doors(self, app: str) -> list[str]:
        return [f"127.0.0.1:{self.fronts[app]}"]
