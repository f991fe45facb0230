# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import types
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.plugin_utils import _words

SAID, WRITTEN = "min_active is 'most'; a count is accepted", "deploy_min_active is 'most'; a count is accepted"


class Action:
    def __init__(self, path: str | None) -> None:
        self._task = types.SimpleNamespace() if path is None else types.SimpleNamespace(get_path=lambda: f"{path}:7")

    @_words.worded
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        return {"failed": True, "msg": SAID}


@pytest.mark.claim("messages-name-the-variable")
@pytest.mark.parametrize("path, msg", [
    (os.path.join(_words.ROOT, "roles", "deploy", "tasks", "main.yml"), WRITTEN), (os.path.join(_words.ROOT, "playbooks", "drain.yml"), WRITTEN),
    ("/srv/site.yml", SAID), (os.path.join(_words.ROOT, "tests", "hook.yml"), SAID), (None, SAID)])
def test_only_tasks_of_the_collection_speak_of_variables(path, msg):
    assert Action(path).run()["msg"] == msg
