# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


import pytest
from haproxy_stage import stage  # noqa: F401  pylint: disable=unused-import

from ansible_collections.zero.downtime.plugins.module_utils._haproxy import info as _haproxy_info
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import members as _haproxy_members
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import options as _haproxy_options
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import split as _haproxy_split


@pytest.fixture
def move():
    """``move(stage, members, state, **options)`` does what the module haproxy_members does."""

    def run(stage, members, state, check_mode=False, memory=None, **options):
        params = {name: option.get("default") for name, option in _haproxy_options.members_spec().items()}
        params.update(socket=stage.socket, master_socket=stage.master_socket, members=members, state=state, timeout=10)
        params.update(options)
        return _haproxy_members.move(params, check_mode, memory=memory)

    return run


@pytest.fixture
def info():
    def run(stage, **options):
        params = {name: option.get("default") for name, option in _haproxy_options.info_spec().items()}
        params.update(socket=stage.socket, master_socket=stage.master_socket)
        params.update(options)
        return _haproxy_info.info(params)

    return run


@pytest.fixture
def split():
    """``split(stage, shares, **options)`` does what the module haproxy_split does; without shares it reads."""

    def run(stage, shares=None, check_mode=False, memory=None, **options):
        params = {name: option.get("default") for name, option in _haproxy_split.split_spec().items()}
        params.update(socket=stage.socket, master_socket=stage.master_socket, shares=shares)
        params.update(options)
        return _haproxy_split.split(params, check_mode, memory=memory)

    return run
