# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic Load Balancing of moto, with the delays, states and refusals of the real one.

What moto lacks: targets are healthy at once and unused at once, are kept by their id without the port, and any weight
is taken. Here they live in C(targets.Target), and health checks are those of C(checks). Everything else is moto's.
"""

from __future__ import annotations

import ipaddress
import threading
import time
import typing as t

from moto.elbv2.exceptions import (
    ELBClientError,
    InvalidTargetError,
    TargetGroupNotFoundError,
    TargetNotRunning,
    ValidationError,
)
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, elbv2_backends
import targets
from targets import TOLD, Target

WEIGHTS = range(1000)
DELAYS = range(3601)
ACCOUNT = "123456789012"
# One lock for whoever reads or changes targets: requests, checks and the balancer have threads of their own.
LOCK = threading.RLock()


class Told(FakeHealthStatus):
    """What is told of a target, its zone as well."""

    # moto keeps account of its models by it.
    __module__ = FakeHealthStatus.__module__

    zone: str | None = None

    @property
    def target(self) -> dict[str, t.Any]:
        return {**super().target, **({"AvailabilityZone": self.zone} if self.zone else {})}


class Stage(ELBv2Backend):
    """The backend of one region."""

    # By it moto finds the addresses of the service.
    __module__ = ELBv2Backend.__module__

    clock: t.Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.targets: dict[str, dict[tuple[str, int], Target]] = {}

    # -- targets -------------------------------------------------------------------------------------------------------
    def register_targets(self, target_group_arn: str, instances: list[t.Any]) -> None:
        group = self._group(target_group_arn)
        with LOCK:
            for entry in instances:
                self._check_target(group, entry)
            self.tidy(target_group_arn)
            known, now = self.targets.setdefault(target_group_arn, {}), self.clock()
            if len({*known, *(_key(group, entry) for entry in instances)}) > targets.MOST:
                raise ELBClientError("TooManyTargets", "You've reached the limit on the number of targets")
            for entry in instances:
                key = _key(group, entry)
                if key in known and known[key].until is None:
                    continue
                # One that is still draining begins anew, too.
                known[key] = Target(*key, entry.get("AvailabilityZone"), now)

    def deregister_targets(self, target_group_arn: str, instances: list[dict[str, t.Any]]) -> None:
        group = self._group(target_group_arn)
        with LOCK:
            known, now = self.targets.setdefault(target_group_arn, {}), self.clock()
            for entry in instances:
                # Without a port all of that id are meant, and one that is not there is no error.
                for key in [key for key in known if key[0] == entry["Id"] and entry.get("Port") in (None, key[1])]:
                    if self.health(group, known[key])[0] == "unused":
                        del known[key]
                    elif known[key].until is None:
                        known[key].until = now + float(group.attributes["deregistration_delay.timeout_seconds"])

    def describe_target_health(self, target_group_arn: str, targets: list[dict[str, t.Any]]) -> list[FakeHealthStatus]:
        group = self._group(target_group_arn)
        with LOCK:
            self.tidy(target_group_arn)
            known = self.targets.get(target_group_arn, {})
            found = []
            for key in [_key(group, entry) for entry in targets] or list(known):
                state, reason = self.health(group, known[key]) if key in known else ("unused", "Target.NotRegistered")
                told = Told(key[0], t.cast(str, key[1]), str(key[1]), state, reason, TOLD.get(reason or ""))
                told.zone = known[key].zone if key in known else None
                found.append(told)
            return found

    def health(self, group: t.Any, target: Target) -> tuple[str, str | None]:
        if target.id.startswith("i-"):
            instance = self.ec2_backend.get_instance_by_id(target.id)
            if instance and instance.state != "running" and target.until is None:
                return "unused", "Target.InvalidState"
        return target.health(self.clock(), self.in_use(group.arn), group.health_check_enabled)

    def tidy(self, arn: str) -> None:
        """Forget whose deregistration has ended; what was not in use and is now is checked from now on."""
        now, known = self.clock(), self.targets.get(arn, {})
        for key in [key for key, target in known.items() if target.until is not None and now >= target.until]:
            del known[key]

    def in_use(self, arn: str) -> bool:
        """Whether a listener's action forwards to the group, with whatever weight."""
        return bool(self._any_listener_using(arn))

    def address(self, target: Target) -> str:
        """Where a target is on this machine: the last three numbers of its address, on the loopback."""
        ip = target.id
        if target.id.startswith("i-"):
            ip = self.ec2_backend.get_instance_by_id(target.id).private_ip
        return "127." + ip.split(".", 1)[1]

    def _group(self, arn: str) -> t.Any:
        group = self.target_groups.get(arn)
        if group is None:
            raise TargetGroupNotFoundError()
        return group

    def _check_target(self, group: t.Any, entry: t.Mapping[str, t.Any]) -> None:
        if group.target_type == "instance":
            instance = self.ec2_backend.get_instance_by_id(entry["Id"]) if entry["Id"].startswith("i-") else None
            if instance is None:
                raise _invalid(
                    f"The following targets are not in the target group VPC '{group.vpc_id}': '{entry['Id']}'"
                )
            if instance.state != "running":
                raise TargetNotRunning(instance_id=entry["Id"])
        if group.target_type == "ip":
            try:
                ip = ipaddress.ip_address(entry["Id"])
            except ValueError:
                raise ValidationError(f"The IP address '{entry['Id']}' is not valid") from None
            if not ip.is_private or ip.is_loopback or ip.is_link_local:
                raise ValidationError(f"The IP address '{entry['Id']}' is not within a valid range")

    def describe_target_groups(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        with LOCK:
            for group in self.target_groups.values():
                # moto writes down who was the first to use a group, and forgets later ones.
                group.load_balancer_arns = [
                    arn for arn, balancer in self.load_balancers.items() if self._uses(balancer, group.arn)
                ]
            return super().describe_target_groups(*args, **kwargs)

    def _uses(self, balancer: t.Any, arn: str) -> bool:
        actions = [
            action
            for listener in balancer.listeners.values()
            for rule in listener.rules.values()
            for action in rule.actions
        ]
        return any(arn in self._get_target_group_arns_from(action_data=action.data) for action in actions)

    # -- listeners and rules -------------------------------------------------------------------------------------------
    def create_listener(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._check_weights(kwargs.get("actions") or [])
        with LOCK:
            return super().create_listener(*args, **kwargs)

    def modify_listener(
        self,
        arn: str,
        port: str | None = None,
        protocol: str | None = None,
        ssl_policy: str | None = None,
        certificates: list[dict[str, t.Any]] | None = None,
        actions: list[dict[str, t.Any]] | None = None,
    ) -> t.Any:
        self._check_weights(actions or [])
        with LOCK:
            return super().modify_listener(arn, port, protocol, ssl_policy, certificates or [], actions or [])

    def create_rule(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._check_weights(kwargs.get("actions") or [])
        with LOCK:
            return super().create_rule(*args, **kwargs)

    def modify_rule(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._check_weights(kwargs.get("actions") or [])
        with LOCK:
            rule = super().modify_rule(*args, **kwargs)
            for listener in (
                listener for balancer in self.load_balancers.values() for listener in balancer.listeners.values()
            ):
                # A listener's default rule is what it does by default.
                if rule.is_default and listener.arn == rule.listener_arn:
                    listener.default_actions = rule.actions
            return rule

    def _check_weights(self, actions: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        for action in actions:
            groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
            for group in groups:
                if group["TargetGroupArn"] not in self.target_groups:
                    raise TargetGroupNotFoundError()
                if int(group.get("Weight", 1)) not in WEIGHTS:
                    raise ValidationError(f"Weight '{group['Weight']}' must be between '0' and '999' inclusive")
            if len(groups) > 5:
                raise ELBClientError(
                    "TooManyTargetGroups", "You have reached the maximum number of target groups per action"
                )

    def modify_target_group_attributes(self, target_group_arn: str, attributes: dict[str, t.Any]) -> None:
        delay = attributes.get("deregistration_delay.timeout_seconds")
        if delay is not None and int(delay) not in DELAYS:
            raise ValidationError(
                f"'deregistration_delay.timeout_seconds' value '{delay}' must be between '0-3600' inclusive"
            )
        slow = int(attributes.get("slow_start.duration_seconds") or 0)
        if slow and slow not in range(30, 901):
            raise ValidationError(
                f"'slow_start.duration_seconds' value '{slow}' must be 0, or between '30-900' inclusive"
            )
        super().modify_target_group_attributes(target_group_arn, attributes)


def _key(group: t.Any, entry: t.Mapping[str, t.Any]) -> tuple[str, int]:
    return entry["Id"], int(entry.get("Port") or group.port)


def _invalid(sentence: str) -> InvalidTargetError:
    error = InvalidTargetError()
    error.message = sentence
    return error


def install() -> None:
    """Let moto make its backends of Elastic Load Balancing out of this class, from now on."""
    elbv2_backends.backend = Stage
    elbv2_backends.clear()


def backends() -> list[Stage]:
    """Those that anybody has asked for something."""
    return list(elbv2_backends[ACCOUNT].values()) if ACCOUNT in elbv2_backends else []
