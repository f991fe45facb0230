# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where lock and journal are kept: files on state hosts, by C(zero.downtime.lock), or what a driver brings, by its own
module C(<driver>_lock) with the same options and returns. Private to the collection.
"""

from __future__ import annotations

import hashlib
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _fanout
from ansible_collections.zero.downtime.plugins.plugin_utils import _lock_holder

Results = t.Dict[str, t.Dict[str, t.Any]]
# The word for a host that keeps the lock.
KEEPER = "state host"
# What tells machines apart, and is nobody's business where the lock can be read by strangers, as in DNS: there a digest
# of it is kept.
PRIVATE = ("machine_id", "boot_id", "pid_namespace", "hardware")


def ask(
    action: ActionBase,
    lock: t.Mapping[str, t.Any],
    options: t.Mapping[str, t.Any],
    task_vars: dict[str, t.Any],
    seconds: float,
    hosts: t.Sequence[str] | None = None,
) -> Results:
    """What each place of the plan's C(lock) answers to C(options), those of C(zero.downtime.lock) less directory and
    name.

    :param seconds: that it may take.
    :param hosts: only some of the places.
    """
    module, own = f"{_drivers.COLLECTION}.lock", {}
    if lock.get("driver"):
        driver = _drivers.load(lock["driver"])
        if driver.lock_args:
            module, own = driver.module("lock"), driver.lock_args(
                _credentials.whole(action, driver, lock["traffic"], task_vars)
            )
    given = {"directory": lock["directory"], "name": lock["name"], **own, **options}
    if own and given.get("holder"):
        given["holder"] = masked(given["holder"], lock["name"])
    places = sorted(lock["hosts"]) if hosts is None else list(hosts)
    results = _fanout.run_on(
        action, places, module, lambda _host: given, task_vars, what=KEEPER, timeout=_fanout.limit(action, seconds)
    )
    return {host: _unmasked(result, lock["name"]) for host, result in results.items()} if own else results


def masked(holder: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    """A holder whose machine only somebody on it can tell."""
    return {key: _digest(name, key, value) if key in PRIVATE and value else value for key, value in holder.items()}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _unmasked(result: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    """A result whose locks name this machine as it names itself, where they are of this machine; another's stays what
    it is, and is not this one."""
    here = _lock_holder.machine()
    plain = {_digest(name, key, here[key]): here[key] for key in PRIVATE if here[key]}
    for key in ("lock", "holder", "taken_over"):
        held = result.get(key)
        if isinstance(held, dict) and isinstance(held.get("holder"), dict):
            result[key] = {
                **held,
                "holder": {
                    part: plain.get(value, value) if part in PRIVATE else value
                    for part, value in held["holder"].items()
                },
            }
    return result
