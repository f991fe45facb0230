# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lock and journal of a deploy in an object of S3, which is written only if it is as it was read. Private to the
collection.

S3 compares the object's ETag (C(If-Match)), or that there is none (C(If-None-Match)), and writes in one step: of two
deploys that take the lock at once, one is refused.
"""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import options
from ansible_collections.zero.downtime.plugins.module_utils._elbv2.client import Api, Refused, client_of
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state import document as _document
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory, Unreadable
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import fence as fence_on_host

# What S3 says where a condition does not hold, or where somebody writes the same object at that moment.
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
ABSENT = ("NoSuchKey", "404")


class Object:
    """One object, as a document that is written only if it is as it was read.

    :param api: asks S3.
    :param key: the object's name in the bucket.
    """

    def __init__(self, api: Api, bucket: str, key: str) -> None:
        self.api, self.bucket, self.key = api, bucket, key
        self.place = f"s3://{bucket}/{key}"

    def read(self) -> tuple[dict[str, t.Any] | None, str | None]:
        try:
            answer = self.api.call("get_object", Bucket=self.bucket, Key=self.key)
        except Refused as error:
            if error.code in ABSENT:
                return None, None
            if error.code == "NoSuchBucket":
                raise DowntimeError(f"state_bucket is '{self.bucket}'; the name of a bucket that is there is accepted") from error
            raise
        try:
            found = json.loads(answer["Body"].read())
        except ValueError as error:
            raise Unreadable(f"the lock {self.place} cannot be read (it is no JSON), so nobody can tell who holds it") from error
        if not isinstance(found, dict):
            raise Unreadable(f"the lock {self.place} cannot be read (it is no object of JSON), so nobody can tell who holds it")
        return found, str(answer["ETag"])

    def write(self, content: dict[str, t.Any], version: str | None) -> None:
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        body = json.dumps(content, separators=(",", ":")).encode()
        try:
            self.api.call("put_object", Bucket=self.bucket, Key=self.key, Body=body, ContentType="application/json", **condition)
        except Refused as error:
            if error.code in LOST:
                raise _document.Changed from error
            raise


def object_of(params: t.Mapping[str, t.Any], name: str, client: t.Any = None) -> Object:
    """The object of an application's lock, by a module's options."""
    key = f"{params['state_prefix'].strip('/')}/{name}.json".lstrip("/")
    return Object(Api(client or client_of(params, "s3"), "S3"), params["state_bucket"], key)


@contextlib.contextmanager
def fence(params: t.Mapping[str, t.Any], check_mode: bool) -> t.Iterator[Memory | None]:
    """The fence of a module that moves targets or weights: with C(state_bucket) the object, else what every driver has."""
    if not params.get("state_bucket") or not params.get("lock"):
        with fence_on_host(params, check_mode) as memory:
            yield memory
        return
    with _document.fence(object_of(params, params["lock"]), params, check_mode):
        yield None


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """What the module elbv2_lock returns; options and returns are those of C(zero.downtime.lock)."""
    kept = object_of(params, params["name"])
    return _document.run(kept, params, check_mode, mend=f"allow s3:GetObject and s3:PutObject for {kept.place}; "
                         "deploy_state_hosts names another place for lock and journal")


IN_PROCESS = options.lock_spec, run
