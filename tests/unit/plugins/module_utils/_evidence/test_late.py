# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import stat
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._diagnosis import status as _status
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence.rates import NONE, Count
from ansible_collections.zero.downtime.plugins.module_utils._record import record as _record

T0 = 1000.0
ID = "d1"


def row(worker: int = 1, streams: int = 0, cleared: bool = False, **members: tuple[int, int, int]) -> dict[str, t.Any]:
    """One worker's counters; of each member its requests, those that are open, and those that the balancer answered with a 5xx in its place."""
    requests, still, lost = (sum(numbers) for numbers in zip(*members.values()))
    if cleared:
        requests, still, lost = 1, 0, 0
    return {"worker": worker, "current": True, "requests": requests, "responses": {"2xx": requests - still - lost, "5xx": lost}, "open": still,
            "streams": streams, "client_aborts": 0, "server_aborts": 0, "server_5xx": 0, "faults": lost,
            "pools": {"shop": {"members": {name: {"requests": own[0], "open": own[1], "faults": own[2], "missing": own[2]} for name, own in members.items()}}}}


def sample(*rows: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"time": T0, "balancer": "lb1", "at": "stopped", "counters": list(rows)}


def verdict(failed: int, requests: int) -> _losses.Verdict:
    return _losses.Verdict("own_errors", 0, [], Count(failed, requests), NONE, [], False)


def became(then: dict[str, t.Any], *now: dict[str, t.Any], waiting: bool = True, usual: tuple[int, int] = (0, 1000)) -> dict[str, t.Any] | None:
    kept = _late.kept([sample(then)], [verdict(*usual)], {"s1": "app1"}, waiting, T0 - 60)
    assert kept
    # As it comes out of a record.
    return _late.became(json.loads(json.dumps(kept)), {"lb1": {"counters": list(now)}}, ID, T0 + 60)


THEN = row(app1=(500, 12, 0), app2=(500, 0, 0))


def test_nothing_is_kept_where_nothing_is_open() -> None:
    assert _late.kept([sample(row(app1=(500, 0, 0)))], [], {}, False, T0 - 60) is None
    # A stream lasts as long as it likes.
    assert _late.kept([sample(row(streams=3, app1=(500, 3, 0)))], [], {}, False, T0 - 60) is None
    assert _late.kept([{"time": T0, "balancer": "lb1", "failed": "gone"}], [], {}, False, T0 - 60) is None


@pytest.mark.claim("late-losses-reach-the-record")
@pytest.mark.parametrize("now, lost, settled, said", [
    (row(app1=(500, 0, 12), app2=(900, 0, 0)), 12, True, "12 were lost later (12 answered by the balancer with a 5xx on app1)"),
    (row(app1=(500, 8, 4), app2=(900, 0, 0)), 4, False, "4 were lost later (4 answered by the balancer with a 5xx on app1), and 8 may still be open"),
    (row(app1=(900, 12, 0), app2=(900, 9, 0)), 0, False, "none was lost so far, and 12 may still be open"),
    (row(app1=(900, 0, 0), app2=(900, 0, 0)), 0, True, "none was lost later"),
    # What another member lost is none of them.
    (row(app1=(900, 0, 0), app2=(900, 0, 7)), 0, True, "none was lost later"),
    # It has been asked for something since, which may be what it lost.
    (row(app1=(501, 8, 4), app2=(900, 0, 0)), 4, False, "at most 4 were lost later (4 answered by the balancer with a 5xx on app1), and 8 may still be open"),
    # More than were open.
    (row(app1=(900, 0, 30), app2=(900, 0, 0)), 12, True, "at most 12 were lost later (12 answered by the balancer with a 5xx on app1)"),
])
def test_what_became_of_them_is_told_by_member(now: dict[str, t.Any], lost: int, settled: bool, said: str) -> None:
    found = became(THEN, now)
    assert found and (found["open"], found["lost"], found["settled"]) == (12, lost, settled)
    assert found["sentence"] == f"of 12 requests that were open on lb1 (12 on app1) when deploy d1 ended, {said}"


@pytest.mark.parametrize("now, why", [
    ([row(worker=2, app1=(3, 0, 0), app2=(3, 0, 0))], "the worker of lb1 that had them has ended"),
    ([row(cleared=True, app1=(3, 0, 0), app2=(3, 0, 0))], "the counters of lb1 were cleared"),
    ([{**row(app1=(900, 0, 0), app2=(900, 0, 0)), "pools": {}}], "other pools are counted on lb1 by now"),
    ([], "lb1 cannot be read"),
])
def test_what_nobody_can_tell_is_said(now: list[dict[str, t.Any]], why: str) -> None:
    found = became(THEN, *now)
    assert found and found["lost"] == 0 and found["sentence"].endswith(f"ended, what became of them is not known: {why}")
    # Where nobody has named them, nobody asks.
    assert became(THEN, *now, waiting=False) is None


def test_what_is_lost_all_the_time_explains_it() -> None:
    now = row(app1=(900, 0, 4), app2=(900, 0, 0))
    explained = became(THEN, now, usual=(10, 1000))
    assert explained and explained["lost"] == 0
    # Half of what came since is more than one of a hundred.
    more = became(THEN, row(app1=(520, 0, 12), app2=(900, 0, 0)), usual=(10, 1000))
    assert more and more["lost"] == 11


