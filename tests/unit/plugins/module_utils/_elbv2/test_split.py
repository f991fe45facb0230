# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.split import Place, run
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError


def place(**weights):
    groups = [{"TargetGroupArn": f"arn:targetgroup/{name}/1", "Weight": weight} for name, weight in weights.items()]
    arns = {side: f"arn:targetgroup/{side}/1" for side in ("blue", "green")}
    actions = [{"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": groups}}]
    return Place("listener 443", "arn", False, actions, arns, {"blue": "blue", "green": "green"})


@pytest.mark.parametrize(
    "weights, green, exact",
    [
        ({"blue": 100, "green": 0}, 0, True),
        ({"blue": 1, "green": 0}, 0, True),
        ({"blue": 0, "green": 7}, 100, True),
        ({"blue": 19, "green": 1}, 5, True),
        # Nobody may take a side that gets some requests for one that gets none.
        ({"blue": 999, "green": 1}, 1, False),
        ({"blue": 1, "green": 999}, 99, False),
        ({"blue": 2, "green": 1}, 33, False),
    ],
)
def test_weights_are_told_as_whole_percents(weights, green, exact):
    found = place(**weights)
    assert found.shares() == {"blue": 100 - green, "green": green} and found.is_exact(found.shares()) is exact


def test_what_cannot_be_told_as_shares_is_refused():
    with pytest.raises(DowntimeError, match="listener 443 has the weight 0 for both sides"):
        place(blue=0, green=0).shares()
    with pytest.raises(DowntimeError, match="listener 443 sends requests to legacy as well"):
        place(blue=1, green=0, legacy=5).shares()
    assert place(blue=1, green=0, legacy=0).shares() == {"blue": 100, "green": 0}


def test_only_the_weights_of_the_two_sides_change():
    found = place(blue=1, green=0, legacy=0)
    changed = found.with_weights({"blue": 0, "green": 100})
    assert [one["Weight"] for one in changed[0]["ForwardConfig"]["TargetGroups"]] == [0, 100, 0]
    assert found.weights() == {"blue": 1, "green": 0}


def test_a_hold_that_outlasts_the_time_out_is_refused_where_shares_are_set():
    params = _spec.check({"shares": {"green": 100}, "hold": 20, "pools": [{"name": "shop"}]}, options.split_spec())
    with pytest.raises(DowntimeError, match="hold is 20; seconds below timeout, which is 20, are accepted"):
        run(params, False)
