# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real BIND 9 servers on loopback, for tests: a primary that takes dynamic updates of one zone, a secondary, and a
resolver that caches.

    with BindStage() as stage:
        stage.traffic(blue=["127.0.0.1"], green=["127.0.0.2"])   # what a driver has to know of it
        stage.answers("www")                                     # what the primary has
        stage.stop("secondary"); stage.start("secondary")

Each stage has addresses of its own in loopback's network, so that name servers may listen on their usual port. Every
process it starts ends with the ``with`` block.
"""

from __future__ import annotations

import base64
import os
import pathlib
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import typing as t

import dns.message
import dns.query
import dns.tsig
import dns.update
from haproxy_stage import free_port
from limits import wait_until

NAMED = shutil.which("named") or next(
    (path for path in ("/usr/sbin/named", "/usr/local/sbin/named") if os.path.exists(path)), None
)
KEY, ALGORITHM = "deploy", "hmac-sha256"
LAST = {"primary": 53, "secondary": 54, "resolver": 55}

OPTIONS = """\
options {{
    directory "{place}";
    pid-file none;
    session-keyfile none;
    managed-keys-directory "{place}";
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    query-source address {address};
    notify-source {address};
    transfer-source {address};
    notify-delay 0;
    dnssec-validation no;
    minimal-responses yes;
    max-cache-ttl 3600;
    allow-query {{ any; }};
    recursion {recursion};
    empty-zones-enable no;
}};
controls {{ }};
"""


def _lo(verb: str, address: str) -> None:
    """Give loopback an address, or take it away."""
    subprocess.run(["ip", "address", verb, f"{address}/32", "dev", "lo"], check=verb == "add", stdin=subprocess.DEVNULL)


class BindStage:
    """Serves while it is entered.

    :param zone: the zone's name.
    :param records: lines of the zone file, beside its SOA and NS.
    :param serve: which of C(primary), C(secondary) and C(resolver) there are.
    """

    def __init__(
        self, records: t.Sequence[str] = (), zone: str = "shop.test", serve: t.Sequence[str] = ("primary", "secondary")
    ) -> None:
        self.zone, self.records, self.serve = zone, records, serve
        self.secret, self.other_secret = (base64.b64encode(secrets.token_bytes(32)).decode() for _number in range(2))
        self.net = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
        # Where it is allowed, the port that an NS record means, each on an address of its own: named listens on none
        # but those of interfaces.
        self.usual = os.geteuid() == 0
        self.places = {
            name: (f"{self.net}.{LAST[name]}", 53) if self.usual else ("127.0.0.1", free_port()) for name in LAST
        }
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="zdd-"))
        self.processes: dict[str, "subprocess.Popen[bytes]"] = {}

    def address(self, server: str) -> str:
        return self.places[server][0]

    def server(self, server: str) -> str:
        """As an option names it."""
        return "%s:%d" % self.places[server]

    def __enter__(self) -> BindStage:
        try:
            for server in self.serve:
                if self.usual:
                    _lo("add", self.address(server))
                self._configure(server)
                self.start(server)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        for server in list(self.processes):
            self.stop(server)
        if self.usual:
            for server in self.serve:
                _lo("del", self.address(server))
        shutil.rmtree(self.dir)

    # -- processes -----------------------------------------------------------------------------------------------------
    def start(self, server: str) -> None:
        with open(self.dir / f"{server}.log", "ab") as log:
            self.processes[server] = subprocess.Popen(
                [str(NAMED), "-g", "-n", "1", "-c", str(self.dir / f"{server}.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(
            lambda: self.answers("@", "SOA", server), f"the {server} server answers", logs=self.dir / f"{server}.log"
        )

    def stop(self, server: str) -> None:
        process = self.processes.pop(server)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _configure(self, server: str) -> None:
        place = self.dir / server
        place.mkdir()
        text = OPTIONS.format(
            place=place,
            port=self.places[server][1],
            address=self.address(server),
            recursion="yes" if server == "resolver" else "no",
        )
        primary, secondary = ("%s port %d" % self.places[name] for name in ("primary", "secondary"))
        if server == "primary":
            notified = (
                f"notify explicit; also-notify {{ {secondary}; }};" if "secondary" in self.serve else "notify no;"
            )
            text += f"""\
key {KEY} {{ algorithm {ALGORITHM}; secret "{self.secret}"; }};
key reader {{ algorithm {ALGORITHM}; secret "{self.other_secret}"; }};
zone "{self.zone}" {{ type primary; file "zone"; allow-update {{ key {KEY}; }}; {notified} }};
"""
            # Each with its address, so that the zone's own NS records lead to all of them.
            named = [name for name in self.serve if name != "resolver"]
            lines = [
                "$TTL 60",
                "@ SOA primary root 1 3600 60 86400 1",
                *(f"@ NS {name}" for name in named),
                *(f"{name} A {self.address(name)}" for name in named),
                *self.records,
                "",
            ]
            (place / "zone").write_text("\n".join(lines), encoding="ascii")
        elif server == "secondary":
            text += f'zone "{self.zone}" {{ type secondary; file "zone"; primaries {{ {primary}; }};'
            text += " notify no; min-retry-time 1; };\n"
        else:
            text += (
                f'zone "{self.zone}" {{ type static-stub; server-addresses {{ {self.address("primary")}; }}; }};\n'
                if self.usual
                else f'zone "{self.zone}" {{ type forward; forward only; forwarders {{ {primary}; }}; }};\n'
            )
        (self.dir / f"{server}.conf").write_text(text, encoding="ascii")

    # -- what a test asks and does -------------------------------------------------------------------------------------
    def query(self, name: str, kind: str = "A", server: str = "primary") -> dns.message.Message:
        whole = self.zone if name == "@" else f"{name}.{self.zone}"
        return dns.query.tcp(
            dns.message.make_query(whole, kind), self.places[server][0], 5, port=self.places[server][1]
        )

    def answers(self, name: str, kind: str = "A", server: str = "primary") -> list[str]:
        """The values that a server has; empty where it has none."""
        found = self.query(name, kind, server)
        return sorted(record.to_text() for rrset in found.answer for record in rrset)

    def ttl(self, name: str, kind: str = "A") -> int:
        return int(self.query(name, kind).answer[0].ttl)

    def update(self, *changes: tuple[str, ...], secret: str | None = None) -> str:
        """Update the zone as somebody else with the key; the answer's code. Each change is C((verb, name, …)) as
        dnspython's update has it."""
        update = dns.update.UpdateMessage(
            self.zone,
            keyring={dns.name.from_text(KEY): dns.tsig.Key(KEY, secret or self.secret, ALGORITHM)},
            keyname=KEY,
        )
        for verb, *words in changes:
            getattr(update, verb)(*words)
        return dns.rcode.to_text(
            dns.query.tcp(update, self.places["primary"][0], 5, port=self.places["primary"][1]).rcode()
        )

    def set(self, name: str, *values: str, ttl: int = 3, kind: str = "A") -> None:
        """Let a name have these records, and no others of the type."""
        assert self.update(("delete", name, kind), *(("add", name, ttl, kind, value) for value in values)) == "NOERROR"

    def access(self, **more: t.Any) -> dict[str, t.Any]:
        """How one gets to the zone, as the driver's options."""
        servers = [] if self.usual else [self.server(name) for name in self.serve if name != "resolver"]
        return {
            "zone": self.zone,
            "server": self.server("primary"),
            "key_name": KEY,
            "key_secret": self.secret,
            "servers": servers,
            **more,
        }
