# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic Load Balancing on this machine: the API, health checks, and a real HAProxy that requests go through.

    with AwsStage() as stage:
        stage.api.url                                   # what the driver's endpoint_url is
        blue = stage.group("shop-blue", port=8000)      # a target group
        stage.listener("shop", 18080, {"shop-blue": 100, "shop-green": 0})
        stage.register("shop-blue", "10.0.0.1:8000")    # this machine's 127.0.0.1:8000

A target with the address 10.1.2.3 is this machine's 127.1.2.3: as the real one, the API takes no address of the
loopback. Times are the real ones but for health checks, of which C(tempo) seconds make one of theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

import botocore.config
import botocore.session

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

import objects  # noqa: E402  pylint: disable=wrong-import-position
import elbv2  # noqa: E402  pylint: disable=wrong-import-position
from api import KEY, SECRET, Api  # noqa: E402  pylint: disable=wrong-import-position
from checks import Checks  # noqa: E402  pylint: disable=wrong-import-position
from traffic import Traffic  # noqa: E402  pylint: disable=wrong-import-position

REGION = "eu-west-1"


class AwsStage:
    """Everything, while it is entered.

    :param tempo: seconds of the stage for each second between two health checks.
    :param lag: seconds until the load balancer does what the API was told.
    """

    def __init__(self, port: int = 0, tempo: float = 0.04, lag: float = 0.2) -> None:
        elbv2.install()
        self.api = Api(port)
        self.checks, self.traffic = Checks(tempo), Traffic(lag)
        self.lag = lag
        self._ending = contextlib.ExitStack()
        self._client: t.Any = None

    def __enter__(self) -> AwsStage:
        with contextlib.ExitStack() as stack:
            for part in (self.api, self.checks, self.traffic):
                stack.enter_context(t.cast(t.Any, part))
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._ending.close()

    def bucket(self, name: str) -> str:
        """An empty bucket of S3; its name."""
        if name not in objects.backend().buckets:
            objects.backend().create_bucket(name, REGION)
        for key in list(objects.backend().buckets[name].keys):
            objects.backend().delete_object(name, key)
        return name

    def kept(self, bucket: str, key: str) -> t.Any:
        """What an object has, as JSON; None where there is none."""
        found = objects.backend().get_object(bucket, key)
        return None if found is None else json.loads(found.value)

    @property
    def env(self) -> dict[str, str]:
        """What lets a client of Amazon's in."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.api.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def client(self) -> t.Any:
        """A client of the stage's own, as somebody else has one."""
        if self._client is None:
            config = botocore.config.Config(retries={"total_max_attempts": 1})
            self._client = botocore.session.Session().create_client(
                "elbv2",
                region_name=REGION,
                endpoint_url=self.api.url,
                aws_access_key_id=KEY,
                aws_secret_access_key=SECRET,
                config=config,
            )
        return self._client

    @property
    def backend(self) -> elbv2.Stage:
        return t.cast(elbv2.Stage, elbv2.elbv2_backends[elbv2.ACCOUNT][REGION])

    # -- what a team has made ------------------------------------------------------------------------------------------
    def group(self, name: str, port: int, delay: int = 1, path: str = "/ready", kind: str = "ip") -> str:
        """A target group; its ARN."""
        vpc = self.backend.ec2_backend.get_default_vpc()
        made = self.client.create_target_group(
            Name=name,
            Protocol="HTTP",
            Port=port,
            VpcId=vpc.id,
            TargetType=kind,
            HealthCheckPath=path,
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=4,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        self.client.modify_target_group_attributes(
            TargetGroupArn=made, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}]
        )
        return str(made)

    def listener(self, name: str, port: int, weights: t.Mapping[str, int]) -> str:
        """A load balancer with one listener, whose default is to forward by these weights; the listener's ARN."""
        subnets = self.backend.ec2_backend.get_default_subnets()
        chosen = list(subnets.values())[:2] if isinstance(subnets, dict) else list(subnets)[:2]
        made = self.client.create_load_balancer(Name=name, Subnets=[getattr(one, "id", one) for one in chosen])[
            "LoadBalancers"
        ][0]["LoadBalancerArn"]
        return str(
            self.client.create_listener(
                LoadBalancerArn=made, Protocol="HTTP", Port=port, DefaultActions=[self.forward(weights)]
            )["Listeners"][0]["ListenerArn"]
        )

    def forward(self, weights: t.Mapping[str, int]) -> dict[str, t.Any]:
        return {
            "Type": "forward",
            "ForwardConfig": {
                "TargetGroups": [
                    {"TargetGroupArn": self.arn(name), "Weight": weight} for name, weight in weights.items()
                ]
            },
        }

    def arn(self, group: str) -> str:
        return next(arn for arn, one in self.backend.target_groups.items() if one.name == group)

    def register(self, group: str, *targets: str) -> None:
        self.client.register_targets(TargetGroupArn=self.arn(group), Targets=[_target(target) for target in targets])

    def instance(self, address: str) -> str:
        """A running instance with that address; its id."""
        reservation = self.backend.ec2_backend.run_instances(
            "ami-00000000", 1, "", [], instance_type="t3.micro", is_instance_type_default=False, private_ip=address
        )
        return str(reservation.instances[0].id)

    # -- what is so ----------------------------------------------------------------------------------------------------
    def states(self, group: str) -> dict[str, str]:
        """The state of each target of a group, without a call that would be counted."""
        return {
            f"{told.instance_id}:{told.port}": told.status
            for told in self.backend.describe_target_health(self.arn(group), [])
        }

    def weights(self, listener: str) -> dict[str, int]:
        found = self.backend.describe_listeners(None, [listener])[0].default_actions[0].data
        names = {arn: one.name for arn, one in self.backend.target_groups.items()}
        return {names[one["TargetGroupArn"]]: int(one["Weight"]) for one in found["ForwardConfig"]["TargetGroups"]}


def _target(text: str) -> dict[str, t.Any]:
    ident, _colon, port = text.partition(":")
    return {"Id": ident, **({"Port": int(port)} if port else {})}
