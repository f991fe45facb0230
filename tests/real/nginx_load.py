# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on a real nginx: clients that mind a connection that was closed while it was idle, as HTTP asks of them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import time
import typing as t

from nginx_stage import NginxStage

LOAD = pathlib.Path(__file__).resolve().parents[1] / "load" / "load.py"


@contextlib.contextmanager
def load(stage: NginxStage, tmp_path: pathlib.Path, rate: float = 40, slow_body: float = 0.3) -> t.Iterator[dict[str, t.Any]]:
    """Load while the block runs; the report is filled in when it has ended."""
    ending = tmp_path / "ending"
    for path in (ending, tmp_path / "begun"):
        path.unlink(missing_ok=True)
    report: dict[str, t.Any] = {}
    process = subprocess.Popen(
        [sys.executable, str(LOAD), f"--target={stage.url}", f"--report={tmp_path}/report.json", f"--rate={rate}", "--before=0.3", "--after=0.3",
         f"--slow-body={slow_body}", "--mind-idle-close", "--", "sh", "-c", f"touch {tmp_path}/begun; while [ ! -e {ending} ]; do sleep 0.05; done"])
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < end and process.poll() is None, "the load did not begin"
            time.sleep(0.02)
        yield report
    finally:
        ending.touch()
        process.wait(30)
    report.update(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    # A reload of nginx before 1.27.4 closes idle connections at once, and hardly ever meets a request on its way.
    assert report["repeats"] <= report["sent"] / 20, report
