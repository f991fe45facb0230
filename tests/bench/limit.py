# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a rolling deploy costs on this machine: per batch drain, restart and rise, without Ansible and without proof.

    python limit.py SCENE.json place LABEL          unpack and run a release on all members at once
    python limit.py SCENE.json roll LABEL BATCHES   move to it in batches; the last line says what each part took, as JSON
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
import time
import typing as t
import urllib.error
import urllib.request

from scene import ask

POLL = 0.01


def statuses(scene: dict[str, t.Any]) -> dict[str, dict[str, str]]:
    rows = csv.DictReader(ask(scene["socket"], "show stat shop 4 -1").lstrip("# ").splitlines())
    return {row["svname"]: row for row in rows}


def until(check: t.Callable[[], bool]) -> float:
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > 120:
            raise SystemExit("a batch took more than 120 s")
        time.sleep(POLL)
    return time.monotonic() - began


def unpack(scene: dict[str, t.Any], label: str) -> None:
    for name in scene["ports"]:
        target = os.path.join(scene["dir"], "hosts", name, "srv", "releases", scene["digests"][label])
        with tarfile.open(os.path.join(scene["dir"], "artifacts", f"shop-{label}.tar.gz")) as tar:
            tar.extractall(target)


def restart(scene: dict[str, t.Any], names: list[str], digest: str) -> None:
    waiting = []
    for name in names:
        root = os.path.join(scene["dir"], "hosts", name, "srv")
        os.symlink(os.path.join("releases", digest), os.path.join(root, "current.new"))
        os.rename(os.path.join(root, "current.new"), os.path.join(root, "current"))
        waiting.append(subprocess.Popen([scene["member"], "restart", scene["dir"], name, str(scene["ports"][name])], stdin=subprocess.DEVNULL))
    for process in waiting:
        if process.wait():
            raise SystemExit("a member could not be restarted")
    for name in names:
        until(lambda url=f"http://127.0.0.1:{scene['ports'][name]}/ready": answers(url))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def move(scene: dict[str, t.Any], names: list[str], *words: str) -> None:
    replies = ask(scene["socket"], "; ".join(f"set server shop/{name} {word}" for name in names for word in words)).strip()
    if replies:
        raise SystemExit(f"haproxy refused: {replies}")


def roll(scene: dict[str, t.Any], label: str, batches: int) -> dict[str, float]:
    names = list(scene["ports"])
    size = -(-len(names) // batches)
    spent = {"drain": 0.0, "restart": 0.0, "rise": 0.0}
    for start in range(0, len(names), size):
        batch = names[start:start + size]
        began = time.monotonic()
        move(scene, batch, "state maint")
        until(lambda: all(statuses(scene)[name]["scur"] == "0" for name in batch))
        drained = time.monotonic()
        restart(scene, batch, scene["digests"][label])
        restarted = time.monotonic()
        move(scene, batch, "state drain", "health down")
        until(lambda: all(statuses(scene)[name]["check_status"] in ("L7OK", "L4OK") and statuses(scene)[name]["status"] == "DRAIN" for name in batch))
        move(scene, batch, "state ready")
        until(lambda: all(statuses(scene)[name]["status"] == "UP" for name in batch))
        for part, seconds in (("drain", drained - began), ("restart", restarted - drained), ("rise", time.monotonic() - restarted)):
            spent[part] += seconds
    return {part: round(seconds, 3) for part, seconds in spent.items()}


def main(arguments: list[str]) -> None:
    with open(arguments[0], encoding="utf-8") as file:
        scene = json.load(file)
    verb, label = arguments[1:3]
    if verb == "stage":
        unpack(scene, label)
    elif verb == "place":
        unpack(scene, label)
        restart(scene, list(scene["ports"]), scene["digests"][label])
        until(lambda: all(statuses(scene)[name]["status"] == "UP" for name in scene["ports"]))
    else:
        sys.stdout.write(json.dumps(roll(scene, label, int(arguments[3]))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
