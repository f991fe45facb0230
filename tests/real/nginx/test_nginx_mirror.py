# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of requests on a real nginx: who gets them, how they end, and that a dead or slow idle side costs the live path nothing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import http.server
import socket
import threading
import time

import nginx_stage
import pytest
from haproxy_stage import free_port, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._nginx import mirror as _nginx_mirror

# How much worse the 99th percentile may be, with copies of all GET requests.
LIMIT = 1.2
# Milliseconds that a turn of the scheduler may cost where two cores have much else to do; what is looked for costs hundreds.
NOISE = 5.0
POOLS = {"blue": ["app1"], "green": ["app2"]}
NAIVE = """\
server {{ listen 127.0.0.1:{port}; access_log off;
    location / {{ mirror /naive; proxy_pass http://blue; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location = /naive {{ internal; proxy_pass http://green$request_uri; proxy_read_timeout 500ms; }}
}}
server {{ listen 127.0.0.1:{plain}; access_log off; location / {{ proxy_pass http://blue; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""


class Stage(nginx_stage.NginxStage):
    """With the lines that a team adds once; beside it the same without a mirror, and with nginx's own mirror alone."""

    included = True

    def __init__(self):
        self.plain, self.naive = free_port(), free_port()
        super().__init__(POOLS, fronts={"blue": free_port()}, upstream_lines=["keepalive 8;"])

    def text(self):
        server = " ".join(f"include {self.upstreams}/{pool}.mirror-server*;" for pool in POOLS)
        inside = " ".join(f"include {self.upstreams}/{pool}.mirror-location*;" for pool in POOLS)
        text = super().text()
        if self.included:
            text = text.replace("location / {", f"{server}\n        location / {{ {inside}", 1)
        return text.rstrip().rstrip("}") + NAIVE.format(port=self.naive, plain=self.plain) + "}\n"

    def mirror(self, share, check_mode=False, **options):
        params = {name: option.get("default") for name, option in _nginx_mirror.mirror_spec().items()}
        params.update({name: value for name, value in self.options.items() if name in params}, share=share, mirrors={"blue": "green"},
                      slowest_request=10.0, timeout=10)
        params.update(options)
        return _nginx_mirror.mirror(params, check_mode)

    def files(self):
        return sorted(path.name for path in self.upstreams.iterdir()
                      if ".mirror-" in path.name and not path.name.endswith("-log") or path.name.startswith("shadow"))


@pytest.fixture
def balancer():
    if nginx_stage.NGINX is None:
        pytest.skip("nginx is not installed")
    with Stage() as found:
        yield found


@contextlib.contextmanager
def recorder(port):
    """In place of green's member: notes what comes."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            seen.append((self.command, self.path, dict(self.headers.items())))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET

        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        # With the five of the standard library the kernel keeps what does not fit, and brings it a second later, when nobody waits for it any more.
        request_queue_size = 1000

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def deaf(port):
    """A member that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", port), backlog=1000):
        yield


def came(seen, wanted):
    """How many requests of this path were seen."""
    return [path for dummy, path, headers in seen].count(wanted)


def until_copied(balancer, seen, *paths):
    """Asks until each was: on a machine that stops for 50 ms a copy is given up, so that no user waits."""
    def copied():
        missing = set(paths) - {path for dummy, path, headers in seen}
        for path in missing:
            assert b'"name": "app1"' in get(balancer.url + path)[1]
        return not missing

    wait_until(copied, "every GET was copied")


@pytest.mark.claim("shadow-mirror", "mirror-limit-and-get-only")
def test_get_requests_are_copied_until_it_is_ended(balancer):
    balancer.kill("app2")
    with recorder(balancer.ports["app2"]) as seen:
        predicted = balancer.mirror(100, check_mode=True)
        assert predicted["changed"] is True and not balancer.files()
        done = balancer.mirror(100)
        assert done["changed"] is True and len(balancer.files()) == 3
        assert balancer.mirror(100)["changed"] is False
        for dummy in range(10):
            assert get(balancer.url + "/", data=b"x")[0] == 200
        items = {f"/item/{number}?q=1" for number in range(30)}
        until_copied(balancer, seen, *items)
        assert {path for dummy, path, headers in seen} == items
        assert {method for method, path, headers in seen} == {"GET"}
        assert all(headers["Host"] == f"127.0.0.1:{balancer.port}" and "X-Zero-Downtime-Host" not in headers for dummy, path, headers in seen)

        # A share of it, and whoever asks without the name of the relay still learns the revision.
        assert balancer.mirror(50)["changed"] is True
        shared = functools.partial(came, seen, "/shared")
        asked = 0
        while shared() < 60:
            get(balancer.url + "/shared")
            asked += 1
            assert asked < 10000, seen
        assert asked > 80, "60 copies of %d requests are more than half of them can be" % asked
        log = str(balancer.upstreams / _nginx_mirror.LOG.format("green"))
        wait_until(lambda: sum(_nginx_mirror.count([log]).values()) >= shared(), "every copy was counted")
        ended = balancer.mirror(0)
        assert ended["changed"] is True and not balancer.files()
        # Some may still have been under way. One that was given up is counted too, and may have come all the same.
        assert sum(ended["statuses"].values()) >= 60 and 1 <= ended["statuses"]["200"] <= shared(), ended
        assert balancer.mirror(0)["changed"] is False
        get(balancer.url + "/ended")
        time.sleep(0.2)
        assert not came(seen, "/ended")


