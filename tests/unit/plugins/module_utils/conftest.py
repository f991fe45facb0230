# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._health.request import Answer
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx, Processes, Worker

MASTER = 100


class World(Processes):
    """An nginx of the mind: a master, its workers, and what it serves. Time passes only when somebody sleeps."""

    def __init__(self, tmp_path):
        super().__init__()
        self.now = 0.0
        self.titles = {MASTER: "nginx: master process nginx"}
        self.own = [Worker(201, "11", False), Worker(202, "12", False)]
        self.serves = ""
        self.splits = {}
        self.refuses = ""
        self.reloads = True
        self.lingers = 0
        self.reloaded = 0
        # Old workers that hold a request: they take no connections any more, and do not exit.
        self.stay = False
        self.told = []
        self.directory = tmp_path / "zd"
        self.directory.mkdir()
        (tmp_path / "nginx.pid").write_text(f"{MASTER}\n", encoding="ascii")
        self.nginx = Nginx(str(self.directory), pid_file=str(tmp_path / "nginx.pid"), reload_timeout=2.0, processes=self, run=self.run, ask=self.ask,
                           kill=self.kill, clock=lambda: self.now, sleep=self.sleep, token=lambda: f"{self.reloaded:08x}")

    def sleep(self, seconds):
        self.now += seconds

    def title(self, pid):
        return self.titles.get(pid, "")

    def workers(self, master):
        assert master == MASTER
        if self.lingers:
            self.lingers -= 1
            if not self.lingers:
                self.own = self.own[-2:]
        return list(self.own)

    def alive(self, keys):
        return [key for key in keys if key in {worker.key for worker in self.own}]

    def run(self, argv, timeout):
        self.told.append(list(argv))
        return (1, "", self.refuses) if self.refuses else (0, "# configuration file /etc/nginx/nginx.conf:\n", "")

    def kill(self, pid, signum):
        self.told.append((pid, signum))
        if pid != MASTER:
            self.own = [worker for worker in self.own if worker.pid != pid]
        elif self.reloads:
            self.serves, self.splits = self.nginx.revision().id, dict(self.nginx.revision().splits)
            self.reloaded += 1
            old = [Worker(worker.pid, worker.started, self.stay) for worker in self.own]
            self.own = old + [Worker(self.reloaded * 100 + 201, "21", False), Worker(self.reloaded * 100 + 202, "22", False)]
            self.lingers = 0 if self.stay else 3

    def ask(self, url, connect_timeout, read_timeout):
        self.told.append(url)
        name = url.partition("/split/")[2]
        if name:
            return Answer(200, body=f"green {self.splits[name]}") if name in self.splits else Answer(404, body="not found")
        return Answer(200, body=self.serves) if self.serves else Answer(error="refused")

    def write(self, text, name="shop.upstream.conf"):
        (self.directory / name).write_text(text, encoding="utf-8")

    def read(self, name="shop.upstream.conf"):
        path = self.directory / name
        return path.read_text(encoding="utf-8") if path.exists() else None


@pytest.fixture
def nginx_world(tmp_path):
    return World(tmp_path)
