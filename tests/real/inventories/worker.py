# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample worker: works through a queue, a directory that all workers share; ``worker.py QUEUE MARK``.

A job is a file in QUEUE/todo. Whoever renames it has it, works for a moment, and writes the version that did it to QUEUE/done. A worker that is asked
to end ends its job first.
"""

from __future__ import annotations

import pathlib
import signal
import sys
import time

WORK = 0.05
PAUSE = 0.02


def main(queue: pathlib.Path) -> None:
    version = (pathlib.Path(__file__).resolve().parent / "VERSION").read_text(encoding="utf-8").strip()
    ending = []
    signal.signal(signal.SIGTERM, lambda *args: ending.append(args))
    while not ending:
        for job in sorted((queue / "todo").iterdir()):
            mine = queue / "taken" / job.name
            try:
                job.rename(mine)
            except FileNotFoundError:
                continue  # another worker was faster
            time.sleep(WORK)
            with open(queue / "done" / job.name, "a", encoding="utf-8") as result:
                result.write(version + "\n")
            mine.unlink()
            break
        else:
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
