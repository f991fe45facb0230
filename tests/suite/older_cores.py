# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests take from Ansible and an older ansible-core does not have: the same for all of them."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible.executor import module_common
from ansible.module_utils import basic

try:
    from ansible.template import trust_as_template  # pylint: disable=unused-import
except ImportError:
    # Before 2.19 every text was trusted.
    def trust_as_template(value: str) -> str:
        return value

try:
    from ansible.module_utils.testing import patch_module_args  # pylint: disable=unused-import
except ImportError:
    # Before 2.19 a module's arguments were a text that it had been started with.
    @contextlib.contextmanager
    def patch_module_args(args: dict[str, t.Any] | None = None) -> t.Iterator[None]:
        before = basic._ANSIBLE_ARGS  # pylint: disable=protected-access
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args or {}}).encode()  # pylint: disable=protected-access
        try:
            yield
        finally:
            basic._ANSIBLE_ARGS = before  # pylint: disable=protected-access


def built_module(data: bytes, shebang: str, path: str) -> tuple[t.Any, ...]:
    """What an action's own C(_configure_module) returns for a module that is ready to be sent."""
    kind = getattr(module_common, "_BuiltModule", None)
    if kind is None:
        # Before 2.19 these were the parts themselves.
        return "new", shebang, data, path
    return kind(b_module_data=data, module_style="new", shebang=shebang, serialization_profile="legacy"), path
