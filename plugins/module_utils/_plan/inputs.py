# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first of the plan's four steps: what a run was given, checked. Pure. Private to the collection."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._shadow import shadow as _shadow

# What somebody gives for one run, and has to give again in a command that goes on with it.
SAID = ("deploy_release", "deploy_strategy", "deploy_side", "deploy_members")
# As well, but only where it was given on the command line: an inventory has it for each run.
SAID_THERE = ("deploy_streams",)
NO_PROBE = ("deploy_evidence_url is not set: no probe asks the public address, so this deploy lacks one of its three "
            "lines of evidence")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run was given.

    :param verb: of C(VERBS).
    :param checked: every variable of the application, converted, with defaults.
    :param values: the same as they were written.
    :param driver: what moves traffic, by C(deploy_traffic.driver) as it was written (C(driver_name)).
    :param members: the hosts of the play that are members; none where a platform has its own.
    :param said: what was given for this run.
    :param strategy: by which the verb is carried out.
    :param last: the last deploy that ended well, as the state hosts know it, where an application has two sides.
    :param public: where the probe asks; None without C(deploy_evidence_url).
    :param started: when the run began.
    """

    verb: str
    checked: t.Mapping[str, t.Any]
    values: t.Mapping[str, t.Any]
    driver: _drivers.Driver
    members: tuple[str, ...]
    said: t.Mapping[str, t.Any]
    strategy: str
    last: t.Mapping[str, t.Any] | None
    public: _probe.Target | None
    started: datetime.datetime
    warnings: tuple[str, ...] = ()

    @property
    def app(self) -> str:
        return self.checked["deploy_app"]

    @property
    def moves(self) -> bool:
        """Whether the verb moves the application from one release or process to another."""
        return self.verb in _plan.SHIFTS

    @property
    def looks(self) -> bool:
        """Whether the verb has to work also on what nobody could deploy on."""
        return self.verb in ("status", "retire")

    @property
    def driver_name(self) -> str:
        return str(self.values["deploy_traffic"]["driver"])

    @property
    def idle(self) -> bool:
        """Whether the release goes to the side that does not serve."""
        return _drivers.strategy(self.strategy).SIDE == "idle"


def said_of(values: t.Mapping[str, t.Any], on_command_line: t.Collection[str]) -> dict[str, t.Any]:
    """What was given for this run alone."""
    names = (*SAID, *(name for name in SAID_THERE if name in on_command_line))
    return {name: values[name] for name in names if values.get(name) is not None}


def check_members(members: t.Sequence[str], wanted: t.Sequence[str], deploy_hosts: t.Any) -> None:
    """Refuse a play that lacks members.

    :param members: those of the play.
    :param wanted: those that C(deploy_hosts) names.
    """
    if not members:
        raise DowntimeError("the play has no members; hosts: localhost,<members> is needed, and deploy_hosts names the "
                            "members")
    missing = [host for host in wanted if host not in members]
    if missing:
        raise DowntimeError(f"the play lacks {', '.join(missing)} of deploy_hosts '{deploy_hosts}'; "
                            "a deploy is for all members, so no --limit is accepted")


def of_release(values: t.Mapping[str, t.Any], checked: t.Mapping[str, t.Any]) -> list[str]:
    """What is to be said of a label that YAML has read as a number."""
    if not isinstance(values.get("deploy_release"), float):
        return []
    return [f"deploy_release is the number {checked['deploy_release']}, and of 2.10 a number keeps 2.1; put the label in "
            "quotes"]


def chosen_before(strategy: str, said: t.Mapping[str, t.Any], driver: _drivers.Driver) -> list[str]:
    """What is to be said of a strategy that nobody named for this run."""
    if strategy in (said.get("deploy_strategy"), _going_on.DEFAULT, _plan.only_strategy(driver)):
        return []
    return [f"deploy_strategy is not set: it is {strategy}, by what was deployed before"]


def of_verb(verb: str, checked: dict[str, t.Any], driver: _drivers.Driver) -> tuple[dict[str, t.Any], str]:
    """The variables and the strategy by which the verb is carried out. Raises DowntimeError where the driver cannot."""
    if verb == "deploy" and checked["deploy_shadow"]:
        shadow = _shadow.check(checked["deploy_shadow"], driver, checked["deploy_strategy"])
        checked = {**checked, "deploy_shadow": shadow}
    _plan.check_verb(verb, driver)
    # A restart is for what serves; only a release goes to the idle side.
    return checked, checked["deploy_strategy"] if verb in ("deploy", "rollback") else _plan.of_live(driver)


def public_of(checked: t.Mapping[str, t.Any]) -> _probe.Target | None:
    """Where the probe will ask, and that it can speak there what was chosen; None where nobody asks."""
    if not checked["deploy_evidence_url"]:
        return None
    try:
        target = _probe.parse_target(checked["deploy_evidence_url"], checked["deploy_evidence_connect_to"])
    except _probe.BadConfig as error:
        url = f"deploy_evidence_url is '{shown_url(checked['deploy_evidence_url'])}'"
        raise DowntimeError(f"{url}: {error.reason}") from error
    try:
        _probe.http2_of(checked["deploy_evidence_http2"], target.scheme)
        _probe.check_paths(checked["deploy_evidence_paths"])
    except _probe.BadConfig as error:
        raise DowntimeError(f"deploy_evidence_{error}") from error
    return target
