# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditional writes of S3, C(If-Match) and C(If-None-Match), which moto takes without a look at the condition."""

from __future__ import annotations

import threading
import typing as t

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

Environ = t.Dict[str, t.Any]
PUT = threading.Lock()


def backend() -> t.Any:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def holds(environ: Environ) -> bool:
    """Whether the condition of a write holds, as S3 has it: C(If-None-Match: *) where there is no such object, C(If-Match)
    where its ETag is this one."""
    absent, same = environ.get("HTTP_IF_NONE_MATCH"), environ.get("HTTP_IF_MATCH")
    if environ["REQUEST_METHOD"] != "PUT" or not (absent or same):
        return True
    bucket, _slash, key = environ["PATH_INFO"].lstrip("/").partition("/")
    found = backend().get_object(bucket, key) if bucket in backend().buckets else None
    if absent:
        return found is None
    return found is not None and found.etag.strip('"') == str(same).strip('"')
