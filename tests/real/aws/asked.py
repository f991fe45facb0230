# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's modules, called as functions."""

from __future__ import annotations

import typing as t

from members_stage import MembersStage

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import info, members, options, split
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api, client_of

SIDES = {"blue": {"side": "blue"}, "green": {"side": "green"}}


def move(
    stage: MembersStage,
    names: t.Sequence[str],
    state: str,
    check: bool = False,
    api: Api | None = None,
    **given: t.Any,
) -> t.Any:
    own = {"members": list(names), "state": state, "pools": blue(stage), **given}
    return members.run(checked(stage, options.members_spec(), own), check, api)


def share(
    stage: MembersStage,
    shares: t.Mapping[str, int] | None,
    check: bool = False,
    api: Api | None = None,
    **given: t.Any,
) -> t.Any:
    own = {"shares": shares, "load_balancer": "shop", "pools": stage.groups(**SIDES), **given}
    return split.run(checked(stage, options.split_spec(), own), check, api)


def tell(stage: MembersStage, api: Api | None = None, **given: t.Any) -> t.Any:
    own = {"load_balancer": "shop", "pools": stage.groups(**SIDES), **given}
    return info.run(checked(stage, options.info_spec(), own), api=api)


def checked(stage: MembersStage, spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return _spec.check({**stage.access(), **given}, spec)


def blue(stage: MembersStage) -> list[dict[str, t.Any]]:
    return stage.groups()[:1]


def recording(stage: MembersStage, calls: set[str]) -> Api:
    """An API whose client writes down what it is about to ask."""
    client = client_of(stage.access())
    client.meta.events.register(
        "before-call.elastic-load-balancing-v2.*",
        lambda model, **dummy: calls.add(f"elasticloadbalancing:{model.name}"),
    )
    return Api(client)
