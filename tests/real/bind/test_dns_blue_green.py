# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole deploys by a name in DNS: the example inventory, real BIND servers, a real application on each side, and users
who honour the time to live, or not."""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

import playing
import pytest
import resolving
import unit
from askers import Name, User
from bind_stage import BindStage
from limits import wait_until
from shop import HOSTS, Shop

OLD, NEW, BAD = "1.0.0", "2.0.0", "3.0.0-bad"
NOTHING = {"deploy_evidence_rate": 10, "deploy_soak": 0}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an own /etc/resolv.conf, and port 53, need root")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Shop]:
    """1.0.0 serves on blue."""
    with BindStage() as stage, Shop(stage, (OLD, NEW, BAD)) as found:
        resolving.ask_only(stage.address("primary"), tmp_path_factory.mktemp("resolv"))
        stage.set("www", *found.addresses("green"))
        first = found.play("zero.downtime.deploy", deploy_release=OLD, deploy_keep_previous=None, **NOTHING)
        assert first.rc == 0 and stage.answers("www") == found.addresses("blue"), first.output
        yield found


@contextlib.contextmanager
def user(shop: Shop, source: str, for_ever: bool = False, pooled: bool = False) -> t.Iterator[User]:
    """One who has been answered."""
    with User(Name(shop.stage, "www", for_ever), shop.ports["shop"], source, pooled) as found:
        wait_until(lambda: found.answers, "the user is answered")
        yield found


def serving(shop: Shop) -> str:
    return "blue" if shop.stage.answers("www") == shop.addresses("blue") else "green"


def runs(shop: Shop, side: str) -> list[bool]:
    """Of each host, whether the side's service is up."""
    return [bool(unit.running(found)) for found in shop.units if found["mark"].endswith(f"-{side}.pid")]


@contextlib.contextmanager
def killed(shop: Shop, **variables: t.Any) -> t.Iterator[t.Any]:
    """A deploy that is killed at the end, if it has not ended by then."""
    process = playing.start(shop.command("zero.downtime.deploy", **variables), env=shop.ENV)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.claim("dns-blue-green-loses-nothing", "dns-clients-that-stay-are-named")
def test_a_deploy_by_dns_loses_nothing_and_the_old_side_is_up_for_as_long_as_anybody_asks_it(shop: Shop) -> None:
    old = serving(shop)
    with contextlib.ExitStack() as users:
        honest = users.enter_context(user(shop, "127.0.0.7"))
        pinned = users.enter_context(user(shop, "127.0.0.8", for_ever=True))
        pooled = users.enter_context(user(shop, "127.0.0.9", pooled=True))
        deployed = shop.play("zero.downtime.deploy", deploy_release=NEW, deploy_drain_timeout=5, **NOTHING)
        assert deployed.rc == 0 and serving(shop) != old, deployed.output
        wait_until(lambda: honest.versions() == [OLD, NEW], "the user has the release")
        assert f"{NEW} serves on {serving(shop)} (2 of 2 members)" in deployed.sentence, deployed.sentence
        # Of whom nobody knows a name any more, the last request may be under way just now.
        assert re.search(rf"{old} was not stopped: {old} has \d open connections?, from .*127\.0\.0\.9", deployed.sentence)
        pooled.end()
        status = shop.play("zero.downtime.status")
        asked = (r"it may be stopped from .* if nobody asks it until then; .*127\.0\.0\.8.* asked it last"
                 r"|it is not stopped: \w+ has 1 open connection, from 127\.0\.0\.8")
        assert status.rc == 0 and re.search(asked, status.output), status.output
        pinned.end()
        assert runs(shop, old) == [True, True] and pinned.versions() == pooled.versions() == [OLD]
        logs = [shop.log(old, host) for host in HOSTS]
        wait_until(lambda: all(time.time() - log.stat().st_mtime > 5 for log in logs), "nobody asks it")
        retired = shop.play("zero.downtime.retire")
        assert retired.rc == 0 and f"{old} was stopped" in retired.sentence, retired.output
    assert honest.failures == pinned.failures == pooled.failures == []
    assert runs(shop, old) == [False, False] and runs(shop, serving(shop)) == [True, True]
    record = shop.records()[-1]
    assert record["evidence"]["probe"]["failed"] == 0 and record["evidence"]["probe"]["sent"] > 20
    steps = {step["name"]: step for step in record["steps"]}
    # Lowered, brought to the release meanwhile, waited out, switched, waited out, raised.
    order = ["shorten", "activate", "switch", "lengthen"]
    assert [name for name in steps if name in order] == order
    assert steps["switch"]["finished"] >= steps["shorten"]["finished"] + 3 and shop.stage.ttl("www") == 3
    assert shop.stage.answers("_zero-downtime.www", "TXT") == []
    assert len(shop.stage.answers("_state._zero-downtime.www", "TXT")) == 1


