# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example with nginx, with the two sides that its comment shows: a switch under load, a bad release, and the end of the old side. (The other
strategies on nginx are tried in containers.)

Connections are not kept here: a reload of this nginx closes idle ones, and a request that meets such a close is lost, which is the
more likely the less time a machine has. The tests of the driver itself keep them.
"""

from __future__ import annotations

import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import one_machine  # noqa: E402  pylint: disable=wrong-import-position
import unit  # noqa: E402  pylint: disable=wrong-import-position
from one_machine import Machine  # noqa: E402  pylint: disable=wrong-import-position

OLD, NEW, BAD = "1.0.0", "2.0.0", "3.0.0-bad"
# Nothing serves before the first release.
ALL = ["100%"]


def test_a_switch_a_bad_release_and_the_end_of_the_old_side() -> None:
    shop = {f"app{number}": 10 + number for number in range(1, 5)}
    kind = functools.partial(one_machine.NginxBalancer, split="shop", keepalive="0")
    with Machine("nginx", {"shop": shop, "shop_green": shop}, balancers=("lb1", "lb2"), labels=(OLD, NEW, BAD), kind=kind,
                 slots={"shop": ("shop", "blue"), "shop_green": ("shop", "green")}) as machine:
        def command(verb: str, app: str) -> list[str]:
            return ["{{ ansible_playbook_python }}", "{{ machine_unit }}", verb, f"{{{{ machine_dir }}}}/{{{{ inventory_hostname }}}}/{app}.json"]

        services = {side: {"command": command("restart", app), "stop": command("stop", app)} for side, app in (("blue", "shop"), ("green", "shop_green"))}
        pools = [{"name": "shop", "side": "blue", "port": machine.ports["shop"]}, {"name": "shop_green", "side": "green", "port": machine.ports["shop_green"]}]
        sides = {"deploy_strategy": "blue_green", "deploy_soak": 0, "deploy_service": services, "deploy_traffic": {"pools": pools}}
        first = machine.play("zero.downtime.deploy", **{**sides, "deploy_strategy": "rolling"}, deploy_release=OLD, deploy_batches=ALL)
        assert first.rc == 0 and machine.versions("shop") == dict.fromkeys(shop, OLD), first.output
        there, output = machine.under_load("shop", "zero.downtime.deploy", "--mind-idle-close", deploy_release=NEW, **sides)
        evidence = machine.records()[-1]["evidence"]
        assert there["failed"] == 0 and set(there["versions"]) == {OLD, NEW}, there["losses"]
        assert evidence["probe"]["failed"] == evidence["balance"]["unanswered"] == evidence["balance"]["truncated"] == 0 and evidence["balance"]["complete"]
        assert f"{NEW} serves on green (4 of 4 members); blue keeps {OLD} warm" in output, output
        assert machine.versions("shop_green") == dict.fromkeys(shop, NEW) and machine.versions("shop") == dict.fromkeys(shop, OLD)
        bad, output = machine.under_load("shop", "zero.downtime.deploy", "--mind-idle-close", "--expect", "failure", deploy_release=BAD, **sides,
                                         deploy_health={"timeout": 3})
        assert bad["failed"] == 0 and set(bad["versions"]) == {NEW} and "no request had been switched" in output, output
        for balancer in machine.balancers.values():
            assert "* green;" in balancer.split_file.read_text(encoding="utf-8")
        # Its log tells since when blue is idle, and the kernel that no connection to it is open.
        early = machine.play("zero.downtime.retire", **sides, deploy_keep_previous=0, deploy_idle_for=3600)
        assert early.rc == 0 and "if nobody asks it until then" in early.sentence, early.output
        retired, output = machine.under_load("shop", "zero.downtime.retire", "--mind-idle-close", **sides, deploy_keep_previous=0, deploy_idle_for=1)
        assert retired["failed"] == 0 and set(retired["versions"]) == {NEW} and "blue was stopped, and a rollback starts it again" in output, output
        assert not any(unit.running(found) for found in machine.units if found["answers"][1] == machine.ports["shop"])
        doctor = machine.play("zero.downtime.doctor", **sides)
        assert doctor.rc == 0 and "lb1, error" not in doctor.output and "blue/green and canary work" in doctor.output, doctor.output
