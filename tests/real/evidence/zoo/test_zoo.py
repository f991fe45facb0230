# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zoo: what may become of a request, one kind a line, on real balancers. Which are losses, whose they are, and which are nobody's.

A kind is met while the deploy moves its member, so that each loss counts. It is met once: one is enough.
"""

# claim: each-kind-of-loss-on-real-balancers

from __future__ import annotations

import abc
import time
import typing as t

import haproxy_stage
import nginx_stage
import pytest
from limits import wait_until

from ansible_collections.zero.downtime.plugins.module_utils import _balance, _evidence, _haproxy_info, _haproxy_options, _nginx_info, _nginx_options

from zoo.member import Member, again, leaves, once, over_http2, raw

WEBSOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def stalled(port: int) -> None:
    """An upload that its client never ends."""
    once(port, "/ok", method="POST", head="Content-Length: 100\r\n", body=b"half")


def closed_websocket(port: int) -> None:
    leaves(port, "/websocket", head=WEBSOCKET)


# Name, what a client does, and what the sheet has of it on HAProxy and on nginx: the kind of loss, "" for none, None for what the balancer cannot see.
LOSSES: list[tuple[str, t.Callable[[int], t.Any], str | None, str | None]] = [
    ("the member closes a fresh connection", lambda port: once(port, "/close"), "own_errors", "own_errors"),
    ("the member closes a used connection", lambda port: again(port, "/close"), "unanswered", "own_errors"),
    ("the member resets a fresh connection", lambda port: once(port, "/reset"), "own_errors", "own_errors"),
    ("the member resets a used connection", lambda port: again(port, "/reset"), "unanswered", "own_errors"),
    ("an upload meets a closed connection", lambda port: once(port, "/close", method="POST", head="Content-Length: 2\r\n", body=b"hi"),
     "own_errors", "own_errors"),
    ("half an answer", lambda port: once(port, "/half"), "truncated", "truncated"),
    ("half an answer, then a reset", lambda port: once(port, "/half_reset"), "truncated", "truncated"),
    # nginx' log does not say that chunks were missing.
    ("half an answer in chunks", lambda port: once(port, "/half_chunk"), "truncated", None),
    # To nginx it is an answer in HTTP/0.9, which it passes on.
    ("an answer that is none", lambda port: once(port, "/garbage"), "own_errors", None),
    ("no answer in time", lambda port: once(port, "/slow=4"), "own_errors", "own_errors"),
    ("nobody listens", lambda port: once(port, "/dead/ok"), "own_errors", "own_errors"),
]
NOISE: list[tuple[str, t.Callable[[int], t.Any]]] = [
    ("an answer", lambda port: once(port, "/ok")),
    ("an answer that ends with its connection", lambda port: once(port, "/until_eof")),
    ("the client leaves", lambda port: leaves(port, "/slow=0.5")),
    ("the client resets", lambda port: leaves(port, "/slow=0.5", reset=True)),
    ("the client leaves during an upload", lambda port: leaves(port, "/ok", method="POST", head="Content-Length: 100\r\n", body=b"half")),
    ("the client stalls its upload", stalled),
    ("the member refuses an upload half-way", lambda port: once(port, "/too_big", method="POST", head="Content-Length: 90000\r\n", body=b"x" * 1000)),
    ("a rule denies", lambda port: once(port, "/deny/ok")),
    ("a rule answers 503", lambda port: once(port, "/away/ok")),
    ("a rule ends the connection", lambda port: once(port, "/drop/ok")),
    ("another application fails", lambda port: once(port, "/other/close")),
    ("a version that there is not", lambda port: once(port, "/ok", version="HTTP/9.9")),
    ("no request at all", lambda port: raw(port, b"\x16\x03\x01\x02\x00\r\n\r\n")),
    ("half a request", lambda port: raw(port, b"GET / HTTP/1.1\r\nHost:")),
    ("a WebSocket whose client closes it", closed_websocket),
]
# Over HTTP/2: name, path, what the client does, and the kind of loss, "" for none.
HTTP2 = [
    ("the member closes the connection", "/close", "read", "unanswered"), ("the member resets the connection", "/reset", "read", "unanswered"),
    ("half an answer", "/half", "read", "truncated"), ("half an answer in chunks", "/half_chunk", "read", "truncated"),
    ("no answer in time", "/slow=4", "read", "own_errors"), ("nobody listens", "/dead/ok", "read", "own_errors"),
    ("an answer", "/ok", "read", ""), ("the client cancels", "/slow=0.6", "cancel", ""), ("the client leaves", "/slow=0.6", "leave", ""),
    ("a rule denies", "/deny/ok", "read", ""), ("another application fails", "/other/close", "read", ""),
]
ANSWERED = [("the application's own 500", lambda port: once(port, "/e500"), "app_errors"),
            ("the application's own 503", lambda port: once(port, "/e503"), "app_errors"),
            ("a page that is not there", lambda port: once(port, "/e404"), "refused")]


class Zoo(abc.ABC):
    """A real balancer before raw members: ``app1`` is asked, ``gone`` is dead, and ``other`` is another application's."""

    driver = ""

    def __init__(self) -> None:
        self.stage = self.start()
        # Somebody else may have listened meanwhile: the stage gives no port twice.
        self.members = [Member(self.stage.ports[name]) for name in ("app1", "their1")]
        self.port = self.stage.port
        self.samples: list[dict[str, t.Any]] = []

    @abc.abstractmethod
    def start(self) -> t.Any:
        """Start the balancer; returns its stage."""

    @abc.abstractmethod
    def read(self) -> dict[str, t.Any]:
        """What the driver's module C(info) tells of it."""

    def settled(self) -> dict[str, t.Any]:
        """The counters once nothing is open any more."""
        def at_rest() -> t.Any:
            found = self.read()
            rows = found["counters"]
            return found if rows and not any(row["open"] for row in rows) else None

        wait_until(lambda: at_rest() is not None, "every request is over")
        before = self.read()
        while True:
            # A log line, or the end of a stream, may come a moment after the client has its answer.
            time.sleep(0.1)
            after = self.read()
            if after["counters"] == before["counters"]:
                return after
            before = after

    def meet(self, behaviour: t.Callable[[int], t.Any]) -> dict[str, t.Any]:
        """The evidence of a deploy in which app1 is moved while one client meets it."""
        samples = [_balance.append(None, "lb1", self.settled(), "started", now=lambda: 0.0)]
        for dummy in range(5):
            assert once(self.port, "/ok").endswith(b"ok")
        samples.append(_balance.append(None, "lb1", self.settled(), "checked", now=lambda: 9.0))
        behaviour(self.port)
        samples.append(_balance.append(None, "lb1", self.settled(), "stopped", now=lambda: 20.0))
        steps = [{"name": "drain", "started": 10.0, "finished": 12.0, "result": "succeeded", "members": ["app1", "gone"], "batch": 1}]
        self.samples = samples
        return _evidence.compose(None, samples, steps=steps)

    def stop(self) -> None:
        for member in self.members:
            member.stop()
        self.stage.stop()


