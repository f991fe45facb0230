# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shlex
import sys

import pytest

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import doctor as _doctor
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import VARIABLES

COMMANDS = _doctor.Commands("shop")
RELEASE = {"digest": "d" * 64, "label": "1.0.0"}


@pytest.fixture
def two_inventories(monkeypatch):
    monkeypatch.setattr(_commands, "_inventories", lambda: ["-i", "inventories/local", "-i", "'my hosts'"])


def test_commands_are_those_of_this_controller():
    assert COMMANDS.playbook("rollback", deploy_lock_break=True) == (
        "ansible-playbook zero.downtime.rollback -e deploy_app=shop -e deploy_lock_break=true"
    )
    assert _doctor.Commands().playbook("status") == "ansible-playbook zero.downtime.status"


@pytest.mark.parametrize(
    "text, line",
    [
        ("deploy_health.path is missing; the path is needed", "deploy_health: {path: …}"),
        ("deploy_canary.prometheus.url is missing", "deploy_canary: {prometheus: {url: …}}"),
        (
            "members app1 and app2 have one server name, in deploy_traffic.pools; each needs its own",
            "deploy_traffic: {pools: …}",
        ),
        ("deploy_batches has 'no'", "deploy_batches: …"),
    ],
)
def test_a_refusal_names_the_variable_that_mends_it(text, line):
    assert _doctor.variable(text) == [f"{line}  # in the inventory; docs/variables.md"]


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_named_whole(name):
    assert _doctor.variable(f"{name} is 'x'") == [f"{name}: …  # in the inventory; docs/variables.md"]


def test_a_refusal_that_names_no_variable_has_a_place_to_look_at():
    assert _doctor.variable("the play has no members") == ["the variables are described in docs/variables.md"]


def test_who_cannot_be_reached_and_who_does_not_answer_are_mended_in_other_ways(two_inventories):
    away = _doctor.balancer("haproxy", {"socket": "/s"}, "lb1", {"unreachable_host": True}, COMMANDS)
    assert away == [
        "ansible -i inventories/local -i 'my hosts' lb1 -m ansible.builtin.ping  # shows why; ansible_host, "
        "ansible_user and keys are in the inventory"
    ]
    silent = _doctor.balancer("haproxy", {"socket": "/s"}, "lb1", {"silent": True}, COMMANDS)
    assert "stats socket /s mode 660 level admin" in silent[0] and "deploy_traffic: {socket: PATH}" in silent[1]
    assert "systemctl status nginx" in _doctor.balancer("nginx", {}, "lb1", {}, COMMANDS)[0]


def test_everything_that_status_may_have_left_is_mended_by_a_command():
    idle = {
        "kind": "idle_out",
        "who": ["app1"],
        "text": "app1 is out; ansible-playbook -i inventories/local zero.downtime.activate -e deploy_app=shop -e deploy_side=green brings it back",
    }
    assert COMMANDS.left(idle) == [
        "ansible-playbook -i inventories/local zero.downtime.activate -e deploy_app=shop -e deploy_side=green"
    ]
    assert COMMANDS.left({"kind": "out", "who": ["app1", "app2"], "text": ""})[0].endswith(
        "zero.downtime.activate -e deploy_app=shop -e deploy_members=app1,app2"
    )
    for kind in _doctor.LEFT:
        assert COMMANDS.left({"kind": kind, "who": ["app1"], "text": ""})[0].strip(), kind