@pytest.mark.claim("dns-blue-green-loses-nothing")
def test_who_stops_the_old_side_right_after_the_switch_loses_requests(shop: Shop) -> None:
    """What the time to live costs those who do not wait for it."""
    old = serving(shop)
    new = "green" if old == "blue" else "blue"
    stopped = [found for found in shop.units if found["mark"].endswith(f"-{old}.pid")]
    for found in shop.units:
        unit.start(found)
    with user(shop, "127.0.0.7") as honest:
        shop.stage.set("www", *shop.addresses(new))
        for found in stopped:
            unit.stop(found)
        wait_until(lambda: honest.failures and honest.answers[-1] > honest.failures[-1], "the time to live is over")
    assert len(honest.failures) > 5
    shop.stage.set("www", *shop.addresses(old))
    for found in stopped:
        unit.start(found)


def version(shop: Shop) -> str:
    with user(shop, "127.0.0.7") as found:
        return found.answers[-1][1]


def test_a_canary_is_refused_before_anything_moves(shop: Shop) -> None:
    played = shop.play("zero.downtime.deploy", deploy_release=NEW, deploy_strategy="canary")
    assert played.rc == 2, played.output
    assert "driver rfc2136 cannot carry out; with it work blue_green" in played.sentence, played.output


@pytest.mark.claim("dns-killed-is-known-and-goes-back", "dns-one-deploy-at-a-time")
def test_a_controller_that_is_killed_is_known_from_the_zone_and_a_rollback_goes_back_at_once(shop: Shop) -> None:
    old, before = serving(shop), version(shop)
    label = NEW if before == OLD else OLD
    with user(shop, "127.0.0.7") as honest:
        with killed(shop, deploy_release=label, deploy_evidence_rate=10, deploy_soak=600):
            wait_until(lambda: serving(shop) != old, "the switch has been made", timeout=120)
            (lock,) = shop.stage.answers("_zero-downtime.www", "TXT")
            other = shop.play("zero.downtime.deploy", deploy_release=label, **NOTHING)
            locked = "shop (production) is locked on name www in zone shop.test by deploy "
            assert other.rc == 2 and locked in other.sentence, other.output
        # Everybody may read it: it has no secret in it, and nothing of the machine but its name.
        with open("/etc/machine-id", encoding="ascii") as file:
            assert shop.stage.secret not in lock and file.read().strip() not in lock
        status = shop.play("zero.downtime.status")
        assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
        # Those who have the new answer, and those who have the old one, are served all the time.
        back = shop.play("zero.downtime.rollback", deploy_keep_previous=None, **NOTHING)
        assert back.rc == 0 and serving(shop) == old, back.output
        wait_until(lambda: honest.answers[-1][1] == before, "the user has the release from before")
    assert honest.failures == [] and shop.stage.ttl("www") == 3
    assert shop.stage.answers("_zero-downtime.www", "TXT") == []


@pytest.mark.claim("dns-never-effective-goes-back")
def test_a_deploy_that_never_becomes_effective_goes_back(shop: Shop) -> None:
    old, before = serving(shop), version(shop)
    label = NEW if before == OLD else OLD
    with user(shop, "127.0.0.7") as honest:
        with killed(shop, deploy_release=label, deploy_hooks={"smoke": hook(shop)}, **NOTHING) as process:
            wait_until((shop.dir / "smoked").exists, "the idle side is ready", timeout=120)
            shop.stage.stop("secondary")
            (shop.dir / "go").touch()
            assert process.wait(120) == 2
        shop.stage.start("secondary")
        # Who asked the primary meanwhile has been served by the other side, which was up.
        wait_until(lambda: honest.answers[-1][1] == before, "the user has the release from before")
    sentence = shop.records()[-1]["sentence"]
    assert shop.records()[-1]["result"] == "rolled_back", sentence
    assert "did not become effective within" in sentence and "secondary.shop.test" in sentence
    assert honest.failures == [] and serving(shop) == old and shop.stage.ttl("www") == 3


def hook(shop: Shop) -> str:
    """Tasks that stand still until the test lets them go on."""
    path = shop.dir / "smoke.yml"
    path.write_text(
        f"- ansible.builtin.file: {{path: {shop.dir}/smoked, state: touch, mode: '0644'}}\n"
        f"- ansible.builtin.wait_for: {{path: {shop.dir}/go, timeout: 100, sleep: 1}}\n",
        encoding="utf-8",
    )
    return str(path)
