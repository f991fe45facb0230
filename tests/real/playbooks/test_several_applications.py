# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many applications in one inventory: one is picked by its name, and the others are left alone. Workers: nothing moves but the release."""

from __future__ import annotations

import hashlib
import io
import pathlib
import tarfile

import playing
import pytest

INVENTORY = """
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  children:
    shop:
      children:
        shop_worker:
          hosts:
            sw1:
            sw2:
      vars: &app
        deploy_app: "{{ 'shop' if 'shop' in group_names else 'billing' }}"
        deploy_hosts: "{{ deploy_app }}_worker"
        deploy_artifact:
          src: "%(dir)s/{{ deploy_app }}-{{ deploy_release }}.tar.gz"
          checksums: "%(dir)s/SHA256SUMS"
          root: "%(dir)s/hosts/{{ inventory_hostname }}"
        deploy_service:
          command: [/bin/sh, -c, "cp current/version {{ inventory_hostname }}.runs"]
        deploy_traffic: {driver: none}
        deploy_batches: [2]
        deploy_records_dir: "%(dir)s/records"
    billing:
      children:
        billing_worker:
          hosts:
            bw1:
            bw2:
      vars: *app
"""


def play(playbook: str, inventory: pathlib.Path, *args: str, **variables: str) -> playing.Played:
    """Run a playbook; the local stage has no part in it."""
    return playing.play(playing.command("zero.downtime." + playbook, *args, inventories=[str(inventory)], variables=variables))


@pytest.fixture
def site(tmp_path) -> pathlib.Path:
    """An inventory of two applications without a balancer, and a release for each."""
    sums = []
    for app in ("shop", "billing"):
        for label in ("1", "2"):
            path = tmp_path / f"{app}-{label}.tar.gz"
            with tarfile.open(path, "w:gz") as tar:
                data = f"{app} {label}\n".encode()
                member = tarfile.TarInfo("version")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
            sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (tmp_path / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    (tmp_path / "inventory.yml").write_text(INVENTORY % {"dir": tmp_path}, encoding="utf-8")
    return tmp_path


def runs(site: pathlib.Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted((site / "hosts").glob("*/*.runs"))}


@pytest.mark.claim("rollback-to-the-release-before", "pick-one-application", "second-rolling-rollback")
def test_one_application_is_picked(site):
    inventory = site / "inventory.yml"
    unpicked = play("deploy", inventory, deploy_release="1")
    assert unpicked.rc != 0
    assert "billing, shop" in unpicked.sentence and "-e deploy_app=" in unpicked.sentence

    for label in ("1", "2"):
        played = play("deploy", inventory, deploy_app="billing", deploy_release=label)
        assert played.rc == 0, played.output
    assert runs(site) == {"bw1": "billing 2", "bw2": "billing 2"}
    back = play("rollback", inventory, deploy_app="billing")
    assert back.rc == 0, back.output
    assert runs(site) == {"bw1": "billing 1", "bw2": "billing 1"}
    again = play("rollback", inventory, deploy_app="billing")
    assert again.rc == 2 and "refused: 1 serves already: it was gone back to from 2, and nothing ran there before it; ansible-playbook -i " in again.sentence
    assert "zero.downtime.deploy -e deploy_app=billing -e deploy_release=2 undoes that. Nothing has been changed." in again.sentence, again.output
    assert play("status", inventory, deploy_app="billing").rc == 0


SHARED = """
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    deploy_records_dir: "%(dir)s/records"
    deploy_traffic: {driver: none}
    deploy_min_active: "0"
  children:
    billing:
      vars:
        deploy_app: billing
        deploy_hosts: billing:!sw2
        deploy_artifact: {src: "%(dir)s/billing-1.tar.gz", checksums: "%(dir)s/SHA256SUMS", root: "%(dir)s/hosts/billing/{{ inventory_hostname }}"}
      hosts: {sw1: , sw2: }
    shop:
      vars:
        deploy_app: shop
        deploy_hosts: shop
        deploy_artifact: {src: "%(dir)s/shop-1.tar.gz", checksums: "%(dir)s/SHA256SUMS", root: "%(dir)s/hosts/shop/{{ inventory_hostname }}"}
      hosts: {sw1: , sw2: }
"""


@pytest.mark.claim("applications-on-the-same-hosts")
def test_two_applications_on_the_same_hosts_are_not_mixed(site):
    inventory = site / "shared.yml"
    inventory.write_text(SHARED % {"dir": site}, encoding="utf-8")
    unpicked = play("deploy", inventory, deploy_release="1")
    assert unpicked.rc != 0
    assert "the inventory has several applications, billing, shop; pick one with -e deploy_app=NAME" in unpicked.sentence
    played = play("deploy", inventory, deploy_app="billing", deploy_release="1")
    assert played.rc == 0, played.output
    # By its name's order the group shop would win on these hosts.
    assert [path.parent.relative_to(site / "hosts") for path in (site / "hosts").glob("*/*/current")] == [pathlib.Path("billing/sw1")]


def test_a_limit_is_refused(site):
    played = play("deploy", site / "inventory.yml", "--limit", "sw1", deploy_app="shop", deploy_release="1")
    assert played.rc != 0
    assert "--limit is 'sw1'" in played.sentence
