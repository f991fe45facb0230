# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd is to a real host: starts and stops the application of one member's slot. Called through ``service``.

``start`` returns when the application answers, ``stop`` when its last process has ended. Both may be repeated.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import layout

USAGE = "usage: service {start|stop|restart|status} MEMBER SLOT"
START_TIMEOUT = 30.0
# A stop may wait for the longest request that the balancer still lets finish.
GRACE = 30
PAUSE = 0.02


def _answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _master(member: str, slot: str) -> layout.Process | None:
    found = layout.member_processes(member, slot)
    pids = {p.pid for p in found}
    return next((p for p in found if p.ppid not in pids), None)


def _running_release(process: layout.Process) -> str:
    return os.path.basename(process.argv[process.argv.index("--chdir") + 1])


def _slot_release(member: str, slot: str) -> str:
    link = os.path.join(layout.HOSTS, member, "srv", slot)
    release = os.path.realpath(link)
    if not os.path.isfile(os.path.join(release, "app.py")):
        layout.stop_with_sentence("%s of %s holds no release: %s should lead to one" % (slot, member, link))
    return release


def start(member: str, slot: str) -> None:
    if _master(member, slot):
        return
    release = _slot_release(member, slot)
    port = layout.port(member, slot)
    if _answers(port):
        layout.stop_with_sentence("port %d of %s's slot %s belongs to another program" % (port, member, slot))
    log_path = os.path.join(layout.LOG, "%s-%s.log" % (member, slot))
    argv = [
        sys.executable, "-m", "gunicorn", "--pid", layout.pid_file(member, slot), "--chdir", release,
        "--bind", "127.0.0.1:%d" % port, "--worker-class", "gthread", "--workers", "1", "--threads", "16",
        # Longer than the balancer keeps an idle connection: the server must never close one that is about to be used.
        "--keep-alive", "90", "--graceful-timeout", str(GRACE), "--timeout", "0", "--worker-tmp-dir", "/dev/shm",
        "--no-control-socket", "app:application",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GUNICORN_", "PYTHON"))}
    environ.update(APP_MEMBER=member, APP_SLOT=slot, APP_OFF_FILE=layout.off_file(member, slot),
                   APP_HOLD_FILE=layout.hold_file(member, slot),
                   PYTHONDONTWRITEBYTECODE="1")  # a staged release stays exactly as it was unpacked
    with open(log_path, "ab") as log:
        # A session of its own: neither the terminal's ctrl-C nor Ansible's end of a module reaches it.
        child = subprocess.Popen(argv, cwd="/", env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(port):
        if child.poll() is not None:
            layout.stop_with_sentence("%s of %s ended at once with code %d; see %s" % (slot, member, child.returncode, log_path))
        if time.monotonic() > deadline:
            stop(member, slot)
            layout.stop_with_sentence("%s of %s did not answer within %d s; see %s" % (slot, member, START_TIMEOUT, log_path))
        time.sleep(PAUSE)


def stop(member: str, slot: str) -> None:
    master = _master(member, slot)
    if master:
        os.kill(master.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE + 5
    while left := layout.member_processes(member, slot):
        while any(layout.lives(process) for process in left) and time.monotonic() <= deadline:
            time.sleep(PAUSE)
        if time.monotonic() > deadline:
            for process in left:
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(PAUSE)
    try:
        os.unlink(layout.pid_file(member, slot))  # left behind by a master that was killed
    except FileNotFoundError:
        return


def status(member: str, slot: str) -> int:
    master = _master(member, slot)
    if master is None:
        print("stopped")
        return 3  # as init scripts have always said it
    print("running %s pid %d" % (_running_release(master), master.pid))
    return 0


def main(args: list[str]) -> int:
    if len(args) != 3 or args[0] not in ("start", "stop", "restart", "status"):
        layout.stop_with_sentence(USAGE)
    verb, member, slot = args
    if member not in layout.MEMBERS:
        layout.stop_with_sentence("member is %s; accepted: %s" % (member, ", ".join(layout.MEMBERS)))
    if slot not in layout.SLOTS:
        layout.stop_with_sentence("slot is %s; accepted: %s" % (slot, ", ".join(layout.SLOTS)))
    if verb == "status":
        return status(member, slot)
    if not os.path.isdir(layout.PIDS):
        layout.stop_with_sentence("the stage is not up; run make stage")
    with open(os.path.join(layout.PIDS, "%s-%s.lock" % (member, slot)), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb in ("stop", "restart"):
            stop(member, slot)
        if verb in ("start", "restart"):
            start(member, slot)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
