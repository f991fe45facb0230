# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' checks share: the hosts by name, the balancers' words, the two witnesses of a deploy."""

from __future__ import annotations

import abc
import csv
import functools
import io
import json
import os
import pathlib
import re
import sys
import typing as t

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "common"))

import look  # noqa: E402
from look import BALANCERS, MEMBERS  # noqa: E402


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "claim(name): the test proves this promise of tests/claims.md")


class Seen(abc.ABC):
    """What all hosts say at one moment."""

    balancers = tuple(BALANCERS)
    members = tuple(MEMBERS)
    said: dict[str, dict[str, str]]

    @abc.abstractmethod
    def running(self) -> dict[str, str]:
        """Label of the release that each member answers with, asked past the balancers."""

    @abc.abstractmethod
    def served(self) -> set[str]:
        """Labels that clients get from the balancers."""

    @abc.abstractmethod
    def left_running(self) -> list[str]:
        """Processes of deploys on the controller."""

    def no_lock_left(self) -> None:
        for balancer in BALANCERS:
            # What stays is since when the sides have their shares.
            assert [name for name in self.said[balancer]["locks"].split() if not name.endswith((".shares", ".last"))] == [], balancer

    def servers(self, balancer: str) -> dict[str, dict[str, str]]:
        """What a balancer says about its members, from its socket inside the container."""
        rows = csv.DictReader(io.StringIO(self.said[balancer]["stat"].lstrip("# ").strip()))
        return {row["svname"]: row for row in rows if row["pxname"] == "shop"}

    def admin_states(self, balancer: str) -> dict[str, int]:
        """0 where nobody has taken the member out, by drain, maintenance or weight."""
        return self.admin_states_in(self.said[balancer]["state"])

    @staticmethod
    def admin_states_in(said: str) -> dict[str, int]:
        _version, head, *lines = said.strip().splitlines()
        rows = csv.DictReader([head[2:], *lines], delimiter=" ")
        return {row["srv_name"]: int(row["srv_admin_state"]) for row in rows}

    def link(self, member: str) -> str:
        """Digest of the release that the slot leads to."""
        return pathlib.PurePath(self.said[member]["link"].strip()).name

    def service_started(self, member: str) -> float:
        return float(self.said[member]["started"])


class Noted(Seen):
    """A moment in the middle of a scenario's story, see common/look.py."""

    def __init__(self, path: pathlib.Path) -> None:
        self._found = json.loads(path.read_text(encoding="utf-8"))
        self.said = self._found["said"]

    def running(self) -> dict[str, str]:
        return self._found["running"]

    def served(self) -> set[str]:
        return set(self._found["served"])

    def left_running(self) -> list[str]:
        return self._found["left"]


class Stage(Seen):
    """The scenario as it stands after converge."""

    def __init__(self, results: pathlib.Path) -> None:
        self.results = results
        self.load: dict[str, t.Any] = json.loads((results / "load.json").read_text(encoding="utf-8"))
        self.output = (results / "converge.log").read_text(encoding="utf-8")
        self.records = sorted(
            (json.loads(path.read_text(encoding="utf-8")) for path in (results / "records").glob("*.json")),
            key=lambda record: record["started"])

    @property
    def record(self) -> dict[str, t.Any]:
        """The deploy's under load: the last one. The first is the prepare step's."""
        assert self.records, f"no record in {self.results}"
        return self.records[-1]

    def told(self, name: str) -> tuple[int, str]:
        """How one run of a scenario's story ended: its exit code, and all that it said in one line."""
        return int((self.results / f"{name}.rc").read_text(encoding="utf-8")), self.printed(name)

    def printed(self, name: str) -> str:
        """What a run printed, in one line: without colours, and with sentences as they were before YAML quoted and folded them."""
        plain = _COLOURS.sub("", (self.results / f"{name}.log").read_text(encoding="utf-8"))
        return " ".join(plain.replace("''", "'").split())

    @functools.cached_property
    def requests(self) -> list[dict[str, t.Any]]:
        """What became of each request of the load generator, in a scenario that has this noted."""
        return [json.loads(line) for line in (self.results / "requests.jsonl").read_text(encoding="utf-8").splitlines()]

    def requests_between(self, began: float, ended: float) -> list[dict[str, t.Any]]:
        """Those that were under way then."""
        return [one for one in self.requests if one["time"] <= ended and one["time"] + one["seconds"] >= began]

    def requests_of(self, name: str) -> list[dict[str, t.Any]]:
        """Those that were under way while one run of a scenario's story was."""
        began, ended = (self.results / f"{name}.times").read_text(encoding="utf-8").split()
        return self.requests_between(float(began), float(ended))

    def at(self, name: str) -> Seen:
        """The moment that the story noted under that name."""
        return Noted(self.results / f"{name}.seen.json")

    @functools.cached_property
    def said(self) -> dict[str, dict[str, str]]:  # type: ignore[override]
        """Asked once: nothing changes any more."""
        return look.ask_all()

    def running(self) -> dict[str, str]:
        return look.running()

    def served(self) -> set[str]:
        return look.served()

    def left_running(self) -> list[str]:
        return look.left_running(self.results)


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage(REPOSITORY / "build" / "molecule" / "results" / os.environ["MOLECULE_SCENARIO_NAME"])


