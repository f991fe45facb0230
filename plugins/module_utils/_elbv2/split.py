# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits new requests between two target groups by their weights in one forward action. Private to the collection.

The API has no call for the weights alone: an action is written as a whole. So it is read, changed in these two numbers,
compared with what is there right before it is written, and read again behind it; whatever somebody else did meanwhile
is a refusal, and everything else in it stays as it was found.
"""

from __future__ import annotations

import copy
import random
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES, NotSet, Shares, check_shares, told
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api, NoGroup, Refused, client_of
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.lock import fence
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.targets import UNCOUNTED, Group, look
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.waiting import Waiting
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

Actions = t.List[t.Dict[str, t.Any]]


class Place(t.NamedTuple):
    """Where the weights are.

    :param what: what it is called in sentences.
    :param arn: of the listener, or of the rule.
    :param is_rule: which of the two it is.
    :param arns: the target group of each side, by its ARN. :param names: by its name.
    """

    what: str
    arn: str
    is_rule: bool
    actions: Actions
    arns: dict[str, str]
    names: dict[str, str]

    @property
    def forward(self) -> dict[str, t.Any]:
        return next(action for action in self.actions if action["Type"] == "forward")

    def weights(self) -> dict[str, int]:
        groups = {
            one["TargetGroupArn"]: int(one.get("Weight", 1)) for one in self.forward["ForwardConfig"]["TargetGroups"]
        }
        return {side: groups[arn] for side, arn in self.arns.items()}

    def shares(self) -> Shares:
        """Whole percents. Raises DowntimeError where nobody gets any request, or somebody else does."""
        weights = self.weights()
        others = [
            one
            for one in self.forward["ForwardConfig"]["TargetGroups"]
            if one["TargetGroupArn"] not in self.arns.values() and one.get("Weight", 1)
        ]
        if others:
            names = ", ".join(_name(one["TargetGroupArn"]) for one in others)
            raise DowntimeError(
                f"{self.what} sends requests to {names} as well, so they cannot be split between two sides; weight 0 is"
                " needed there"
            )
        total = sum(weights.values())
        if not total:
            raise DowntimeError(
                f"{self.what} has the weight 0 for both sides, so nobody gets requests; a weight above 0 for the side"
                " that serves is needed"
            )
        green = (
            min(99, max(1, round(100 * weights["green"] / total)))
            if all(weights.values())
            else 100 * weights["green"] // total
        )
        return {"blue": 100 - green, "green": green}

    def is_exact(self, shares: Shares) -> bool:
        """Whether the weights are these shares, and not only close to them."""
        weights = self.weights()
        return all(100 * weights[side] == shares[side] * sum(weights.values()) for side in SIDES)

    @property
    def sticky(self) -> int:
        """Seconds for which clients stay with the side that they had; 0 where they do not."""
        config = self.forward["ForwardConfig"].get("TargetGroupStickinessConfig") or {}
        return int(config.get("DurationSeconds") or 0) if config.get("Enabled") else 0

    def with_weights(self, shares: Shares) -> Actions:
        """All actions, with other weights of the two sides and nothing else changed."""
        actions = copy.deepcopy(self.actions)
        for action in actions:
            if action["Type"] == "forward":
                # The API gives this form as well where there is only one group, and takes one of the two.
                action.pop("TargetGroupArn", None)
                for one in action["ForwardConfig"]["TargetGroups"]:
                    one["Weight"] = next(
                        (shares[side] for side, arn in self.arns.items() if arn == one["TargetGroupArn"]),
                        one.get("Weight", 1),
                    )
            elif action["Type"] == "authenticate-oidc":
                # It is never told, and stays only if that is asked for.
                action["AuthenticateOidcConfig"]["UseExistingClientSecret"] = True
        return actions


# -- finding it --------------------------------------------------------------------------------------------------------


def find(api: Api, params: t.Mapping[str, t.Any], groups: t.Sequence[Group]) -> Place:
    """The action by the module's options. Raises DowntimeError saying what was looked for, and what is there."""
    arns = {str(group.side): group.arn for group in groups if group.side}
    names = {str(group.side): group.name for group in groups if group.side}
    what, arn, is_rule, actions = _at(api, params)
    forward = next((action for action in actions if action["Type"] == "forward"), None)
    if forward is None:
        raise DowntimeError(
            f"no split was found: {what} forwards to no target group; it has"
            f" {', '.join(action['Type'] for action in actions) or 'no action'}"
        )
    has = [one["TargetGroupArn"] for one in (forward.get("ForwardConfig") or {}).get("TargetGroups") or []]
    for side, name in names.items():
        if arns[side] not in has:
            there = ", ".join(map(_name, has or [forward.get("TargetGroupArn", "")]))
            raise DowntimeError(
                f"no split was found: {what} forwards to {there}, and not to {name}, which is the target group of"
                f" {side}; both in one forward action are needed, the idle one with the weight 0"
            )
    missing = [side for side in SIDES if side not in arns]
    if missing:
        raise DowntimeError(
            f"the side {next(iter(arns), 'blue')} is target group {', '.join(names.values()) or 'none'}, and the side"
            f" {missing[0]} has none; pools with one target group of each side are accepted"
        )
    if len([group for group in groups if group.side]) > len(SIDES):
        raise DowntimeError(
            f"pools names {len(groups)} target groups; one of each side is accepted where shares are split, since a"
            " forward action has one weight for each"
        )
    return Place(what, arn, is_rule, actions, arns, names)


