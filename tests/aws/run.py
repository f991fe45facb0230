# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and ends the AWS stage, left running for people: before the members of the local stage, which ``make stage``
starts.

make stage aws-stage
ansible-playbook -i inventories/local -i tests/aws/inventory zero.downtime.deploy -e deploy_release=1.0.0
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path[:0] = [str(HERE), str(REPO / "tests" / "stage")]

import layout  # noqa: E402  pylint: disable=wrong-import-position

# Where it is, as tests/aws/inventory has it.
API, PORT = 5566, 8090
PLACE = REPO / "build" / "aws-stage"
MARK, LOG = PLACE / "pid", PLACE / "log"
# Seconds that it may take to start, and to end.
START, END = 60.0, 20.0


def serve() -> None:
    """One load balancer, a target group for each side, and blue has all of the requests."""
    import aws_stage  # pylint: disable=import-outside-toplevel

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *dummy: over.set())
    with aws_stage.AwsStage(API) as stage:
        for side in layout.SLOTS:
            stage.group(f"shop-{side}", 8000)
        stage.listener("shop", PORT, {"shop-blue": 100, "shop-green": 0})
        for side in layout.SLOTS:
            stage.register(f"shop-{side}", *(f"10.0.0.1:{layout.port(member, side)}" for member in layout.MEMBERS))
        MARK.write_text(f"{os.getpid()}\n", encoding="ascii")
        over.wait()
    MARK.unlink(missing_ok=True)


def answers() -> bool:
    with contextlib.suppress(OSError):
        request = urllib.request.Request(f"http://127.0.0.1:{API}/stage/renew", method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200) and MARK.exists()
    return False


def up() -> None:
    if not answers():
        PLACE.mkdir(parents=True, exist_ok=True)
        MARK.unlink(missing_ok=True)
        with open(LOG, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "run.py"), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START
        while not answers():
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"the AWS stage did not start; its log is {LOG}:\n{LOG.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.1)
    print(
        f"The API is at http://127.0.0.1:{API}, and load balancer shop at http://127.0.0.1:{PORT}/. Credentials and"
        " endpoint are in tests/aws/inventory."
    )


def down() -> None:
    """End it, if it is there; nobody else's process is touched."""
    pid = _pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + END
        while _pid():
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
    MARK.unlink(missing_ok=True)


def _pid() -> int | None:
    """The stage's process, as long as it lives."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(MARK.read_text(encoding="ascii"))
        if str(HERE / "run.py").encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return None


if __name__ == "__main__":
    WAYS = {"up": up, "down": down, "serve": serve}
    if len(sys.argv) != 2 or sys.argv[1] not in WAYS:
        sys.exit(f"usage: run.py {'|'.join(WAYS)}")
    WAYS[sys.argv[1]]()
