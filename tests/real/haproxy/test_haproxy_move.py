# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of server, and what stands in a move's way, on a real HAProxy."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from haproxy_stage import DEFAULT_SERVER, ask, get, rows_of, version, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

TWO = {"shop": ["app1", "app2"]}


class Call(threading.Thread):
    """One request in the background, which is in flight (or the last of so many) when this is made."""

    def __init__(self, balancer, path, expected=1):
        super().__init__(daemon=True)
        self.url, self.answer = balancer.url + path, None
        self.start()
        wait_until(lambda: held(balancer) >= expected, "the request is in flight")

    def run(self):
        try:
            self.answer = get(self.url, 20)[0]
        except OSError as error:
            self.answer = repr(error)


def servers(balancer):
    return rows_of(balancer, 4)


def server(balancer, pool, name):
    return next(row for row in servers(balancer) if (row["pxname"], row["svname"]) == (pool, name))


def status(balancer, pool, name):
    return server(balancer, pool, name)["status"]


def held(balancer):
    """Requests that the worker of now has, those in a queue with them."""
    return sum(int(row["scur"]) for row in servers(balancer)) + sum(int(row["qcur"] or 0) for row in rows_of(balancer, 2))


def idle(balancer, pool, name):
    """Connections to a server that haproxy keeps open for later requests."""
    return int(server(balancer, pool, name)["srv_icur"])


def when(check, then):
    """A thread that does something as soon as something is so."""
    def run():
        wait_until(check, "what is waited for")
        then()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def only(result, name="app1", pool="shop"):
    return next(member for member in result["members"] if (member["name"], member["pool"]) == (name, pool))


def test_out_and_in_change_once(stage, move):
    balancer = stage(TWO)
    checked = move(balancer, ["app1"], "drained", check_mode=True)
    assert checked["changed"] and only(checked)["state"] == "drained" and status(balancer, "shop", "app1") == "UP"
    out = move(balancer, ["app1"], "drained")
    assert out["changed"] and out["already_out"] == [] and status(balancer, "shop", "app1") == "MAINT"
    assert out["diff"] == {"before": {"shop/app1": {"state": "active", "weight": 100}}, "after": {"shop/app1": {"state": "drained", "weight": 100}}}
    again = move(balancer, ["app1"], "drained")
    assert not again["changed"] and again["already_out"] == ["app1"] and only(again)["drained_by"] == "sessions"
    assert move(balancer, ["app1"], "active", check_mode=True)["changed"]
    back = move(balancer, ["app1"], "active", weight=50)
    assert back["changed"] and only(back)["weight"] == 50 and status(balancer, "shop", "app1") == "UP"
    assert not move(balancer, ["app1"], "active", weight=50)["changed"]
    assert not move(balancer, ["app1"], "active", check_mode=True)["changed"]
    assert move(balancer, ["app1"], "active", weight=100)["changed"]


@pytest.mark.skipif(version() < (3, 1), reason="haproxy has no init-state before 3.1")
def test_members_that_haproxy_lets_wait_for_its_own_checks(stage, move):
    balancer = stage({"shop": ["app1", "app2"]}, default_server=DEFAULT_SERVER + " init-state fully-down")
    wait_until(lambda: {status(balancer, "shop", name) for name in ("app1", "app2")} == {"UP"}, "both serve")
    move(balancer, ["app1"], "drained")
    assert status(balancer, "shop", "app1") == "MAINT"
    back = move(balancer, ["app1"], "active")
    assert only(back)["state"] == "active" and status(balancer, "shop", "app1") == "UP"
    # By hand, too.
    ask(balancer.socket, "set server shop/app2 state maint")
    ask(balancer.socket, "set server shop/app2 state ready")
    assert status(balancer, "shop", "app2").startswith("DOWN")
    wait_until(lambda: status(balancer, "shop", "app2") == "UP", "its checks have passed")


