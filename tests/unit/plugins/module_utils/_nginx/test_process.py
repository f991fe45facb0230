# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import sys

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._nginx import process as _nginx_process
from ansible_collections.zero.downtime.plugins.module_utils._nginx import upstream as _nginx_upstream
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Processes, Revision

MASTER = 100
UPSTREAM = "upstream shop {\n    server 192.0.2.11:8000; # app1\n}\n"


def upstream(world):
    return _nginx_upstream.parse("shop", world.nginx.path("shop"), UPSTREAM).out(["app1"])


@pytest.fixture
def world(nginx_world):
    return nginx_world


def test_a_change_is_checked_loaded_and_seen(world):
    world.write(UPSTREAM)
    revision = world.nginx.apply([upstream(world)])
    assert world.read() == UPSTREAM.replace(";", " down;")
    assert revision.id == world.nginx.digest() + "-00000000" and world.nginx.revision() == revision
    assert revision.workers == ("201/11", "202/12") and revision.listen == "127.0.0.1:8469"
    assert world.told[0] == ["nginx", "-t", "-q"] and world.told[1] == (MASTER, 1)
    assert world.told[2:] == ["http://127.0.0.1:8469/revision"] * _nginx_process.MATCHES
    assert world.nginx.runs(revision) and [worker.pid for worker in world.own] == [301, 302]
    # What somebody edits afterwards is another state.
    world.write(UPSTREAM + "# edited\n")
    assert world.nginx.revision().digest != world.nginx.digest()


def test_what_nginx_refuses_is_put_back(world):
    world.write(UPSTREAM)
    world.refuses = "nginx: [emerg] host not found in upstream \"app9\" in /x:1\nnginx: configuration file /etc/nginx/nginx.conf test failed\n"
    with pytest.raises(DowntimeError, match='put back: .emerg. host not found in upstream "app9" in /x:1$'):
        world.nginx.apply([upstream(world)])
    assert world.read() == UPSTREAM and world.read("revision.conf") is None
    assert sorted(os.listdir(world.directory)) == ["shop.upstream.conf"]


def test_a_reload_that_does_not_come_is_put_back(world):
    world.write(UPSTREAM)
    first = world.nginx.apply([])
    world.reloads = False
    with pytest.raises(DowntimeError, match=f"2 s later it does not run the new configuration .it still serves revision {first.id}."):
        world.nginx.apply([upstream(world)])
    assert world.read() == UPSTREAM and world.nginx.revision() == first


def test_without_an_answer_the_address_is_named(world):
    world.reloads = False
    with pytest.raises(DowntimeError, match="http://127.0.0.1:8469/revision does not answer"):
        world.nginx.apply([])


def test_another_address_for_the_revision_is_kept(world):
    world.nginx.listen = "127.0.0.1:9"
    assert world.nginx.apply([]).listen == "127.0.0.1:9"
    world.nginx.listen = None
    assert world.nginx.apply([]).listen == "127.0.0.1:9"


def test_old_workers_that_go_on_to_take_connections(world):
    world.reloads = False

    def stubborn(pid, signum):
        world.serves = world.nginx.revision().id

    world.nginx.kill = stubborn
    with pytest.raises(DowntimeError, match=r"its old workers \(201, 202\) still take connections"):
        world.nginx.apply([])


def test_a_signal_that_is_not_allowed(world):
    def denied(pid, signum):
        raise PermissionError(1, "Operation not permitted")

    world.nginx.kill = denied
    with pytest.raises(DowntimeError, match="master 100 cannot be told to reload: Operation not permitted; root, or reload_command, is needed"):
        world.nginx.apply([])


def test_a_directory_that_cannot_be_written(world):
    world.nginx.directory = "/proc/zero-downtime"
    with pytest.raises(DowntimeError, match="upstreams_dir is '/proc/zero-downtime', where nothing can be written"), world.nginx.locked(0):
        pass


def test_one_change_at_a_time(world):
    with world.nginx.locked(1):
        with pytest.raises(DowntimeError, match="another move has had .* for 1 s"), world.nginx.locked(1):
            pass


@pytest.mark.parametrize("text, error, word", [
    (None, NoAnswer, "does not exist"), ("", DowntimeError, "has '' and no process id"), ("999", NoAnswer, "whose process 999 is no nginx master"),
])
def test_the_pid_file(world, tmp_path, text, error, word):
    path = tmp_path / "nginx.pid"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="ascii")
    with pytest.raises(error, match=word):
        world.nginx.master()


def test_workers_that_cannot_be_seen_prove_nothing(world):
    world.own = []
    with pytest.raises(DowntimeError, match="no worker process of the nginx master 100 can be seen"):
        world.nginx.workers(MASTER)


def test_the_revision_file_can_be_read_back():
    revision = Revision("0123456789ab-cdef0123", "127.0.0.1:8469", ("1/2", "3/4"), (("api", 0), ("shop", 5)))
    assert _nginx_process.parse_revision(revision.text()) == revision
    assert _nginx_process.parse_revision(Revision("ab-cd", "[::1]:80").text()) == Revision("ab-cd", "[::1]:80")
    assert _nginx_process.parse_revision("server { listen 80; }") is None


@pytest.mark.parametrize("text, told", [
    ("nginx: [emerg] unknown directive \"x\" in /a:1\nnginx: configuration file /a test failed\n", "[emerg] unknown directive \"x\" in /a:1"),
    ("2026/11/25 16:35:16 [emerg] 3595#3595: unknown directive \"x\" in /a:1\n", "[emerg] unknown directive \"x\" in /a:1"),
    ("nginx: [warn] something\nnginx: [emerg] worse\n", "[emerg] worse"), ("", "it said nothing"),
    ("sudo: a password is required\n", "sudo: a password is required"),
])
def test_what_nginx_says_first(text, told):
    assert _nginx_process.first_line(text) == told


def test_commands():
    assert _nginx_process.run_command([sys.executable, "-c", "import sys; print(1); sys.stderr.write('2'); sys.exit(3)"], 10) == (3, "1\n", "2")
    with pytest.raises(DowntimeError, match="the command '/nowhere/nginx -t' cannot be run: /nowhere/nginx is not there"):
        _nginx_process.run_command(["/nowhere/nginx", "-t"], 1)
    with pytest.raises(DowntimeError, match="did not end within 0.1 s"):
        _nginx_process.run_command(["sleep", "5"], 0.1)


def test_processes_of_this_machine():
    real = Processes()
    parent, started = real.parent_and_start(os.getpid())
    assert parent == os.getppid() and real.alive([f"{os.getpid()}/{started}", f"{os.getpid()}/1", "4194304/5"]) == [f"{os.getpid()}/{started}"]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert real.connections([os.getpid()])[server.getsockname()] == 1
    assert real.connections([4194304]) == {}


def test_addresses_of_the_kernel():
    order = sys.byteorder
    assert order == "little"
    assert _nginx_process._address("0100007F:1F90") == ("127.0.0.1", 8080)
    assert _nginx_process._address("0000000000000000FFFF00000100007F:0050") == ("127.0.0.1", 80)
    assert _nginx_process._address("B80D0120000000000000000001000000:0050") == ("2001:db8::1", 80)
