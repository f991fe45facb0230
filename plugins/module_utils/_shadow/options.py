# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of C(deploy_shadow), which the registry of variables and the shadow share. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._shadow import response_diff as _response_diff

METHODS = ("mirror", "replay")
# Of each method alone: named with the other one it would have no effect, and nobody would know.
OF_MIRROR = ("share",)
OF_REPLAY = ("log", "pace", "rate", "request_timeout", "exclude", "host", "ignore", "relative_limit", "absolute_limit")

OPTIONS: dict[str, dict[str, t.Any]] = {
    "method": {"type": "str", "choices": list(METHODS), "description":
               "V(replay) sends requests from the balancers' logs once more, to both releases, and compares their answers; V(mirror) lets the balancers copy "
               "requests as they come. Without it V(replay), or V(mirror) where the driver has it and no O(deploy_shadow.log) is given."},
    "duration": {"type": "float", "default": 30.0, "description": "Seconds that the shadow lasts."},
    "report_only": {"type": "bool", "default": False, "description": "Whether differences are only reported, and the deploy goes on."},
    "max_differences": {"type": "int", "default": 0, "description": "Fields that may be reported before the deploy fails."},
    "share": {"type": "int", "default": 10, "description": "For V(mirror): percentage of the GET requests that are copied."},
    "log": {"type": "path", "description":
            "For V(replay): path of the request log on the balancers, as HAProxy writes it with C(option httplog) or nginx in its format C(combined)."},
    "pace": {"type": "float", "default": 1.0, "description": "For V(replay): how many times as fast as they came requests are sent."},
    "rate": {"type": "float", "default": 20.0, "description": "For V(replay): most requests a second, from all balancers together, to each of three members."},
    "request_timeout": {"type": "float", "default": 5.0, "description": "For V(replay): seconds within which an answer has to come."},
    "exclude": {"type": "list", "elements": "str", "default": [], "description":
                "For V(replay): regular expressions; a request whose path with its query matches one of them is not sent."},
    "host": {"type": "str", "description": "For V(replay): the C(Host) header. Without it that of O(deploy_evidence_url)."},
    "ignore": {"type": "list", "elements": "str", "default": [], "description":
               "For V(replay): fields that differ by design, as the report names them, such as V(body.version) or V(header.x-cache), with all below them. The "
               "header of O(deploy_health.header), and those of the moment such as C(Date), are always ignored."},
    "relative_limit": {"type": "float", "default": _response_diff.RELATIVE_LIMIT, "description":
                       "For V(replay): a field is reported when it differs more often between the releases than within the old one, by this percentage of "
                       "both together."},
    "absolute_limit": {"type": "float", "default": _response_diff.ABSOLUTE_LIMIT, "description":
                       "For V(replay): and by this percentage of the requests that were compared."},
}