def test_drain_waits_for_requests_and_says_how_many_are_left(stage, move):
    balancer = stage({"shop": ["app1"]})
    call = Call(balancer, "/slow?ms=4000")
    with pytest.raises(DowntimeError, match=r"after 0\.3 s not drained: shop/app1 \(1 in flight\); nothing was cut"):
        move(balancer, ["app1"], "drained", timeout=0.3)
    started = move(balancer, ["app1"], "drained", wait=False)
    assert only(started)["state"] == "draining" and only(started)["in_flight"] == 1 and not started["changed"]
    out = move(balancer, ["app1"], "drained")
    assert out["waited"] > 0.5
    call.join()
    assert call.answer == 200


def test_a_drained_member_has_no_connection_left_to_it(stage, move):
    """A request that is in flight when its server goes into maintenance keeps its connection open when it ends."""
    balancer = stage({"shop": ["app1"]}, defaults_lines=["http-reuse safe"])

    def one_in_flight():
        get(balancer.app_url("app1") + "/ctl?let_go=0")
        return Call(balancer, "/held")

    def answered(call):
        assert get(balancer.app_url("app1") + "/ctl?let_go=1")[0] == 200
        call.join()
        assert call.answer == 200

    # The naive way: maintenance, and nothing in flight. HAProxy 3.1 leaves the connection, 3.3 closes it.
    call = one_in_flight()
    ask(balancer.socket, "set server shop/app1 state maint")
    answered(call)
    left = 1 if version() < (3, 3) else 0
    wait_until(lambda: idle(balancer, "shop", "app1") == left, "the request's connection is idle, or closed")
    ask(balancer.socket, "set server shop/app1 state ready")
    wait_until(lambda: status(balancer, "shop", "app1") == "UP", "app1 is back")
    # Ours.
    call = one_in_flight()
    with ThreadPoolExecutor(1) as pool:
        out = pool.submit(move, balancer, ["app1"], "drained")
        wait_until(lambda: status(balancer, "shop", "app1") == "MAINT", "app1 leaves")
        answered(call)
        assert only(out.result())["state"] == "drained"
    wait_until(lambda: idle(balancer, "shop", "app1") == 0, "no connection is open", timeout=3.0)
    assert status(balancer, "shop", "app1") == "MAINT"


def test_what_is_left_is_cut_when_asked_for(stage, move):
    balancer = stage({"shop": ["app1"]})
    call = Call(balancer, "/slow?ms=5000")
    out = move(balancer, ["app1"], "drained", timeout=0.3, timeout_action="cut")
    assert only(out)["cut"] == 1 and only(out)["in_flight"] == 0
    call.join()
    assert call.answer != 200


def test_requests_of_an_old_worker_are_waited_for_and_cut(stage, move):
    balancer = stage({"shop": ["app1"]})
    call = Call(balancer, "/slow?ms=4000")
    balancer.reload()
    started = move(balancer, ["app1"], "drained", wait=False)
    assert only(started)["in_flight"] == 1 and len(started["workers"]) == 2
    assert len(started["counters"]) == 2 and sum(row["open"] for row in started["counters"]) == 1
    out = move(balancer, ["app1"], "drained")
    assert out["waited"] > 0.5
    call.join()
    assert call.answer == 200

    move(balancer, ["app1"], "active")
    call = Call(balancer, "/slow?ms=8000")
    balancer.reload()
    wait_until(lambda: status(balancer, "shop", "app1") == "UP", "UP")
    assert only(move(balancer, ["app1"], "drained", timeout=0.3, timeout_action="cut"))["cut"] == 1
    call.join()
    assert call.answer != 200


def test_old_workers_without_master_socket(stage, move):
    balancer = stage({"shop": ["app1"]})
    call = Call(balancer, "/slow?ms=4000")
    old = balancer.worker_pid()
    balancer.reload()
    with pytest.raises(DowntimeError, match=rf"workers from before a reload live \({old}\)"):
        move(balancer, ["app1"], "drained", master_socket=None, timeout=0.3)
    out = move(balancer, ["app1"], "drained", master_socket=None)
    assert only(out)["drained_by"] == "workers_exited"
    call.join()
    assert call.answer == 200


