# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deploy in an object of S3, which is written only if it is as it was read."""

from __future__ import annotations

import concurrent.futures
import typing as t

import pytest
from asked import blue, checked
from members_stage import MembersStage

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._elbv2 import lock, members, options
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._state.document import Changed
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Taken

BUCKET, KEY = "deploys", "zero-downtime/production-shop.json"
ME = {"controller": "here", "pid": 7, "verb": "deploy"}


@pytest.fixture(autouse=True)
def bucket(stage: MembersStage) -> str:
    return stage.aws.bucket(BUCKET)


def options_of(stage: MembersStage, state: str, **given: t.Any) -> dict[str, t.Any]:
    access = {name: value for name, value in stage.access().items() if name != "hold"}
    own = {"state": state, "name": "production-shop", "state_bucket": BUCKET, **given}
    return _spec.check({**access, **own}, options.lock_spec())


def ask(stage: MembersStage, state: str, deploy_id: str = "one", **given: t.Any) -> dict[str, t.Any]:
    return lock.run(options_of(stage, state, deploy_id=deploy_id, **given), False)


@pytest.mark.claim("elbv2-lock-in-s3")
def test_of_deploys_that_begin_at_once_one_has_it(stage: MembersStage) -> None:
    names = [f"d{number}" for number in range(6)]
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        got = list(pool.map(lambda name: ask(stage, "acquired", name, holder=ME)["acquired"], names))
    assert sorted(got) == [False] * 5 + [True]
    holder = stage.aws.kept(BUCKET, KEY)["lock"]["deploy_id"]
    assert got[names.index(holder)]
    refused = ask(stage, "acquired", "late", holder=ME)
    assert not refused["acquired"] and refused["holder"]["deploy_id"] == holder


def test_a_write_that_is_late_is_refused_by_s3_itself(stage: MembersStage) -> None:
    ask(stage, "acquired", holder=ME)
    kept = lock.object_of(options_of(stage, "observed"), "production-shop")
    content, version = kept.read()
    ask(stage, "acquired", "two", holder=ME, over="one")
    with pytest.raises(Changed):
        kept.write(t.cast("dict[str, t.Any]", content), version)
    assert stage.aws.kept(BUCKET, KEY)["lock"]["deploy_id"] == "two"


@pytest.mark.claim("elbv2-lost-lock-moves-nothing")
def test_who_lost_the_lock_moves_nothing_and_who_has_it_writes_its_moves_down(stage: MembersStage) -> None:
    ask(stage, "acquired", holder=ME)
    own = {"members": ["app1"], "state": "drained", "pools": blue(stage), "state_bucket": BUCKET, "lock": "production-shop",
           "lock_key": "one", "deploy_id": "one", "intent": {"verb": "deploy"}}
    params = checked(stage, options.members_spec(), own)
    assert members.run(params, False)["changed"]
    entries = stage.aws.kept(BUCKET, KEY)["journal"]
    assert [(entry["state"], entry["members"], bool(entry.get("done"))) for entry in entries] == [
        ("drained", ["app1"], False), ("drained", ["app1"], True)]
    ask(stage, "acquired", "two", holder=ME, over="one")
    stage.aws.api.calls.clear()
    with pytest.raises(Taken, match="the lock s3://deploys/zero-downtime/production-shop.json is held by deploy two"):
        members.run({**params, "state": "active"}, False)
    assert [call for call in stage.aws.api.calls if "Targets" in call] == []
    assert ask(stage, "released", "two", clean=True)["changed"] and stage.aws.kept(BUCKET, KEY)["journal"] == []


@pytest.mark.parametrize("given, words", [
    ({"state_bucket": "nobodys"}, "state_bucket is 'nobodys'; the name of a bucket that is there is accepted"),
    ({"access_key": "AKIANOBODY"}, "AWS does not know the credentials"),
])
def test_what_cannot_be_kept_is_told_in_one_sentence(stage: MembersStage, given: dict[str, str], words: str) -> None:
    with pytest.raises(DowntimeError, match=words):
        ask(stage, "acquired", holder=ME, **given)
