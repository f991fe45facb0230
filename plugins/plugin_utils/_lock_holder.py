# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs a deploy, and whether somebody who ran one is proven dead. Private to the collection."""

from __future__ import annotations

import getpass
import os
import platform
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock


def me() -> dict[str, t.Any]:
    """Who runs this deploy: the process of ansible-playbook, which a worker has as its parent."""
    pid = os.getppid()
    return {**machine(), "pid": pid, "start_time": _probe.start_time_of(pid), "user": getpass.getuser()}


def machine() -> dict[str, t.Any]:
    """This controller. Names of machines and of containers repeat, so each part is needed before two may be called the same."""
    return {"controller": platform.node(), "machine_id": _first_line("/etc/machine-id"), "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
            "pid_namespace": os.readlink("/proc/self/ns/pid"), "hardware": hardware()}


def hardware(root: str = "/sys/class/net") -> str:
    """The addresses of this machine's network cards: a copy of a machine has its name and its identity, and cards of its own. Empty where it has none."""
    cards = [os.path.join(root, name) for name in (os.listdir(root) if os.path.isdir(root) else ())]
    return ",".join(sorted(_first_line(os.path.join(card, "address")) for card in cards if os.path.exists(os.path.join(card, "device"))))


def uptime() -> float:
    """Seconds since this machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as handle:
            return handle.readline().strip()
    except FileNotFoundError:
        return ""


def refusal(plan: t.Mapping[str, t.Any], host: str, lock: t.Mapping[str, t.Any]) -> str:
    """Why nobody else may begin, and what to do. C(plan) is of who would."""
    locked = f"{plan['app']} ({plan['environment']}) is locked on {host} by {_lock.told(lock)}"
    if alive(lock):
        # Breaking its lock would only leave what it has begun half done.
        return f"{locked}, which is at work; wait for it, or end that process first"
    return f"{locked}; wait for it, or, if it is known to be dead, break the lock: {_commands.again(plan, deploy_lock_break=True)}"


def alive(lock: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any] | None = None) -> bool:
    """Whether a lock's holder is seen to be at work on this controller; C(here) as for C(dead)."""
    holder, here = lock.get("holder") or {}, here or machine()
    same = all(holder.get(name) == here[name] for name in ("controller", "machine_id", "boot_id", "pid_namespace"))
    return same and holder.get("start_time") is not None and _probe.start_time_of(int(holder["pid"])) == holder["start_time"]


def dead(lock: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any] | None = None) -> bool:
    """Whether a lock's holder is proven dead: it ran on this controller, and its process is not there any more, or the machine was started anew.

    C(here) is this controller, written as the holder is.

    A machine that runs for longer than the lock is old has not been started since: then a holder of another start ran on a copy of it, and may live.
    """
    holder, here = lock.get("holder") or {}, here or machine()
    if not here["machine_id"] or any(holder.get(name) != here[name] for name in ("controller", "machine_id")):
        return False
    if holder.get("boot_id") != here["boot_id"]:
        same = holder.get("hardware", here["hardware"]) == here["hardware"]
        return same and lock.get("age") is not None and uptime() < lock["age"]
    return holder.get("pid_namespace") == here["pid_namespace"] and _probe.start_time_of(int(holder["pid"])) != holder.get("start_time")