def test_without_master_process_old_workers_are_found_too(stage, move):
    balancer = stage({"shop": ["app1"]}, master=False)
    call = Call(balancer, "/slow?ms=4000")
    old = balancer.process
    # The reload of those who use no master: a new process tells the old one to finish.
    balancer.process = subprocess.Popen([old.args[0], "-db", "-f", balancer.config, "-x", balancer.socket, "-sf", str(old.pid)])
    try:
        wait_until(lambda: balancer.worker_pid() == balancer.process.pid, "the new one answers")
        out = move(balancer, ["app1"], "drained")
        assert only(out)["drained_by"] == "workers_exited"
        call.join()
        assert call.answer == 200
    finally:
        if old.poll() is None:
            old.kill()
        old.wait()


def test_a_reload_during_a_drain_begins_again(stage, move):
    balancer = stage({"shop": ["app1", "app2"]})
    calls = [Call(balancer, "/slow?ms=4000", expected) for expected in (1, 2)]
    reload = when(lambda: status(balancer, "shop", "app1") == "MAINT", balancer.reload)
    out = move(balancer, ["app1"], "drained")
    reload.join()
    assert "began again" in out["notes"][0]
    assert status(balancer, "shop", "app1") == "MAINT"
    for call in calls:
        call.join()
        assert call.answer == 200


def test_a_member_that_never_gets_ready_goes_back_to_maintenance(stage, move):
    balancer = stage(TWO)
    move(balancer, ["app1"], "drained")
    balancer.kill("app1")
    with pytest.raises(DowntimeError, match=r"after 3 s not active: shop/app1 is DOWN, last check L4CON; app1 went back to maintenance"):
        move(balancer, ["app1"], "active", timeout=3)
    assert status(balancer, "shop", "app1") == "MAINT"


@pytest.mark.claim("slow-start-is-waited-for")
def test_slow_start_is_waited_for(stage, move):
    balancer = stage(TWO, server_options={"app1": "slowstart 1s"})
    move(balancer, ["app1"], "drained")
    back = move(balancer, ["app1"], "active")
    assert back["waited"] > 0.9 and only(back)["full"]


@pytest.mark.claim("unchecked-servers")
def test_unchecked_member_is_probed(stage, move):
    balancer = stage(TWO, server_options={"app1": "no-check"})
    move(balancer, ["app1"], "drained")
    balancer.kill("app1")
    with pytest.raises(DowntimeError, match="did not answer"):
        move(balancer, ["app1"], "active", timeout=0.5, probe_path="/ready")
    assert status(balancer, "shop", "app1") == "MAINT"
    balancer.start_app("app1")
    assert only(move(balancer, ["app1"], "active", probe_path="/ready"))["status"] == "no check"


def test_disabled_health_checks_do_not_hang_the_gate(stage, move):
    balancer = stage(TWO)
    ask(balancer.socket, "disable health shop/app1")
    move(balancer, ["app1"], "drained")
    assert only(move(balancer, ["app1"], "active"))["status"] in ("UP", "no check")


@pytest.mark.claim("tracking-servers")
def test_tracking_members_move_with_the_tracked_one(stage, move):
    pools = {"shop": ["app1", "app2"], "api": ["app1", "app2"]}
    balancer = stage(pools, server_options={"api/app1": "no-check track shop/app1", "api/app2": "no-check track shop/app2"})
    out = move(balancer, ["app1"], "drained", pools=["api"])
    assert {member["pool"] for member in out["members"]} == {"shop", "api"}
    assert status(balancer, "shop", "app1") == "MAINT"
    back = move(balancer, ["app1"], "active", pools=["api"])
    assert only(back, pool="api")["status"] == "UP" and only(back)["status"] == "UP"


@pytest.mark.claim("agent-checked-servers")
def test_agent_that_says_ready_does_not_bring_a_member_back(stage, move):
    said = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def agent():
            while True:
                try:
                    connection, dummy = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.sendall(b"ready\n")
                    except OSError:
                        # HAProxy did not wait for it.
                        continue
                said.append("ready")

        threading.Thread(target=agent, daemon=True).start()
        port = server.getsockname()[1]
        balancer = stage(TWO, server_options={"app1": f"agent-check agent-port {port} agent-inter 50ms"})
        wait_until(lambda: said, "the agent is asked")
        move(balancer, ["app1"], "drained")
        # So long it had time to say it again.
        time.sleep(0.4)
        assert status(balancer, "shop", "app1") == "MAINT"
        back = move(balancer, ["app1"], "active")
        assert back["changed"] and not move(balancer, ["app1"], "active")["changed"]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.claim("sticky-servers")
