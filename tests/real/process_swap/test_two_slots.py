# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two slots behind a balancer on the same host, which is blue/green with a host that is its own balancer. Restarting the one slot loses."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "stage"), str(TESTS / "real"), str(TESTS / "real" / "inventories")]

import artifacts  # noqa: E402
import haproxy_stage  # noqa: E402
import playing  # noqa: E402
import unit  # noqa: E402

OLD, NEW = "1.0.0", "2.0.0"
SIDES = ("blue", "green")


class Host(haproxy_stage.HaproxyStage):
    """web1: HAProxy with a pool for each side, and in each pool the host's own slot."""

    def __init__(self, place: pathlib.Path) -> None:
        super().__init__({f"shop_{side}": ["web1"] for side in SIDES}, start_apps=False, default_server="check inter 200ms fall 3 rise 2 weight 100",
                         global_lines=["hard-stop-after 5m"], defaults_lines=["option idle-close-on-response", "http-reuse safe"])
        self.place = place
        self.slots = {side: haproxy_stage.free_port() for side in SIDES}
        self.split = self.dir / "split.map"
        self.split.write_text("shop 0\n", encoding="utf-8")
        self.frontend_lines = [
            f"http-request set-var(txn.green) str(shop),map_str_int({self.split},0)", "http-request set-var(txn.draw) rand(100)",
            "use_backend shop_green if { var(txn.draw),sub(txn.green) -m int lt 0 }"]
        self.units = {side: self.unit(side, port) for side, port in self.slots.items()}
        artifacts.build([OLD, NEW], str(place / "artifacts"))
        self.inventory = place / "hosts.json"
        self.inventory.write_text(json.dumps({"shop": {"hosts": {"web1": {
            "ansible_host": "127.0.0.1", "ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}), encoding="utf-8")

    def text(self) -> str:
        head, *backends = super().text().split("backend shop_")
        found = [head, *(backend.replace(f":{self.ports['web1']}", f":{self.slots[backend.split()[0]]}") for backend in backends)]
        return "backend shop_".join(found)

    def unit(self, side: str, port: int) -> str:
        """What systemd would know of a slot's service."""
        mark = str(self.place / f"{side}.pid")
        argv = [sys.executable, "-m", "gunicorn", "--pid", mark, "--chdir", str(self.place / "srv" / side), "--bind", f"127.0.0.1:{port}",
                "--worker-class", "gthread", "--workers", "1", "--threads", "16", "--keep-alive", "90", "--graceful-timeout", "30", "--timeout", "0",
                "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "app:application"]
        path = self.place / f"{side}.json"
        path.write_text(json.dumps({"argv": argv, "mark": mark, "log": str(self.place / f"{side}.log"), "answers": ["127.0.0.1", port],
                                    "env": {"PYTHONDONTWRITEBYTECODE": "1"}}), encoding="utf-8")
        return str(path)

    def call(self, verb: str, side: str) -> list[str]:
        return [sys.executable, unit.__file__, verb, self.units[side]]

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        return playing.command(f"zero.downtime.{playbook}", inventories=[str(self.inventory)], variables={
            "deploy_app": "shop", "deploy_hosts": "shop", "deploy_strategy": "blue_green", "deploy_soak": 0, "deploy_min_active": 0,
            "deploy_artifact": {"src": str(self.place / "artifacts" / "shop-{{ deploy_release }}.tar.gz"),
                                "checksums": str(self.place / "artifacts" / "SHA256SUMS"), "root": str(self.place / "srv")},
            "deploy_service": {side: {verb: self.call(verb, side) for verb in ("start", "stop", "status")} for side in SIDES},
            "deploy_traffic": {"driver": "haproxy", "balancers": "shop", "socket": self.socket, "master_socket": self.master_socket, "frontends": ["front"],
                               "config": self.config, "pools": [{"name": f"shop_{side}", "side": side, "port": port} for side, port in self.slots.items()]},
            "deploy_health": {"path": "/ready", "header": "x-release", "timeout": 15}, "deploy_evidence_url": self.url + "/",
            "deploy_state_dir": str(self.place / "state"), "deploy_records_dir": str(self.place / "records"), **variables})

    def under_load(self, command: t.Sequence[str]) -> tuple[dict[str, t.Any], str]:
        report, output = self.place / "load.json", self.place / "output"
        done = playing.play([sys.executable, str(TESTS / "load" / "load.py"), "--target", self.url, "--rate", "10", "--report", str(report),
                             "--output", str(output), "--", *command])
        text = output.read_text(encoding="utf-8")
        assert done.rc == 0, done.output + text
        return json.loads(report.read_text(encoding="utf-8")), text


@pytest.fixture
def host(tmp_path: pathlib.Path) -> t.Iterator[Host]:
    found = Host(tmp_path)
    try:
        with found:
            yield found
            # First: a server would wait for its balancer's idle connections.
            found.stop()
    finally:
        for path in found.units.values():
            unit.main("stop", path)


@pytest.mark.claim("swap-two-slots")
def test_the_host_is_its_own_balancer(host: Host) -> None:
    first = playing.play(host.command("deploy", deploy_release=OLD, deploy_strategy="rolling"))
    assert first.rc == 0, first.output
    there, output = host.under_load(host.command("deploy", deploy_release=NEW))
    assert there["failed"] == 0 and set(there["versions"]) == {OLD, NEW}, there
    assert "2.0.0 serves on green (1 of 1 members); blue keeps 1.0.0 warm" in output
    back, output = host.under_load(host.command("rollback"))
    assert back["failed"] == 0 and set(back["versions"]) == {OLD, NEW}, back
    assert "1.0.0 serves on blue" in output
    naive, output = host.under_load(host.call("restart", "blue"))
    assert naive["failed"] > 0, "a restart in place has to lose requests here, else this proves nothing"
