# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and ends the local stage: a real HAProxy before four members that run nothing until the first deploy."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
import typing as t

import artifacts
import layout

START_TIMEOUT = 60.0
STOP_TIMEOUT = 8.0
PAUSE = 0.02


def _haproxy() -> str:
    # Debian keeps it in /usr/sbin, which is not on every user's PATH.
    found = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        layout.stop_with_sentence("haproxy is not installed; run make setup, or: apt-get install haproxy")
    return str(found)


def _backend(side: str) -> str:
    lines = [
        "backend shop_%s" % side,
        "    balance roundrobin",
        "    option httpchk GET /ready",
        "    http-check expect status 200",
        "    timeout check 3s",
        "    default-server check inter 500ms fastinter 200ms downinter 200ms rise 2 fall 3 weight 100 pool-purge-delay 200ms",
    ]
    lines += ["    server %s 127.0.0.1:%d" % (member, layout.port(member, side)) for member in layout.MEMBERS]
    return "\n".join(lines) + "\n"


def render(template: str) -> str:
    return string.Template(template).substitute(
        run=layout.run_dir(), etc=layout.ETC, port=layout.PORT, stats_port=layout.STATS_PORT,
        backends="\n".join(_backend(side) for side in layout.SLOTS))


def _make_directories() -> None:
    for path in (layout.HOSTS, layout.ETC, layout.LOG, layout.PIDS, layout.ARTIFACTS, layout.RECORDS,
                 os.path.join(layout.HOSTS, "lb1"), *(os.path.join(layout.HOSTS, m, "srv") for m in layout.MEMBERS)):
        os.makedirs(path, exist_ok=True)
    run = layout.run_dir()
    os.makedirs(run, mode=0o700, exist_ok=True)
    owner = os.lstat(run)
    if owner.st_uid != os.getuid() or os.path.islink(run):
        # The short directory lies in /tmp, where anybody could have made it before us.
        layout.stop_with_sentence("%s is not a directory of this user; remove it" % run)
    os.chmod(run, 0o700)


def _busy_ports() -> list[int]:
    busy = []
    for port in [layout.PORT, layout.STATS_PORT, *(layout.port(m, s) for m in layout.MEMBERS for s in layout.SLOTS)]:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                busy.append(port)
    return busy


def _ask(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2.0)
        client.connect(path)
        client.sendall(command.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)  # the master socket closes only then
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
        return answer.decode()


def _is_up() -> bool:
    try:
        return ("worker" in _ask(os.path.join(layout.run_dir(), "master.sock"), "show proc")
                and "Uptime_sec" in _ask(os.path.join(layout.run_dir(), "admin.sock"), "show info"))
    except OSError:
        return False


def _note_python() -> None:
    with open(os.path.join(layout.STAGE, "python"), "w", encoding="utf-8") as file:
        file.write(sys.executable + "\n")


def _start_balancer(haproxy: str) -> None:
    log_path = os.path.join(layout.LOG, "haproxy.log")
    with open(log_path, "ab") as log:
        child = subprocess.Popen(
            [haproxy, "-W", "-S", os.path.join(layout.run_dir(), "master.sock") + ",mode,600,level,admin",
             "-p", layout.HAPROXY_PID, "-f", layout.CONFIG],
            cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_TIMEOUT
    while not _is_up():
        if child.poll() is not None:
            layout.stop_with_sentence("haproxy ended at once with code %d; see %s" % (child.returncode, log_path))
        if time.monotonic() > deadline:
            down()
            layout.stop_with_sentence("haproxy did not answer on its sockets within %d s; see %s" % (START_TIMEOUT, log_path))
        time.sleep(PAUSE)


def up(labels: list[str]) -> None:
    haproxy = _haproxy()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "haproxy.cfg.in"), encoding="utf-8") as file:
        config = render(file.read())
    if layout.balancer_processes() and _is_up():
        _make_directories()
        _note_python()
        with open(layout.CONFIG, encoding="utf-8") as file:
            stale = file.read() != config
        print("stage: already up%s" % ("; its configuration is older than this checkout's: make stage-down first to renew it" if stale else ""))
    else:
        down()  # what a killed stage may have left: members without a balancer
        shutil.rmtree(layout.STAGE, ignore_errors=True)
        if busy := _busy_ports():
            layout.stop_with_sentence("%s taken by another program; the stage needs %s" % (
                "port %d is" % busy[0] if len(busy) == 1 else "ports %s are" % ", ".join(map(str, busy)), "it" if len(busy) == 1 else "them"))
        _make_directories()
        _note_python()
        with open(os.path.join(layout.ETC, "split.map"), "w", encoding="utf-8") as file:
            file.write("shop 0\n")
        with open(os.path.join(layout.ETC, "servers.state"), "w", encoding="utf-8") as file:
            file.write("1\n")  # the format's version, and no server yet
        with open(layout.CONFIG, "w", encoding="utf-8") as file:
            file.write(config)
        check = subprocess.run([haproxy, "-c", "-q", "-f", layout.CONFIG], capture_output=True, text=True, check=False)
        if check.returncode:
            layout.stop_with_sentence("haproxy refuses %s: %s" % (layout.CONFIG, check.stderr.strip()))
        _start_balancer(haproxy)
    digests = artifacts.build(labels)
    print("stage: up at http://127.0.0.1:%d/ (statistics: http://127.0.0.1:%d/)" % (layout.PORT, layout.STATS_PORT))
    for label, digest in digests.items():
        print("stage: release %s is sha256 %s" % (label, digest))


def start_again(slots: t.Collection[tuple[str, str]]) -> None:
    """Start what lies there, as it was left: the balancer unless it runs, and these members' slots at the same time."""
    _make_directories()
    if not layout.balancer_processes():
        _start_balancer(_haproxy())
    service = os.path.join(os.path.dirname(os.path.abspath(__file__)), "service")
    starting = [subprocess.Popen([service, "start", member, slot], stdin=subprocess.DEVNULL) for member, slot in slots]
    # Every one is waited for, whatever became of another.
    ended = [process.wait() for process in starting]
    if any(ended):
        layout.stop_with_sentence("a member did not start; see %s" % layout.LOG)


def _kill(processes: t.Iterable[layout.Process], number: int) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def end(mine: t.Callable[[], list[layout.Process]], kindly: bool = True) -> None:
    """Ends these processes, and returns when they are gone."""
    _kill(mine(), signal.SIGTERM if kindly else signal.SIGKILL)
    deadline = time.monotonic() + STOP_TIMEOUT
    while left := mine():
        if time.monotonic() > deadline:
            _kill(left, signal.SIGKILL)
            deadline = time.monotonic() + STOP_TIMEOUT
        time.sleep(PAUSE)


def _mine() -> list[layout.Process]:
    return layout.balancer_processes() + layout.member_processes()


def down() -> None:
    """Ends every process of the stage, kindly first. What the stage wrote stays to be read until the next start."""
    # The balancer first: a member would wait for the balancer's idle connections.
    end(layout.balancer_processes)
    end(layout.member_processes)
    run = layout.run_dir()
    if run.startswith("/tmp/") and os.path.isdir(run) and not os.path.islink(run):
        shutil.rmtree(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "status"])
    parser.add_argument("releases", nargs="*", help="labels of the sample artifacts to build")
    args = parser.parse_args()
    if args.verb == "up":
        up(args.releases)
    elif args.verb == "down":
        down()
        print("stage: down, no process left")
    else:
        for process in _mine():
            print(process)
        raise SystemExit(0 if _is_up() else 3)


if __name__ == "__main__":
    main()
