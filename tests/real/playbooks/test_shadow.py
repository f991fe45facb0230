# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadow on the local stage with blue/green: the balancer's own log is replayed before the switch, and a difference keeps every request where it is.
(The same answers let requests move: the scenario haproxy_reload. What cannot work: test_bad_input.)"""

from __future__ import annotations

import pytest
from haproxy_stage import get
from sides import URL, version


@pytest.mark.claim("shadow-difference-goes-back")
def test_a_difference_prevents_the_switch(side):
    for number in range(20):
        get(f"{URL}/?item={number}")
    # What the sample application says of itself differs by design, less what is looked for here.
    differs = side.play("deploy", deploy_release="2.0.0", deploy_shadow={
        "log": "{{ stage_dir }}/log/haproxy.log", "duration": 3, "ignore": ["body.release", "body.slot"]})
    assert differs.rc == 2, differs.output
    assert "shadow: the new release answers otherwise: body.version (changed in" in differs.sentence, differs.sentence
    assert "no request had been switched; blue serves 1.0.0" in differs.sentence and (version(), side.shares()) == ("1.0.0", ("0", "0"))
    found = side.record()
    page = (side.stage.dir.parent / "records" / (found["deploy_id"] + ".html")).read_text(encoding="utf-8")
    assert found["result"] == "rolled_back" and found["shadow"]["verdict"] == "different" and found["shadow"]["differences"] == 1
    assert [entry["field"] for entry in found["shadow"]["fields"] if entry["reported"]] == ["body.version"]
    assert "<h2>Shadow</h2>" in page and "body.version" in page
