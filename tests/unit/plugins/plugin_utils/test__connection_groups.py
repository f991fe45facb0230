# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest
from older_cores import trust_as_template

from ansible.template import Templar
from ansible.parsing.dataloader import DataLoader
from ansible_collections.zero.downtime.plugins.plugin_utils import _connection_groups

LOCAL = {"ansible_connection": "local"}


class Hosts(dict):
    """Hostvars, as far as they are needed."""

    def raw_get(self, name: str) -> t.Any:
        return self[name]


def grouped(**hosts: dict[str, t.Any]) -> list[list[str]]:
    task = types.SimpleNamespace(connection="ssh", become_method=None)
    action = types.SimpleNamespace(_templar=Copies(), _task=task)
    return _connection_groups.group(action, list(hosts), {"hostvars": Hosts(hosts)})  # type: ignore[arg-type]


class Copies:
    """Makes template engines as an action's own does."""

    def copy_with_new_env(self, available_variables: dict[str, t.Any]) -> Templar:
        return Templar(loader=DataLoader(), variables=available_variables)


@pytest.mark.parametrize("one, two, together", [
    (LOCAL, LOCAL, True),
    # A local connection is this machine, whatever they say.
    ({**LOCAL, "ansible_host": "10.0.0.1"}, {**LOCAL, "ansible_host": "10.0.0.2"}, True),
    ({**LOCAL, "ansible_become_user": "a", "ansible_become": True}, {**LOCAL, "ansible_become_user": "b", "ansible_become": True}, False),
    (LOCAL, {**LOCAL, "ansible_python_interpreter": "/opt/python"}, False),
    (LOCAL, {**LOCAL, "ansible_remote_tmp": "/var/tmp"}, False),
    # Two names of the inventory are two hosts, unless both say that they are one.
    ({}, {}, False),
    ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.1"}, True),
    ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.2"}, False),
    ({"ansible_host": "10.0.0.1", "ansible_port": 2201}, {"ansible_host": "10.0.0.1", "ansible_port": 2202}, False),
    ({"ansible_host": "10.0.0.1", "ansible_user": "a"}, {"ansible_host": "10.0.0.1", "ansible_user": "b"}, False),
    ({"ansible_host": "10.0.0.1", "ansible_connection": "local"}, {"ansible_host": "10.0.0.1"}, False),
    # What is written in a host's own words counts for what it comes to.
    ({"ansible_host": trust_as_template("{{ 'h' ~ n }}"), "n": 1}, {"ansible_host": trust_as_template("{{ 'h' ~ n }}"), "n": 2}, False),
    ({"ansible_host": trust_as_template("{{ 'h' ~ n }}"), "n": 1}, {"ansible_host": "h1"}, True),
])
def test_who_shares_a_machine(one: dict[str, t.Any], two: dict[str, t.Any], together: bool) -> None:
    assert grouped(a=one, b=two) == ([["a", "b"]] if together else [["a"], ["b"]])
