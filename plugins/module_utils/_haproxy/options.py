# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the driver haproxy, and how a module gets from them to the balancer, its configuration and its counters. Private to the collection."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import common_spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config as _haproxy_config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Client
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Balancer, Processes, config_files

DEFAULT_CONFIG = "/etc/haproxy/haproxy.cfg"

# The same words in deploy_traffic and in all modules.
CONNECTION: dict[str, t.Any] = {
    "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "master_socket": {"type": "str"},
    "socket_command": {"type": "list", "elements": "str"},
    "socket_timeout": {"type": "float", "default": 5.0},
    "old_workers": {"type": "str", "choices": ["wait", "ignore"], "default": "wait"},
    "config": {"type": "path"},
    "frontends": {"type": "list", "elements": "str"},
    "counted_pools": {"type": "list", "elements": "str"},
}
MOVING: dict[str, t.Any] = {
    "take_out": {"type": "str", "choices": ["auto", "drain", "maint"], "default": "auto"},
    "probe_path": {"type": "str"},
    "slowest_request": {"type": "float", "default": 30.0},
}
# Where the shares of the sides are kept, where the configuration's topology does not say it.
SPLITTING: dict[str, t.Any] = {
    "split_map": {"type": "str"},
    "split_key": {"type": "str", "no_log": False},
}


def members_spec() -> dict[str, t.Any]:
    return {**common_spec(), **CONNECTION, **MOVING, "pools": {"type": "list", "elements": "str"}}


def info_spec() -> dict[str, t.Any]:
    names = {name: {"type": "list", "elements": "str"} for name in ("pools", "members")}
    return {**CONNECTION, **SPLITTING, **names}


def balancer_of(params: t.Mapping[str, t.Any], processes: Processes | None = None) -> Balancer:
    timeout = params["socket_timeout"]
    if timeout <= 0:
        raise DowntimeError(f"socket_timeout is {timeout:g}; seconds above 0 are accepted")
    command = params.get("socket_command")
    runtime = Client("socket", params["socket"], command, timeout)
    master = None
    if params.get("master_socket"):
        # A command without the placeholder reaches one socket only, the runtime's.
        shared = command if command and any("{socket}" in part for part in command) else None
        master = Client("master_socket", params["master_socket"], shared, timeout)
    return Balancer(runtime, master, params["old_workers"], processes)


def config_of(params: t.Mapping[str, t.Any], pid: int | None, processes: Processes) -> tuple[_haproxy_config.Config | None, str]:
    """The configuration that haproxy was started with, and why there is none.

    A file that was named has to be readable; one that was only looked for need not be.
    """
    paths = [params["config"]] if params.get("config") else []
    if not paths and pid is not None:
        where = processes.cwd(pid)
        found = processes.stat(pid)
        paths = [os.path.join(where, path) for path in config_files(processes.argv(pid))] if found and "haproxy" in found[0] else []
    try:
        return _haproxy_config.read(paths or [DEFAULT_CONFIG]), ""
    except OSError as error:
        if params.get("config"):
            raise DowntimeError(f"config is '{params['config']}', which cannot be read: {error.strerror}") from error
        return None, f"{', '.join(paths or [DEFAULT_CONFIG])} cannot be read: {error.strerror}"


def asked_place(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"map": params.get("split_map"), "key": params.get("split_key")}


def full_path(pid: int, processes: Processes) -> t.Callable[[str], str]:
    """Paths in haproxy.cfg begin where haproxy was started."""
    return lambda path: os.path.join(processes.cwd(pid), path)


def counted(balancer: Balancer, params: t.Mapping[str, t.Any], config: _haproxy_config.Config | None) -> dict[str, t.Any]:
    """What haproxy and the kernel have counted so far: C(counters), C(uncounted) and C(kernel) of a module's result."""
    # Read when all has been moved, so nobody waits for their import before.
    from ansible_collections.zero.downtime.plugins.module_utils._driver import kernel as _kernel  # pylint: disable=import-outside-toplevel
    from ansible_collections.zero.downtime.plugins.module_utils._haproxy import counters as _haproxy_counters  # pylint: disable=import-outside-toplevel

    command = [_haproxy_counters.COMMAND]
    ignored, shared = (config.pure_stats, config.counted_together) if config else ((), ())
    pools = params.get("counted_pools") or params.get("pools")
    rows = _haproxy_counters.settled(lambda: _haproxy_counters.of_look(balancer.look(command, command), pools, ignored, shared))
    why = _haproxy_counters.nothing_counted(rows)
    return {"counters": [] if why else rows, "uncounted": why, "kernel": _kernel.read()}
