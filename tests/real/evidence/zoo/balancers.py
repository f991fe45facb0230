# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real balancers before raw members, with a blue and a green side each, and the evidence of a deploy in which a client meets something there."""

from __future__ import annotations

import abc
import contextlib
import pathlib
import tempfile
import time
import typing as t

import haproxy_stage
import nginx_stage
from certificate import self_signed
from limits import wait_until

from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import info as _haproxy_info
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._nginx import info as _nginx_info
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options

from zoo.clients import Behaviour, Door
from zoo.member import Member

# By side: who is asked, and who is dead.
MEMBERS = {"blue": ("app1", "gone1"), "green": ("app2", "gone2")}
POOLS = {"shop": ["app1"], "shop_dead": ["gone1"], "green": ["app2"], "green_dead": ["gone2"]}
Step = t.Dict[str, t.Any]


def step(name: str, started: float, finished: float, members: t.Sequence[str] = (), **more: t.Any) -> Step:
    return {"name": name, "started": started, "finished": finished, "result": "succeeded", "members": list(members), "batch": 1 if members else None, **more}


# What a deploy does while something is met, from second 10 on: it drains those that are met, or gives the requests of one side to the other.
STEPS: dict[str, list[Step]] = {
    "rolling": [step("drain", 10.0, 12.0, MEMBERS["blue"])],
    "blue_green": [step("activate", 9.1, 9.6, MEMBERS["green"], pools=["green", "green_dead"]), step("switch", 10.0, 12.0)],
    "canary": [step("activate", 9.1, 9.6, MEMBERS["green"], pools=["green", "green_dead"]), step("share 50 %", 10.0, 12.0)],
}
# Which sides meet it meanwhile.
SIDES = {"rolling": ["blue"], "blue_green": ["blue", "green"], "canary": ["blue", "green"]}


class Zoo(abc.ABC):
    """A balancer, its members on both sides, and another application's member on the same frontend."""

    driver = ""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-")))
            self.certificate = self_signed(directory)
            self.https_port = haproxy_stage.free_port()
            self.stage = stack.enter_context(self.build())
            # Somebody else may have listened meanwhile: the stage gives no port twice.
            for name in ("app1", "app2", "their1"):
                stack.callback(Member(self.stage.ports[name]).stop)
            self._end = stack.pop_all()

    def stop(self) -> None:
        self._end.close()

    @abc.abstractmethod
    def build(self) -> t.Any:
        """The stage, not yet started."""

    @abc.abstractmethod
    def read(self) -> dict[str, t.Any]:
        """What the driver's module C(info) tells of it."""

    def door(self, transport: str, side: str) -> Door:
        return Door(transport, self.stage.port if transport == "h1" else self.https_port, side, self.stage.reload)

    def _settled(self) -> dict[str, t.Any]:
        """The counters once nothing is open any more but streams."""
        def at_rest() -> t.Any:
            rows = self.read()["counters"]
            return rows and all(row["open"] <= row.get("streams", 0) for row in rows)

        wait_until(at_rest, "every request is over")
        readings = [self.read()]

        def unchanged() -> bool:
            # A log line, or the end of a stream, may come a moment after the client has its answer.
            time.sleep(0.1)
            readings.append(self.read())
            before, after = ([{**row, "read": None} for row in reading["counters"]] for reading in readings[-2:])
            return after == before

        wait_until(unchanged, "two readings are the same")
        return readings[-1]

    def meet(self, transport: str, behaviour: Behaviour, before: int = 0) -> list[dict[str, t.Any]]:
        """The readings of a deploy in which a client meets something on the blue side, and then on the green one.

        :param before: how often it meets that before anything moves, too.
        """
        with contextlib.ExitStack() as held:
            return self._readings(transport, behaviour, before, held)

    def _readings(self, transport: str, behaviour: Behaviour, before: int, held: contextlib.ExitStack) -> list[dict[str, t.Any]]:
        samples: list[dict[str, t.Any]] = []

        def read(at: str, when: float) -> None:
            samples.append(_balance.append(None, "lb1", self._settled(), at, now=lambda: when))

        read("started", 0.0)
        for side in ("blue", "green"):
            for dummy in range(5):
                with self.door(transport, side).client() as client:
                    assert client.ask(self.door(transport, side).path("/ok")).read().endswith(b"ok")
            for dummy in range(before):
                behaviour(self.door(transport, side))
        read("checked", 9.0)
        for side, when in (("blue", 11.0), ("green", 20.0)):
            lasting = behaviour(self.door(transport, side))
            if lasting is not None:
                held.callback(lasting.close)
            read(side, when)
        return samples

    @staticmethod
    def judge(samples: t.Sequence[dict[str, t.Any]], strategy: str) -> dict[str, t.Any]:
        """The evidence of such a deploy."""
        return _evidence.compose(None, samples[:2 + len(SIDES[strategy])], steps=STEPS[strategy])