def test_of_the_few_that_are_always_open_only_a_loss_is_told() -> None:
    assert became(THEN, row(app1=(900, 0, 0), app2=(900, 0, 0)), waiting=False) is None
    found = became(THEN, row(app1=(900, 0, 3), app2=(900, 0, 0)), waiting=False)
    assert found and found["lost"] == 3
    # Most of these came later, and nobody knows which.
    many = became(THEN, row(app1=(900, 0, 30), app2=(900, 0, 0)), waiting=False)
    assert many and many["at_most"] and ", at most %d were lost later" % many["lost"] in many["sentence"]


def test_a_balancers_own_name_for_a_member_and_streams_are_known() -> None:
    found = became(row(streams=20, s1=(500, 32, 0)), row(streams=20, s1=(900, 20, 32)))
    assert found and (found["open"], found["lost"], found["members"]) == (12, 12, {"app1": {"own_errors": 12}})
    # Which of them are streams nobody can tell.
    assert found["sentence"].startswith("of 12 requests that were open on lb1 (at most 32 on app1) when")


def written(path: pathlib.Path, **other: t.Any) -> pathlib.Path:
    kept = _late.kept([sample(THEN)], [verdict(0, 1000)], {}, True, T0 - 60)
    plan = {"deploy_id": ID, "app": "shop", "environment": "production", "started": T0 - 60, **other}
    record = _record.compose(plan, "succeeded", T0, {"balance": {"received": 1000, "open_at_end": kept}})
    for name in _record.paths(str(path), plan["deploy_id"]):
        _record.write(name, _record.dumps(record) if name.endswith(".json") else "<html>", 0o640)
        os.utime(name, (T0, T0))
    return path


LOST = {"lb1": {"counters": [row(app1=(900, 0, 12), app2=(900, 0, 0))]}}


def look(path: pathlib.Path, infos: dict[str, t.Any] | None = None, write: bool = True, after: float = 60.0) -> dict[str, t.Any] | None:
    return _late.look(str(path), "shop", "production", infos or LOST, write, clock=lambda: T0 + after)


@pytest.mark.claim("late-losses-reach-the-record")
def test_it_reaches_the_record_and_its_page_once(tmp_path: pathlib.Path) -> None:
    written(tmp_path)
    assert look(tmp_path, write=False)
    before = (tmp_path / "d1.json").read_text(encoding="utf-8")
    assert "late" not in json.loads(before), "check mode writes nothing"
    found = look(tmp_path)
    record = json.loads((tmp_path / "d1.json").read_text(encoding="utf-8"))
    assert found and record.pop("late") == found and record == json.loads(before)
    assert found["sentence"][1:] in (tmp_path / "d1.html").read_text(encoding="utf-8")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d1.html", "d1.json"]
    # What has been settled stays, whatever the counters come to.
    assert look(tmp_path, {"lb1": {"failed": True}}, after=90) == found


def test_what_is_not_settled_is_looked_at_again(tmp_path: pathlib.Path) -> None:
    written(tmp_path)
    some = look(tmp_path, {"lb1": {"counters": [row(app1=(900, 8, 4), app2=(900, 0, 0))]}})
    assert some and (some["lost"], some["still_open"]) == (4, 8)
    found = look(tmp_path, after=90)
    assert found and found["lost"] == 12
    assert json.loads((tmp_path / "d1.json").read_text(encoding="utf-8"))["late"]["lost"] == 12


def test_only_the_applications_last_record_is_looked_at_and_not_for_ever(tmp_path: pathlib.Path) -> None:
    assert look(tmp_path / "nowhere") is None
    written(tmp_path, environment="staging")
    assert look(tmp_path) is None
    written(tmp_path)
    assert look(tmp_path, after=_late.LATEST + 1) is None
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert look(tmp_path)
    newer = _record.compose({"deploy_id": "d2", "app": "shop", "environment": "production", "started": T0}, "succeeded", T0 + 1)
    _record.write(str(tmp_path / "d2.json"), _record.dumps(newer))
    assert look(tmp_path) is None


def test_a_record_that_cannot_be_written_is_said(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, data: bytes, needs_owner: bool = True) -> None:
        raise OSError(28, "No space left on device")

    written(tmp_path)
    monkeypatch.setattr(_late._durable, "rewrite", full)
    found = look(tmp_path)
    assert found and found["sentence"].endswith(" (which its record lacks: No space left on device)")


def test_a_status_says_it_and_has_no_problem_for_it() -> None:
    status: dict[str, t.Any] = {"sentence": "all is well", "problems": []}
    _status.add_late(status, {"sentence": "of 12 requests …"})
    assert status == {"sentence": "all is well; of 12 requests …", "problems": [], "late": {"sentence": "of 12 requests …"}}
    quiet: dict[str, t.Any] = {"sentence": "all is well", "problems": []}
    _status.add_late(quiet, None)
    assert quiet == {"sentence": "all is well", "problems": [], "late": None}
