# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules have in common: options in, a function's result or one sentence out. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, failure

Function = t.Callable[..., t.Dict[str, t.Any]]


def run(argument_spec: t.Mapping[str, t.Any], function: Function, module_class: type[AnsibleModule] = AnsibleModule,
        commands: bool = False) -> None:
    """Be the module: call the function with the options and whether this is check mode, and end with what came of it.

    A DowntimeError of the function is the sentence with which the module fails, and so is a result that has C(failed).

    :param commands: whether the function also gets, as C(run_command), what runs commands on the host.
    """
    module = module_class(argument_spec=dict(argument_spec), supports_check_mode=True)
    more = {"run_command": module.run_command} if commands else {}
    try:
        result = {"changed": False, **function(module.params, module.check_mode, **more)}
    except DowntimeError as error:
        module.fail_json(**failure(error))
    for text in result.pop("warnings", ()):
        module.warn(text)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