@pytest.mark.claim("doctor-with-a-dead-member")
def test_a_dead_member_is_mended_by_the_deploy_that_begins_it_anew_and_by_its_service():
    host = {"root": "/srv/my shop", "slot": "blue", "service": {"unit": "shop@blue.service"}}
    of_unit = COMMANDS.begin_anew("app2", host, RELEASE, True)
    assert of_unit[0] == (
        "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_strategy=rolling -e deploy_release=1.0.0"
        "  # begins it anew"
    )
    argv = ["systemctl", "restart", "shop@blue.service"]
    assert run_by(of_unit[1]) == ("app2", "ansible.builtin.command", {"argv": argv})
    user = COMMANDS.started("app2", {**host, "service": {"unit": "shop", "scope": "user"}}, RELEASE)
    assert run_by(user[0])[2]["argv"] == ["systemctl", "--user", "restart", "shop"]
    # A command finds the release in its environment, and runs in the root.
    own = {**host, "service": {"start": "bin/start 'my shop'", "stop": "bin/stop"}}
    told = run_by(COMMANDS.begin_anew("app2", own, {"digest": "d" * 64, "label": None}, False)[1])[2]
    assert told["chdir"] == "/srv/my shop"
    assert told["argv"][0] == "env" and told["argv"][-2:] == ["bin/start", "my shop"]
    assert set(told["argv"][1:-2]) == {
        "RELEASE_ROOT=/srv/my shop", "RELEASE_SLOT=blue", f"RELEASE_DIGEST={'d' * 64}", "RELEASE_LABEL="
    }
    # Where hooks start it, or a process hands over to the next, nobody does that by hand.
    for service in (None, {"command": "gunicorn", "swap": "command"}):
        assert COMMANDS.started("app2", {**host, "service": service}, RELEASE) == []


def run_by(line):
    """Host, module and options of a command of ansible, as a shell and ansible read it; what stands behind it is a comment."""
    words = shlex.split(line, comments=True)
    assert words[0] == "ansible" and words[2] == "-m" and words[4] == "-a" and len(words) == 6, words
    return words[1], words[3], json.loads(words[5])


def test_servers_that_are_no_members_are_named():
    pool = {"name": "shop", "members": [{"name": "app1"}, {"name": "old1"}, {"name": "old2"}]}
    assert _doctor.servers(pool, {"app1": {"server": "app1"}}) == (
        "shop has all 1 members; old1, old2 are no members of the application, and no deploy moves them"
    )
    assert (
        _doctor.servers({**pool, "members": pool["members"][:1]}, {"app1": {"server": "app1"}})
        == "shop has all 1 members"
    )


def public(**checked):
    """The variables of the public address, as a plan has checked them."""
    return {
        "deploy_evidence_url": "https://shop.example/", "deploy_evidence_connect_to": None, "deploy_evidence_ca_path": None,
        "deploy_evidence_validate_certs": True, "deploy_evidence_http2": "auto", **checked,
    }


@pytest.mark.parametrize(
    "checked, asked",
    [
        ({}, "curl -sv https://shop.example/"),
        ({"deploy_evidence_ca_path": "/etc/our ca.pem"}, "curl -sv --cacert '/etc/our ca.pem' https://shop.example/"),
        # Nothing is checked, whatever the file says.
        ({"deploy_evidence_ca_path": "/ca.pem", "deploy_evidence_validate_certs": False}, "curl -sv -k https://shop.example/"),
        ({"deploy_evidence_http2": "false", "deploy_evidence_connect_to": "lb1:443"},
         "curl -sv --http1.1 --connect-to ::lb1:443 https://shop.example/"),
        ({"deploy_evidence_url": "http://shop.example/", "deploy_evidence_ca_path": "/ca.pem"}, "curl -sv http://shop.example/"),
    ],
)
def test_what_asks_the_public_address_asks_as_the_probe_does(checked, asked):
    (line,) = _doctor.evidence(public(**checked), {"failed": True, "msg": "url does not answer"})
    assert line.startswith(f"{asked}  # on this controller"), line


