# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


import pytest
from nginx_stage import stage  # noqa: F401  pylint: disable=unused-import

from ansible_collections.zero.downtime.plugins.module_utils._nginx import info as _nginx_info
from ansible_collections.zero.downtime.plugins.module_utils._nginx import members as _nginx_members
from ansible_collections.zero.downtime.plugins.module_utils._nginx import options as _nginx_options
from ansible_collections.zero.downtime.plugins.module_utils._nginx import split as _nginx_split


@pytest.fixture
def move():
    """``move(stage, members, state, **options)`` does what the module nginx_members does."""

    def run(stage, members, state, check_mode=False, memory=None, **options):
        params = {name: option.get("default") for name, option in _nginx_options.members_spec().items()}
        params.update(stage.options, slowest_request=10.0, probe_path="/ready", members=members, state=state, timeout=10)
        params.update(options)
        return _nginx_members.move(params, check_mode, memory=memory)

    return run


@pytest.fixture
def info():
    def run(stage, **options):
        params = {name: option.get("default") for name, option in _nginx_options.info_spec().items()}
        params.update(stage.options, slowest_request=10.0)
        params.update(options)
        return _nginx_info.info(params)

    return run


@pytest.fixture
def split():
    """``split(stage, shares, **options)`` does what the module nginx_split does; without shares it reads."""

    def run(stage, shares=None, check_mode=False, memory=None, **options):
        params = {name: option.get("default") for name, option in _nginx_options.split_spec().items()}
        params.update(stage.options, slowest_request=10.0, probe_path="/ready", shares=shares)
        params.update(options)
        return _nginx_split.split(params, check_mode, memory=memory)

    return run
