# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage itself: a balancer that answers, reloads and leaves nothing behind."""

from __future__ import annotations

import os

from haproxy_stage import HaproxyStage, ask, get


def test_stage_serves_reloads_and_ends():
    with HaproxyStage({"shop": ["app1", "app2"]}) as stage:
        assert get(stage.url + "/")[0] == 200
        old = stage.worker_pid()
        new = stage.reload()
        assert new != old
        assert str(new) in ask(stage.master_socket, "show proc")
        stage.kill("app1")
        stage.start_app("app1", label="2.0.0")
        directory = stage.dir
        process = stage.process
    assert process.poll() is not None
    assert not os.path.exists(directory)
