# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shop of docs/tutorial.md on one machine: its balancer, its hosts, its neighbour, and the files that stand in the document.

What is different here is addresses and paths, which are put in place of the document's; and that systemd is a program of the tests.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tarfile
import threading
import typing as t

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[0]), str(HERE.parents[0] / "inventories"), str(HERE.parents[1] / "load"), str(HERE.parents[1] / "stage")]

import artifacts  # noqa: E402  pylint: disable=wrong-import-position
import document  # noqa: E402  pylint: disable=wrong-import-position
import haproxy_lines  # noqa: E402  pylint: disable=wrong-import-position
import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import http2  # noqa: E402  pylint: disable=wrong-import-position
import one_machine  # noqa: E402  pylint: disable=wrong-import-position
import playing  # noqa: E402  pylint: disable=wrong-import-position
import under_load  # noqa: E402  pylint: disable=wrong-import-position
import unit  # noqa: E402  pylint: disable=wrong-import-position

DOCUMENT = playing.REPO / "docs/tutorial.md"
BALANCER = "proxy1.internal"
WEBSHOP = {"shop-fra-01": 11, "shop-fra-02": 12, "shop-fra-03": 13}
BILLING = {"bill-fra-01": 21, "bill-fra-02": 22}
OLD_PLACE = "opt"
LABELS = ("1.0.0", "1.1.0-bad", "1.1.1")


class Sorry(http.server.BaseHTTPRequestHandler):
    """The holding page: it is well, and says that the shop is not."""

    asked: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        ready = self.path == "/ready"
        if not ready:
            self.asked.append(self.path)
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *args: t.Any) -> None:
        """Say nothing."""


class Edge(haproxy_stage.HaproxyStage):
    """The document's balancer; who makes it fills in C(written), its configuration."""

    def __init__(self, address: str, fronts: t.Mapping[str, int], _pools: object) -> None:
        super().__init__({}, start_apps=False)
        self.address, self.port = address, fronts["webshop"]
        self.written = ""
        self.ca = self.dir / "authority.pem"
        make_certificates(self.dir, self.ca)

    def text(self) -> str:
        return self.written


def messages(output: str) -> list[t.Any]:
    """What a run of ansible-playbook printed as messages."""
    return [json.JSONDecoder().raw_decode(output, found.end())[0] for found in re.finditer(r'"msg": (?=[\["])', output)]


def make_certificates(place: pathlib.Path, ca: pathlib.Path) -> None:
    """An authority of our own, and what it signed for the shop's names."""
    key, request, cert = place / "key.pem", place / "request.pem", place / "cert.pem"
    ca_key, names = place / "ca-key.pem", place / "names"
    names.write_text("subjectAltName=DNS:www.shop.example,DNS:shop.example\n", encoding="utf-8")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for argv in (
            ["req", "-x509", *new, "-days", "2", "-subj", "/CN=the tests' authority", "-keyout", str(ca_key), "-out", str(ca)],
            ["req", *new, "-subj", "/CN=www.shop.example", "-keyout", str(key), "-out", str(request)],
            ["x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "2", "-extfile", str(names),
             "-out", str(cert)]):
        subprocess.run(["openssl", *argv], check=True, capture_output=True, timeout=60)
    (place / "shop.example.pem").write_text(cert.read_text(encoding="utf-8") + key.read_text(encoding="utf-8"), encoding="utf-8")


