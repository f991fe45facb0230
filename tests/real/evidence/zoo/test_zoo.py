# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zoo: what may become of a request, on real balancers. Which are losses, whose they are, and which are nobody's.

A kind is met while the deploy moves its member, so that each loss counts: while the member is drained, and while the requests of its side go to the
other, on one side and then on the other. It is met once: one is enough. The kinds are in kinds.py, one a line.
"""

# claim: each-kind-of-loss-on-real-balancers
# claim: each-kind-by-protocol-and-strategy
# claim: reload-of-an-operator

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe

from zoo.balancers import INSTALLED, MEMBERS, SIDES, STEPS, ZOOS, Zoo
from zoo.clients import Once
from zoo.kinds import ANSWERED, LOSSES, NOISE, Kind, at

# Where a loss happened, as a sentence says it.
DOING = {"rolling": "while app1, gone1 drained", "blue_green": "while traffic was switched", "canary": "during share 50 %"}
CLOCK = r"\d\d:\d\d:\d\d"
# What a sentence says besides where so few requests came, before the losses and since.
FEW_BEFORE = r"; so few losses may be what happens all the time, since only \d+ real requests came before anything moved"
FEW_SINCE = r"(; what serves now has answered (no|\d+) requests? (yet|only: [^;]*))?"


@pytest.fixture(scope="module")
def zoos():
    started: dict[str, Zoo] = {}

    def of(driver: str) -> Zoo:
        if not INSTALLED[driver]:
            pytest.skip(f"{driver} is not installed")
        if driver not in started:
            started[driver] = ZOOS[driver]()
        return started[driver]

    yield of
    for zoo in started.values():
        zoo.stop()


def met_everywhere(kinds: t.Iterable[Kind]) -> t.Any:
    cases = sorted(((place, kind) for kind in kinds for place in kind.places()), key=lambda case: case[0].split()[0])
    return pytest.mark.parametrize("place, kind", cases, ids=[f"{place}-{kind.name}" for place, kind in cases])


class Met(t.NamedTuple):
    """What the deploys of each strategy found of a kind."""

    zoo: Zoo
    samples: list[dict[str, t.Any]]
    found: dict[str, dict[str, t.Any]]


@pytest.fixture
def met(zoos, place, kind) -> Met:
    driver, transport = place.split()
    samples = zoos(driver).meet(transport, kind.does, kind.before)
    return Met(zoos(driver), samples, {strategy: Zoo.judge(samples, strategy) for strategy in STEPS})


def asked_by_the_probe(zoo: Zoo, transport: str, path: str) -> str | None:
    """What one request of the probe says of a path: the kind of its failure."""
    if transport == "h1":
        return _probe.once({"url": zoo.stage.url + path, "timeout": 5}).kind
    there = {"url": "https://shop.example" + path, "connect_to": f"127.0.0.1:{zoo.https_port}", "ca_path": zoo.certificate.path}
    return _probe.once({**there, "timeout": 5, "http2": "true"}).kind


@met_everywhere(LOSSES)
def test_a_loss_is_seen_and_names_its_member(met, place, kind):
    seen = at(place, kind.seen)
    dead = "listens" in kind.name
    for strategy, found in met.found.items():
        if seen.line != "sheet":
            assert found["balance"]["lost"] == 0, "the balancer sees it now: say so in the table and in the documents"
            continue
        sides = SIDES[strategy]
        members = sorted(MEMBERS[side][dead] for side in sides)
        assert found["verdict"] == "lost" and found["balance"]["lost_by_kind"] == {seen.kind: len(sides)}, (strategy, found["sentence"], met.samples)
        entries = sorted((entry["member"], entry["balancer"], entry["count"]) for entry in found["attributed"])
        assert entries == [(member, "lb1", 1) for member in members], (strategy, found["sentence"])
        places = "; ".join(rf"1 lost \({_evidence.KINDS[seen.kind]}\) of {member} at {CLOCK} {DOING[strategy]} on lb1" for member in members)
        lost = rf"{len(sides)} of {found['balance']['received']} real requests lost \({len(sides)} {_losses.WORDS[seen.kind]}\)"
        assert re.fullmatch(rf"Requests were lost: {lost}; {places}{FEW_BEFORE}{FEW_SINCE}\.", found["sentence"]), (strategy, found["sentence"])
    if seen.line != "sheet" and isinstance(kind.does, Once):
        by_probe = asked_by_the_probe(met.zoo, place.split()[1], kind.does.path)
        assert by_probe == (seen.kind or None), "what the probe says of it is not what the table says"


@met_everywhere(NOISE)
def test_noise_is_nobodys(met, place, kind):
    told = at(place, kind.told)
    for strategy, found in met.found.items():
        assert (found["verdict"], found["balance"]["lost"], found["attributed"]) == ("clean", 0, []), (strategy, found["sentence"], met.samples)
        numbers = f"0 of {found['balance']['received']} real requests"
        said = re.sub(FEW_SINCE + r"\.$", ".", found["sentence"])
        if not told:
            assert said == f"No request was lost: {numbers}.", (strategy, found["sentence"])
        elif kind.before:
            told_here = told.replace("1", str(len(SIDES[strategy])), 1)
            assert said.startswith(f"No request was lost by this deploy: {numbers}; background as before: {told_here} on app1"), (strategy, said)
        else:
            assert said.startswith(f"No loss was seen, and not everything was counted: {numbers}; ") and told in said, (strategy, said)
        assert found["balance"]["complete"] is (not told or bool(kind.before)), (strategy, found["balance"]["note"])


@pytest.mark.claim("each-4xx-is-judged-by-itself")
@met_everywhere(ANSWERED)
def test_what_the_application_answers_is_its_members(met, place, kind):
    for strategy, found in met.found.items():
        assert found["verdict"] == "clean" and found["balance"]["lost"] == 0, (strategy, found["sentence"])
    cells = [cell for cell in _balance.balance(met.samples)["cells"] if cell.counts]
    counts = {at(place, kind.seen).kind: 1}
    if "refused" in counts and place.split()[0] == "nginx":
        # Its log has the status besides.
        counts["status_404"] = 1
    assert [(cell.member, cell.counts) for cell in cells] == [(member, counts) for member in ("app1", "app2")]
