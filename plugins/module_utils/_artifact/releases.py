# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases of several members at the same time, in one call of a host. Private to the collection.

What a module run costs, whatever it does, is paid once for a machine that carries several members.
"""

from __future__ import annotations

import concurrent.futures
import traceback
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

# What differs from member to member; the rest of the options of one release is the same for all.
OWN = ("root", "slot", "service", "running", "release", "restart")
SHARED = ("release", "artifact", "keep", "pinned", "prune", "restart", "going_back", "deploy_id", "lock_timeout")
# Restarts wait for the services; more of them at a time would only wait for each other.
AT_A_TIME = 16


def member_spec() -> dict[str, t.Any]:
    """Options of an entry of C(members)."""
    one = _release.argument_spec()
    # Without a default of its own, what is said for all counts.
    return {"name": {"type": "str", "required": True}, **{name: one[name] for name in OWN}, "restart": {"type": "bool"}}


def module_spec() -> dict[str, t.Any]:
    """The options that matter on a host."""
    one = _release.argument_spec()
    return {
        "state": {"type": "str", "choices": ["staged", "activated", "stopped", "observed", "examined"], "required": True},
        "members": {"type": "list", "elements": "dict", "options": member_spec(), "required": True},
        **{name: one[name] for name in SHARED},
    }


# What the way back and the outcome ask of a member of an earlier batch.
TOLD_ON = ("changed", "failed", "unreachable", "unreachable_host", "skipped", "kept", "msg")


def told_on(results: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """The results of earlier batches, as the next one hands them on: each is given all of them, and Ansible works out every
    word of what a task is given."""
    return {name: {"changed": False, **{key: result[key] for key in TOLD_ON if result.get(key)}}
            for name, result in results.items()}


def argument_spec() -> dict[str, t.Any]:
    """All options; those that C(module_spec) lacks are the action's, on the controller."""
    return {
        **module_spec(),
        "max_absent": {"type": "int", "default": 0},
        "on_failure": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        "so_far": {"type": "dict", "default": {}},
        "secrets": {"type": "bool", "default": False},
        "run_dir": {"type": "path"},
        "step": {"type": "str", "default": "activate"},
        "batch": {"type": "int"},
    }


def longest(args: t.Mapping[str, t.Any]) -> float:
    """Seconds that a call may take on a host that works, from the time limits of its options: after that it is hung."""
    seconds = float(args["lock_timeout"])
    if args["state"] == "activated":
        for member in args["members"]:
            # Stopping and starting are apart for some. A swap starts, waits and ends twice, and has a way back.
            calls, waits = (6, 5) if (member.get("service") or {}).get("swap") else (2, 1)
            own = calls * (member.get("service") or {}).get("timeout", 0.0) + waits * (member.get("running") or {}).get("timeout", 0.0)
            seconds = max(seconds, args["lock_timeout"] + own)
    elif args["state"] == "stopped":
        # Asked whether it runs, and stopped.
        seconds += max((2 * (member.get("service") or {}).get("timeout", 0.0) for member in args["members"]), default=0.0)
    if args.get("artifact"):
        # Fetched, and unpacked no slower than it came.
        seconds += 2 * args["artifact"].get("deadline", 900.0)
    return seconds


def run(params: t.Mapping[str, t.Any], check_mode: bool = False, world: _release.World | None = None) -> dict[str, t.Any]:
    """Each member's own result, by name; one that fails does not keep the others from being done."""
    members = params["members"]
    shared = {name: params[name] for name in SHARED}

    def one(member: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        own = {name: value for name, value in member.items() if name in OWN and value is not None}
        try:
            return _release.run({**shared, "state": params["state"], "service": None, "running": None, **own}, check_mode, world)
        except DowntimeError as error:
            return {"failed": True, "changed": False, "msg": str(error), **error.details}
        except Exception as error:  # pylint: disable=broad-except
            # A defect that one member meets must not hide what was done to the others.
            return {"failed": True, "changed": False, "msg": f"the module broke: {error!r}", "exception": traceback.format_exc()}

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(len(members), AT_A_TIME))) as pool:
        results = dict(zip((member["name"] for member in members), pool.map(one, members)))
    return {"changed": any(result["changed"] for result in results.values()), "done": results}
