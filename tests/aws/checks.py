# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real HTTP health checks of all targets that are in use, as their groups want them."""

from __future__ import annotations

import concurrent.futures
import http.client
import re
import threading
import typing as t

import elbv2
from targets import Target

# As many checks at a time.
AT_ONCE = 8
# How often this looks who is due.
TICK = 0.04


class Checks:
    """Checks while it is entered.

    :param tempo: how many seconds of the stage make one of a group's C(HealthCheckIntervalSeconds): Amazon takes no
        interval below 5 s.
    """

    def __init__(self, tempo: float) -> None:
        self.tempo = tempo
        self._pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check")
        self._under_way: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Checks:
        self._thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._over.set()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._over.wait(TICK):
            for backend, group, target in self._due():
                self._under_way.add(id(target))
                self._pool.submit(self._check, backend, group, target)

    def _due(self) -> list[tuple[elbv2.Stage, t.Any, Target]]:
        found = []
        with elbv2.LOCK:
            for backend in elbv2.backends():
                for arn, targets in backend.targets.items():
                    group, in_use = backend.target_groups.get(arn), backend.in_use(arn)
                    backend.tidy(arn)
                    for target in targets.values():
                        if not in_use:
                            # Once it is, all begins anew.
                            target.begin_anew(backend.clock()) if target.until is None else None
                        elif (
                            group
                            and group.health_check_enabled
                            and target.until is None
                            and id(target) not in self._under_way
                            and backend.health(group, target)[1]
                            not in ("Elb.RegistrationInProgress", "Target.InvalidState")
                            and backend.clock()
                            >= target.checked + float(group.health_check_interval_seconds) * self.tempo
                        ):
                            target.checked = backend.clock()
                            found.append((backend, group, target))
        return found

    def _check(self, backend: elbv2.Stage, group: t.Any, target: Target) -> None:
        since = target.since
        port = target.port if group.health_check_port == "traffic-port" else int(group.health_check_port)
        passed = _passes(
            backend.address(target),
            port,
            group.health_check_path or "/",
            str((group.matcher or {}).get("HttpCode") or "200"),
            max(1.0, float(group.health_check_timeout_seconds) * self.tempo),
        )
        with elbv2.LOCK:
            # It may have been registered anew meanwhile.
            if target.since == since:
                target.take(passed, int(group.healthy_threshold_count), int(group.unhealthy_threshold_count))
        self._under_way.discard(id(target))


def _passes(address: str, port: int, path: str, accepted: str, timeout: float) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"User-Agent": "ELB-HealthChecker/2.0", "Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    for part in accepted.split(","):
        first, _dash, last = re.sub(r"\s", "", part).partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False