def _at(api: Api, params: t.Mapping[str, t.Any]) -> tuple[str, str, bool, Actions]:
    """What the action's place is called, its ARN, whether it is a rule, and all actions there."""
    rule = str(params.get("rule") or "")
    if rule.startswith("arn:"):
        try:
            found = api.call("describe_rules", RuleArns=[rule])["Rules"]
        except Refused as error:
            raise DowntimeError(
                f"rule is '{rule}'; the ARN of a rule in {api.region} is accepted ({error.code})"
            ) from error
        return _rule(found[0], "")
    listener = _listener(api, params)
    what = f"listener {listener.get('Port')} of load balancer {listener['LoadBalancerArn'].split('/')[-2]}"
    if not rule or rule == "default":
        return what, listener["ListenerArn"], False, listener["DefaultActions"]
    rules = api.pages("describe_rules", "Rules", ListenerArn=listener["ListenerArn"])
    for one in rules:
        if one["Priority"] == rule:
            return _rule(one, f" of {what}")
    raise DowntimeError(
        f"rule is '{rule}'; the priority of a rule of {what} is accepted, which has"
        f" {', '.join(one['Priority'] for one in rules)}"
    )


def _rule(found: t.Mapping[str, t.Any], of: str) -> tuple[str, str, bool, Actions]:
    return f"rule {found['Priority']}{of}", found["RuleArn"], True, found["Actions"]


