# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.acme.edge.plugins.module_utils import _desk
from ansible_collections.zero.downtime.plugins.module_utils.driver import DowntimeError, failure


def main() -> None:
    module = AnsibleModule(argument_spec=_desk.desk_lock_spec(), supports_check_mode=True)
    try:
        result = _desk.lock(module.params, module.check_mode)
    except DowntimeError as error:
        module.fail_json(**failure(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
