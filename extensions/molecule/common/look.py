# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test hosts say: asked by the scenarios' checks, and in the middle of a story by

    python look.py RESULTS NAME

which notes all of it in C(RESULTS/NAME.seen.json).
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t
import urllib.request

BALANCERS = {"lb1": "10.214.77.11", "lb2": "10.214.77.12"}
MEMBERS = {"app1": "10.214.77.21", "app2": "10.214.77.22", "app3": "10.214.77.23", "app4": "10.214.77.24"}

# Asked of every host by one command, since each command in a container takes its time.
ASK_BALANCER = {
    "stat": "echo 'show stat -1 4 -1' | socat - /run/haproxy/admin.sock",
    "state": "echo 'show servers state shop' | socat - /run/haproxy/admin.sock",
    "proc": "echo 'show proc' | socat - /run/haproxy-master.sock",
    "locks": "ls /var/lib/zero-downtime",
    "split": "cat /etc/haproxy/split.map; "
             "echo 'show map /etc/haproxy/split.map' | socat - /run/haproxy/admin.sock | cut -d ' ' -f 2-",
    # Of the nginx that takes the place of HAProxy in one scenario.
    "nginx_files": "ls /etc/nginx/zero-downtime",
    "nginx_split": "cat /etc/nginx/zero-downtime/shop.split.conf",
    "nginx_down": "grep -h ' down;' /etc/nginx/zero-downtime/*.upstream.conf",
    "nginx_workers": "pgrep -P $(cat /run/nginx.pid) | xargs ps -o args --no-headers",
    "processes": "ps -eo args --no-headers",
}
ASK_MEMBER = {
    "link": "readlink /srv/shop/current",
    # One of them serves at the first port.
    "service": "systemctl is-active shop shop@blue",
    "off": "ls /var/lib/shop",
    "started": "systemctl show --timestamp=unix --value -p ExecMainStartTimestamp shop.service | tr -d @",
    "releases": "stat -c %U /srv/shop/releases; ls /srv/shop/releases/*/app.py",
    "processes": "ps -eo args --no-headers",
}


# A secret of the inventory, as an expression that does not find itself in what is asked.
PLANTED = "plante[d]-on-hosts-4f7a"
ASK_ALL = {
    # Of modules: what this collection, and what Ansible makes. Its word is written so that who looks for processes with it does not find this question.
    "temporary": "find ~root/.ansibl[e]/tmp /tmp -mindepth 1 -maxdepth 1 '(' -name 'zero-downtime-*' -o -name '*_payload_*' -o -name 'ansibl[e]-tmp-*' ')' "
                 "2> /dev/null || true",
    "secret": f"grep -rsle '{PLANTED}' ~root /tmp /var/log /var/lib/zero-downtime /srv; journalctl --quiet | grep -e '{PLANTED}'; "
              f"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2> /dev/null | grep -ace '{PLANTED}' | grep -v '^0$' || true",
    "masked": "journalctl --quiet | grep -c \"'headers': \" || true",
}


def modules(processes: str) -> list[str]:
    """Modules among the processes of a host: those that come over standard input are an interpreter without a program."""
    return [line for line in processes.splitlines() if "ansible" in line.lower() or re.fullmatch(r"(.*sh -c )?/usr/bin/python3( && sleep 0)?", line.strip())]


def ask(name: str, *keys: str) -> dict[str, str]:
    """What a host says to each of the questions, or to those of these keys; a command that fails says why."""
    questions = {**(ASK_BALANCER if name in BALANCERS else ASK_MEMBER), **ASK_ALL}
    questions = {key: questions[key] for key in keys or questions}
    script = "\n".join(f"echo '== {key}'; {command} 2>&1" for key, command in questions.items())
    said = subprocess.run(["podman", "exec", name, "sh", "-c", script],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    _nothing, *parts = re.split(r"^== (\w+)\n", said, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2]))


def ask_all() -> dict[str, dict[str, str]]:
    names = (*BALANCERS, *MEMBERS)
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(ask, names)))


def answer(address: str, port: int = 8000) -> dict[str, t.Any]:
    # Without the proxies that the environment of a test machine may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}:{port}/", timeout=30) as response:
        return {**json.load(response), "header": response.headers["x-release"]}


def running(names: t.Iterable[str] = tuple(MEMBERS)) -> dict[str, str]:
    """Label of the release that each of these members answers with, asked past the balancers."""
    return {name: answer(MEMBERS[name])["version"] for name in names}


def served() -> set[str]:
    """Labels that clients get from the balancers."""
    turns = range(2 * len(MEMBERS))
    return {answer(address, 8080)["version"] for address in BALANCERS.values() for _turn in turns}


def _stat(pid: int) -> tuple[str, int]:
    """A process's state and its parent."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[1])


def left_running(results: pathlib.Path) -> list[str]:
    """Processes on the controller that have to do with a scenario, other than who looks and who called that."""
    callers, pid = set(), os.getpid()
    while pid:
        callers.add(pid)
        pid = _stat(pid)[1]
    left = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(path.parent.name) not in callers and any(str(results) in word for word in words):
            left.append(" ".join(words))
    return left


def note(results: pathlib.Path, name: str) -> None:
    found = {"said": ask_all(), "running": running(), "served": sorted(served()), "left": left_running(results)}
    (results / f"{name}.seen.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    note(pathlib.Path(sys.argv[1]), sys.argv[2])
