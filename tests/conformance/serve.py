# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switchable stage as a process, for tests that are playbooks: real HAProxy, three real members.

    serve.py DIRECTORY

Writes DIRECTORY/stage.json once everything answers, and ends when DIRECTORY/stop appears, or by itself after two minutes,
so that a test that breaks leaves nothing behind. The last thing it does is to remove stage.json.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "real"), str(HERE.parent.parent / "build" / "collections")]

import rigs  # noqa: E402  pylint: disable=wrong-import-position

LIFE = 120.0


def main() -> None:
    directory = pathlib.Path(sys.argv[1])
    told = directory / "stage.json"
    end = time.monotonic() + LIFE
    with rigs.SwitchableStage({"shop": ["app1", "app2", "app3"]}) as stage:
        facts = dict(
            url=stage.url, stats=f"http://127.0.0.1:{stage.stats_port}/stats;csv",
            apps={name: stage.app_url(name) for name in stage.names}, off={name: stage.off_file(name) for name in stage.names})
        half = directory / "stage.json.new"
        half.write_text(json.dumps(facts), encoding="utf-8")
        half.rename(told)
        while time.monotonic() < end and not (directory / "stop").exists():
            time.sleep(0.05)
    told.unlink()


if __name__ == "__main__":
    main()
