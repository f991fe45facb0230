# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probe costs: CPU time of its process, interpreter start and all, against the time that it ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

from measure import OUTPUT, Finding
from scene import REPO, Scene


def cost(rate: float, seconds: float) -> dict[str, t.Any]:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with Scene(1) as scene, open(OUTPUT / "probe.log", "wb") as log:
        config = scene.dir / "probe-config.json"
        config.write_text(json.dumps({"url": scene.stub_url, "rate": rate, "run_dir": str(scene.dir), "max_run": seconds}), encoding="utf-8")
        process = subprocess.Popen([sys.executable, str(REPO / "plugins" / "module_utils" / "_evidence" / "probe.py"), str(config)],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _pid, status, usage = os.wait4(process.pid, 0)
        if status:
            raise Finding("the probe ended with status %d; see build/bench/probe.log" % status)
        account = json.loads((scene.dir / "probe.json").read_text(encoding="utf-8"))
    spent = usage.ru_utime + usage.ru_stime
    if account["sent"] < 0.95 * rate * seconds or account["failed"]:
        raise Finding(f"the probe sent {account['sent']} requests in {seconds:g} s, of which {account['failed']} failed")
    return {"rate": rate, "seconds": seconds, "sent": account["sent"], "cpu": round(spent, 3), "share": round(spent / seconds, 4),
            "memory_mb": round(usage.ru_maxrss / 1024, 1), "stall_ms": account["stall_ms"]}