def test_sticky_pool_drains_first(stage, move, info):
    balancer = stage(TWO, backend_lines=["cookie SRV insert indirect nocache"], server_options={"app1": "cookie a", "app2": "cookie b"})
    assert info(balancer)["pools"][0]["sticky"]
    call = Call(balancer, "/slow?ms=2500")
    name = next(row["svname"] for row in servers(balancer) if row["scur"] == "1")
    started = move(balancer, [name], "drained", wait=False)
    assert only(started, name)["status"] == "DRAIN"
    out = move(balancer, [name], "drained")
    assert only(out, name)["status"] == "MAINT"
    call.join()
    assert call.answer == 200


def test_on_marked_down_does_not_cut(stage, move):
    balancer = stage({"shop": ["app1"]}, server_options={"app1": "on-marked-down shutdown-sessions"})
    call = Call(balancer, "/slow?ms=2500")
    move(balancer, ["app1"], "drained")
    call.join()
    assert call.answer == 200


def test_queued_requests_count(stage, move):
    balancer = stage({"shop": ["app1"]}, server_options={"app1": "maxconn 1"})
    calls = [Call(balancer, "/slow?ms=2000", expected) for expected in (1, 2)]
    started = move(balancer, ["app1"], "drained", wait=False, take_out="drain")
    assert only(started)["in_flight"] >= 1
    move(balancer, ["app1"], "drained")
    for call in calls:
        call.join()


@pytest.mark.claim("floor-at-the-balancer")
def test_floor(stage, move):
    balancer = stage({"shop": ["app1", "app2", "app3"], "api": ["app1"]})
    with pytest.raises(DowntimeError, match=r"min_active is '75%', which is 3 of the 3 members of pool shop"):
        move(balancer, ["app1"], "drained", min_active="75%", pools=["shop"])
    with pytest.raises(DowntimeError, match="pool api"):
        move(balancer, ["app1"], "drained", min_active="1")
    with pytest.raises(DowntimeError, match="min_active"):
        move(balancer, ["app1", "app2"], "drained", min_active="2", pools=["shop"], check_mode=True)
    assert status(balancer, "shop", "app1") == "UP"
    balancer.kill("app2")
    wait_until(lambda: status(balancer, "shop", "app2") == "DOWN", "DOWN")
    # What does not serve may always be taken out; what serves may not, since only two are left.
    move(balancer, ["app2"], "drained", min_active="3")
    with pytest.raises(DowntimeError, match="only 1 would serve"):
        move(balancer, ["app1"], "down", min_active="2", pools=["shop"])


@pytest.mark.parametrize("options, sentence", [
    ({"members": ["app9"]}, "member 'app9' is not a server of any pool; known are shop: app1, app2"),
    ({"members": ["app1", "app1"]}, "members names app1 more than once"),
    ({"members": []}, "members is empty"),
    ({"pools": ["nope"]}, "pool 'nope' is not a backend with servers of this haproxy; it has shop"),
    ({"weight": 257}, "weight is 257; 0 to 256 is accepted"),
    ({"weight": -1}, "weight is -1; 0 to 256 is accepted"),
    ({"min_active": "many"}, "min_active is 'many'"),
    ({"socket": "/nowhere/admin.sock"}, "socket is '/nowhere/admin.sock', which does not exist"),
    ({"socket": "admin.sock"}, "socket is 'admin.sock'; an absolute path of a UNIX socket, or host:port, is accepted"),
    ({"socket": "127.0.0.1:1"}, "socket is '127.0.0.1:1', where nothing listens"),
    ({"master_socket": "/nowhere/master.sock"}, "master_socket is '/nowhere/master.sock', which does not exist"),
    ({"socket_timeout": 0.0}, "socket_timeout is 0"),
    ({"config": "/nowhere/haproxy.cfg"}, "config is '/nowhere/haproxy.cfg', which cannot be read"),
    ({"socket_command": ["/nowhere/socat"]}, "socket_command is /nowhere/socat, which cannot be started"),
    ({"socket_command": ["false"]}, "socket_command false closed the connection without a whole reply"),
])
def test_bad_input_is_one_sentence_and_changes_nothing(stage, move, options, sentence):
    balancer = stage(TWO)
    arguments = {"members": ["app1"], **options}
    with pytest.raises(DowntimeError) as error:
        move(balancer, arguments.pop("members"), "drained", **arguments)
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert status(balancer, "shop", "app1") == "UP"