class Shop(one_machine.Machine):
    """C(with Shop() as shop): everything serves, as it did before anybody read the document."""

    def __init__(self) -> None:
        super().__init__("haproxy", {"webshop": WEBSHOP, "billing": BILLING}, balancers=(BALANCER,), labels=LABELS, kind=Edge)
        self.inventories = [str(self.dir / "inventory"), str(HERE / "on_one_machine")]
        # All hosts have the same port, as in the document.
        self.ports = dict.fromkeys(self.ports, self.ports["webshop"])
        self.green_port = haproxy_stage.free_port()
        self.blocks = document.blocks(DOCUMENT)
        self.files = document.files(self.blocks)
        self.edge: Edge = self.balancers[BALANCER]
        self.edge.written = self.here(self.files["/etc/haproxy/haproxy.cfg"], {
            "/run/haproxy/admin.sock": self.edge.socket, "/etc/haproxy/": f"{self.edge.dir}/"})
        self.sorry = http.server.ThreadingHTTPServer((f"{self.net}.20", self.ports["webshop"]), Sorry)

    def here(self, text: str, places: t.Mapping[str, str] | None = None) -> str:
        """The document's text with this machine's addresses, ports and paths."""
        for there, ours in (places or {}).items():
            text = text.replace(there, ours)
        text = text.replace("192.0.2.", f"{self.net}.")
        text = re.sub(r"(?<=\d):443\b", f":{self.fronts['webshop']}", text)
        text = re.sub(r"(?<=:)( ?)8001\b", rf"\g<1>{self.green_port}", text)
        return re.sub(r"(?<=:)( ?)8000\b", rf"\g<1>{self.ports['webshop']}", text)

    def __enter__(self) -> Shop:
        super().__enter__()
        with contextlib.ExitStack() as stack:
            stack.push(self.ending)
            threading.Thread(target=self.sorry.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(self.sorry.server_close)
            stack.callback(self.sorry.shutdown)
            for known in self.units:
                unit.start(known)
            haproxy_stage.wait_until(self.edge.settled, "every server is up")
            self.ending = stack.pop_all()
        return self

    def add_unit(self, app: str, host: str, address: str) -> None:
        """It runs from /opt, as it always did, and its answers say nothing of a release."""
        super().add_unit(app, host, address)
        place = self.dir / host
        old = place / OLD_PLACE / app
        old.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(artifacts.pack("before"))) as tar:
            tar.extractall(old)
        program = old / "app.py"
        code, signs = program.read_text(encoding="utf-8"), 'SILENT = VERSION.endswith("-silent")\n'
        assert signs in code, "the application has another way to say its release"
        program.write_text(code.replace(signs, "SILENT = True\n"), encoding="utf-8")
        known = self.units[-1]
        known["argv"][known["argv"].index("--chdir") + 1] = str(old)
        (place / f"{app}.json").write_text(json.dumps(known), encoding="utf-8")
        systemctl = place / "bin" / "systemctl"
        systemctl.parent.mkdir(exist_ok=True)
        words = shlex.join([sys.executable, str(HERE / "systemctl.py"), str(place)])
        systemctl.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        systemctl.chmod(0o755)

    # -- what the reader of the document does ------------------------------------------------------------------------
    def write_inventory(self) -> None:
        for name, text in self.files.items():
            if name.startswith("inventory/"):
                path = self.dir / name
                path.parent.mkdir(parents=True, exist_ok=True)
                here = self.here(text, {
                    "/srv/": f"{self.dir}/{{{{ inventory_hostname }}}}/srv/", "/run/haproxy/": "/proc/self/cwd/",
                    "https://art.example/": f"http://{self.net}.100:{self.store.server_port}/", "/etc/ssl/our-authority.pem": str(self.edge.ca)})
                path.write_text(here, encoding="utf-8")

    def add_green(self, changed: str) -> None:
        """The second side: a unit on each host, the lines that doctor prints, a reload, and what is C(changed) in the inventory."""
        for host in WEBSHOP:
            place = self.dir / host
            known = json.loads((place / "webshop.json").read_text(encoding="utf-8"))
            address = known["answers"][0]
            mark = str(place / "webshop-green.pid")
            other = {known["mark"]: mark, f"{address}:{self.ports['webshop']}": f"{address}:{self.green_port}"}
            argv = [other.get(word, word) for word in known["argv"]]
            green = {**known, "argv": argv, "mark": mark, "answers": [address, self.green_port]}
            self.units.append(green)
            (place / "webshop-green.json").write_text(json.dumps(green), encoding="utf-8")
            self.on_host(host, "systemctl daemon-reload")
        doctor = self.run("ansible-playbook -i inventory zero.downtime.doctor")
        assert "shop.example/ answers 200 over HTTP/2" in doctor.output, doctor.output
        lines = next(found for found in messages(doctor.output) if isinstance(found, list) and f"{BALANCER}, info, split: " in found[0])
        # The server with the holding page is no member, and keeps its port.
        assert any(f": server sorry {self.net}.20:{self.ports['webshop']} " in line for line in lines), lines
        haproxy_lines.apply(pathlib.Path(self.edge.config), lines[1:], lambda _server: self.green_port)
        path = self.dir / "inventory" / "group_vars" / "webshop.yml"
        own = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**own, **yaml.safe_load(self.here(changed, {"/run/haproxy/": "/proc/self/cwd/"}))}), encoding="utf-8")
        self.edge.reload()

    def service(self) -> dict[str, t.Any]:
        """deploy_service of the inventory, with commands in place of units."""
        own = yaml.safe_load((self.dir / "inventory" / "group_vars" / "webshop.yml").read_text(encoding="utf-8"))["deploy_service"]

        def commands(one: dict[str, t.Any]) -> dict[str, t.Any]:
            name = one["unit"].removesuffix(".service")
            argv = {verb: [sys.executable, str(HERE.parent / "inventories" / "unit.py"), verb, f"{self.dir}/{{{{ inventory_hostname }}}}/{name}.json"]
                    for verb in ("restart", "stop")}
            return {"command": argv["restart"], "stop": argv["stop"], **{key: value for key, value in one.items() if key != "unit"}}
        return commands(own) if "unit" in own else {side: commands(one) for side, one in own.items()}

    def on_host(self, host: str, commands: str) -> None:
        """Run the document's commands on an application host, in a shell, with what the document wants to be there."""
        place = self.dir / host
        places = {there: f"{place}{there}" for there in ("/etc/systemd/", "/srv/", "/opt/")}
        for name, text in self.files.items():
            if name.startswith("/etc/systemd/"):
                path = pathlib.Path(f"{place}{name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.here(text, places), encoding="utf-8")
        subprocess.run(["sh", "-eu", "-c", self.here(commands, places)], check=True, timeout=120,
                       env={"PATH": f"{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"})

    def run(self, line: str, **variables: t.Any) -> playing.Played:
        """One of the document's commands for the controller."""
        words = shlex.split(line)
        assert words[:3] == ["ansible-playbook", "-i", "inventory"], line
        return self.play(words[3], *words[4:], machine_service=self.service(), **variables)

    # -- who looks on --------------------------------------------------------------------------------------------------
    def users(self, app: str, name: str, per_second: int) -> under_load.Load:
        path = {"webshop": "/", "billing": "/billing/"}[app]
        return under_load.Load([f"https://{self.edge.address}:{self.edge.port}"], self.dir, f"{name}-{app}", "--ca", str(self.edge.ca),
                               "--rate", str(per_second), "--host", "www.shop.example", "--path", path, "--mind-idle-close")

    def sticky_user(self, cookie: str, per_second: int) -> http2.Curl:
        """Speaks HTTP/2, and has the cookie of one server."""
        return http2.Curl("https://www.shop.example/", f"{self.edge.address}:{self.edge.port}", self.edge.ca, self.dir, cookie, per_second)

    def neighbour(self) -> list[dict[str, str]]:
        """What the balancer knows of the neighbour's servers, less what requests change."""
        kept = ("svname", "status", "weight", "uweight", "act", "bck", "chkdown", "downtime", "addr", "check_status")
        return [{name: row[name] for name in kept} for row in haproxy_stage.rows_of(self.edge, 4) if row["pxname"] == "bk_billing"]