def _listener(api: Api, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    listener, balancer = str(params.get("listener") or ""), params.get("load_balancer")
    if listener.startswith("arn:"):
        try:
            return dict(api.call("describe_listeners", ListenerArns=[listener])["Listeners"][0])
        except Refused as error:
            raise DowntimeError(
                f"listener is '{listener}'; the ARN of a listener in {api.region} is accepted ({error.code})"
            ) from error
    if not balancer:
        raise DowntimeError(
            "load_balancer is missing; its name, or the ARN of a listener or rule in its place, is needed to find the"
            " weights"
        )
    try:
        found = api.call("describe_load_balancers", Names=[balancer])["LoadBalancers"]
    except Refused as error:
        if error.code != "LoadBalancerNotFound":
            raise
        raise DowntimeError(
            f"load_balancer is '{balancer}'; the name of a load balancer in {api.region} is accepted"
        ) from error
    listeners = api.pages("describe_listeners", "Listeners", LoadBalancerArn=found[0]["LoadBalancerArn"])
    fitting = [one for one in listeners if not listener or str(one.get("Port")) == listener]
    if len(fitting) != 1:
        ports = ", ".join(str(one.get("Port")) for one in listeners) or "none"
        raise DowntimeError(
            f"listener is {repr(listener) if listener else 'missing'}; the port or the ARN of one listener of load"
            f" balancer {balancer} is accepted, which has {ports}"
        )
    return fitting[0]


def _name(arn: str) -> str:
    """A target group's name, out of its ARN."""
    parts = arn.split("/")
    return parts[1] if len(parts) > 2 else arn or "none"


# -- the module --------------------------------------------------------------------------------------------------------


def run(
    params: t.Mapping[str, t.Any],
    check_mode: bool,
    api: Api | None = None,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
    draw: t.Callable[[], float] = random.random,
) -> dict[str, t.Any]:
    """What the module elbv2_split returns. Raises NotSet, with the shares that count, where they could not be set."""
    wanted = check_shares(params["shares"])
    for name in ("timeout", "hold"):
        if params[name] < 0:
            raise DowntimeError(f"{name} is {params[name]}; seconds from 0 on are accepted")
    if wanted and params["hold"] and params["hold"] >= params["timeout"]:
        raise DowntimeError(
            f"hold is {params['hold']:g}; seconds below timeout, which is {params['timeout']}, are accepted where"
            " shares are set"
        )
    floor_of(params["min_active"], 1)
    with fence(params, check_mode):
        return _Split(
            params, check_mode, api or Api(client_of(params)), Waiting(params["timeout"], 0.0, clock, sleep, draw)
        ).run(wanted)


class _Split:
    def __init__(self, params: t.Mapping[str, t.Any], check_mode: bool, api: Api, waiting: Waiting) -> None:
        self.params, self.check_mode, self.api, self.waiting = params, check_mode, api, waiting

    def run(self, wanted: Shares | None) -> dict[str, t.Any]:
        try:
            groups = look(self.api, self.params["pools"])
        except NoGroup as error:
            raise DowntimeError(f"no split was found: {error}") from error
        place = find(self.api, self.params, groups)
        found = place.shares()
        changed = wanted is not None and not place.is_exact(wanted)
        if changed and wanted:
            self._refuse_floor(found, wanted, groups)
            if not self.check_mode:
                place = self._set(place, wanted, groups)
        after = wanted if changed and wanted and self.check_mode else place.shares()
        notes = (
            [
                f"{place.what} keeps clients with the target group that they had for {place.sticky} s"
                " (TargetGroupStickinessConfig), so they follow later"
            ]
            if place.sticky and changed
            else []
        )
        return {
            "changed": changed,
            "shares": after,
            "found": found,
            "kept": after,
            "waited": self.waiting.waited,
            "notes": notes,
            "worker": None,
            "workers": [],
            "counters": [],
            "counters_before": [],
            "kernel": None,
            "uncounted": UNCOUNTED,
            "diff": {"before": found, "after": after},
        }

    def _refuse_floor(self, found: Shares, wanted: Shares, groups: t.Sequence[Group]) -> None:
        """Refuse to send more to a side that does not serve."""
        for group in groups:
            side = str(group.side)
            if wanted[side] <= found[side]:
                continue
            full = [name for name in group.known if group.entry(name)["full"]]
            floor = max(1, floor_of(self.params["min_active"], len(group.known)))
            if len(full) < floor:
                raise DowntimeError(
                    f"shares.{side} is {wanted[side]}, but of the {len(group.known)} members of its pool {group.name}"
                    f" only {len(full)} serve at full weight ({', '.join(full) or 'none'}), and {floor} have to"
                    f" (min_active is '{self.params['min_active']}'); nothing was changed"
                )

    def _set(self, place: Place, wanted: Shares, groups: t.Sequence[Group]) -> Place:
        now = find(self.api, self.params, groups)
        if now.actions != place.actions:
            raise NotSet(
                f"somebody else changed {place.what} at this very moment: {_differing(place, now)}; nothing was changed"
                " here",
                now.shares(),
            )
        actions = place.with_weights(wanted)
        if place.is_rule:
            self.api.call("modify_rule", RuleArn=place.arn, Actions=actions)
        else:
            self.api.call("modify_listener", ListenerArn=place.arn, DefaultActions=actions)
        # Once when the API has it, and once when the load balancer's nodes have followed.
        place = self._still(place, wanted, groups)
        self.waiting.hold(self.params["hold"])
        return self._still(place, wanted, groups)

    def _still(self, place: Place, wanted: Shares, groups: t.Sequence[Group]) -> Place:
        """The place as it is now, which has to be what was set."""
        try:
            now = find(self.api, self.params, groups)
        except DowntimeError as error:
            raise NotSet(f"shares were set to {told(wanted)}, and then: {error}", None) from error
        expected = place._replace(actions=place.with_weights(wanted))
        if _compared(now.actions) != _compared(expected.actions):
            raise NotSet(
                f"shares were set to {told(wanted)}, and somebody else changed {place.what} meanwhile:"
                f" {_differing(expected, now)}",
                _shares(now),
            )
        return now


def _compared(actions: Actions) -> Actions:
    """Actions less what only a call has."""
    found = copy.deepcopy(actions)
    for action in found:
        action.pop("TargetGroupArn", None)
        (action.get("AuthenticateOidcConfig") or {}).pop("UseExistingClientSecret", None)
    return found


def _shares(place: Place) -> Shares | None:
    try:
        return place.shares()
    except DowntimeError:
        return None


def _differing(before: Place, now: Place) -> str:
    """What is different, for a sentence."""
    if before.weights() != now.weights():
        return f"the weights are {told(now.weights())}, and were {told(before.weights())}"
    return "its actions are not what they were"


IN_PROCESS = options.split_spec, run
