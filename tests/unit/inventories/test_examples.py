# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people copy has to be right: every example inventory says what is needed, in words that are known, and all of its values fit."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import VARIABLES, check_names

INVENTORIES = pathlib.Path(__file__).resolve().parents[3] / "inventories"
EXAMPLES = sorted(path.name for path in INVENTORIES.iterdir())
# What the examples leave to a vault.
VAULT = {"shop_dns_key": "c2VjcmV0"}
REQUIRED = {name for name, option in VARIABLES.items() if option.get("required")}


def applications(example: str) -> t.Iterator[tuple[str, dict[str, t.Any], t.Any]]:
    """Each host that carries an application: its name, its deploy_* variables as they are for a deploy of 2.0.0, and the inventory."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(INVENTORIES / example)])
    manager = VariableManager(loader=loader, inventory=inventory)
    for host in inventory.get_hosts():
        found = {**manager.get_vars(host=host), **VAULT, "deploy_release": "2.0.0", "ansible_playbook_python": "/usr/bin/python3"}
        names = [name for name in found if name.startswith("deploy_")]
        if "deploy_app" in names:
            yield host.name, {name: Templar(loader=loader, variables=found).template(found[name]) for name in names}, inventory


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_variable_is_known_and_none_is_missing(example):
    found = list(applications(example))
    assert found
    for host, values, inventory in found:
        assert check_names(values) == [], host
        assert set(values) >= REQUIRED, host
        # Nested options, types and what the driver itself demands.
        checked, driver = _plan.check_application(values, "deploy")
        side = "blue"
        assert _plan.member(host, checked, side, "192.0.2.1")["name"] == host
        assert driver.name == {"bind": "rfc2136", "local": "haproxy", "process_swap": "none"}.get(example, example)
        for group in [checked["deploy_hosts"], *([checked["deploy_traffic"]["balancers"]] if driver.runs_on == "balancers" else [])]:
            assert inventory.groups[group].get_hosts(), f"{group} of {example} has no hosts"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_floor_leaves_room_for_the_batches(example):
    for _host, values, inventory in applications(example):
        members = inventory.groups[values["deploy_hosts"]].get_hosts()
        capacity = _plan.capacity({"all": [{"full": True}] * len(members)}, str(values.get("deploy_min_active", "50%")))
        assert not capacity["impossible"] and capacity["most"] >= 1


def test_every_driver_has_an_example():
    # BIND is one of the servers that take such updates.
    assert {*_drivers.NAMES, "bind", "local", "process_swap"} - {"rfc2136"} == set(EXAMPLES)
