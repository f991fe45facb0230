# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _fanout, _lock_holder, _store

MACHINE = {"controller": "ci-7", "machine_id": "1d2c", "boot_id": "b00t", "pid_namespace": "pid:[1]", "hardware": ""}
TRAFFIC = {
    "zone": "shop.example",
    "name": "www",
    "server": "ns1",
    "key_name": "deploy",
    "key_secret": "c2VjcmV0",
    "query_timeout": 3.0,
    "key_algorithm": "hmac-sha256",
}
LOCK = {"hosts": ["name www in zone shop.example"], "directory": "/var/lib/x", "name": "production-shop"}
OWN = {**LOCK, "driver": "zero.downtime.rfc2136", "traffic": TRAFFIC}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, t.Any]]]:
    found: list[tuple[str, dict[str, t.Any]]] = []

    def run_on(
        action: t.Any, hosts: t.Sequence[str], module: str, args_for: t.Any, task_vars: t.Any, **options: t.Any
    ) -> dict[str, dict[str, t.Any]]:
        found.append((module, args_for(hosts[0])))
        return {
            host: {"lock": {"deploy_id": "d1", "holder": found[0][1].get("holder")}, "holder": None} for host in hosts
        }

    monkeypatch.setattr(_fanout, "run_on", run_on)
    monkeypatch.setattr(_fanout, "limit", lambda action, seconds: seconds)
    monkeypatch.setattr(_lock_holder, "machine", lambda: dict(MACHINE))
    return found


def test_a_driver_brings_a_place_of_its_own(asked: list[tuple[str, dict[str, t.Any]]]) -> None:
    _store.ask(t.cast(t.Any, types.SimpleNamespace()), OWN, {"state": "observed"}, {}, 5)
    _store.ask(t.cast(t.Any, types.SimpleNamespace()), LOCK, {"state": "observed"}, {}, 5)
    (own, options), (files, others) = asked
    assert (
        own == "zero.downtime.rfc2136_lock"
        and options["record"] == "www"
        and options["name"] == "production-shop"
        and options["key_secret"]
    )
    assert files == "zero.downtime.lock" and others == {
        "state": "observed",
        "directory": "/var/lib/x",
        "name": "production-shop",
    }


def test_a_machine_is_known_again_by_itself_and_strangers_read_a_digest(
    asked: list[tuple[str, dict[str, t.Any]]],
) -> None:
    holder = {**MACHINE, "pid": 7, "user": "ops"}
    (result,) = _store.ask(t.cast(t.Any, None), OWN, {"state": "acquired", "holder": holder}, {}, 5).values()
    kept = asked[0][1]["holder"]
    assert (kept["controller"], kept["pid"], kept["user"], kept["hardware"]) == ("ci-7", 7, "ops", "")
    assert not {"1d2c", "b00t", "pid:[1]"} & {str(value) for value in kept.values()}
    assert result["lock"]["holder"] == holder
    # Of another machine, or in another application's lock, it stays what it is.
    assert _store._unmasked({"lock": {"holder": dict(kept)}}, "production-other")["lock"]["holder"] == kept