@pytest.mark.claim("mirror-ends-by-itself")
def test_a_mirror_that_nobody_ends_ends_by_itself(balancer):
    balancer.kill("app2")
    with recorder(balancer.ports["app2"]) as seen:
        assert balancer.mirror(100, lasts=15.0)["changed"] is True
        end = time.time() + 16
        until_copied(balancer, seen, "/before")
        wait_until(lambda: time.time() > end, "its time is over")
        assert get(balancer.url + "/after")[0] == 200
        time.sleep(0.2)
        assert not came(seen, "/after")
        # Begun anew.
        assert balancer.mirror(100)["changed"] is True
        until_copied(balancer, seen, "/again")


def test_what_cannot_be_is_refused_and_changes_nothing(balancer):
    before = {path: path.read_bytes() for path in balancer.upstreams.iterdir()}
    cases = {
        "mirrors has blue: blue, and requests of blue are the ones that serve": {"mirrors": {"blue": "blue"}},
        "mirrors has green: blue, but the location that would be copied passes its requests to blue itself": {"mirrors": {"green": "blue"}},
        "no server and no location includes the mirror's file of pool red": {"mirrors": {"blue": "red"}},
        "share is 101": {"share": 101},
        "lasts is 0": {"lasts": 0.0},
        "mirror_limit is 0": {"mirror_limit": 0},
    }
    for sentence, options in cases.items():
        with pytest.raises(DowntimeError) as error:
            balancer.mirror(**{"share": 10, **options})
        assert sentence in str(error.value)
    green = balancer.upstream_file("green")
    text = green.read_text(encoding="utf-8")
    green.write_text(text.replace(str(balancer.ports["app2"]), str(balancer.ports["app1"])), encoding="utf-8")
    with pytest.raises(DowntimeError, match=f"pools blue and green share the server 127.0.0.1:{balancer.ports['app1']}"):
        balancer.mirror(10)
    green.write_text(text, encoding="utf-8")
    # nginx itself refuses: the relay's address is none of this machine.
    with pytest.raises(DowntimeError, match="the old one was put back|old files were put back"):
        balancer.mirror(10, revision_listen="192.0.2.1:1", reload_timeout=1.0)
    assert {path: path.read_bytes() for path in balancer.upstreams.iterdir() if path.name != ".lock"} == before


def p99(seconds, *ports):
    """Of live requests on kept and on fresh connections, in ms, to each of these ports at the same time; none of them may fail."""
    probes = [_probe.Probe({"url": f"http://127.0.0.1:{port}/", "rate": 100.0, "streams": {"fresh": 0.3, "keepalive": 0.7, "post": 0.0}}) for port in ports]
    timer = threading.Timer(seconds, lambda: [probe.stop() for probe in probes])
    with concurrent.futures.ThreadPoolExecutor(len(probes)) as pool:
        running = [pool.submit(probe.run) for probe in probes]
        timer.start()
        accounts = [one.result() for one in running]
    assert all(account["failed"] == 0 and account["sent"] > 50 * seconds for account in accounts), accounts
    return [account["p99_ms"] for account in accounts]


@pytest.mark.claim("mirror-costs-the-live-path-nothing")
def test_a_dead_and_a_slow_idle_side_cost_the_live_path_nothing(balancer):
    """With copies and without at the same time, so that both meet what else the machine does; a window in which only one of them was unlucky
    says nothing, so another one is looked at."""
    def cost_nothing(name):
        for dummy in range(15):
            without, copied = p99(2.0, balancer.plain, balancer.port)
            found.setdefault(name, []).append((without, copied))
            if copied <= LIMIT * without + NOISE:
                return True
        return False

    found = {}
    assert balancer.mirror(100)["changed"] is True
    balancer.kill("app2")
    assert cost_nothing("dead"), found
    with deaf(balancer.ports["app2"]):
        assert cost_nothing("slow"), found
        (naive,) = p99(2.0, balancer.naive)
    assert naive > 200, f"nginx's mirror alone costs nothing here, so this proves nothing: {naive}"
    ended = balancer.mirror(0)
    assert set(ended["statuses"]) <= {"502", "504"} and ended["requests"] > 100, ended
