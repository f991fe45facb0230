# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the driver nginx, and how a module gets from them to nginx, its configuration and its counters. Private to the collection."""

from __future__ import annotations

import math
import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import kernel as _kernel
from ansible_collections.zero.downtime.plugins.module_utils._driver import split as _split
from ansible_collections.zero.downtime.plugins.module_utils._driver.members import common_spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import counters as _nginx_counters
from ansible_collections.zero.downtime.plugins.module_utils._nginx.pools import resolved
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import SUFFIX, host_port, joined, parse

DEFAULT_DIRECTORY = "/etc/nginx/zero-downtime"
COUNTED = "counted.json"

# The same words in deploy_traffic and in all modules.
CONNECTION: dict[str, t.Any] = {
    "upstreams_dir": {"type": "path", "default": DEFAULT_DIRECTORY},
    "nginx_command": {"type": "list", "elements": "str", "default": ["nginx"]},
    "pid_file": {"type": "path", "default": "/run/nginx.pid"},
    "revision_listen": {"type": "str"},
    "slowest_request": {"type": "float", "default": 60.0},
    "access_log": {"type": "path"},
    "probe_path": {"type": "str"},
}
MOVING: dict[str, t.Any] = {
    "reload_command": {"type": "list", "elements": "str"},
    "reload_timeout": {"type": "float", "default": 30.0},
}
SPLITTING: dict[str, t.Any] = {
    "split_by": {"type": "str"},
    "split_pin": {"type": "str"},
}
POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "side": {"type": "str", "choices": list(_split.SIDES)},
    "members": {"type": "dict"},
}
POOLS: dict[str, t.Any] = {"type": "list", "elements": "dict", "options": POOL}


def members_spec() -> dict[str, t.Any]:
    return {**common_spec(), **CONNECTION, **MOVING, "pools": POOLS}


def info_spec() -> dict[str, t.Any]:
    return {**CONNECTION, "pools": POOLS}


def split_spec() -> dict[str, t.Any]:
    return {**_split.common_spec(), **CONNECTION, **MOVING, **SPLITTING, "pools": POOLS}


def opened(params: t.Mapping[str, t.Any]) -> Nginx:
    """The nginx that the options name. Raises DowntimeError for one that means nothing."""
    for option in ("slowest_request", "reload_timeout"):
        if params.get(option) is not None and not 0 < params[option] < math.inf:
            raise DowntimeError(f"{option} is {params[option]:g}; seconds above 0 are accepted")
    directory = params["upstreams_dir"]
    if not os.path.isabs(directory):
        raise DowntimeError(f"upstreams_dir is '{directory}'; an absolute path is accepted")
    if not params["nginx_command"]:
        raise DowntimeError("nginx_command is empty; the words of a command such as [nginx] are accepted")
    listen = params.get("revision_listen")
    place = host_port(listen) if listen else None
    if listen and (place is None or not 0 < place[1] < 65536 or not listen.rpartition(":")[2].isdigit()):
        raise DowntimeError(f"revision_listen is '{listen}'; an address and a port such as 127.0.0.1:8469 are accepted")
    if params.get("probe_path") and not params["probe_path"].startswith("/"):
        raise DowntimeError(f"probe_path is '{shown_url(params['probe_path'])}'; a path that begins with / is accepted")
    return Nginx(os.path.realpath(directory), params["nginx_command"], params["pid_file"], params.get("reload_command"),
                 params.get("reload_timeout") or MOVING["reload_timeout"]["default"], listen)


def pools_of(params: t.Mapping[str, t.Any]) -> dict[str, dict[str, str]]:
    """The pools that were named, each with the addresses of its members as far as they are known."""
    found: dict[str, dict[str, str]] = {}
    for pool in params.get("pools") or ():
        members = {str(name): str(address) for name, address in (pool.get("members") or {}).items()}
        for name, address in members.items():
            if host_port(address) is None:
                raise DowntimeError(f"pools: {pool['name']}: members: {name} is '{address}'; an address with a port, such as 192.0.2.11:8000, is accepted")
        found[pool["name"]] = members
    return found


def sides_of(params: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    return {side: [pool["name"] for pool in params.get("pools") or () if pool.get("side") == side] for side in _split.SIDES}


def safe(nginx: Nginx, slowest: float) -> _nginx_config.Config:
    """nginx's configuration. Raises DowntimeError where a reload would lose requests, or would not read what is kept."""
    nginx.master()
    config = _nginx_config.parse(nginx.dump())
    told = _nginx_config.too_short(config, slowest)
    if told:
        raise DowntimeError(f"{told}; nothing was moved")
    if not config.reads(nginx.directory):
        raise DowntimeError(f"nginx does not read {nginx.directory}; 'include {nginx.directory}/*.conf;' in its http block is needed")
    return config


def counts_of(params: t.Mapping[str, t.Any], nginx: Nginx, keep: bool, pools: t.Collection[str]) -> tuple[dict[str, t.Any] | None, str | None]:
    """What the log has, or why nothing is counted."""
    if not params.get("access_log"):
        return None, "nginx does not count its answers, and without access_log nobody does"
    return _nginx_counters.read(params["access_log"], os.path.join(nginx.directory, COUNTED), keep, pools), None


def names_of(nginx: Nginx) -> set[str]:
    """The upstreams that have a file."""
    return {os.path.basename(path)[:-len(SUFFIX)] for path in nginx.paths()}


def counters_of(params: t.Mapping[str, t.Any], nginx: Nginx, keep: bool) -> tuple[list[dict[str, t.Any]], str | None]:
    """The counters, or why there are none."""
    pools = names_of(nginx)
    counts, why = counts_of(params, nginx, keep, pools)
    return ([] if counts is None else _nginx_counters.rows(counts, pools, members_at(nginx, pools_of(params)))), why


def members_at(nginx: Nginx, pools: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, str]:
    """The member behind each address that nginx may write in its log."""
    found: dict[str, str] = {}
    for path in nginx.paths():
        pool = os.path.basename(path)[:-len(SUFFIX)]
        text = nginx.text(pool)
        if text is None:
            continue
        try:
            upstream = parse(pool, path, text, pools.get(pool) or {})
        except DowntimeError:
            # Somebody else's file, which no move of this application reads: its addresses stay without names.
            continue
        for name in upstream.names:
            address = upstream.address(name)
            found[address] = name
            found.update({joined(*place): name for place in resolved(address)})
    return found


def counted(params: t.Mapping[str, t.Any], nginx: Nginx, keep: bool) -> dict[str, t.Any]:
    """What nginx and the kernel have counted so far: C(counters), C(uncounted) and C(kernel) of a module's result."""
    counters, uncounted = counters_of(params, nginx, keep)
    return {"counters": counters, "uncounted": uncounted, "kernel": _kernel.read()}
