# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import haproxy_stage  # noqa: E402

from ansible_collections.zero.downtime.plugins.module_utils import _haproxy  # noqa: E402


@pytest.fixture
def stage():
    """``stage(pools, …)`` starts a HaproxyStage that ends with the test; without haproxy the test is skipped."""
    if haproxy_stage.HAPROXY is None:
        pytest.skip("haproxy is not installed")
    started = []

    def start(*args, **kwargs):
        found = haproxy_stage.HaproxyStage(*args, **kwargs)
        started.append(found)
        return found.__enter__()

    yield start
    for found in started:
        found.stop()


@pytest.fixture
def move():
    """``move(stage, members, state, **options)`` does what the module haproxy_members does."""

    def run(stage, members, state, check_mode=False, **options):
        params = {name: option.get("default") for name, option in _haproxy.members_spec().items()}
        params.update(socket=stage.socket, master_socket=stage.master_socket, members=members, state=state, timeout=10)
        params.update(options)
        return _haproxy.move(params, check_mode)

    return run


@pytest.fixture
def info():
    def run(stage, **options):
        params = {name: option.get("default") for name, option in _haproxy.info_spec().items()}
        params.update(socket=stage.socket, master_socket=stage.master_socket)
        params.update(options)
        return _haproxy.info(params)

    return run
