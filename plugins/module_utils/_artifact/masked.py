# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module whose host's log, and whose answer, have nothing of what the addresses of its artifact carry. Private to the collection.

Ansible keeps options out of both that are secrets as a whole, such as headers. An address is none: a person has to see where an artifact came from.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact


class Module(AnsibleModule):
    """Knows its secrets before Ansible writes down how it was called."""

    def _log_invocation(self) -> None:
        artifact = self.params.get("artifact") or {}
        self.no_log_values.update(*(_artifact.secrets_in(artifact.get(name)) for name in ("url", "checksums")))
        super()._log_invocation()
