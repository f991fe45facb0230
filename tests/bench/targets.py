# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take 100 targets out of a target group and bring them back: calls of the API and seconds, beside a module call for
each.

The peer is community.aws.elb_target, which moves one target a call. It is run for some of the targets, one after the
other, as a play with C(serial: 1) runs it; what it takes for each is the same for all of them.

    .venv/bin/python tests/bench/targets.py
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "tests" / room) for room in ("aws", "real", "suite")] + [str(REPO / "build" / "collections")]

import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import targets as stage_targets  # noqa: E402  pylint: disable=wrong-import-position
from api import KEY, SECRET  # noqa: E402  pylint: disable=wrong-import-position
from aws_stage import REGION, AwsStage  # noqa: E402  pylint: disable=wrong-import-position
from limits import wait_until  # noqa: E402  pylint: disable=wrong-import-position

from ansible_collections.zero.downtime.plugins.module_utils import (
    _spec,
)  # noqa: E402  pylint: disable=wrong-import-position
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import (
    members,
    options,
)  # noqa: E402  pylint: disable=wrong-import-position

TARGETS, OF_PEER, DELAY = 100, 5, 1
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def serve(port: int) -> None:
    """All targets in one thread, each with an address of its own."""
    loop = asyncio.new_event_loop()
    for last in range(1, TARGETS + 1):
        loop.run_until_complete(asyncio.start_server(answer, f"127.0.0.{last}", port))
    threading.Thread(target=loop.run_forever, daemon=True).start()


class Measured:
    """The calls and the seconds of what happens inside."""

    def __init__(self, stage: AwsStage) -> None:
        self.stage, self.calls, self.seconds = stage, 0, 0.0

    def __enter__(self) -> Measured:
        self.stage.api.calls.clear()
        self._began = time.monotonic()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.calls, self.seconds = len(self.stage.api.calls), time.monotonic() - self._began


def ours(stage: AwsStage, names: t.Sequence[str], state: str) -> None:
    given = {
        "region": REGION, "access_key": KEY, "secret_key": SECRET, "endpoint_url": stage.api.url, "hold": 0.5,
        "pools": [{"name": "shop"}], "members": list(names), "state": state, "timeout": 120,
    }  # fmt: skip
    assert members.run(_spec.check(given, options.members_spec()), False)["changed"]


def peers(stage: AwsStage, name: str, state: str) -> None:
    ident, port = name.split(":")
    given = {
        "target_group_name": "shop", "target_id": ident, "target_port": int(port), "state": state,
        "target_status": "healthy" if state == "present" else "unused", "target_status_timeout": 120,
    }  # fmt: skip
    argv = [str(pathlib.Path(sys.executable).with_name("ansible")), "localhost", "-m", "community.aws.elb_target"]
    subprocess.run([*argv, "-a", json.dumps(given)], check=True, env={**os.environ, **stage.env}, cwd=REPO,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)  # fmt: skip


def main() -> None:
    stage_targets.MOST = TARGETS
    port = haproxy_stage.free_port()
    serve(port)
    names = [f"10.0.0.{last}:{port}" for last in range(1, TARGETS + 1)]
    with AwsStage() as stage:
        stage.group("shop", port, DELAY)
        stage.listener("shop", haproxy_stage.free_port(), {"shop": 1})
        stage.register("shop", *names)
        wait_until(lambda: list(stage.states("shop").values()) == ["healthy"] * TARGETS, "every target is healthy", 120)
        with Measured(stage) as batch:
            ours(stage, names[: TARGETS // 2], "drained")
            ours(stage, names[: TARGETS // 2], "active")
            ours(stage, names[TARGETS // 2 :], "drained")
            ours(stage, names[TARGETS // 2 :], "active")
        with Measured(stage) as each:
            for name in names[:OF_PEER]:
                peers(stage, name, "absent")
                peers(stage, name, "present")
    calls, seconds = each.calls / OF_PEER * TARGETS, each.seconds / OF_PEER * TARGETS
    print("|100 targets out and back|calls|seconds|\n|-|-|-|")
    print(f"|`elbv2_members`, in two batches|{batch.calls}|{batch.seconds:.0f}|")
    print(f"|`community.aws.elb_target`, one by one (from {OF_PEER} targets)|{calls:.0f}|{seconds:.0f}|")
    print(f"\n{calls / batch.calls:.0f} times as many calls.")


if __name__ == "__main__":
    main()
