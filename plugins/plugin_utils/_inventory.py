# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read hosts and variables from the inventory, inside an action plugin. Private to the collection."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.vars.plugins import get_vars_from_inventory_sources, get_vars_from_path

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, is_phrase

# Here, since this is a part of every action that needs a driver.
_drivers.load_all()

CONTROLLER = "localhost"
PREFIX = "deploy_"
# Above what a person gives a group with ansible_group_priority.
PREFERRED = 1_000_000
# Only these may differ from member to member; the rest is the application's.
PER_MEMBER = ("deploy_artifact", "deploy_service", "deploy_slot", "deploy_traffic", "deploy_health")


def group(name: t.Any, option: str, task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """The hosts of a group, of one host's name, of a pattern, or of a list of those. Raises DowntimeError for what the inventory does not have."""
    found: list[str] = []
    for entry in name if isinstance(name, list) else [name]:
        if not isinstance(entry, str):
            raise DowntimeError(f"{option} is {entry!r}; a group or host of the inventory, or a list of those, is accepted")
        if entry in task_vars["groups"]:
            found += task_vars["groups"][entry]
        elif entry in task_vars["hostvars"]:
            found.append(entry)
        elif matched := _pattern(str(entry), task_vars):
            found += matched
        else:
            groups = sorted(set(task_vars["groups"]) - {"all", "ungrouped"})
            raise DowntimeError(f"{option} is '{entry}'; a group or host of the inventory is accepted, whose groups are {', '.join(groups) or 'none'}")
    found = list(dict.fromkeys(found))
    if not found:
        raise DowntimeError(f"{option} is '{name}', a group without hosts")
    return found


def _pattern(entry: str, task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """The hosts of a pattern as plays have it, such as C(shop_app:!app9)."""
    if not set(entry) & set(",:!&*~["):
        return []
    return list(lookup_loader.get("ansible.builtin.inventory_hostnames").run([entry], variables=task_vars))


def hosts_of(driver: _drivers.Driver, traffic: t.Mapping[str, t.Any], members: t.Sequence[str], task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """Where the driver's modules run: hosts of the inventory; of an API that the controller asks, what it is called."""
    if driver.runs_on == "members":
        return list(members)
    if driver.runs_on == "controller":
        return [driver.endpoint(dict(traffic))] if driver.endpoint else [CONTROLLER]
    if not traffic.get("balancers"):
        raise DowntimeError("deploy_traffic.balancers is missing; a group or a host of the inventory is needed")
    return group(traffic["balancers"], "deploy_traffic.balancers", task_vars)


def spokesman(variables: "Variables", task_vars: t.Mapping[str, t.Any]) -> str:
    """The host whose variables are the application's: the play's first member; without members, the one that stands for it. Raises DowntimeError where
    there is none."""
    member = next((host for host in task_vars["ansible_play_hosts_all"] if host != CONTROLLER), None)
    found = member or stands_for(variables, task_vars.get("deploy_app"), task_vars)
    if not found:
        raise DowntimeError("the play has no members, and no host of the inventory has deploy_app; hosts: localhost,<members> is needed, and deploy_hosts "
                            "names the members")
    return found


def stands_for(variables: "Variables", app: str | None, task_vars: t.Mapping[str, t.Any]) -> str | None:
    """The first host of the inventory that has the name of an application without members, of C(app) where it is given: its variables are the
    application's, and nobody connects to it."""
    hosts = task_vars["groups"].get(str(app)) or task_vars["groups"]["all"]
    # Its own: what was set for this run, each host has.
    named = {host: variables.one(host, "deploy_app") for host in hosts}
    mine = [host for host, name in named.items() if name and app in (None, name)]
    return next(iter(mine or (hosts if app else ())), None)


def host_of(place: str) -> str:
    """The inventory's host of one of C(hosts_of)."""
    return CONTROLLER if is_phrase(place) else place


def apps_of_groups(task_vars: t.Mapping[str, t.Any]) -> set[str]:
    """The applications that groups of the inventory name. On hosts that carry several, the variables of only one of them are seen."""
    hostvars = task_vars["hostvars"]
    inventory, loader = hostvars._inventory, hostvars._loader
    found = set()
    for group in inventory.groups.values():
        values = {**group.get_vars(), **get_vars_from_inventory_sources(loader, inventory._sources, [group], "task"),
                  **get_vars_from_path(loader, loader.get_basedir(), [group], "task")}
        # What is written as a template is another thing on each host, where it is seen.
        if isinstance(values.get("deploy_app"), str) and "{{" not in values["deploy_app"] and group.get_hosts():
            found.add(str(values["deploy_app"]))
    return found


class Variables:
    """The C(deploy_*) variables as they are for each member's host.

    A member's own inventory counts first. What the play, a role's parameters or the command line set is not in C(hostvars) of other
    hosts: it is recognised by differing from the controller's own inventory, and it counts for every member.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any]) -> None:
        self._hostvars = task_vars["hostvars"]
        self._templar = action._templar
        self._raw_of: dict[str, t.Mapping[str, t.Any]] = {}
        if task_vars.get("deploy_app"):
            self._prefer(str(self._templar.copy_with_new_env(available_variables=task_vars).template(task_vars["deploy_app"])))
        own = self._hostvars.raw_get(CONTROLLER)
        self._overrides = {name: value for name, value in task_vars.items()
                           if _ours(name) and not name.startswith("__") and (name not in own or own[name] is not value and own[name] != value)}

    def _prefer(self, app: str) -> None:
        """Let the variables of the group named as the application win over those of another application on the same hosts.

        Otherwise the last group by name would win, and one application's release would go out under the other's name. This counts in this
        task's process only.
        """
        group = self._hostvars._inventory.groups.get(app)
        if group:
            group.set_priority(PREFERRED)

    def _raw(self, host: str) -> t.Mapping[str, t.Any]:
        """All variables of C(host) as they were written. Ansible puts them together anew for each question, which takes milliseconds."""
        if host not in self._raw_of:
            self._raw_of[host] = self._hostvars.raw_get(host)
        return self._raw_of[host]

    def of(self, host: str, names: t.Container[str] | None = None) -> dict[str, t.Any]:
        """All C(deploy_*) variables for C(host), templated; C(names) picks some of them."""
        # An artifact's address names the release; going back to a staged one, or a look at the status, needs neither.
        raw = {"deploy_release": None, **self._raw(host), "hostvars": self._hostvars, **self._overrides}
        templar = self._templar.copy_with_new_env(available_variables=raw)

        def worked_out(name: str, value: t.Any) -> t.Any:
            try:
                return templar.template(value)
            except AnsibleError as error:
                raise DowntimeError(f"{name} of {host} cannot be worked out: {' '.join(str(error).split())}") from error

        def without_release(artifact: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
            found = {"root": worked_out("deploy_artifact.root", artifact["root"])} if "root" in artifact else {}
            for name in artifact.keys() - found.keys():
                # What is looked up by the release nobody needs without one.
                with contextlib.suppress(DowntimeError):
                    found[name] = worked_out(f"deploy_artifact.{name}", artifact[name])
            return found

        def one(name: str, value: t.Any) -> t.Any:
            if name == "deploy_artifact" and raw["deploy_release"] is None and isinstance(value, dict):
                return without_release(value)
            return worked_out(name, value)

        return {name: one(name, value) for name, value in raw.items() if _ours(name) and (names is None or name in names)}

    def names(self, host: str) -> set[str]:
        """The names of all C(deploy_*) variables of C(host)."""
        return {name for name in (*self._raw(host), *self._overrides) if _ours(name)}

    def one(self, host: str, name: str, default: t.Any = None) -> t.Any:
        """One variable of C(host), templated."""
        raw = {**self._raw(host), "hostvars": self._hostvars}
        return self._templar.copy_with_new_env(available_variables=raw).template(raw[name]) if name in raw else default

    def address(self, host: str) -> str:
        """Where a member answers: what Ansible connects to, which is this machine with a local connection."""
        local = self.one(host, "ansible_connection") == "local"
        return str(self.one(host, "ansible_host", "127.0.0.1" if local else host))


def _ours(name: str) -> bool:
    return name.startswith(PREFIX)