@pytest.fixture
def record(stage: Stage) -> t.Callable[[str], dict[str, t.Any]]:
    """The record of a deploy by its name, where a scenario has several."""
    return {found["deploy_id"]: found for found in stage.records}.__getitem__


@pytest.fixture
def nothing_lost(stage: Stage) -> t.Callable[..., None]:
    """Both witnesses: the tests' own load generator, and the deploy's evidence with its three lines."""

    def check(complete: bool = True, record: dict[str, t.Any] | None = None) -> None:
        record = record or stage.record
        assert stage.load["failed"] == 0, stage.load["losses"]
        assert stage.load["sent"] > 200
        assert stage.load["streams"].keys() >= {"fresh", "keepalive", "post"}
        assert {name: target["failed"] for name, target in stage.load["targets"].items()} == {f"{address}:8080": 0 for address in BALANCERS.values()}
        evidence = record["evidence"]
        assert evidence["probe"]["failed"] == 0, evidence["probe"]["failures"]
        assert evidence["probe"]["sent"] > 50
        assert evidence["attributed"] == []
        balance = evidence["balance"]
        if record["driver"] == "healthcheck":
            # Who has no balancer to ask has one line of evidence; the others must not be made up.
            assert balance is None
        else:
            assert evidence["kernel"]["overflows"] == evidence["kernel"]["drops"] == 0
            assert balance["complete"] or not complete, balance["note"]
            assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0)
            assert balance["errors_during"] == 0
        assert evidence["verdict"] == "clean"

    return check


@pytest.fixture
def nobody_left_out(stage: Stage) -> t.Callable[..., None]:
    """No orphan: every balancer serves every member at full weight, and every member's service runs."""

    def check(seen: Seen = stage) -> None:
        for balancer in seen.balancers:
            servers = seen.servers(balancer)
            assert {name: (row["status"], row["weight"]) for name, row in servers.items()} == {name: ("UP", "100") for name in seen.members}
            assert seen.admin_states(balancer) == {name: 0 for name in seen.members}
        for member in seen.members:
            assert "active" in seen.said[member]["service"].split(), member
            assert "off" not in seen.said[member]["off"].split(), member

    return check


@pytest.fixture
def nothing_left_running(stage: Stage) -> t.Callable[..., None]:
    """A deploy is over: none of its processes may live on, neither a probe on the controller nor a module on a host. Nor does anything else of them."""

    def check(seen: Seen = stage) -> None:
        assert seen.left_running() == []
        for name in (*seen.balancers, *seen.members):
            assert look.modules(seen.said[name]["processes"]) == [], name
            assert seen.said[name]["temporary"].split() == [], name
            assert seen.said[name]["secret"].split() == [], name

    return check