@pytest.mark.parametrize(
    "result, mends",
    [
        ({"cause": _probe.TLS_NEEDED}, ["deploy_evidence_http2: auto  # in the inventory"]),
        ({"cause": _probe.LIBRARY_NEEDED},
         [f"{sys.executable} -m pip install hpack  # on this controller", "or deploy_evidence_http2: auto  # in the inventory"]),
        ({"cause": _probe.NO_HTTP2}, ["deploy_evidence_http2: auto  # in the inventory"]),
        ({"cause": _probe.NO_AUTHORITY}, ["ls -l /etc/ca.pem  # on this controller"]),
        ({"cause": _probe.SETTING, "msg": "connect_to 'lb1' is not usable: give host:port"}, ["deploy_evidence_connect_to: …"]),
    ],
)
def test_what_no_request_can_show_is_mended_by_what_caused_it(result, mends):
    lines = _doctor.evidence(public(deploy_evidence_ca_path="/etc/ca.pem"), {"failed": True, **result})
    assert len(lines) == len(mends) and "curl" not in "".join(lines)
    assert all(line.startswith(begins) for line, begins in zip(lines, mends)), lines


def test_no_secret_of_an_address_is_shown():
    artifact = {
        "url": "https://u:secret@art.example/shop-1.tar.gz?sig=secret",
        "checksums": "https://art.example/SHA256SUMS?sig=secret",
    }
    lines = _doctor.artifact(artifact, "1", {"unlisted": True}, True) + _doctor.evidence(
        public(deploy_evidence_url="https://u:secret@shop.example/?key=secret", deploy_evidence_connect_to="lb1:443"), {}
    )
    assert "secret" not in "".join(lines)
    assert (
        lines[0]
        == "sha256sum shop-1.tar.gz >> SHA256SUMS  # where https://art.example/SHA256SUMS is made, and the artifact "
        "at https://art.example/shop-1.tar.gz"
    )
    assert "curl -sv --connect-to ::lb1:443 https://shop.example/" in lines[1]
    assert _doctor.artifact({}, "1", {}, False) == [
        "deploy_artifact: {url: …, checksums: …} say where release 1 and its checksum are"
    ]


def test_no_checksum_is_made_of_an_artifact_that_is_damaged_or_not_there():
    found = {"url": "https://art.example/shop-1.tar.gz", "checksums": "/srv/SHA256SUMS"}
    unlisted = {"unlisted": True, "msg": "release 1 is unknown: artifact.checksums /srv/SHA256SUMS has no line for it"}
    cases = [
        (unlisted, False, "curl -sSI https://art.example/shop-1.tar.gz  # has to be there"),
        ({"differs": True, "msg": "it has the sha256 a, but b is expected"}, True, "bring https://art.example/shop-1"),
        ({"msg": "artifact.url: it answers 404"}, False, "curl -sSI https://art.example/shop-1.tar.gz  # has to be"),
        ({"msg": "artifact.checksums /srv/SHA256SUMS cannot be read"}, False, "ls -l /srv/SHA256SUMS  # has to be there"),
    ]
    for failed, there, begins in cases:
        (line,) = _doctor.artifact(found, "1", failed, there)
        assert line.startswith(begins) and "sha256sum" not in line, line


def test_a_command_names_the_releases_that_are_known():
    mixed = {"kind": "mixed_releases", "who": ["app1"], "text": ""}
    deploy = "ansible-playbook zero.downtime.deploy -e deploy_app=shop -e deploy_release"
    assert COMMANDS.left(mixed, ["2.0.0"]) == [f"{deploy}=2.0.0  # puts that right"]
    assert COMMANDS.left(mixed) == [f"{deploy}=LABEL  # puts that right"]
    # Without one that is to come, either of those that run settles it, and so does to go back from what did not end.
    either = [f"{deploy}=1.8  # brings all members to it", f"{deploy}=1.1  # brings all members to it"]
    assert COMMANDS.left(mixed, ["1.8", "1.1"]) == either
    assert COMMANDS.left(mixed, ["1.8", "1.1"], True) == [*COMMANDS.again(), *either]
    assert COMMANDS.left({**mixed, "kind": "half_staged"}, ["1.8", "1.1"], True) == [f"{deploy}=1.8  # puts that right"]
