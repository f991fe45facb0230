# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventories that a run was given, and whether it only looks, for the commands that its sentences print. Private to the collection."""

from __future__ import annotations

import os
import shlex

from ansible import constants, context


def inventories() -> list[str]:
    """The options that name them; none where the configuration does, since the next run finds those as this one did."""
    given = list(context.CLIARGS.get("inventory") or ())
    if given == list(constants.DEFAULT_HOST_LIST):
        return []
    return [word for place in given for word in ("-i", shlex.quote(_as_given(place)))]


def mode() -> list[str]:
    """The option of a run that changes nothing."""
    return ["--check"] if context.CLIARGS.get("check") else []


def _as_given(place: str) -> str:
    """Ansible makes a path of an inventory absolute; a list of hosts, with a comma in it, is left as it is."""
    near = os.path.relpath(place) if "," not in place else place
    return place if near.startswith(os.pardir) else near