class HaproxyZoo(Zoo):
    driver = "haproxy"

    def start(self) -> t.Any:
        rules = ["http-request deny deny_status 503 if { path_beg /deny }",
                 "http-request return status 503 content-type text/plain string no if { path_beg /away }",
                 "http-request silent-drop if { path_beg /drop }"]
        stage = haproxy_stage.HaproxyStage(
            {"shop": ["app1"], "dead": ["gone"], "other": ["their1"]}, default_server="weight 100", start_apps=False,
            backend_lines={"shop": ["option tcp-check", *rules[:2]], "dead": ["option tcp-check", "retries 1"], "other": ["option tcp-check"]},
            frontend_lines=[rules[2], "use_backend other if { path_beg /other }", "use_backend dead if { path_beg /dead }"],
            defaults_lines=["timeout server 2s", "timeout client 2s", "timeout http-request 1s"])
        stage.http2_port = haproxy_stage.free_port()
        stage.extra = "\n".join([
            "frontend http2", f"    bind 127.0.0.1:{stage.http2_port} proto h2", "    use_backend other if { path_beg /other }",
            "    use_backend dead if { path_beg /dead }", "    default_backend shop", ""])
        text = stage.text
        stage.text = lambda: text().replace("    option httpchk GET /ready\n", "").replace("    option tcp-check\n", "")  # type: ignore[method-assign]
        return stage.__enter__()

    def read(self) -> dict[str, t.Any]:
        params = {name: option.get("default") for name, option in _haproxy_options.info_spec().items()}
        params.update(socket=self.stage.socket, master_socket=self.stage.master_socket, pools=["shop", "dead"])
        return _haproxy_info.info(params)


