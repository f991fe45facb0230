# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dispatch C(push) to the driver's own module: it says what a platform has of releases, or hands it one."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import push as _push_options
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.plugin_utils import _credentials, _inventory
from ansible_collections.zero.downtime.plugins.plugin_utils import _move
from ansible_collections.zero.downtime.plugins.plugin_utils._play_action import PlayAction

# Seconds that a module may take beyond its own time limit.
BACK = 5

Call = t.Callable[..., t.Tuple[_move.Move, _move.Results]]

FACADE: dict[str, t.Any] = {
    **_move.FACADE,
    "app": {"type": "str"},
    "leaving": {"type": "str"},
    "so_far": {"type": "dict", "default": {}},
    # All members at once, to the evidence: which of them the platform moves when, it alone knows.
    "step": {"type": "str", "default": "push"},
}


class ActionModule(PlayAction):
    SPEC = {**_push_options.common_spec(), **FACADE}

    def act(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if args["state"] == "activated":
            _move.check_step(args)
        driver = _drivers.load(args["driver"])
        if driver.push_args is None:
            raise DowntimeError(f"driver is '{args['driver']}', which hands no releases to a platform")
        traffic = _credentials.checked(self, driver, args["traffic"], task_vars)
        (name,) = _inventory.hosts_of(driver, traffic, [], task_vars)
        own = driver.push_args(traffic, args["app"])

        def call(**changes: t.Any) -> tuple[_move.Move, _move.Results]:
            """One call of the driver's module; what only asks moves nothing, whoever has the lock."""
            given = {**args, **changes}
            given.update({"lock": None} if given["state"] == "observed" else {})
            move = _move.Move(self, given, task_vars, "platform", remembers=False, members=[name])
            options = {**move.shared(_push_options.common_spec()), **own}
            return move, move.run([name], driver.module("push"), lambda _host: dict(options), args["timeout"] + BACK)

        rested = self._at_rest(args, name, call)
        move, results = rested if rested and _failed(rested[1]) else call()
        found = move.merged(results)
        del found["balancers"]
        found["changed"] = found["changed"] or any(
            result.get("changed") for result in (rested[1] if rested else {}).values()
        )
        # Of a note that was refused there is nothing to say of the platform.
        told = {name: _told(results[name], found["changed"])} if name in results else {}
        found.update(members={**args["so_far"], **told}, absent=[])
        return move.end(results, found)

    def _at_rest(self, args: dict[str, t.Any], name: str, call: Call) -> tuple[_move.Move, _move.Results] | None:
        """Wait for a platform that is at something else, and tell it to give up what is left; None where it is at rest.

        The release is noted and handed over behind that, in one moment: whoever was killed while he waited hands nothing over.
        """
        if args["state"] != "activated" or self._task.check_mode:
            return None
        dummy, answers = call(state="observed", run_dir=None)
        pending = answers[name].get("pending") or {}
        if not pending or args["release"] in _names(pending):
            return None
        # What somebody else has handed over since is not given up, either.
        return call(state="settled", going_back=args["going_back"] and args["leaving"] in _names(pending), run_dir=None)


def _names(release: t.Mapping[str, t.Any]) -> list[t.Any]:
    return [release[key] for key in ("label", "digest") if release.get(key)]


def _failed(results: _move.Results) -> bool:
    return any(result.get("failed") for result in results.values())


def _told(result: dict[str, t.Any], changed: bool) -> dict[str, t.Any]:
    """A platform's result as that of a member; one that failed is handed on as it is."""
    whole = result if result.get("failed") else {**_push_options.told(result), "changed": changed}
    return {key: value for key, value in whole.items() if key != "diff"}
