# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Balancers that have logged no request, among others that have. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, named


def without_quiet(results: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """The results less those of balancers that no request came to, as long as one came to another. Raises DowntimeError for any other failure."""
    heard = {host: result for host, result in results.items() if not result.get("nothing_logged")}
    failed = [named("balancer", host, result) for host, result in (heard or results).items() if result.get("failed")]
    if failed:
        raise DowntimeError("; ".join(failed))
    return heard
