# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage or activate a release on all members of a batch at the same time, with one call for each machine."""

from __future__ import annotations

import traceback
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._artifact import releases as _releases
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.plugin_utils import _artifact_transfer
from ansible_collections.zero.downtime.plugins.plugin_utils import _connection_groups
from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _inventory, _payload
from ansible_collections.zero.downtime.plugins.plugin_utils._words import worded

MODULE = "zero.downtime.releases"


class ActionModule(ActionBase):
    # Once for the batch, and a failure is everybody's: with run_once only the first host would be rescued.
    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    @worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        so_far = self._task.args.get("so_far") or {}
        try:
            args = _spec.check(self._task.args, _releases.argument_spec())
            return self._move(args, task_vars)
        except DowntimeError as error:
            problem, more = str(error), dict(error.details)
        except Exception as error:  # pylint: disable=broad-except
            # Whatever breaks here, what earlier batches did must not be forgotten: going back relies on it.
            problem, more = f"the action broke: {error!r}", {"exception": traceback.format_exc()}
        return {"failed": True, "msg": problem, "problems": [problem], "members": so_far, "absent": [], **more}

    def _move(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        members = {member["name"]: member for member in args["members"]}
        run_dir = None if self._task.check_mode else args["run_dir"]
        sender = _artifact_transfer.Sender(self)
        shared = {name: args[name] for name in (*_releases.SHARED, "state") if args[name] is not None}
        if shared.get("artifact"):
            shared["artifact"] = {name: value for name, value in shared["artifact"].items() if value is not None}
            if args["secrets"] and members:
                shared["artifact"].update(self._withheld(shared["artifact"], next(iter(members)), task_vars))
        local = sender.settle(shared)
        machines = {hosts[0]: hosts for hosts in _connection_groups.group(self, list(members), task_vars)}
        results: dict[str, dict[str, t.Any]] = {}
        notes = _events.Notes()

        def note(name: str, event: str, reason: str | None = None) -> None:
            notes.write(_events.append, run_dir, args["step"], event, members=[name], batch=args["batch"], reason=reason)

        def args_for(first: str) -> dict[str, t.Any]:
            for name in machines[first]:
                note(name, "started")
            return {**shared, "members": [_given(members[name]) for name in machines[first]]}

        def take(first: str, answer: dict[str, t.Any]) -> None:
            for name in machines[first]:
                results[name] = _connection_groups.own(answer, first, name)
                swap = results[name].get("swap")
                # What a swap cost belongs into the record, too.
                note(name, "failed" if results[name].get("failed") else "finished", results[name].get("msg") or (swap and f"{name}: {swap['summary']}"))

        def work(given: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
            return self._call(sender, local, given, variables)

        _fanout.run_on(self, list(machines), MODULE, args_for, task_vars, what="member", on_result=take, work=work,
                       timeout=_fanout.limit(self, _releases.longest(args)))
        return self._merged(args, {name: results[name] for name in members}, notes)

    def _call(self, sender: _artifact_transfer.Sender, local: str | None, given: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """One machine's part, in its own process, with its connection: what it lacks is copied to it once."""
        answer = _payload.execute(self, MODULE, given, variables)
        lacking = [name for name, result in answer.get("done", {}).items() if result.get("needed") and not result.get("failed")]
        if not local or not lacking:
            return answer
        try:
            path = sender.verified(local, given)
            if self._task.check_mode:
                return answer
            with sender.on_host(path) as remote:
                left = [member for member in given["members"] if member["name"] in lacking]
                again = {**given, "artifact": _artifact_transfer.arrived(given["artifact"], remote), "members": left}
                second = _artifact_transfer.by_its_own_name(_payload.execute(self, MODULE, again, variables), remote, path)
        except DowntimeError as error:
            second = {"failed": True, "msg": str(error), **error.details}
        if "done" not in second:
            return second
        for result in second["done"].values():
            _artifact_transfer.by_its_own_name(result, remote, path)
        return {**answer, "changed": answer.get("changed") or second.get("changed"), "done": {**answer["done"], **second["done"]}}

    def _withheld(self, shown: t.Mapping[str, t.Any], name: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What a plan leaves out of C(shown) because it is a secret: the headers, and what addresses carry behind their path."""
        artifact = _inventory.Variables(self, task_vars).of(name, ("deploy_artifact",)).get("deploy_artifact") or {}
        found = {"headers": artifact["headers"]} if artifact.get("headers") else {}
        found.update({key: artifact[key] for key in ("url", "checksums") if shown.get(key) and _artifact.shown(artifact.get(key)) == shown[key]})
        return found

    def _merged(self, args: dict[str, t.Any], results: dict[str, dict[str, t.Any]], notes: _events.Notes) -> dict[str, t.Any]:
        diffs = [{**result.pop("diff"), "before_header": name, "after_header": name} for name, result in results.items() if result.get("diff")]
        warnings = [f"{name}: {text}" for name, result in results.items() for text in result.pop("warnings", [])]
        failures = {name: result for name, result in results.items() if result.get("failed")}
        unreachable = [name for name, result in failures.items() if result.get("unreachable_host")]
        allowed = len(unreachable) <= args["max_absent"] and len(unreachable) < len(results)
        told = {name: result["msg"] for name, result in failures.items() if not (allowed and name in unreachable)}
        merged: dict[str, t.Any] = {
            "changed": any(result.get("changed") for result in results.values()),
            "members": {**_releases.told_on(args["so_far"]), **results}, "absent": unreachable,
            "problems": [text if _outcome.named(name, text) else f"{name}: {text}" for name, text in told.items()], "diff": diffs,
        }
        if told:
            merged["msg"] = _outcome.together(told)
            merged["failed"] = args["on_failure"] == "fail"
            tracebacks = [result["exception"] for result in failures.values() if result.get("exception")]
            if tracebacks:
                merged["exception"] = tracebacks[0]
        if warnings or notes.warnings:
            merged["warnings"] = [*warnings, *notes.warnings]
        return merged


def _given(member: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """An entry without what nobody set, all the way down: the module knows the defaults."""
    return {name: {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value
            for name, value in member.items() if value is not None}
