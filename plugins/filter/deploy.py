# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of the roles: from the plan and what hosts reported to what a task needs."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._strategy import blue_green as _blue_green
from ansible_collections.zero.downtime.plugins.module_utils._strategy import idle as _idle
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling
from ansible_collections.zero.downtime.plugins.plugin_utils import _given

# Some of these end in sentences that tell people what to run next.
_commands.found_by(_given.inventories, _given.mode)


def batches_of(plan: t.Mapping[str, t.Any], host: str) -> list[dict[str, t.Any]]:
    """The batches that a host takes part in: all of them on the controller, its own on a member."""
    found = plan["batches"]
    return found if host == _outcome.LOCAL else [batch for batch in found if host in batch["members"]]


def gates_of(plan: t.Mapping[str, t.Any], members: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """Name and address of each member's readiness check, and what proves its release."""
    proof = bool(plan["health"].get("header"))
    return [{"name": name, "url": plan["hosts"][name]["url"], **({"proof": _proof.forward(plan, name)} if proof else {})} for name in members]


def intent_of(plan: t.Mapping[str, t.Any], members: t.Sequence[str]) -> dict[str, t.Any]:
    """What goes into the journal with a move: what the deploy is about, what these members ran before it, and which of them a person took out."""
    # What is ended is about the other side: what these members ran is none of what that one found there.
    before = {name: plan["going_back_to"][name]["digest"] for name in members if plan["going_back_to"].get(name) and not plan.get("ended")}
    return {**_going_on.intent(plan), "held": [plan["servers"][name] for name in members if name in plan["held"]], "before": before}


def command_of(plan: t.Mapping[str, t.Any], verb: str, **variables: t.Any) -> str:
    """The command of a playbook for the plan's application, for a sentence."""
    return _commands.command(verb, plan["app"], **variables)


def active_everywhere(result: t.Mapping[str, t.Any]) -> list[str]:
    """The members that every balancer of a facade's result reported active."""
    members = result.get("members", [])
    return list(dict.fromkeys(entry["name"] for entry in members if not any(
        other["name"] == entry["name"] and other["state"] != "active" for other in members)))


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "batches_of": batches_of,
            "batches_back": _outcome.batches_back,
            "gates_of": gates_of,
            "gates_back": _outcome.gates_back,
            "back_members": _outcome.back_members,
            "slots_of": _outcome.slots_of,
            "slots_back": _outcome.slots_back,
            "slots_left": _outcome.slots_left,
            "intent_of": intent_of,
            "active_everywhere": active_everywhere,
            "fit": _outcome.fit,
            "restored": _rolling.restored,
            "outcome": _outcome.outcome,
            "shares_of": _blue_green.shares,
            "retired": _idle.retired,
            "kept": _going_on.kept,
            "command_of": command_of,
            "ways": _going_on.ways,
        }