def test_socket_that_never_answers(stage, move):
    balancer = stage(TWO)
    path = str(balancer.dir / "silent.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(1)
        with pytest.raises(DowntimeError, match=r"socket .*silent.sock did not answer 'prompt' within 0\.2 s"):
            move(balancer, ["app1"], "drained", socket=path, socket_timeout=0.2)


def test_socket_without_admin_level(stage, move, info):
    balancer = stage(TWO, global_lines=["stats socket /tmp/zdt-user-%d.sock mode 600 level operator" % os.getpid()])
    path = "/tmp/zdt-user-%d.sock" % os.getpid()
    try:
        with pytest.raises(DowntimeError, match="gives the level 'operator'; moving members needs 'level admin'"):
            move(balancer, ["app1"], "drained", socket=path)
        assert any(found["level"] == "error" and found["setting"] == "stats socket" for found in info(balancer, socket=path)["findings"])
    finally:
        if os.path.exists(path):
            os.unlink(path)


@pytest.mark.claim("socket-without-permission")
def test_socket_of_somebody_else(stage):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to become somebody else")
    balancer = stage(TWO)
    os.chmod(balancer.dir, 0o755)
    code = ("import sys; sys.path[:0] = %r\n"
            "from ansible_collections.zero.downtime.plugins.module_utils._haproxy.client import Client\n"
            "from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError\n"
            "try: Client('socket', %r).ask_all(['show info'])\n"
            "except DowntimeError as error: print(error)\n") % (sys.path, balancer.socket)
    said = subprocess.run([shutil.which("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", code],
                          capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in said.stderr or "Permission denied" in said.stderr:
        pytest.skip("the checkout cannot be read by others")
    user = pwd.getpwuid(65534).pw_name
    assert f"which user {user} may not open" in said.stdout and "mode 0600" in said.stdout, said.stderr


@pytest.mark.claim("socket-by-tcp-or-command")
def test_tcp_and_command(stage, move):
    balancer = stage(TWO, tcp_socket=True)
    assert move(balancer, ["app1"], "drained", socket=f"127.0.0.1:{balancer.tcp_port}")["changed"]
    if shutil.which("socat"):
        assert move(balancer, ["app1"], "active", socket_command=["socat", "-", "UNIX-CONNECT:{socket}"])["changed"]
        with pytest.raises(DowntimeError, match="failed: .*No such file"):
            move(balancer, ["app1"], "active", socket_command=["socat", "-", "UNIX-CONNECT:/nowhere"])


def test_master_socket_of_another_haproxy(stage, move):
    one, other = stage(TWO), stage(TWO)
    with pytest.raises(DowntimeError, match="two different haproxy"):
        move(one, ["app1"], "drained", master_socket=other.master_socket, socket_timeout=2)


def test_member_brought_back_by_somebody_else(stage, move):
    balancer = stage({"shop": ["app1"]})
    Call(balancer, "/slow?ms=4000")
    somebody = when(lambda: status(balancer, "shop", "app1") == "MAINT", lambda: ask(balancer.socket, "set server shop/app1 state ready"))
    with pytest.raises(DowntimeError, match="brought back into traffic by somebody else"):
        move(balancer, ["app1"], "drained")
    somebody.join()


def test_many_members_in_one_call(stage, move):
    names = [f"app{n}" for n in range(200)]
    balancer = stage({"shop": names}, start_apps=False, default_server="no-check")
    move(balancer, names[:100], "drained", wait=False)
    assert status(balancer, "shop", "app99") == "MAINT" and status(balancer, "shop", "app100") == "no check"