class NginxZoo(Zoo):
    driver = "nginx"

    def start(self) -> t.Any:
        stage = nginx_stage.NginxStage({"shop": ["app1"], "dead": ["gone"]}, start_apps=False, fronts={"shop": haproxy_stage.free_port()}, server_lines=[
            "proxy_read_timeout 2s;", "client_body_timeout 1s;", "client_header_timeout 1s;",
            "location /deny { return 403; }", "location /away { return 503; }", "location /drop { return 444; }"])
        stage.ports["their1"] = haproxy_stage.free_port()
        text = stage.text
        dead = "location /dead { proxy_pass http://dead; } location /other { proxy_pass http://127.0.0.1:%d; }" % stage.ports["their1"]
        stage.text = lambda: text().replace("location /deny", dead + " location /deny")
        return stage.__enter__()

    def read(self) -> dict[str, t.Any]:
        params = {name: option.get("default") for name, option in _nginx_options.info_spec().items()}
        params.update(self.stage.options, slowest_request=10.0)
        return _nginx_info.info(params)


@pytest.fixture(scope="module", params=[HaproxyZoo, NginxZoo], ids=["haproxy", "nginx"])
def zoo(request):
    if (haproxy_stage.HAPROXY if request.param is HaproxyZoo else nginx_stage.NGINX) is None:
        pytest.skip("it is not installed")
    found = request.param()
    yield found
    found.stop()


@pytest.mark.parametrize("name, behaviour, on_haproxy, on_nginx", LOSSES, ids=[kind[0] for kind in LOSSES])
def test_a_loss_is_seen_and_names_its_member(zoo, name, behaviour, on_haproxy, on_nginx):
    kind = on_haproxy if zoo.driver == "haproxy" else on_nginx
    found = zoo.meet(behaviour)
    if kind is None:
        assert found["balance"]["lost"] == 0, "the balancer sees it now: say so in the table and in the documents"
        return
    assert found["verdict"] == "lost" and found["balance"]["lost_by_kind"] == {kind: 1}, (found["sentence"], zoo.samples)
    assert "1 %s" % _evidence._losses.WORDS[kind] in found["sentence"]
    entry, = found["attributed"]
    assert (entry["member"], entry["balancer"], entry["count"]) == ("gone" if "listens" in name else "app1", "lb1", 1), entry


@pytest.mark.parametrize("name, behaviour", NOISE, ids=[kind[0] for kind in NOISE])
def test_noise_is_nobodys(zoo, name, behaviour):
    found = zoo.meet(behaviour)
    assert (found["verdict"], found["balance"]["lost"], found["balance"]["background"]) == ("clean", 0, ""), (name, found["sentence"], zoo.samples)
    assert found["sentence"].startswith("No request was lost: ") and found["balance"]["complete"], found["sentence"]


@pytest.mark.parametrize("name, behaviour, kind", ANSWERED, ids=[kind[0] for kind in ANSWERED])
def test_what_the_application_answers_is_its_members(zoo, name, behaviour, kind):
    found = zoo.meet(behaviour)
    assert found["verdict"] == "clean" and found["balance"]["lost"] == 0, (name, found["sentence"])
    cells = [cell for cell in _balance.balance(zoo.samples)["cells"] if cell.counts]
    assert [(cell.member, cell.counts) for cell in cells] == [("app1", {kind: 1})]


@pytest.mark.parametrize("name, path, how, kind", HTTP2, ids=[kind[0] for kind in HTTP2])
def test_over_http2_it_is_the_same_but_that_a_broken_connection_is_no_answer(zoo, name, path, how, kind):
    if zoo.driver != "haproxy":
        pytest.skip("nginx' log does not depend on what its clients speak")
    found = zoo.meet(lambda _port: over_http2(zoo.stage.http2_port, path, how))
    assert found["balance"]["lost_by_kind"] == ({kind: 1} if kind else {}), (found["sentence"], zoo.samples)
    assert found["verdict"] == ("lost" if kind else "clean")
    assert [entry["member"] for entry in found["attributed"]] == ([] if not kind else ["gone" if "listens" in name else "app1"])
