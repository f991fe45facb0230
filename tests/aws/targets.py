# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a registered target as time passes. It asks nobody, and the clock is handed in.

The rules are those of the user guide of Elastic Load Balancing: a target is C(initial) until enough health checks have
passed or failed, C(unused) while no listener forwards to its group, C(draining) for the group's deregistration delay
once it was deregistered, and then unknown to the group.
"""

from __future__ import annotations

import dataclasses
import typing as t

# As many targets a group has places for.
MOST = 32
# Seconds that a target is being registered before it is checked.
REGISTERING = 0.1
# What is said of a state, beside it.
TOLD = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.InvalidState": "Target is in the stopped state",
    "Target.HealthCheckDisabled": "Health checks are not enabled for this target",
}

Health = t.Tuple[str, t.Optional[str]]


@dataclasses.dataclass
class Target:
    """One target of a group.

    :param since: when it was registered, or its group got into use.
    :param until: when its deregistration ends; None while it is registered.
    :param passed: checks that passed, running. :param failed: checks that failed, running.
    :param verdict: what the checks have come to; None before they did.
    """

    id: str
    port: int
    zone: str | None
    since: float
    until: float | None = None
    passed: int = 0
    failed: int = 0
    verdict: bool | None = None
    checked: float = 0.0

    def begin_anew(self, now: float) -> None:
        """Nothing that is known of it counts any more."""
        self.since, self.until, self.passed, self.failed, self.verdict, self.checked = now, None, 0, 0, None, 0.0

    def take(self, passed: bool, healthy: int, unhealthy: int) -> None:
        """The result of one check; C(healthy) and C(unhealthy) are the group's thresholds."""
        self.passed, self.failed = (self.passed + 1, 0) if passed else (0, self.failed + 1)
        if self.passed >= healthy:
            self.verdict = True
        elif self.failed >= unhealthy:
            self.verdict = False

    def health(self, now: float, in_use: bool, checked: bool = True) -> Health:
        """Its state and the code of the reason.

        :param in_use: whether a listener forwards to the group.
        :param checked: whether the group has health checks.
        """
        if self.until is not None:
            return (
                ("draining", "Target.DeregistrationInProgress")
                if now < self.until
                else ("unused", "Target.NotRegistered")
            )
        if not in_use:
            return "unused", "Target.NotInUse"
        if now < self.since + REGISTERING:
            return "initial", "Elb.RegistrationInProgress"
        if not checked:
            return "unavailable", "Target.HealthCheckDisabled"
        if self.verdict is None:
            return "initial", "Elb.InitialHealthChecking"
        return ("healthy", None) if self.verdict else ("unhealthy", "Target.FailedHealthChecks")
