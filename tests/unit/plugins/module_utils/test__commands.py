# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import re
import shlex

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.plugin_utils import _given

ROOT = pathlib.Path(__file__).resolve().parents[4]


def test_what_has_no_value_is_left_out() -> None:
    nothing = {"deploy_release": None, "deploy_members": [], "deploy_lock_break": False}
    told = _commands.command("rollback", "shop", deploy_strategy="blue_green", **nothing)
    assert told == "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=blue_green"
    assert _commands.command("doctor", None) == "ansible-playbook zero.downtime.doctor"


@pytest.mark.parametrize("value, read", [
    ("2.0.0", "2.0.0"), (["app1", "app2"], "app1,app2"), ("two words", "two words"), ("it's \"so\"", "it's \"so\""),
    ("{{ x }}", "{{ x }}"), ("a=b", "a=b"),
])
def test_a_shell_and_ansible_read_what_was_meant(value: object, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(_commands.command("deploy", "shop", deploy_release=value))
    options = [word for before, word in zip(words, words[1:]) if before == "-e"]
    assert words[:2] == ["ansible-playbook", "zero.downtime.deploy"] and len(options) == 2
    monkeypatch.setattr("ansible.context.CLIARGS", {"extra_vars": tuple(options)})
    # It keeps what it has read, for whoever comes next.
    monkeypatch.setattr(load_extra_vars, "extra_vars", None, raising=False)
    assert json.loads(json.dumps(load_extra_vars(DataLoader()))) == {"deploy_app": "shop", "deploy_release": read}


@pytest.mark.parametrize("given, told", [
    (("/site/inventories/production", "/elsewhere/more hosts.yml"), "-i inventories/production -i '/elsewhere/more hosts.yml' "),
    (("a.example,",), "-i a.example, "),
    # Those of ansible.cfg, which the next run finds as this one did.
    (("/etc/ansible/hosts",), ""),
    ((), ""),
])
def test_the_next_run_has_the_inventory_of_this_one(given: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.context.CLIARGS", {"inventory": given})
    monkeypatch.setattr("ansible.constants.DEFAULT_HOST_LIST", ["/etc/ansible/hosts"])
    monkeypatch.setattr("os.getcwd", lambda: "/site")
    monkeypatch.setattr(_commands, "_inventories", _given.inventories)
    assert _commands.command("status", None) == f"ansible-playbook {told}zero.downtime.status"


def test_a_run_is_told_with_what_was_given_for_it() -> None:
    plan = {"verb": "deploy", "app": "shop", "said": {"deploy_release": "2.0.0", "deploy_strategy": "canary"}}
    assert _commands.again(plan, deploy_lock_break=True) == (
        "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0 -e deploy_strategy=canary "
        "-e deploy_lock_break=true")


@pytest.mark.claim("check-again-is-a-check")
def test_what_runs_a_check_once_more_only_looks_again_and_what_mends_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_commands, "_mode", _given.mode)
    plan = {"verb": "restart", "app": "shop"}
    for given, told in ({"check": True}, " --check"), ({"check": False}, ""), ({}, ""):
        monkeypatch.setattr("ansible.context.CLIARGS", given)
        assert _commands.again(plan) == f"ansible-playbook zero.downtime.restart{told} -e deploy_app=shop"
        assert _commands.instead(plan, "deploy", deploy_release="2.0.0") == "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release=2.0.0"
        assert _commands.command("rollback", "shop") == "ansible-playbook zero.downtime.rollback -e deploy_app=shop"
        assert "--check" not in _commands.on_host("lb1", "ping") + _commands.anew("shop", "2.0.0", True)


@pytest.mark.claim("advice-is-a-command")
def test_no_sentence_advises_a_playbook_otherwise() -> None:
    """What a person is told to run is written by this one function: a playbook's name leaves him to find out what it needs."""
    advice = re.compile(r"the playbook (deploy|rollback|restart|retire|doctor|drain|activate|status)\b|[\"' ]-e deploy_\w+=|"
                        r"deploy or roll ?back (again|with)")
    # Documentation; where commands come from; and where nobody knows yet which application is meant.
    others = ("options.py", "variables.py", "_commands.py", "application.py")
    found = []
    for path in sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "roles").glob("*/tasks/*.yml")]):
        if set(path.parts) & {"modules", "doc_fragments"} or path.name.endswith(others):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if advice.search(line) and not line.startswith('"""'):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found