class HaproxyZoo(Zoo):
    driver = "haproxy"

    def build(self) -> t.Any:
        rules = ["http-request deny deny_status 503 if { path -m sub /deny/ }", "http-request tarpit if { path -m sub /tarpit/ }",
                 "http-request silent-drop if { path -m sub /vanish/ }", "http-request reject if { path -m sub /reject/ }",
                 "http-request return status 503 content-type text/plain string no if { path -m sub /away/ }"]
        stage = haproxy_stage.HaproxyStage(
            {**POOLS, "other": ["their1"]}, default_server="weight 100", start_apps=False,
            backend_lines={"shop": rules, "green": rules, "shop_dead": ["retries 1"], "green_dead": ["retries 1"]},
            frontend_lines=[f"bind 127.0.0.1:{self.https_port} ssl crt {self.certificate.both} alpn h2,http/1.1",
                            "http-request silent-drop if { path -m sub /drop/ }", "use_backend other if { path -m sub /other/ }",
                            "use_backend green_dead if { path_beg /green/dead }", "use_backend green if { path_beg /green }",
                            "use_backend shop_dead if { path_beg /dead }"],
            defaults_lines=["timeout server 2s", "timeout client 2s", "timeout http-request 1s", "timeout tarpit 300ms", "timeout tunnel 1m"])
        text = stage.text
        stage.text = lambda: text().replace("    option httpchk GET /ready\n", "")  # type: ignore[method-assign]
        return stage

    def read(self) -> dict[str, t.Any]:
        params = {name: option.get("default") for name, option in _haproxy_options.info_spec().items()}
        params.update(socket=self.stage.socket, master_socket=self.stage.master_socket, pools=list(POOLS))
        return _haproxy_info.info(params)


class NginxZoo(Zoo):
    driver = "nginx"

    def build(self) -> t.Any:
        ports = {"their1": haproxy_stage.free_port()}
        stage = nginx_stage.NginxStage(
            POOLS, start_apps=False, fronts={"shop": haproxy_stage.free_port()}, server_lines=[
                f"listen 127.0.0.1:{self.https_port} ssl http2;", f"ssl_certificate {self.certificate.path};", f"ssl_certificate_key {self.certificate.key};",
                "proxy_read_timeout 2s;", "client_body_timeout 1s;", "client_header_timeout 1s;", "proxy_http_version 1.1;",
                "proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Connection $http_connection;",
                "location ~ /deny/ { return 403; }", "location ~ /away/ { return 503; }", "location ~ /drop/ { return 444; }",
                "location ~ ^/tarpit/ { limit_req zone=patient burst=5; proxy_pass http://shop; }",
                "location ~ ^/green/tarpit/ { limit_req zone=patient burst=5; proxy_pass http://green; }",
                "location /green { proxy_pass http://green; }", "location /green/dead { proxy_pass http://green_dead; }",
                "location ~ /other/ { proxy_pass http://127.0.0.1:%d; }" % ports["their1"], "location /dead { proxy_pass http://shop_dead; }"])
        stage.ports.update(ports)
        text = stage.text
        # Two a second, and whoever comes sooner waits.
        stage.text = lambda: text().replace("http {", "http {\n    limit_req_zone $server_name zone=patient:32k rate=2r/s;")  # type: ignore[method-assign]
        return stage

    def read(self) -> dict[str, t.Any]:
        params = {name: option.get("default") for name, option in _nginx_options.info_spec().items()}
        params.update(self.stage.options, slowest_request=10.0)
        return _nginx_info.info(params)


ZOOS: dict[str, type[Zoo]] = {"haproxy": HaproxyZoo, "nginx": NginxZoo}
INSTALLED = {"haproxy": haproxy_stage.HAPROXY is not None, "nginx": nginx_stage.NGINX is not None}
